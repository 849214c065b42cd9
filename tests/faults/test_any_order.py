"""Client, daemon, journal and folder through any order of deaths, starts, removals, full disks and flushes: a model.

The model knows of each episode that was played whether it must be in the folder in the end, or only may be: what a
daemon had acked is gone with an index that somebody removed while no daemon had the stream open.
"""

from __future__ import annotations

import resource
import shutil
import warnings
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

import pytest
from actors import WAIT_SECONDS
from agent import Named
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import films
import offcam
from envs import play
from offcam_proto.errors import FolderNotWritable, NotARunFolder
from offcam_runs.format import INDEX_NAME
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from actors import Daemons

COMMANDS = ("play", "play many", "flush", "reopen", "start", "stop", "kill", "remove", "rename", "full", "room")
_names = count()


class World:
    """What is there, and what should be."""

    def __init__(self, place: Path, daemons: Daemons) -> None:
        self.folder = place / f"run{next(_names)}"
        self.daemons = daemons
        self.must: set[int] = set()
        self.may: set[int] = set()
        self._bare = Named(2)
        self._number = 0
        self._cramped = False  # whether the daemon's disk is full
        self._open()

    def _open(self) -> None:
        self._own: list[int] = []  # of the stream that is open
        self.env = offcam.record(self._bare, self.folder, every=7)

    @property
    def _acked(self) -> list[int]:
        """Of its episodes those that the client need not keep any more, or more; a clip is a record, too."""
        wire = self.env.env._stream._wire
        return self._own[: len(self._own) - (wire.kept_episodes if wire else 0)]

    def _play(self, episodes: int) -> None:
        for _ in range(episodes):
            self._bare.first = float(self._number)
            play(self.env, 1)
            self._own.append(self._number)
            self.must.add(self._number)
            self._number += 1

    def play(self) -> None:
        self._play(1)

    def play_many(self) -> None:
        self._play(200)

    def flush(self) -> None:
        if self.env.flush():
            self.check(self.must & set(self._own))

    def reopen(self) -> None:
        self.env.close()
        try:
            self._open()
        except FolderNotWritable:
            assert self._cramped
            self.room()
            self._open()

    def start(self) -> None:
        if self.daemons.process is None:
            self.daemons.start()

    def stop(self) -> None:
        if self.daemons.process is not None:
            if not self._cramped:
                self.daemons.stop()
            else:  # it says what it could not finish
                self.daemons.process.terminate()
                assert self.daemons.process.wait(WAIT_SECONDS) in (0, 1)
            self._gone()

    def kill(self) -> None:
        if self.daemons.process is not None:
            self.daemons.kill()
            self._gone()

    def _gone(self) -> None:
        self.daemons.process, self._cramped = None, False

    def full(self) -> None:
        """The daemon can write no file beyond its first page."""
        self._let_files_grow(4096)

    def room(self) -> None:
        """There is room again."""
        self._let_files_grow(None)

    def _let_files_grow(self, most: int | None) -> None:
        if self.daemons.process is not None:
            pid = self.daemons.process.pid
            hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if most is None else most, hard))
            self._cramped = most is not None

    def remove(self) -> None:
        """As a clean-up does that leaves videos and journals alone."""
        self._lose()
        for path in self.folder.glob(f"{INDEX_NAME}*"):
            path.unlink()

    def rename(self) -> None:
        """The folder is somewhere else, with all that is in it; nobody looks for it there."""
        if not self.folder.exists():
            return
        self._lose()
        others = self.must - set(self._own)  # closed, and maybe still in a journal there
        self.must -= others
        self.may |= others
        self.folder.rename(self.folder.with_name(f"{self.folder.name}-{next(_names)}"))

    def _lose(self) -> None:
        """The index is going: what only it has is gone, but where a daemon that has the stream open makes it anew."""
        wire = self.env.env._stream._wire
        safe = set(self._own)
        if self.daemons.process is None or self._cramped or wire is None or not wire.live or wire.unacked:
            safe -= set(self._acked)
        gone = self.must - safe
        self.must -= gone
        self.may |= gone

    def _found(self) -> Counter[int]:
        try:
            return Counter(int(episode.return_) for episode in films.episodes(self.folder))
        except NotARunFolder:
            return Counter()

    def _left(self) -> list[int]:
        return sorted(self.must - self._found().keys())

    def check(self, must: set[int]) -> None:
        found = self._found()
        assert sorted(must - found.keys()) == [], "missing"
        assert sorted(found.keys() - self.must - self.may) == [], "never played"
        assert [number for number, times in found.items() if times > 1] == [], "twice"

    def end(self) -> None:
        self.start()
        self.room()
        wait_until(self.env.flush, "all of its stream is in the folder")
        wait_until(lambda: self.env.flush() and self.must <= self._found().keys(), "all of those before is", self._left)
        self.env.close()
        self.check(self.must)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def played(commands: list[str], place: Path, daemons: Daemons) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world = World(place, daemons)
        try:
            for command in commands:
                getattr(world, command.replace(" ", "_"))()
        finally:
            world.end()


_AMOUNT = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=4, **_AMOUNT)
@given(commands=st.lists(st.sampled_from(COMMANDS), min_size=4, max_size=10))
def test_any_order(daemons, tmp_path, commands):
    played(commands, tmp_path, daemons)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=60, **_AMOUNT)
@given(commands=st.lists(st.sampled_from(COMMANDS), min_size=4, max_size=25))
def test_any_long_order(daemons, tmp_path, commands):
    played(commands, tmp_path, daemons)
