"""A video of frames that is compared, once it ends, with what a replay of it renders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offcam.recorder.clip_writer import ClipWriter
from offcam.replay.seen import Seen
from offcam_runs.replay.requests import Request

if TYPE_CHECKING:
    from offcam.recorder.env_stream import EnvStream
    from offcam.replay.renderer import Renderer


class AuditedClip(ClipWriter):
    """A `ClipWriter` that remembers a hash of each frame.

    Args:
        renderer: asks for the comparison.
        stream: as in `ClipWriter`.
        name: as in `ClipWriter`.
        episode: as in `ClipWriter`.
        others: the other arguments of `ClipWriter`.
    """

    def __init__(self, renderer: Renderer, stream: EnvStream, name: str, *, episode: int, **others: Any) -> None:  # noqa: ANN401 - as of ClipWriter
        super().__init__(stream, name, episode=episode, **others)
        self._renderer: Renderer | None = renderer
        self._seen = Seen()

    def __getstate__(self) -> dict[str, Any]:
        """A copy is not compared."""
        return {**super().__getstate__(), "_renderer": None}

    def add(self, pictures: tuple[Any, ...], grid: tuple[int, int], number: int) -> str | None:
        """As `ClipWriter.add`."""
        if self._renderer is not None:
            self._seen.add(pictures, number)
        return super().add(pictures, grid, number)

    def end(self, *, complete: bool = True) -> None:
        """No more frames come: ask for the comparison."""
        super().end(complete=complete)
        renderer, self._renderer = self._renderer, None
        first, last = self.first_row, self._seen.last
        if renderer is None or first is None or first < 0 or last is None:
            return
        self._stream.steps.seal()
        renderer.ask(
            Request(
                folder=self._stream.folder,
                stream=self._stream.wire().info.stream.hex(),
                first_row=first,
                last_row=first + last,
                name=self._name,
                episode=self._episode,
                step=self._step,
                fps=0,
                max_size=[0, 0],
                crf=None,
                preset="",
                arguments={},
                seen=self._seen.packed(),
            )
        )

    def abandon(self) -> None:
        """As `ClipWriter.abandon`; the video is not compared."""
        self._renderer = None
        super().abandon()
