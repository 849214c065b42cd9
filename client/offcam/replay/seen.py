"""Hashes of a video's frames, taken while it is recorded, with which the frames of a replay are compared.

Pixels are hashed as they lie in memory, which costs no copy. The layout is kept with the hash, so that the comparison
can lay out the same picture alike.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from offcam.recorder import frames
from offcam_proto.errors import FrameError, MalformedMessage, ProtocolError
from offcam_proto.layout import FrameLayout

if TYPE_CHECKING:
    from numpy.typing import NDArray

_hash: Callable[[Any, int], int] = xxhash.xxh3_64_intdigest  # typed here, as its stubs do not take numpy's buffers

MOST_FRAMES: Final = 32_768
"""Most frames of a video that are compared; of a longer video the first ones. Each takes 12 bytes."""

MOST_LAYOUTS: Final = 64


class Seen:
    """The frames of one video so far."""

    def __init__(self) -> None:
        self._numbers = array("I")
        self._hashes = array("Q")
        self._layouts: list[tuple[int, tuple[FrameLayout, ...]]] = []  # layouts of the tiles, each from a place on
        self._last: tuple[FrameLayout, ...] = ()

    def add(self, pictures: tuple[Any, ...], number: int) -> None:
        """Add a frame with its number: one picture, or its tiles as `frames.tiles` gives them. Never raises."""
        if len(self._numbers) >= MOST_FRAMES or len(self._layouts) > MOST_LAYOUTS:
            return
        layouts = tuple([picture.layout for picture in pictures])
        if layouts != self._last:
            self._layouts.append((len(self._numbers), layouts))
            self._last = layouts
            if len(self._layouts) > MOST_LAYOUTS:
                return
        found = 0
        for picture in pictures:
            found = _hash(picture.dense, found)
        self._numbers.append(number)
        self._hashes.append(found)

    @property
    def last(self) -> int | None:
        """Number of the last frame; None where there is none."""
        return self._numbers[-1] if self._numbers else None

    def packed(self) -> dict[str, Any]:
        """The hashes and layouts, ready for JSON."""
        return {
            "numbers": _text(self._numbers),
            "hashes": _text(self._hashes),
            "layouts": [
                [place, [[each.shape, each.strides, each.offset, each.nbytes] for each in layouts]]
                for place, layouts in self._layouts[:MOST_LAYOUTS]
            ],
        }


class FrameComparison:
    """Compares frames, in order, with what `Seen` has packed.

    Attributes:
        numbers: numbers of the frames that are compared.
        differs_at: number of the first frame that differs; None as long as none does.

    Raises:
        MalformedMessage: ``packed`` is not what `Seen.packed` returns.
    """

    def __init__(self, packed: dict[str, Any]) -> None:
        self.differs_at: int | None = None
        self._white = 1.0
        self._same: set[int] = set()
        try:
            numbers, hashes = _numbers(packed["numbers"], "I"), _numbers(packed["hashes"], "Q")
            self._hashes = dict(zip(numbers, hashes, strict=True))
            changes = [(place, tuple([_layout(*each) for each in tiles])) for place, tiles in packed["layouts"]]
            ends = [place for place, _ in changes[1:]] + [len(numbers)]
            parts = [[tiles] * (end - place) for (place, tiles), end in zip(changes, ends, strict=True)]
            self._layouts = dict(zip(numbers, itertools.chain(*parts), strict=True))
        except (KeyError, TypeError, ValueError, binascii.Error, ProtocolError) as error:
            raise MalformedMessage(f"not what frames looked like: {error!r}") from error
        self.numbers = frozenset(self._hashes)

    @property
    def pictures(self) -> int:
        """How many different pictures there are among the frames that are equal."""
        return len(self._same)

    def look(self, number: int, picture: Any) -> bool:  # noqa: ANN401 - whatever an env renders
        """Whether a frame is equal to the recorded one."""
        same = self._hashed(picture, self._layouts[number]) == self._hashes[number]
        if same:
            self._same.add(self._hashes[number])
        else:
            self.differs_at = number
        return same

    def _hashed(self, picture: Any, layouts: tuple[FrameLayout, ...]) -> int | None:  # noqa: ANN401 - see look
        try:
            shown = frames.frames_of(picture)
            self._white = max(self._white, *map(frames.white_of, shown))
            tiles, _ = frames.tiles(shown, self._white, (1, 1))
        except FrameError:
            return None
        if [tile.layout.shape for tile in tiles] != [layout.shape for layout in layouts]:
            return None
        found = 0
        for tile, layout in zip(tiles, layouts, strict=True):
            found = _hash(_laid_out(tile, layout), found)
        return found


def _laid_out(tile: Any, layout: FrameLayout) -> NDArray[np.uint8]:  # noqa: ANN401 - of `frames.tiles`
    """A picture laid out in memory as by another layout of the same shape."""
    if tile.layout == layout:
        dense: NDArray[np.uint8] = tile.dense
        return dense
    block = np.zeros(layout.nbytes, np.uint8)
    _view(block, layout)[...] = _view(tile.dense, tile.layout)
    return block


def _view(block: NDArray[np.uint8], layout: FrameLayout) -> NDArray[np.uint8]:
    view: NDArray[np.uint8] = np.ndarray(layout.shape, np.uint8, block.reshape(-1).data, layout.offset, layout.strides)
    return view


def _layout(shape: Sequence[int], strides: Sequence[int], offset: int, nbytes: int) -> FrameLayout:
    return FrameLayout(tuple(shape), tuple(strides), offset, nbytes)


def _text(numbers: array[int]) -> str:
    return base64.b64encode(numbers.tobytes()).decode()


def _numbers(text: str, code: str) -> array[int]:
    numbers = array(code)
    numbers.frombytes(base64.b64decode(text, validate=True))
    return numbers
