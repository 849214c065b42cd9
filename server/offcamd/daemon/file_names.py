"""Which file names a stream may use, so that recordings at the same time never overwrite each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

Names = tuple[str, str]
"""A run folder and a name prefix: what the file names of a stream are made of."""


@dataclass(slots=True)
class _Group:
    live: dict[bytes, int] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)


class NameClaims:
    """Suffixes for streams that write the same names into the same folder. Not thread-safe.

    The first stream gets none (0), the next 2, 3, ... A number is not given again while any stream of the
    group is live: a late one must not replace the files of an early one that has already closed.
    """

    def __init__(self) -> None:
        self._groups: dict[Names, _Group] = {}

    def claim(self, names: Names, stream: bytes, wanted: int) -> int:
        """Give a stream its suffix.

        Args:
            names: what its file names are made of.
            stream: its id; the same stream keeps the suffix that it has.
            wanted: the one it had from an earlier daemon, or 2 for the copy of an env, which must not write under
                the names of the original even if that has ended. It gets this one or the next that is free; 0 is
                any, 0 first.
        """
        group = self._groups.setdefault(names, _Group())
        if stream in group.live:
            return group.live[stream]
        numbers = itertools.chain(() if wanted else (0,), itertools.count(max(wanted, 2)))
        suffix = next(number for number in numbers if number not in group.taken)
        group.live[stream] = suffix
        group.taken.add(suffix)
        return suffix

    def release(self, names: Names, stream: bytes) -> None:
        """A stream and all its files are final."""
        group = self._groups.get(names)
        if group is not None:
            group.live.pop(stream, None)
            if not group.live:
                del self._groups[names]
