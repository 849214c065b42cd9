"""Which stream a wrapper belongs to: wrappers around the same env share one."""

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from offcam import logger
from offcam.recorder import readings, resuming, settings
from offcam.recorder.env_stream import EnvStream

if TYPE_CHECKING:
    from types import FrameType

    from offcam.recorder.resuming import IfExists
    from offcam.wrappers.arguments import Source

_streams: weakref.WeakSet[EnvStream] = weakref.WeakSet()  # all of this process, and those of the one it was forked from


class StreamSharer:
    """A wrapper with a stream that others around the same env may join."""

    env: Any
    _stream: EnvStream | None = None
    _not_copied: ClassVar[dict[str, Any]] = {}  # by name, the attributes that a copy does not take over, and its own
    _looks_ahead = False  # whether this is a copy in the same process that was not reset yet: then it records nothing
    disable_logger = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:  # noqa: ANN401 - one of its own kind
        """A copy, as planners make them to look ahead: it records nothing before a `reset` of its own."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        clocks = [each for layer in layers(self.env) for each in vars(layer).values() if _is_clock(each)]
        memo |= {id(clock): clock for clock in clocks}
        twin.__dict__.update(copy.deepcopy({**self.__dict__, **self._not_copied}, memo))
        twin._looks_ahead = True  # noqa: SLF001 - its own kind
        return twin

    def __copy__(self) -> Any:  # noqa: ANN401 - one of its own kind
        """A copy around the same env: like a deep copy it records nothing yet, and it shares no sums and no video."""
        shared = (*layers(self.env), self.__dict__.get("_screen"))
        return self.__deepcopy__({id(each): each for each in shared})

    @property
    def run_folder(self) -> str | None:
        """Absolute path of the folder that has this env's videos and index.

        None before the first reset if only statistics are recorded, and if recording is off. Over ``tcp://`` it is only
        the run's name, as with `RecordVideo.video_folder`.
        """
        return None if self._stream is None else self._stream.folder

    @property
    def recording_source(self) -> Source | None:
        """The ``recording_source`` of the `RecordVideo` beneath; None where there is none."""
        return next((wrapper.recording_source for wrapper in beneath(self.env)), None)

    def flush(self) -> bool:
        """Wait until every video that ended is final in its folder, and every episode is in the index.

        Returns whether they are; False if the daemon is gone.
        """
        final = self._stream is None or self._stream.flush(quiet=self.disable_logger)
        self._tell_of_videos()
        return final

    @property
    def last_video(self) -> str | None:
        """Path of the newest final video, or None. Does not wait; `wait_video` and `flush` do."""
        return None if self._stream is None else self._stream.videos.newest()

    def wait_video(self, timeout: float) -> str | None:
        """Wait at most ``timeout`` seconds until videos that ended are final; not for one that is in progress.

        Returns `last_video`; None where a video is not final in that time, or cannot be as the daemon is gone.
        """
        if self._stream is None or not self._stream.videos.wait(timeout):
            return None
        self._tell_of_videos()
        return self._stream.videos.newest()

    def save_clip(self, reason: str = "") -> str:
        """Have a video made of the last seconds, if ``RecordVideo(last_seconds=...)`` holds them; it is final soon.

        Returns at once, while the file is made in the background, and never raises. Thread: any.

        Args:
            reason: why, for people; it becomes part of the file's name, and is in the index.

        Returns:
            The video's name, without ``.mp4``; empty if nothing is held, which a warning says.
        """
        box = None if self._stream is None else self._stream.videos.box
        if box is None:
            if settings.enabled():
                logger.warn("save_clip saves nothing: no last seconds are held. Pass `last_seconds=30` to RecordVideo.")
            return ""
        return box.save(reason)

    def _tell_of_videos(self) -> None:
        if self._stream is not None:
            self._stream.videos.tell()

    def __del__(self) -> None:
        """If `close` was not called, leave the stream; nothing is lost by that, and nothing is waited for."""
        stream = self.__dict__.get("_stream")
        if stream is not None:
            stream.leave(self, self.__dict__.get("_clip"), self.__dict__.get("_box"))

    def _release_stream(self) -> None:
        """Leave the stream; the last to leave waits until what was recorded is final, or raises RecordingLost."""
        if self._stream is not None:
            try:
                self._stream.release(self, quiet=self.disable_logger)
            finally:
                self._tell_of_videos()

    def _adopt(self, stream: EnvStream) -> None:
        """Change over to the stream of a RecordVideo that was put around this wrapper, if nothing was recorded yet."""


def layers(env: Any) -> Iterator[Any]:  # noqa: ANN401 - an Env or a VectorEnv, wrapped or not
    """The wrappers around an env, outermost first, and then the env."""
    while env is not None:
        yield env
        env = env.__dict__.get("env")


def _is_clock(value: object) -> bool:
    """Whether a value is pygame's clock, which cannot be copied, and which Gymnasium's envs have once they rendered."""
    return type(value).__module__ == "pygame.time"


def beneath(env: Any) -> Iterator[StreamSharer]:  # noqa: ANN401 - see layers
    """The offcam wrappers around an env, outermost first."""
    return (layer for layer in layers(env) if isinstance(layer, StreamSharer))


def stream_beneath(env: Any) -> EnvStream | None:  # noqa: ANN401 - see layers
    """The stream of an offcam wrapper beneath that records, or None. An adapter's env has the wrapper as `recorder`."""
    recorder = env.__dict__.get("recorder")
    if isinstance(recorder, StreamSharer):
        env = recorder
    return next((wrapper._stream for wrapper in beneath(env) if wrapper._stream is not None), None)  # noqa: SLF001 - our own


