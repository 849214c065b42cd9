"""``offcam.record``: video and statistics of any env in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import gymnasium as gym
from gymnasium.vector import VectorEnv

from offcam import vector
from offcam.sync import check_tracker
from offcam.sync import sync as send_run
from offcam.wrappers import arguments, shared_stream
from offcam.wrappers.episode_values import value_names
from offcam.wrappers.statistics import RecordEpisodeStatistics
from offcam.wrappers.video import RecordVideo
from offcam.wrappers.video_base import nothing_to_collect
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gymnasium.core import ActType, ObsType

    from offcam.recorder.clip_writer import Overflow
    from offcam.recorder.resuming import IfExists
    from offcam_runs.keep.rules import Rule

    Trigger = Callable[[int], bool] | None

Recorded = TypeVar("Recorded")


@overload
def record(
    env: gym.Env[ObsType, ActType],
    folder: arguments.Folder | None = ...,
    *,
    every: arguments.Whole | None = ...,
    episode_trigger: Trigger = ...,
    step_trigger: Trigger = ...,
    video_length: arguments.Number = ...,
    name_prefix: str = ...,
    fps: arguments.Number | None = ...,
    disable_logger: bool = ...,
    gc_trigger: Trigger = ...,
    every_nth_frame: arguments.Whole = ...,
    max_size: Sequence[arguments.Whole] | None = ...,
    crf: arguments.Whole | None = ...,
    preset: str | None = ...,
    encode: arguments.Encode = ...,
    overflow: Overflow = ...,
    source: arguments.Source = ...,
    resume: bool = ...,
    if_exists: IfExists = ...,
    buffer_length: arguments.Whole | None = ...,
    strict: bool = ...,
    on_video: Callable[[str], object] | None = ...,
    info_keywords: Sequence[str] = ...,
    keep: Rule | str | None = ...,
    keep_bytes: arguments.Whole | None = ...,
    steps: bool = ...,
    steps_limit: arguments.Whole | None = ...,
    last_seconds: arguments.Number | None = ...,
    seconds_after: arguments.Number = ...,
    sync: str | None = ...,
) -> RecordEpisodeStatistics[ObsType, ActType]: ...


@overload
def record(
    env: VectorEnv[ObsType, ActType, Any],
    folder: arguments.Folder | None = ...,
    *,
    every: arguments.Whole | None = ...,
    episode_trigger: Trigger = ...,
    step_trigger: Trigger = ...,
    video_length: arguments.Number = ...,
    name_prefix: str = ...,
    fps: arguments.Number | None = ...,
    disable_logger: bool = ...,
    gc_trigger: Trigger = ...,
    every_nth_frame: arguments.Whole = ...,
    max_size: Sequence[arguments.Whole] | None = ...,
    crf: arguments.Whole | None = ...,
    preset: str | None = ...,
    encode: arguments.Encode = ...,
    overflow: Overflow = ...,
    source: arguments.Source = ...,
    resume: bool = ...,
    if_exists: IfExists = ...,
    buffer_length: arguments.Whole | None = ...,
    video_aspect_ratio: tuple[int, int] = ...,
    record_first_only: bool = ...,
    record_envs: int | Sequence[int] | None = ...,
    per_env: bool = ...,
    strict: bool = ...,
    on_video: Callable[[str], object] | None = ...,
    info_keywords: Sequence[str] = ...,
    keep: Rule | str | None = ...,
    keep_bytes: arguments.Whole | None = ...,
    steps: bool = ...,
    steps_limit: arguments.Whole | None = ...,
    last_seconds: arguments.Number | None = ...,
    seconds_after: arguments.Number = ...,
    sync: str | None = ...,
) -> vector.RecordEpisodeStatistics[ObsType, ActType]: ...


def record(
    env: gym.Env[ObsType, ActType] | VectorEnv[ObsType, ActType, Any],
    folder: arguments.Folder | None = None,
    *,
    every: arguments.Whole | None = None,
    episode_trigger: Trigger = None,
    step_trigger: Trigger = None,
    video_length: arguments.Number = 0,
    name_prefix: str = "rl-video",
    fps: arguments.Number | None = None,
    disable_logger: bool = True,
    gc_trigger: Trigger = nothing_to_collect,
    every_nth_frame: arguments.Whole = 1,
    max_size: Sequence[arguments.Whole] | None = None,
    crf: arguments.Whole | None = None,
    preset: str | None = None,
    encode: arguments.Encode = "idle",
    overflow: Overflow = "drop",
    source: arguments.Source = "render",
    resume: bool = False,
    if_exists: IfExists = "new",
    buffer_length: arguments.Whole | None = 100,
    video_aspect_ratio: tuple[int, int] | None = None,
    record_first_only: bool | None = None,
    record_envs: int | Sequence[int] | None = None,
    per_env: bool | None = None,
    strict: bool = False,
    on_video: Callable[[str], object] | None = None,
    info_keywords: Sequence[str] = (),
    keep: Rule | str | None = None,
    keep_bytes: arguments.Whole | None = None,
    steps: bool = False,
    steps_limit: arguments.Whole | None = None,
    last_seconds: arguments.Number | None = None,
    seconds_after: arguments.Number = 0,
    sync: str | None = None,
) -> RecordEpisodeStatistics[ObsType, ActType] | vector.RecordEpisodeStatistics[ObsType, ActType]:
    """Record an env's videos and statistics into a folder.

    Args:
        env: a single or a vector env whose ``render_mode`` yields images; with ``source="obs"``, whose observations are
            images.
        folder: the run folder; by default a new one in ``$OFFCAM_DIR``, or in ``./offcam-runs``. ``run_folder`` of what
            is returned says which it is.
        every: record each ``every``-th episode, beginning with the first; 1 records all.
        episode_trigger: instead of ``every``: called with an episode's number, whether to record it. Without either,
            and without ``step_trigger``, Gymnasium's schedule: episodes 0, 1, 8, 27, ... 729, 1000, 2000, ...
        step_trigger: as in `RecordVideo`.
        video_length: as in `RecordVideo`.
        name_prefix: as in `RecordVideo`.
        fps: as in `RecordVideo`.
        disable_logger: as in `RecordVideo`.
        gc_trigger: as in `RecordVideo`.
        every_nth_frame: as in `RecordVideo`: take only each n-th frame of a video.
        max_size: as in `RecordVideo`: ``(width, height)`` in pixels that a video must fit in.
        crf: as in `RecordVideo`: the videos' quality.
        preset: as in `RecordVideo`: how much CPU to spend on small files.
        encode: as in `RecordVideo`: whether encoding leaves the cores to the training, ``"idle"``, or not, ``"now"``.
        overflow: as in `RecordVideo`.
        source: as in `RecordVideo`: ``"obs"`` shows what the agent sees; with ``"replay"`` and ``"auto"`` episodes are
            replayed elsewhere and rendered there.
        resume: go on with the last session of a folder that has a run; the same as ``if_exists="resume"``.
        if_exists: as in `RecordVideo`.
        buffer_length: length of the queues of `RecordEpisodeStatistics`.
        video_aspect_ratio: aspect ratio of a vector env's picture, as in `vector.RecordVideo`; by default ``(1, 1)``.
        record_first_only: whether to show a vector env's first sub-environment alone.
        record_envs: which of a vector env's sub-environments to show, by their indices, or how many of the first.
        per_env: whether each of these has videos of its own, of its own episodes, rather than a tile.
        strict: whether to raise rather than warn where something is not recorded: see `RecordVideo`.
        on_video: as in `RecordVideo`: a function that is called with the path of each video that is final.
        info_keywords: as in `RecordEpisodeStatistics`: keys of the last step's ``info`` to record with each episode.
        keep: as in `RecordVideo`: the rule by which videos are kept. Every episode then has a video, unless a trigger
            or ``every`` says which do.
        keep_bytes: as in `RecordVideo`: most bytes of the videos that are kept.
        steps: as in `RecordVideo`: whether to record the steps of every episode; see `offcam.trace`.
        steps_limit: as in `RecordVideo`: most bytes of the steps.
        last_seconds: as in `RecordVideo`: hold so many seconds, to be written when it matters. Without ``every`` and a
            trigger no other videos are recorded.
        seconds_after: as in `RecordVideo`: how many seconds follow in such a video.
        sync: a tracker to send the run to, such as ``"tensorboard"`` or ``"wandb:project=cartpole"``, or a place in
            object storage, such as ``"s3://bucket/runs/{name}"``, or a hub, ``"tcp://head:8721"``; see `offcam.sync`.

    Returns:
        The env in a RecordVideo in a RecordEpisodeStatistics, which has the queues; the RecordVideo is its ``env``.

    Raises:
        ConfigError: ``env`` is not one of Gymnasium's, another argument is wrong, or two arguments exclude each other.
        OffcamError, ValueError: as `RecordVideo`.
    """
    episode_trigger = arguments.which_episodes(every, episode_trigger)
    if not isinstance(env, (gym.Env, VectorEnv)):
        raise ConfigError(f"offcam.record takes an env of Gymnasium's, got {type(env)}. {arguments.instead_of(env)}")
    where = shared_stream.new_folder(env) if folder is None else folder
    shared: dict[str, Any] = {
        "episode_trigger": episode_trigger,
        "step_trigger": step_trigger,
        "video_length": video_length,
        "name_prefix": name_prefix,
        "fps": fps,
        "disable_logger": disable_logger,
        "gc_trigger": gc_trigger,
        "overflow": overflow,
        "source": source,
        "if_exists": arguments.where_a_run_is(resume, if_exists),
        "strict": arguments.flag("strict", strict),
        "every_nth_frame": every_nth_frame,
        "max_size": max_size,
        "crf": crf,
        "preset": preset,
        "encode": encode,
        "on_video": on_video,
        "keep": keep,
        "keep_bytes": keep_bytes,
        "steps": steps,
        "steps_limit": steps_limit,
        "last_seconds": last_seconds,
        "seconds_after": seconds_after,
    }
    buffer_length = arguments.buffer_length(buffer_length)  # before anything is opened
    value_names(info_keywords)
    if sync is not None:
        check_tracker(sync)
    if isinstance(env, VectorEnv):
        aspect = (1, 1) if video_aspect_ratio is None else video_aspect_ratio
        which: dict[str, Any] = {"record_envs": record_envs, "per_env": bool(per_env)}
        videos: Any = vector.RecordVideo(env, where, aspect, bool(record_first_only), **shared, **which)
        envs = vector.RecordEpisodeStatistics(videos, buffer_length, strict=strict, info_keywords=info_keywords)
        return _synced(envs, sync)
    of_vector_envs = {
        "video_aspect_ratio": video_aspect_ratio,
        "record_first_only": record_first_only,
        "record_envs": record_envs,
        "per_env": per_env,
    }
    if given := [name for name, value in of_vector_envs.items() if value is not None]:
        raise ConfigError(f"{' and '.join(given)}: for vector envs alone. Leave it out for this one.")
    single: Any = RecordVideo(env, where, **shared)
    recorded = RecordEpisodeStatistics(single, buffer_length, strict=strict, info_keywords=info_keywords)
    return _synced(recorded, sync)


def _synced(env: Recorded, to: str | None) -> Recorded:
    """Have the run of a recorded env sent to a tracker, if one is given. Returns the env."""
    if to is not None:
        send_run(env, to)
    return env
