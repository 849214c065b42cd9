"""How far a run came, as whoever resumes it reads it: the same for a long run, and for one that an old daemon wrote."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from offcam_runs.format import INDEX_NAME
from offcam_runs.resuming import Before, run_before
from offcamd.store.index import RunIndex
from run_samples import PEER, A, B, clip, episode, open_clip, packed, stream


def written(folder, streams, *, totals=True):
    """A run with these records, by stream, that all who wrote it have left."""
    index = RunIndex.open(folder)
    for info, *records in streams:
        index.open_stream(info, PEER)
        index.apply(info.stream, 1, packed(*records))
        index.close_stream(info.stream)
    if totals:
        index.advance_totals()
    index.close()
    return str(folder)


def change(folder, statement):
    with closing(sqlite3.connect(f"{folder}/{INDEX_NAME}", isolation_level=None)) as database:
        database.execute(statement)


def test_a_folder_without_a_run_has_none_and_none_is_made(tmp_path):
    assert run_before(str(tmp_path), "rl-video") is None
    assert run_before(str(tmp_path / "nowhere"), "rl-video") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("totals", [True, False])
def test_a_run_of_single_envs(tmp_path, totals):
    """Also where its index keeps no totals, as an earlier version wrote it."""
    own = [episode(number, length=10) for number in range(4)]
    folder = written(
        tmp_path, [(stream(A), *own), (stream(B, resumes=True), episode(4, length=7), clip(5))], totals=totals
    )
    assert run_before(folder, "rl-video") == Before(0, {0: 5}, 47)
    assert run_before(folder, "another") == Before(0, {}, 0)


def test_what_the_index_keeps_the_totals_of_is_not_read_again(tmp_path):
    folder = written(tmp_path, [(stream(A), *[episode(number, length=10) for number in range(50)])])
    change(folder, "UPDATE episodes SET length = 0")  # who read them would come to another sum
    index = RunIndex.open(tmp_path)
    index.open_stream(stream(B, resumes=True), PEER)
    index.apply(B, 1, packed(episode(50, length=3), episode(51, length=4)))
    assert run_before(folder, "rl-video") == Before(0, {0: 51}, 507)
    index.close()


def test_of_a_vector_env_each_sub_environment_has_its_own(tmp_path):
    info = stream(A, vector=True, num_envs=3)
    ended = [episode(number, env_index=env, length=5 + env) for number, env in ((0, 0), (0, 2), (1, 0), (1, 2), (2, 2))]
    assert run_before(written(tmp_path, [(info, *ended)]), "rl-video") == Before(0, {0: 1, 2: 2}, 10)


def test_the_names_are_the_last_stream_s_and_so_are_its_numbers(tmp_path):
    index = RunIndex.open(tmp_path)
    for stream_id, number in ((A, 8), (B, 2)):
        suffix = index.open_stream(stream(stream_id), PEER).suffix
        index.apply(stream_id, 1, packed(episode(number, length=9)))
        index.clip_opened(stream_id, open_clip(number), f"{suffix}.mp4")
        index.close_stream(stream_id)
    index.close()
    found = run_before(str(tmp_path), "rl-video")
    assert (found.suffix, found.episodes, found.steps) == (2, {0: 2}, 9)


def test_an_unfinished_video_counts_that_the_index_does_not_know(tmp_path):
    folder = written(tmp_path, [(stream(A), episode(3))])
    for name in ("rl-video-episode-7", "rl-video-env-2-episode-5-part2", "rl-video-episode-99-s2", "other-episode-50"):
        (tmp_path / f"{name}.mp4.part").touch()
    assert run_before(folder, "rl-video").episodes == {0: 7, 2: 5}
