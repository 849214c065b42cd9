"""Minari: a dataset of a run's episodes, with their observations, which are not recorded.

The run must be recorded with ``source="replay"``. Each episode is replayed and checked step by step, and what the env
then returns goes into the dataset::

    dataset = create_dataset("runs/lander", "lander/expert-v0", algorithm_name="PPO", author="me")

It needs the package: ``pip install "offcam[minari]"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offcam.integrations.missing import needs
from offcam.replay.observed import observed
from offcam_proto.errors import NotReplayable

with needs("minari", "Minari", "minari"):
    import minari
    from minari.data_collector import EpisodeBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam.replay.observed import Observed
    from offcam.wrappers import arguments
    from offcam_runs.sessions import Session

__all__ = ["create_dataset"]


def create_dataset(
    folder: arguments.Folder,
    dataset_id: str,
    *,
    episodes: Sequence[int] | None = None,
    session: Session = None,
    trust: bool = False,
    **options: Any,  # noqa: ANN401 - Minari's
) -> Any:  # noqa: ANN401 - a MinariDataset
    """Make a Minari dataset of episodes that were recorded with ``source="replay"``.

    The dataset is of the env's base, below all wrappers: its observations, rewards, actions and spec. An episode that a
    time limit or another wrapper ended is truncated at its last step. The env is made and played in this process. All
    episodes must be of one spec, and are in memory until they are written.

    Args:
        folder: the run.
        dataset_id: as of `minari.create_dataset_from_buffers`.
        episodes: numbers of the episodes; by default all that ended.
        session: number of the session, or ``"all"``; by default the newest.
        trust: whether to run the code that the folder names even if you have not recorded it on this host.
        options: all others of `minari.create_dataset_from_buffers`: ``algorithm_name``, ``author``, ``description``...

    Returns:
        The dataset, as Minari's function returns it.

    Raises:
        ConfigError: there are no such episodes.
        NotReplayable: an episode cannot be replayed here; the message says why. Nothing is written then.
        RunFolderError: the run cannot be read.
    """
    buffers, specs = [], []
    for number, episode in enumerate(observed(folder, episodes=episodes, session=session, trust=trust)):
        buffers.append(_buffer(number, episode))
        specs.append(episode.spec)
        if specs[0] != episode.spec:
            raise NotReplayable(f"{folder} has episodes of {specs[0].id} and {episode.spec.id}: ask for those of one.")
    return minari.create_dataset_from_buffers(dataset_id, buffers, env=specs[0], **options)


def _buffer(number: int, episode: Observed) -> Any:  # noqa: ANN401 - an EpisodeBuffer
    seed = episode.seed if isinstance(episode.seed, int) else None
    buffer = EpisodeBuffer(id=number, seed=seed, options=episode.options, observations=episode.first[0])
    last = len(episode.steps) - 1
    for place, (action, (observation, reward, terminated, truncated, _)) in enumerate(episode.steps):
        buffer = buffer.add_step_data(
            {
                "observation": observation,
                "action": action,
                "reward": reward,
                "terminated": bool(terminated),
                "truncated": bool(truncated) or (place == last and not terminated),
                "info": {},
            }
        )
    return buffer
