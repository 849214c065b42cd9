import json
import sqlite3
from fractions import Fraction

import numpy as np
import pytest

from offcam_proto.errors import NotARunFolder, RunFolderError
from offcam_runs import format as fmt
from offcam_runs.accounts import EncodedResult
from offcam_runs.folder_lock import FolderLock
from offcamd.reports.verify import verify
from offcamd.store.index import RunIndex
from offcamd.video.mp4 import VideoWriter
from offcamd.video.probe import VideoInfo, probe
from run_samples import PEER, A, clip, episode, open_clip, packed, stream

FRAMES = 8
DROPPED = {"credit": 13}


@pytest.fixture
def index(tmp_path):
    opened = RunIndex.open(tmp_path / "run")
    opened.open_stream(stream(), PEER)
    yield opened
    opened.close()


def write_video(path, frames=FRAMES, size=(64, 48)):
    width, height = size
    writer = VideoWriter(path, width=width, height=height, fps=Fraction(30), preset="ultrafast", crf=23)
    for number in range(frames):
        writer.write(np.full((height * 3 // 2, width), 20 * number % 256, np.uint8), number)
    writer.close()


def record(index, number=0, **changes):
    """A sound clip, or one whose row says something else than its file."""
    file = f"rl-video-episode-{number}.mp4"
    values = {"state": "final", "file": file, "encoded": FRAMES, "width": 64, "height": 48, **changes}
    index.clip_opened(A, open_clip(number), file)
    index.clip_encoded(A, number, EncodedResult(**values))
    index.apply(A, number + 1, packed(clip(number, dropped=DROPPED)))
    write_video(index.folder / file)
    return file


def kinds(problems):
    return [(problem.file, problem.kind) for problem in problems]


def test_a_sound_folder(index):
    record(index, 0)
    record(index, 1)
    seen = []
    verdict = verify(index.folder, lambda done, total: seen.append((done, total)))
    assert verdict.ok
    assert (verdict.clips_checked, verdict.frames_checked) == (2, 2 * FRAMES)
    assert verdict.problems == verdict.notes == []
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert json.loads(json.dumps(verdict.as_dict()))["ok"] is True


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"encoded": FRAMES + 1}, "frame_count", "holds 8 frames, the index says 9"),
        ({"encoded": FRAMES - 1}, "frame_count", "holds 8 frames, the index says 7"),
        ({"width": 66}, "size", "is 64x48, the index says 66x48"),
    ],
)
def test_a_row_that_does_not_fit_its_file(index, changes, kind, text):
    file = record(index, **changes)
    (problem,) = verify(index.folder).problems
    assert (problem.file, problem.kind) == (file, kind)
    assert text in problem.text


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"strictly_increasing": False}, "timestamps"),
        ({"pix_fmt": "yuv444p"}, "format"),
        ({"codec": "mpeg4"}, "format"),
        ({"error": "broken at frame 8"}, "unreadable"),
    ],
)
def test_a_file_that_is_not_as_it_should_be(index, changes, kind):
    file = record(index)
    facts = {"frames": FRAMES, "width": 64, "height": 48, "pix_fmt": "yuv420p", "codec": "h264", **changes}
    verdict = verify(index.folder, probe=lambda path: VideoInfo(**facts))
    assert kinds(verdict.problems) == [(file, kind)]


def test_the_probe_is_given_the_file(index):
    file = record(index)
    seen = []
    verify(index.folder, probe=lambda path: seen.append(path) or probe(path))
    assert seen == [index.folder / file]


def test_a_truncated_file(index):
    file = record(index)
    path = index.folder / file
    path.write_bytes(path.read_bytes()[:200])
    verdict = verify(index.folder)
    assert kinds(verdict.problems) == [(file, "unreadable")]
    assert verdict.frames_checked == 0


def test_a_missing_file(index):
    file = record(index)
    (index.folder / file).unlink()
    verdict = verify(index.folder)
    assert kinds(verdict.problems) == [(file, "missing_file")]
    assert verdict.clips_checked == 0


def test_an_index_from_elsewhere_cannot_lead_out_of_the_folder(index, tmp_path):
    record(index)
    write_video(tmp_path / "outside.mp4")
    index._db.execute("UPDATE clips SET file = '../outside.mp4'")
    verdict = verify(index.folder)
    assert kinds(verdict.problems) == [("../outside.mp4", "bad_name")]
    assert verdict.clips_checked == 0


def test_frames_that_are_not_accounted_for(index):
    file = record(index)
    connection = sqlite3.connect(index.folder / fmt.INDEX_NAME)
    with connection:
        connection.execute("UPDATE clips SET offered = offered + 1")
    connection.close()
    (problem,) = verify(index.folder).problems
    assert (problem.file, problem.kind) == (file, "accounting")
    assert "22 frames were offered, but 8 encoded and {'credit': 13} dropped" in problem.text


