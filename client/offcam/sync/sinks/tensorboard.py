"""TensorBoard: an event file of its own below the user's log directory, with scalars, and videos as animated images.

The file is written without TensorBoard's own writer, which has a thread, and a file for each process. So the file's
length is known at each moment, and what a killed process had written behind its last batch can be cut off.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from offcam.sync.sinks.animation import NotAnimated, animation
from offcam.sync.sinks.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from offcam.sync.core import Batch, ClipSent, EpisodeSent
    from offcam.sync.index import RunFacts

FOLDER: Final = "offcam"
"""Folder below the log directory. Two writers in one folder would have TensorBoard pass over the user's next points."""

MOST_BYTES: Final = 2 << 20
"""Most bytes of a video's animated image."""


class Tracker(Sink):
    """Writes the event file."""

    options: ClassVar[Mapping[str, str]] = {"logdir": "the log directory, by default `tensorboard` in the run folder"}
    paths: ClassVar[Collection[str]] = ("logdir",)

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        super().__init__(run, options, saved)
        logdir = os.path.join(run.folder, options.get("logdir", "tensorboard"))
        self.where = os.path.join(logdir, FOLDER)
        os.makedirs(self.where, exist_ok=True)
        self.saved.setdefault("file", f"events.out.tfevents.{int(run.began)}.{run.name}-{run.session}")
        path = os.path.join(self.where, self.saved["file"])
        whole = int(self.saved.get("bytes", 0))
        there = os.path.exists(path) and os.path.getsize(path) >= whole > 0
        self._file = open(path, "r+b" if there else "wb")  # noqa: SIM115 - closed by `close`
        self._writer = RecordWriter(self._file)
        if there:
            self._file.truncate(whole)
            self._file.seek(whole)
        else:
            self._write(Event(wall_time=run.began, file_version="brain.Event:2"))

    def send(self, batch: Batch) -> dict[str, Any]:
        """Append a batch to the file."""
        for episode in batch.episodes:
            self._write(_scalars(episode))
        if batch.clip is not None:
            self._write(_image(batch.clip))
        self._file.flush()
        os.fsync(self._file.fileno())
        return {**self.saved, "bytes": self._file.tell()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())


def _scalars(episode: EpisodeSent) -> Event:
    values = [Summary.Value(tag=name, simple_value=value) for name, value in episode.values.items()]
    return Event(wall_time=episode.ended, step=episode.number, summary=Summary(value=values))


def _image(clip: ClipSent) -> Event:
    return Event(wall_time=clip.ended, step=clip.number, summary=Summary(value=list(_values(clip))))


def _values(clip: ClipSent) -> Iterator[Summary.Value]:
    tag = "offcam/video"
    try:
        gif = animation(clip.path, clip.fps, most_bytes=MOST_BYTES)
    except NotAnimated as error:
        text = f"`{clip.source}`: {clip.caption} ({error})"
    else:
        image = Summary.Image(height=gif.height, width=gif.width, colorspace=3, encoded_image_string=gif.data)
        yield Summary.Value(tag=tag, image=image)
        text = f"`{clip.source}`: {clip.caption}"
    yield _text(f"{tag}/file", text)


def _text(tag: str, text: str) -> Summary.Value:
    value = Summary.Value(tag=tag)
    value.metadata.plugin_data.plugin_name = "text"
    value.tensor.dtype = 7  # DT_STRING
    value.tensor.string_val.append(text.encode())
    value.tensor.tensor_shape.dim.add().size = 1
    return value
