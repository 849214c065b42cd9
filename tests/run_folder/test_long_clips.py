"""What clips of a long run show: the same whether their episodes are read alone or with all others."""

from __future__ import annotations

import numpy as np
import pytest

import runs
from offcam_runs import long_clips
from offcam_runs.clip_episodes import ClipEpisodes, ClipSpan
from offcam_runs.database import open_to_read
from offcam_runs.episodes import read_episodes
from offcam_runs.long_clips import LongClips
from offcam_runs.streams import read_streams

RANDOM = np.random.default_rng(5)
COUNT = 600


@pytest.fixture(scope="module", params=[1, 4])
def run(request, tmp_path_factory):
    """Two streams, each of so many sub-environments."""
    folder, num_envs = tmp_path_factory.mktemp("runs") / "run", request.param
    for stream in (b"1" * 16, b"2" * 16):
        lengths = RANDOM.integers(1, 40, COUNT).tolist()
        runs.write(folder, [0.0] * COUNT, lengths=lengths, stream=stream, num_envs=num_envs)
    return folder, num_envs


def spans(streams, num_envs):
    """Clips that begin with an episode or at a step, of one, some or all sub-environments; some never ended."""
    found = []
    for place, stream in enumerate(streams.values()):
        for clip in range(40):
            envs = [(), tuple(RANDOM.permutation(num_envs)[: RANDOM.integers(1, num_envs + 1)].tolist())][clip % 2]
            episode = int(RANDOM.integers(0, COUNT // num_envs + 3))
            step = int(RANDOM.integers(0, 3000))
            name = f"rl-video-step-{step}" if clip % 3 else f"rl-video-episode-{episode}"
            began = runs.BEGAN + float(RANDOM.uniform(0, COUNT * 0.2))
            steps = int(RANDOM.integers(0, 120))
            found.append(ClipSpan(place, stream.stream, clip, name, episode, step, steps, began, envs))
    return found


def shown(of):
    places = np.flatnonzero(of.shown >= 0)
    return {int(of.episodes.number[place]): of.shows(place).key for place in places}


def test_each_clip_shows_the_same(run):
    folder, num_envs = run
    with open_to_read(folder, session="all") as database:
        streams = read_streams(database)
        clips = spans(streams, num_envs)
        whole = ClipEpisodes(read_episodes(database, streams), clips)
        reader = LongClips()
        reader.read(database, streams, clips[::2])  # what it keeps of these is right for the others, too
        found = reader.read(database, streams, clips)
    assert len(found.episodes) < len(whole.episodes)
    for clip in clips:
        assert (
            found.episodes.number[found.episodes_of(clip)].tolist()
            == whole.episodes.number[whole.episodes_of(clip)].tolist()
        )
    assert shown(found) == shown(whole) != {}


def test_of_thousands_beside_it_a_clip_shows_the_first(run, monkeypatch):
    folder, num_envs = run
    monkeypatch.setattr(long_clips, "MOST_BESIDE", 10)
    with open_to_read(folder, session="all") as database:
        streams = read_streams(database)
        stream = next(iter(streams.values()))
        clip = ClipSpan(0, stream.stream, 0, "rl-video-episode-100", 100, 0, 10**9, runs.BEGAN)
        found = LongClips().read(database, streams, [clip])
    assert len(found.episodes) == max(0, COUNT // num_envs - 100) + (10 if num_envs > 1 else 0)
