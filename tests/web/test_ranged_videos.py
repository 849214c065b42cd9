"""Videos in object storage: of a long one that is looked at here and there, only that is fetched."""

from __future__ import annotations

import io
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

import offcam
from object_runs import below, grow, send
from offcam_proto.errors import RunFolderError
from offcam_runs.objects import ranged
from offcam_runs.objects.copies import open_video
from offcam_runs.objects.store import ObjectStore
from offcam_runs.run_ids import run_id
from offcamd.video.mp4 import VideoWriter
from offcamd.web.media import CHUNK_BYTES

pytest.importorskip("obstore")
FRAMES, FPS = 900, 50
WIDTH, HEIGHT = 128, 96


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    """Eighteen seconds of noise, several megabytes."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    noise = np.random.default_rng(0).integers(16, 235, (8, HEIGHT * 3 // 2, WIDTH), np.uint8)
    made = VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(FPS), preset="ultrafast", crf=25)
    with closing(made) as writer:
        for number in range(FRAMES):
            writer.write(noise[number % len(noise)], number)
    assert path.stat().st_size > 12 * ranged.BLOCK_BYTES
    return path


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return f"file://{tmp_path}/objects/run"


@pytest.fixture
def fetched(monkeypatch):
    """The bytes of each piece of a video that is fetched."""
    sizes: list[int] = []
    get, fetch = ObjectStore.get_range, ObjectStore.fetch

    def counted(self, key, begin, size):
        sizes.append(size)
        return get(self, key, begin, size)

    def whole(self, key, path):
        fetch(self, key, path)
        sizes.append(path.stat().st_size)

    monkeypatch.setattr(ObjectStore, "get_range", counted)
    monkeypatch.setattr(ObjectStore, "fetch", whole)
    return sizes


def test_seeking_in_a_long_video_on_the_page_does_not_fetch_it_whole(tmp_path, url, long_video, fetched, look):
    run = grow(tmp_path / "run", 0, 1, long_video)
    assert send(run, url)
    whole, folder = long_video.read_bytes(), Path(offcam.load(url).folder)
    client = look(folder)
    path = f"/api/runs/{run_id(folder)}/clips/{offcam.load(url).clips[0].stream_id}-0"
    for share in (0.9, 0.1, 0.5):
        begin = int(share * len(whole))
        reply = client.get(f"{path}/video", headers={"range": f"bytes={begin}-{begin + 999}"})
        assert (reply.status_code, reply.content) == (206, whole[begin : begin + 1000])
    assert sum(fetched) <= 3 * 2 * ranged.BLOCK_BYTES
    fetched.clear()
    assert client.get(f"{path}/poster").headers["content-type"] == "image/jpeg"
    assert 0 < sum(fetched) < len(whole) / 2, "from the keyframe before its middle"
    assert not list(folder.glob("*.mp4"))
    fetched.clear()
    assert client.get(f"{path}/video").content == whole
    assert sum(fetched) == len(whole), "each byte once"
    assert offcam.load(url).clips[0].fetch() == str(folder / "rl-video-episode-0.mp4")
    fetched.clear()
    assert client.get(f"{path}/video").content == whole
    assert not fetched, "a file that is there is read"


def test_a_video_that_is_evicted_is_played_from_there_and_says_so(tmp_path, url, video, look):
    run = grow(tmp_path / "run", 0, 2, video)
    assert send(run, f"objects:url={url},local_limit=1")
    client, base = look(run), f"/api/runs/{run_id(run)}/clips"
    clips = client.get(base).json()["clips"]
    assert [clip["evicted"] for clip in clips] == [url, url]
    assert client.get(f"{base}/{clips[0]['key']}/video").content == video.read_bytes()
    assert client.get(f"{base}/{clips[0]['key']}/poster").headers["content-type"] == "image/jpeg"
    assert not list(run.glob("*.mp4"))
    place = Path(url.removeprefix("file://"))
    place.rename(tmp_path / "away")
    reply = client.get(f"{base}/{clips[1]['key']}/video")
    assert (reply.status_code, "there is no folder" in reply.json()["error"]) == (404, True)


def test_a_video_is_opened_in_a_notebook_and_decoded_from_a_moment_on(tmp_path, url, long_video, fetched):
    run = grow(tmp_path / "run", 0, 1, long_video)
    assert send(run, url)
    with offcam.load(url).clips[0].open() as file, av.open(file, format="mp4") as video:
        video.seek(int(0.9 * FRAMES / FPS * av.time_base))
        assert next(video.decode(video=0)).time > 0.5 * FRAMES / FPS
    assert 0 < sum(fetched) < long_video.stat().st_size / 2
    with offcam.load(run).clips[0].open() as file:
        assert file.read() == long_video.read_bytes()


def test_a_file_that_is_not_there_either_cannot_be_opened(tmp_path, url, video, look):
    run = grow(tmp_path / "run", 0, 1, video)
    assert send(run, url)
    for key in below(url):
        if key.endswith(".mp4"):
            Path(url.removeprefix("file://"), key).unlink()
    clip = offcam.load(url).clips[0]
    with pytest.raises(FileNotFoundError):
        clip.open()
    folder = Path(clip.folder)
    reply = look(folder).get(f"/api/runs/{run_id(folder)}/clips/{clip.stream_id}-0/video")
    assert reply.status_code == 404


def test_a_storage_that_fails_in_the_middle_ends_the_answer_and_the_reading(
    tmp_path, url, long_video, look, monkeypatch
):
    run = grow(tmp_path / "run", 0, 1, long_video)
    assert send(run, url)
    get = ObjectStore.get_range

    def failing(self, key, begin, size):
        if begin:
            raise RunFolderError(f"{key} cannot be reached")
        return get(self, key, begin, size)

    monkeypatch.setattr(ObjectStore, "get_range", failing)
    clip = offcam.load(url).clips[0]
    with clip.open() as file:
        assert file.read(CHUNK_BYTES) == long_video.read_bytes()[:CHUNK_BYTES]
        with pytest.raises(OSError, match="cannot be reached"):
            file.read(1)
    folder = Path(clip.folder)
    path = f"/api/runs/{run_id(folder)}/clips/{clip.stream_id}-0"
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        look(folder).get(f"{path}/video")
    assert look(folder).get(f"{path}/poster").status_code == 404


def test_an_object_reads_as_the_file_that_it_is(tmp_path, url, long_video):
    run = grow(tmp_path / "run", 0, 1, long_video)
    assert send(run, url)
    clip, whole = offcam.load(url).clips[0], long_video.read_bytes()
    found = open_video(clip.folder, clip.stream_id, clip.clip)
    there, rng = io.BufferedReader(found), np.random.default_rng(0)
    for begin, size in rng.integers(0, len(whole) + 10_000, (60, 2)).tolist():
        assert there.seek(begin) == begin
        assert there.read(size) == whole[begin : begin + size]
    assert len(found._blocks) <= ranged.MOST_BLOCKS
    assert there.seek(-10, io.SEEK_END) == len(whole) - 10
    assert there.read() == whole[-10:]
    with pytest.raises(OSError, match="nothing before"):
        found.seek(-1)
