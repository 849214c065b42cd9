"""Many small tails become one: every reader, and the next sender, finds each row once, whoever is killed meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import offcam
from object_runs import below, grow, is_as, killed_at, send
from offcam_runs.format import INDEX_NAME
from offcam_runs.objects import copies, segments
from offcam_runs.objects.segments import read_head
from offcam_runs.objects.store import ObjectStore

pytest.importorskip("obstore")
MOST = 3


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(segments, "MOST_SMALL_TAILS", MOST)


def tails_of(url):
    return read_head(Path(offcam.load(url).folder, INDEX_NAME)).tails


def segments_of(url):
    return {key for key in below(url) if key.startswith("index/")}


def test_a_run_that_goes_on_has_few_tails_and_all_rows(tmp_path, url, video):
    run = tmp_path / "run"
    counts = []
    for number in range(9):
        grow(run, number, 1, video, over=False)
        assert send(run, url)
        assert is_as(url, run)
        counts.append(len(tails_of(url)))
        assert len(segments_of(url)) == counts[-1] + 1, "those that were put together are gone"
    assert counts == [1, 2, 3, 1, 2, 3, 1, 2, 3]


def test_a_reader_keeps_the_videos_and_steps_that_it_has(tmp_path, url, video, monkeypatch):
    run = tmp_path / "run"
    for number in range(MOST):
        grow(run, number, 1, video, over=False)
        assert send(run, url)
    copy = offcam.load(url)
    assert copy.steps(0).complete
    there = Path(copy.clips[0].fetch())
    grow(run, MOST, 1, video, over=False)
    assert send(run, url)
    monkeypatch.setattr(ObjectStore, "fetch", None)
    assert len(offcam.load(url).episodes) == MOST + 1
    assert there.exists()
    assert offcam.load(url).steps(0).complete


def test_a_reader_that_is_overtaken_looks_again(tmp_path, url, video, monkeypatch):
    run = tmp_path / "run"
    for number in range(MOST):
        grow(run, number, 1, video, over=False)
        assert send(run, url)
    fetch, overtaken = copies.fetch_segment, []

    def late(store, key, file):
        if not overtaken:
            overtaken.append(key)
            grow(run, MOST, 1, video, over=False)
            assert send(run, url)
        return fetch(store, key, file)

    monkeypatch.setattr(copies, "fetch_segment", late)
    assert len(offcam.load(url).episodes) == MOST + 1
    assert overtaken[0] not in below(url)


def test_large_tails_stay_as_they_are(tmp_path, url, video, monkeypatch):
    monkeypatch.setattr(segments, "SMALL_TAIL", 1)
    run = tmp_path / "run"
    for number in range(MOST + 2):
        grow(run, number, 1, video, over=False)
        assert send(run, url)
    assert len(tails_of(url)) == MOST + 2


@given(st.lists(st.booleans(), max_size=40))
def test_the_longest_stretch_of_small_ones_is_chosen(small):
    tails = [str(place) for place in range(len(small))]
    sizes = {key: segments.SMALL_TAIL - is_small for key, is_small in zip(tails, small, strict=True)}
    found = segments.to_merge(tails, sizes)
    text = "".join("s" if each else "L" for each in small)
    longest = max(map(len, text.split("L")))
    if longest <= MOST:
        assert found is None
    else:
        assert text[slice(*found)] == "s" * longest
    assert segments.to_merge(tails, {}) is None, "of what nobody knows the size of"


def test_a_sender_that_is_killed_at_each_step_leaves_each_row_once(tmp_path, url, video):
    run, kept, there = tmp_path / "run", tmp_path / "kept", Path(url.removeprefix("file://"))
    for number in range(MOST):
        grow(run, number, 1, video, over=False)
        assert send(run, url)
    grow(run, MOST, 1, video, over=False)
    shutil.copytree(run, kept / "run")
    shutil.copytree(there, kept / "there")
    for step in range(20):
        for now, before in ((run, kept / "run"), (there, kept / "there")):
            shutil.rmtree(now)
            shutil.copytree(before, now)
        done = killed_at(step, run, url, most_small_tails=MOST)
        assert len(offcam.load(url).episodes) in (MOST, MOST + 1)
        assert send(run, url)
        assert is_as(url, run)
        assert len(tails_of(url)) == 1
        if done.returncode == 0:
            break
    assert step == 6 + 8, (
        "steps, a video, a tail, a head, the manifest, a head that goes; the merged tail, and as before"
    )
