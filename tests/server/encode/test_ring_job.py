"""A ring in the encoders' pool: what videos of it have, where frames come late, or not, or nothing can be written."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

import films
from envs import encode
from offcam_proto.layout import FrameLayout
from offcam_runs.format import ABORTED, FINAL
from offcamd.encode.clip_encoder import ClipSpec
from offcamd.encode.frame import arrived
from offcamd.encode.packet_ring import RingMemory
from offcamd.encode.pool import ClipFinished, EncoderPool, RingJob
from offcamd.encode.ring_clip import RingClip
from offcamd.encode.saved_clip import SavedClip
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIDE = 84
LAYOUT = FrameLayout((SIDE, SIDE), (SIDE, 1), 0, SIDE * SIDE)
FPS, SPAN = Fraction(30), 50
KEY = SPAN // 5


class Scene:
    """A pool with a ring in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[object] = []
        self.pool = EncoderPool(
            workers=2, memory_limit=1 << 26, spool_limit=0, spool_dir=folder, on_event=self.events.append
        )
        spec = ClipSpec(folder / "ring.part", folder / "ring", FPS, ring_frames=SPAN)
        job = self.pool.open(spec)
        assert isinstance(job, RingJob)
        self.ring = job

    def show(self, *numbers: int) -> None:
        for number in numbers:
            self.ring.offer([arrived(number, [(encode(number, SIDE, SIDE).tobytes(), LAYOUT)])])

    def save(self, name: str, index: int, *, before: int = SPAN, after: int = 0, held: bool = False) -> SavedClip:
        spec = ClipSpec(self.folder / f"{name}.part", self.folder / name, FPS)
        saved = SavedClip(spec, index, before, after)
        saved.held = held
        self.ring.save(saved)
        return saved

    def result(self, job: object):
        """How a clip ended, or None."""
        over = [event.result for event in self.events if isinstance(event, ClipFinished) and event.job is job]
        assert len(over) <= 1
        return over[0] if over else None

    def of(self, job: object):
        return wait_until(lambda: self.result(job), "it has ended")

    def numbers(self, name: str) -> list[int]:
        return films.numbers(self.folder / name)


