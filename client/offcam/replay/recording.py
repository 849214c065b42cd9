"""Recording an env for replay, for a wrapper: the tap at its base, its tape, and the process that makes its videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym

from offcam.recorder import readings
from offcam.recorder.clip_writer import ClipWriter
from offcam.replay import recipe
from offcam.replay.audited import AuditedClip
from offcam.replay.audits import Audits
from offcam.replay.clip import ReplayClip
from offcam.replay.renderer import Renderer
from offcam.replay.tap import insert, sub_envs
from offcam.replay.tape_log import TapeLog
from offcam_proto.errors import ConfigError, NotReplayable

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam.recorder.env_stream import EnvStream
    from offcam.replay.renderer import Asked
    from offcam_runs.replay.requests import Answer


class Replaying:
    """Records an env for replay: a single one, or those of a `SyncVectorEnv`. A copy of the env is not recorded so.

    Thread: that of the env.

    Args:
        env: the env. A tap is put at its base, or at that of each sub-environment.
        auto: whether frames are recorded until replays were seen to give the same pictures, see `audits`.

    Attributes:
        env: the env to use in place of the given one.
        tapes: the tape of the env's base, or one for each sub-environment.
        audits: decides for each video whether it is of frames; None where none is.

    Raises:
        ConfigError: the env cannot be replayed, and why.
    """

    def __init__(self, env: Any, *, auto: bool = False) -> None:  # noqa: ANN401 - an Env or a VectorEnv
        try:
            bases = _bases(env)
            recipes = [recipe.of(base) for base in bases]
            self.tapes = [
                TapeLog(base.action_space, own, index)
                for index, (base, own) in enumerate(zip(bases, recipes, strict=True))
            ]
            self.env = insert(env, self.tapes.__getitem__)
        except NotReplayable as error:
            raise ConfigError(f"source='replay' cannot be had for this env: {error}") from error
        self.audits = Audits() if auto else None
        self.renderer: Renderer | None = None
        self._recipe = recipes[0]

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def attach(self, stream: EnvStream, made: Callable[[str], object]) -> None:
        """Record the tapes into a stream; ``made`` is called with the path of each video that is made."""
        for tape in self.tapes:
            tape.attach(stream)
        self.renderer = Renderer(self._recipe, made, *(() if self.audits is None else (_judge_of(self.audits),)))

    def look(self) -> None:
        """Take notice of videos that were made meanwhile. Does not wait."""
        if self.renderer is not None:
            self.renderer.look()
            if self.audits is not None and self.audits.over:
                self.renderer.rest()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all requested videos are made, at most ``timeout`` seconds. Returns whether all are."""
        return self.renderer is None or self.renderer.wait(timeout)

    def finish(self) -> dict[str, str]:
        """Wait until all requested videos are made, and have the process end that makes them.

        Returns the videos that could not be made, by name, with the reasons.
        """
        if self.renderer is None:
            return {}
        self.renderer.close()
        return self.renderer.not_made

    def replays_next(self) -> bool:
        """Whether the video that begins now is rendered in a replay, rather than of frames."""
        if self.audits is None or self.renderer is None:
            return self.audits is None
        self.look()
        return self.audits.replays_next(self.renderer.comparisons)

    def clip(self, stream: EnvStream, name: str, **others: Any) -> ReplayClip:  # noqa: ANN401 - as of ReplayClip
        """A video to be rendered from the steps that follow."""
        assert self.renderer is not None  # noqa: S101 - attached where anything is recorded
        return ReplayClip(self.renderer, stream, name, **others)

    def filmed(self, stream: EnvStream, name: str, *, episode: int, **others: Any) -> ClipWriter:  # noqa: ANN401 - as of ClipWriter
        """A video of frames, which is compared with its replay if a comparison is due."""
        if self.audits is None or self.renderer is None or not self.audits.compares(self.renderer.comparisons):
            return ClipWriter(stream, name, episode=episode, **others)
        return AuditedClip(self.renderer, stream, name, episode=episode, **others)


def _bases(env: Any) -> list[gym.Env[Any, Any]]:  # noqa: ANN401 - an Env or a VectorEnv
    """The bases of an env that are replayed, each by itself.

    Raises:
        NotReplayable: the bases cannot be reached, or one base steps many envs at once.
    """
    if isinstance(env, gym.vector.VectorEnv):
        return [each.unwrapped for each in sub_envs(env)]
    if readings.number_of_envs(env) is not None:
        raise NotReplayable("it steps many envs at once, which nobody can take apart. Leave `source` out")
    return [env.unwrapped]


def _judge_of(audits: Audits) -> Callable[[Asked, Answer], str | None]:
    """The `judge` of a `Renderer` that tells the audits what became of its requests."""

    def judge(asked: Asked, answer: Answer) -> str | None:
        if asked.compares:
            return audits.compared(asked.episode, answer)
        return None if audits.over else audits.not_made(asked.episode, answer)

    return judge
