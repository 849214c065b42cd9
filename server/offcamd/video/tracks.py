"""Adds soft subtitles, which a player can show or hide, and chapters to a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import av
from av.packet import Packet

from offcamd.video.av_errors import as_encode_error, file_url
from offcamd.video.probe import decodable

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from av.stream import Stream

_MOST_BYTES = 2**16 - 1  # of a text in MP4: its length is written in two bytes (3GPP TS 26.245, 5.17)

# From this header, in the format Advanced SubStation Alpha, av's encoder makes the description of the subtitles' track.
# Without a description players show nothing.
_STYLE = b"""[Script Info]\r
ScriptType: v4.00+\r
\r
[V4+ Styles]\r
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, \
Encoding\r
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\r
\r
[Events]\r
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r
"""


class Span(NamedTuple):
    """A subtitle or a chapter, and the frames that it is for.

    Attributes:
        begin: the first of its frames, counted from the video's start.
        end: the last of its frames + 1.
        text: the subtitle's text, or the chapter's name.
    """

    begin: int
    end: int
    text: str


def add_tracks(
    source: Path, target: Path, fps: Fraction, *, captions: Iterable[Span] = (), chapters: Sequence[Span] = ()
) -> None:
    """Copy a video, without encoding it again, and give it subtitles and chapters.

    Args:
        source: an MP4. It is not changed.
        target: the new file; an existing one is replaced.
        fps: frames per second, the unit of all spans.
        captions: subtitles, in order and not overlapping; read one by one. Without any, no track is made for them.
        chapters: the chapters, in order.

    Raises:
        EncodeError: either file failed. ``target`` may be left incomplete.
    """
    tick = 1 / Fraction(fps)
    texts = iter(captions)
    with as_encode_error("copying", source), av.open(file_url(source), format="mp4") as old:
        pictures = decodable(old)
        target.unlink(missing_ok=True)  # av would write through a link, to wherever that leads
        with av.open(file_url(target), "w", format="mp4") as new:
            stream = new.add_stream_from_template(pictures, opaque=True)
            waiting = next(texts, None)
            subtitles = _subtitles(new, tick) if waiting else None
            if chapters:
                new.set_chapters([_chapter(number, each, tick) for number, each in enumerate(chapters, 1)])
            for packet in old.demux(pictures):
                if packet.dts is None:  # the empty packet that ends a stream
                    continue
                now = packet.dts * _exact(packet.time_base)
                while waiting and subtitles and waiting.begin * tick <= now:
                    new.mux_one(_text(waiting, subtitles, tick))
                    waiting = next(texts, None)
                packet.stream = stream
                new.mux_one(packet)


def _subtitles(container: OutputContainer, tick: Fraction) -> Stream:
    track: Any = container.add_stream("mov_text")
    track.codec_context.subtitle_header = _STYLE
    track.time_base = Fraction(1, tick.denominator)  # so that each frame's time is a whole number
    return cast("Stream", track)


def _text(span: Span, track: Stream, tick: Fraction) -> Packet[Any]:
    data = span.text.encode()[:_MOST_BYTES]
    packet = cast("Packet[Any]", Packet(len(data).to_bytes(2, "big") + data))
    packet.stream, packet.time_base = track, Fraction(1, tick.denominator)
    packet.pts = packet.dts = span.begin * tick.numerator
    packet.duration = (span.end - span.begin) * tick.numerator
    return packet


def _chapter(number: int, span: Span, tick: Fraction) -> Any:  # noqa: ANN401 - av's own kind of dictionary
    begin, end = (each * tick.numerator for each in (span.begin, span.end))
    return {
        "id": number,
        "start": begin,
        "end": end,
        "time_base": Fraction(1, tick.denominator),
        "metadata": {"title": span.text},
    }


def _exact(ratio: Any) -> Fraction:  # noqa: ANN401 - av's own kind of ratio since 19
    return Fraction(int(ratio.numerator), int(ratio.denominator))