def test_a_clip_still_recording_is_a_note(index):
    record(index)
    index.clip_opened(A, open_clip(1), "x.mp4")
    (index.folder / "x.mp4.part").write_bytes(b"half a video")
    lock = FolderLock.acquire(index.folder, "ipc:///x")
    verdict = verify(index.folder)
    lock.release()
    assert verdict.ok
    assert kinds(verdict.notes) == [("x.mp4", "recording")]
    assert "ipc:///x" in verdict.notes[0].text


def test_a_clip_whose_daemon_died_is_a_problem(index):
    index.clip_opened(A, open_clip(), "x.mp4")
    (index.folder / "x.mp4.part").write_bytes(b"half a video")
    (problem,) = verify(index.folder).problems
    assert (problem.file, problem.kind) == ("x.mp4", "unfinished")
    assert f"`offcam recover {index.folder}`" in problem.text


def test_a_cut_off_video_beside_an_older_whole_one_is_fine(index):
    file = record(index, state="aborted")
    (index.folder / file).rename(index.folder / f"{file}.part")
    index.clip_encoded(A, 0, EncodedResult("aborted", f"{file}.part", FRAMES, width=64, height=48))
    assert verify(index.folder).ok


def test_a_part_that_nobody_is_writing(index):
    record(index)
    (index.folder / "y.mp4.part").write_bytes(b"half a video")
    assert kinds(verify(index.folder).problems) == [("y.mp4.part", "leftover_part")]


def test_a_part_that_is_finished_meanwhile_is_none(index):
    record(index)
    part = index.folder / "y.mp4.part"
    part.touch()

    def probe_as_it_is_published(path):
        part.unlink()
        return probe(path)

    assert verify(index.folder, probe=probe_as_it_is_published).ok


def test_a_file_of_somebody_else_is_a_note(index):
    write_video(index.folder / "older.mp4", 2)
    verdict = verify(index.folder)
    assert verdict.ok
    assert kinds(verdict.notes) == [("older.mp4", "unknown_file")]


def test_a_clip_without_a_file_is_fine_if_it_adds_up(index):
    record(index)
    index.apply(A, 2, packed(clip(1, dropped={"no_daemon": 20})))
    assert verify(index.folder).ok


def test_a_folder_with_episodes_alone_is_sound(index):
    index.apply(A, 1, packed(episode(0)))
    assert verify(index.folder).ok


def test_where_nothing_could_be_checked_it_is_not_said_that_all_is_well(index):
    index.clip_opened(A, open_clip(0), "x.mp4")
    index.clip_opened(A, open_clip(1), "y.mp4")
    index.clip_encoded(A, 1, EncodedResult("aborted", None, 0, {"encoder": 20}, error="no video can be made here"))
    index.apply(A, 1, packed(clip(2, dropped={"no_daemon": 20})))
    lock = FolderLock.acquire(index.folder, "ipc:///x")
    verdict = verify(index.folder)
    lock.release()
    assert not verdict.ok
    assert [problem.kind for problem in verdict.problems] == ["unchecked"] * 3
    for problem, text in zip(verdict.problems, ("ipc:///x", "no video can be made here", "20 no_daemon"), strict=True):
        assert text in problem.text


def test_a_library_that_does_not_work_is_a_problem_and_no_traceback(index):
    file = record(index)

    def broken(_path):
        raise TypeError("unforeseen")

    (problem,) = verify(index.folder, probe=broken).problems
    assert (problem.file, problem.kind) == (file, "unreadable")
    for text in ("PyAV", "unforeseen", "offcam doctor"):
        assert text in problem.text


def test_videos_beside_a_damaged_index(index):
    file = record(index)
    index.close()
    (index.folder / fmt.INDEX_NAME).write_bytes(b"no database" * 1000)
    verdict = verify(index.folder)
    assert kinds(verdict.problems) == [(fmt.INDEX_NAME, "index"), (file, "unchecked")]
    (index.folder / file).unlink()
    with pytest.raises(RunFolderError, match="damaged"):
        verify(index.folder)


def test_unfinished_videos_without_an_index(tmp_path):
    writer = VideoWriter(tmp_path / "x.mp4.part", width=64, height=48, fps=Fraction(30), preset="ultrafast", crf=23)
    for number in range(3):
        writer.write(np.zeros((72, 64), np.uint8), number)
    verdict = verify(tmp_path)
    assert kinds(verdict.problems) == [(fmt.INDEX_NAME, "index"), ("x.mp4.part", "leftover_part")]
    assert f"`offcam recover {tmp_path}`" in verdict.problems[1].text
    writer.close()


def test_quarantined_records_are_a_problem(index):
    index.apply(A, 1, [b"\xc1"])
    assert kinds(verify(index.folder).problems) == [(fmt.INDEX_NAME, "quarantine")]


def test_a_folder_without_an_index(tmp_path):
    with pytest.raises(NotARunFolder):
        verify(tmp_path)
