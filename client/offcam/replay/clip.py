"""A video that is rendered later from recorded steps: collects what its request needs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from offcam_runs.replay.requests import Follow, Request

if TYPE_CHECKING:
    from offcam.recorder.clip_writer import Encoding
    from offcam.recorder.env_stream import EnvStream
    from offcam.replay.renderer import Renderer
    from offcam_proto.records import KeepRecord

SEAL_SECONDS: Final = 1.0
"""How old unsent rows of an episode that a rule keeps may become: its video cannot be made without them."""


class ReplayClip:
    """Takes the place of a `ClipWriter` where nothing is rendered: once it ends, its video is asked for.

    Args:
        renderer: asks for the video.
        stream: the stream of the env that it shows.
        name: as in `ClipWriter`.
        encoding: as in `ClipWriter`.
        episode: as in `ClipWriter`.
        step: as in `ClipWriter`.
        every: render only each so manieth frame, and the last one.
        env_index: index of the sub-environment of a vector env; None for a single env.
        whole: whether it shows one episode, and ends with that.

    Attributes:
        first_row: the row of the steps that its first frame shows.
        episode_over: whether the last step that it was told of ended an episode; set by the wrapper.
    """

    def __init__(
        self,
        renderer: Renderer,
        stream: EnvStream,
        name: str,
        *,
        encoding: Encoding,
        episode: int,
        step: int,
        every: int,
        env_index: int | None,
        whole: bool,
    ) -> None:
        self.first_row: int | None = None
        self.episode_over = False
        self._renderer = renderer
        self._stream = stream
        self._name = name
        self._encoding = encoding
        self._episode = episode
        self._step = max(step, 0)
        self._every = every
        self._env_index = env_index
        self._whole = whole
        self.unended = ""  # as `ClipWriter` has it: of a video that is made of rows nobody says it
        self._last: int | None = None  # number of the last frame

    def add(self, pictures: tuple[Any, ...], grid: tuple[int, int], number: int) -> None:  # noqa: ARG002 - as ClipWriter's
        """Note that there is a frame of this number. Never raises."""
        self._last = number

    def reject(self) -> None:
        """Do nothing: no frame was rendered that could be wrong."""

    def step(self, reward: object) -> None:
        """Do nothing: the steps are in their rows."""

    def end(self, *, complete: bool = True) -> None:  # noqa: ARG002 - as ClipWriter's
        """No more frames come: ask for the video, unless a rule is to keep it or let it go."""
        if self._last is None or self.first_row is None or self._encoding.keep:
            return
        self._stream.steps.seal()
        self._renderer.ask(
            Request(
                folder=self._stream.folder,
                stream=self._stream.wire().info.stream.hex(),
                name=self._name,
                arguments={},
                **self._video(),
            )
        )
        self._last = None

    def judged(self, record: KeepRecord) -> None:
        """Send the record by which a rule judges the episode, and the video can be rendered. No more frames come."""
        if self._last is None or self.first_row is None:
            return
        if time.monotonic() > self._renderer.sealed + SEAL_SECONDS:
            self._stream.steps.seal()
            self._renderer.sealed = time.monotonic()
        encoding = self._encoding
        video = json.dumps(self._video(), separators=(",", ":"))
        self._stream.record(structs.replace(record, keep=encoding.keep, keep_bytes=encoding.keep_bytes, video=video))
        self._renderer.follow(Follow(self._stream.folder, self._stream.wire().info.stream.hex()))
        self._last = None

    def _video(self) -> dict[str, Any]:
        """The fields of the `Request` by which the video is rendered."""
        encoding = self._encoding
        assert self.first_row is not None and self._last is not None  # noqa: S101, PT018 - as its callers have seen
        return {
            "first_row": self.first_row,
            "last_row": self.first_row + self._last,
            "episode": self._episode,
            "step": self._step,
            "fps": encoding.fps,
            "max_size": [encoding.max_width, encoding.max_height],
            "crf": encoding.crf,
            "preset": encoding.preset,
            "urgent": encoding.urgent,
            "every": self._every,
            "env_index": self._env_index or 0,
            "terminal": self._whole and self.episode_over and self._env_index is not None,
        }

    def abandon(self) -> None:
        """End the video where the wrapper did not."""
        self.end()