@pytest.fixture
def scene(tmp_path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    assert made.pool.close(60)


def test_a_video_has_what_was_offered_before_it_was_asked_for_and_nothing_behind(scene):
    scene.show(*range(100))
    saved = scene.save("v.mp4", 100)
    scene.show(*range(100, 130))
    result = scene.of(saved)
    found = scene.numbers("v.mp4")
    assert found == list(range(found[0], 100))
    assert SPAN <= len(found) <= SPAN + KEY
    assert (result.state, result.file, result.encoded, result.dropped) == (FINAL, "v.mp4", len(found), {})
    assert (result.width, result.height, result.duration) == (SIDE, SIDE, pytest.approx(len(found) / FPS))


def test_what_is_asked_for_in_the_midst_of_a_turn_waits_for_the_frames_before_it(scene, monkeypatch):
    """They came when the worker had seen that there are none, and before it looked at what is asked for."""
    asked: list[SavedClip] = []
    settle = RingClip.settle

    def late(ring: RingClip, here: int) -> None:
        if not asked:
            scene.show(*range(10, 60))
            asked.append(scene.save("v.mp4", 60))
        settle(ring, here)

    scene.show(*range(10))
    monkeypatch.setattr(RingClip, "settle", late)
    scene.show(10 - 1)  # a turn, of a frame that is dropped, as it came twice
    wait_until(lambda: asked, "it is asked for")
    scene.of(asked[0])
    assert scene.numbers("v.mp4")[-1] == 59


def test_the_part_of_it_that_is_asked_for(scene):
    scene.show(*range(100))
    saved = scene.save("v.mp4", 100, before=15)
    scene.of(saved)
    found = scene.numbers("v.mp4")
    assert found == list(range(found[0], 100))
    assert 15 <= len(found) <= 15 + KEY


def test_frames_that_never_came_leave_their_time(scene):
    came = [number for number in range(100) if number % 7 and number not in range(80, 100)]
    scene.show(*came)
    saved = scene.save("v.mp4", 100, before=40)  # its last frames were dropped
    scene.of(saved)
    found = scene.numbers("v.mp4")
    assert found == came[-len(found) :]
    assert found[0] <= 60
    times = [round(shot.time * FPS) for shot in films.shots(scene.folder / "v.mp4")]
    assert times == [number - found[0] for number in found]


@pytest.mark.parametrize("missing", [range(0), range(105, 111)])
def test_what_follows_is_waited_for_and_ends_where_it_is_over(scene, missing):
    """Be it with a frame behind it, where its last ones were dropped."""
    scene.show(*range(100))
    saved = scene.save("v.mp4", 100, after=10)
    scene.show(*(number for number in range(100, 105)))
    wait_until(
        lambda: (scene.folder / "v.mp4.part").exists() or (scene.folder / "v.mp4").exists() or saved.groups, "begun"
    )
    assert scene.result(saved) is None
    scene.show(*(number for number in range(105, 120) if number not in missing))
    scene.of(saved)
    found = scene.numbers("v.mp4")
    assert found == [number for number in range(found[0], 110) if number not in missing]


def test_it_is_not_written_before_its_row_is_there_and_has_what_it_asked_for_all_the_same(scene):
    scene.show(*range(97))  # in the midst of a group, which goes on
    saved = scene.save("v.mp4", 97, held=True)
    scene.show(*range(97, 400))
    wait_until(lambda: not len(scene.ring.queue), "all of them are taken")
    assert not list(scene.folder.glob("v.mp4*"))
    saved.start()
    scene.of(saved)
    found = scene.numbers("v.mp4")
    assert found == list(range(found[0], 97))
    assert len(found) >= SPAN


def test_the_end_of_the_ring_ends_what_is_saved_of_it_and_comes_after(scene):
    scene.show(*range(60))
    going_on, held = scene.save("a.mp4", 60, after=1000), scene.save("b.mp4", 60, held=True)
    scene.show(*range(60, 70))
    scene.ring.end()
    wait_until(lambda: not len(scene.ring.queue), "all of them are taken")
    other = scene.pool.open(ClipSpec(scene.folder / "c.part", scene.folder / "c", FPS))
    other.end()
    scene.of(other)  # whose turn comes behind the ring's
    assert scene.result(scene.ring) is None, "it waits for what is held"
    held.start()
    wait_until(lambda: scene.result(scene.ring), "the ring has ended")
    assert [event.job for event in scene.events if isinstance(event, ClipFinished)][-1] is scene.ring
    for saved, name, end in ((going_on, "a.mp4", 70), (held, "b.mp4", 60)):
        assert scene.of(saved).state == FINAL
        assert scene.numbers(name)[-1] == end - 1
    assert scene.result(scene.ring).file is None


def test_a_pool_that_closes_waits_for_no_row(tmp_path):
    scene = Scene(tmp_path)
    scene.show(*range(10))
    saved = scene.save("v.mp4", 10, held=True)
    assert scene.pool.close(60)
    assert scene.of(saved).state == FINAL
    assert scene.numbers("v.mp4") == list(range(10))


def test_of_nothing_there_is_no_video_and_it_says_why(scene):
    result = scene.of(scene.save("v.mp4", 0))
    assert (result.state, result.file, result.encoded) == (ABORTED, None, 0)
    assert "has no frame" in result.error
    assert not (scene.folder / "v.mp4").exists()


def test_one_that_cannot_be_written_takes_no_other_along(scene):
    scene.show(*range(60))
    failing = scene.save("no/such/folder.mp4", 60)
    assert "no such file" in scene.of(failing).error.lower()
    assert scene.result(failing).state == ABORTED
    fine = scene.save("v.mp4", 60)
    assert scene.of(fine).state == FINAL
    assert scene.numbers("v.mp4")[-1] == 59


def test_what_has_no_room_is_let_go_earlier_and_said_once(scene, caplog):
    scene.pool.ring_memory._each = 8_000
    scene.show(*range(200))
    scene.of(scene.save("v.mp4", 200))
    found = scene.numbers("v.mp4")
    assert found == list(range(found[0], 200))
    assert 0 < len(found) < SPAN
    assert sum("less than the last seconds" in record.getMessage() for record in caplog.records) == 1
    assert sum("less than the last seconds" in text for text in scene.pool.health.recent_errors) == 1


def test_memory_is_shared_by_the_rings_that_are_there():
    assert RingMemory(10, 15).share == 10
