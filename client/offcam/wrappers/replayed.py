"""Recording an env for replay, for ``source="replay"`` and ``"auto"``, where it can be replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gymnasium.vector import SyncVectorEnv

from offcam import logger
from offcam.recorder import settings
from offcam.wrappers.video_base import NO_PICTURES
from offcam_proto.errors import ConfigError
from offcam_proto.limits import MAX_CLIPS_PER_STREAM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gymnasium.vector import VectorEnv

    from offcam.replay.recording import Replaying
    from offcam.wrappers.arguments import Source


def replaying(env: Any, source: Source) -> Replaying | None:  # noqa: ANN401 - an Env or a VectorEnv
    """What records an env for replay; None, with a warning, where the env cannot be replayed but its frames recorded.

    Args:
        env: the env. A tap is put at its base, or at that of each sub-environment.
        source: ``"replay"`` or ``"auto"``.

    Raises:
        ConfigError: the env cannot be replayed, and its frames cannot be recorded either.
    """
    auto = source == "auto"
    try:
        make = _importable()
        try:
            return make(env, auto=auto)
        except ConfigError as error:
            if auto or env.render_mode in NO_PICTURES:
                raise
            logger.warn(f"{error}. As it renders, frames are recorded instead.")
    except ConfigError as error:
        if not auto:
            raise
        logger.note(f"offcam records frames: {error}{'' if str(error).endswith('.') else '.'}")
    return None


def replaying_of(
    env: VectorEnv[Any, Any, Any], source: Source, envs: Sequence[int], *, per_env: bool
) -> Replaying | None:
    """As `replaying`, for a vector env.

    Args:
        env: the env. A tap is put at the base of each sub-environment.
        source: ``"replay"`` or ``"auto"``; with the latter frames are recorded.
        envs: indices of the sub-environments that are shown; none for all.
        per_env: whether each has videos of its own.

    Raises:
        ConfigError: the env cannot be replayed, or its videos would show several sub-environments in one picture.
    """
    if source == "auto":
        logger.note("offcam records frames: source='auto' is for single envs.")
        return None
    if not per_env and len(envs or range(env.num_envs)) > 1:
        raise ConfigError(
            "source='replay' makes videos of single sub-environments, not one picture of several. Pass `per_env=True` "
            "for a video of each, or `record_first_only=True`."
        )
    if env.num_envs > MAX_CLIPS_PER_STREAM:
        raise ConfigError(
            f"source='replay' is for at most {MAX_CLIPS_PER_STREAM} sub-environments, each of which has a tape, got "
            f"{env.num_envs}. Wrap some in the function that makes them: `lambda: offcam.RecordVideo(gym.make(...), "
            "folder, source='replay')`."
        )
    if not isinstance(env.unwrapped, SyncVectorEnv):
        return _importable()(env)  # raises, and says why the env cannot be replayed
    return replaying(env, source)


def _importable() -> type[Replaying]:
    if not settings.records_here():
        raise ConfigError("source='replay' needs the run folder on this host, not over tcp://. Leave it out.")
    try:
        from offcam.replay.recording import Replaying  # noqa: PLC0415 - it needs a library that others need not have
    except ImportError as error:
        raise ConfigError(
            f"source='replay' needs {error.name}, which is not installed: run `pip install \"offcam[replay]\"`."
        ) from error
    return Replaying