def autoreset_beneath(env: Any) -> Any:  # noqa: ANN401 - see layers
    """Gymnasium's `Autoreset` around a single env, or None. With it the step after an episode's end is a reset."""
    common = sys.modules.get("gymnasium.wrappers.common")  # not imported here, since it cannot be without moviepy
    if common is None:
        return None
    return next((layer for layer in layers(env) if isinstance(layer, common.Autoreset)), None)


def limit_outside() -> int | None:
    """Steps of a TimeLimit, Gymnasium's or another's, outside of the wrapper that calls this in `reset` or `close`.

    Only its callers know what is around a wrapper: so the limit is looked up in their frames.
    """
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - there is no other way
    while frame is not None and frame.f_code.co_name in ("reset", "close"):
        limit = getattr(frame.f_locals.get("self"), "_max_episode_steps", None)
        if isinstance(limit, int):
            return limit
        frame = frame.f_back
    return None


def new_stream(
    env: Any,  # noqa: ANN401 - see layers
    folder: str,
    prefix: str = "",
    if_exists: IfExists = "new",
    *,
    strict: bool = False,
    steps_limit: int = 0,
) -> EnvStream:
    """A stream for an env, in a run folder; see `resuming.before` for what is raised."""
    num_envs = readings.number_of_envs(env)
    stream = EnvStream(
        folder,
        env_id=env_id(env),
        num_envs=num_envs or 1,
        vector=num_envs is not None,
        prefix=prefix,
        before=resuming.before(folder, prefix, if_exists, strict=strict),
        steps_limit=steps_limit,
    )
    _streams.add(stream)
    return stream


def new_folder(env: Any) -> str:  # noqa: ANN401 - see layers
    """A folder for the run of an env without one: that of ``OFFCAM_RUN``, else a new one."""
    return settings.run_asked() or settings.new_run_folder(env_id(env))


def training_folder(env: Any) -> str:  # noqa: ANN401 - see layers
    """The run folder of an env that records statistics alone and was given no folder: that of its training.

    It is that of ``OFFCAM_RUN``. Else, among the folders that this process records into now, the only one that others
    with statistics alone have begun; without one, the only one with both videos and statistics, as the env has that the
    agent is trained in. Else it is a new one.
    """
    used = [stream for stream in list(_streams) if stream.used]
    begun = {stream.folder for stream in used if not stream.prefix}
    videos = {stream.folder for stream in used if stream.prefix and stream.has_statistics}
    joined = begun or videos
    return joined.pop() if len(joined) == 1 and not settings.run_asked() else new_folder(env)


def env_id(env: Any) -> str:  # noqa: ANN401 - see layers
    """The id that an env was made as, else its class's name."""
    return getattr(getattr(env, "spec", None), "id", None) or type(env.unwrapped).__name__
