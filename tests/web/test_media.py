"""Videos with ranges, posters, and nothing but what an index names."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

import made
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import run_id
from offcamd.web.media import CHUNK_BYTES, requested_range


@pytest.fixture
def path(base):
    return f"{base}/clips/{made.STREAM.hex()}-3/video"


def test_a_whole_video(client, path, video):
    reply = client.get(path)
    assert (reply.status_code, reply.content) == (200, video.read_bytes())
    assert reply.headers["content-type"] == "video/mp4"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["content-length"] == str(video.stat().st_size)
    assert reply.headers["content-disposition"].startswith("inline")
    saved = client.get(path, params={"download": "1"})
    assert saved.headers["content-disposition"] == "attachment; filename*=utf-8''rl-video-episode-300.mp4"
    assert client.get(path, params={"download": "please"}).status_code == 400


def test_head_tells_the_size_and_sends_nothing(client, path, video):
    reply = client.head(path)
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["content-length"] == str(video.stat().st_size)


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-", 0, None),
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=100-99999999", 100, None),
        ("bytes=-10", -10, None),
        ("bytes=-99999999", 0, None),
    ],
)
def test_a_range(client, path, video, asked, begin, end):
    whole = video.read_bytes()
    reply = client.get(path, headers={"range": asked})
    part = whole[begin:end]
    assert (reply.status_code, reply.content) == (206, part)
    first = begin if begin >= 0 else len(whole) + begin
    assert reply.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(whole)}"
    assert client.head(path, headers={"range": asked}).headers["content-length"] == str(len(part))


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=99999999-999999999", "bytes=-0"])
def test_a_range_that_is_not_there(client, path, video, asked):
    reply = client.get(path, headers={"range": asked})
    assert (reply.status_code, reply.content) == (416, b"")
    assert reply.headers["content-range"] == f"bytes */{video.stat().st_size}"


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,5-6", "lines=0-1", "bytes=a-b", "bytes=٣-"]
)
def test_what_is_no_range_is_ignored(client, path, video, asked):
    reply = client.get(path, headers={"range": asked.encode()})
    assert (reply.status_code, len(reply.content)) == (200, video.stat().st_size)


def test_if_range_and_if_none_match(client, path):
    tag, date = client.head(path).headers["etag"], client.head(path).headers["last-modified"]
    for condition, status in ((tag, 206), (date, 206), ('"other"', 200), ("Thu, 01 Jan 1970 00:00:00 GMT", 200)):
        assert client.get(path, headers={"range": "bytes=0-9", "if-range": condition}).status_code == status
    known = client.get(path, headers={"if-none-match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)


def test_a_large_file_comes_whole_and_in_parts(look, tmp_path):
    blob = tmp_path / "blob"
    blob.write_bytes(os.urandom(3 * CHUNK_BYTES + 17))
    folder = made.make_run(tmp_path / "run", 1, 1, video=blob)
    client = look(folder)
    url = f"/api/runs/{run_id(folder)}/clips/{made.STREAM.hex()}-0/video"
    assert client.get(url).content == blob.read_bytes()
    begin, end = CHUNK_BYTES - 3, 2 * CHUNK_BYTES + 5
    reply = client.get(url, headers={"range": f"bytes={begin}-{end}"})
    assert reply.content == blob.read_bytes()[begin : end + 1]


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_given_back(client, path):
    client.get(path)
    before = descriptors()
    for _ in range(20):
        client.get(path, headers={"range": "bytes=0-9"})
        client.head(path)
        client.get(path.replace("video", "poster"))
    assert descriptors() <= before + 2


def test_a_poster(client, path):
    reply = client.get(path.replace("video", "poster"))
    picture = cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR)
    assert reply.headers["content-type"] == "image/jpeg"
    assert picture.shape == (64, 96, 3)
    assert np.ptp(picture) < 30  # one brightness all over, as each picture of the video
    again = client.get(path.replace("video", "poster"), headers={"if-none-match": reply.headers["etag"]})
    assert again.status_code == 304


def test_a_poster_of_a_large_picture_is_small(look, tmp_path):
    large = made.make_video(tmp_path / "large.mp4", frames=3, width=1280, height=720)
    folder = made.make_run(tmp_path / "run", 1, 1, video=large)
    reply = look(folder).get(f"/api/runs/{run_id(folder)}/clips/{made.STREAM.hex()}-0/poster")
    assert cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR).shape == (270, 480, 3)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "sub/clip.mp4", "..", "", "link.mp4", "folder", "fifo", "gone"]
)
def test_only_plain_files_of_the_folder(look, tmp_path, video, name):
    (tmp_path / "secret").write_text("secret")
    folder = made.make_run(tmp_path / "run", 1, 1, video=video)
    (folder / "sub").mkdir()
    (folder / "sub" / "clip.mp4").write_text("secret")
    (folder / "link.mp4").symlink_to(tmp_path / "secret")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    database = sqlite3.connect(folder / INDEX_NAME)
    with database:
        database.execute("UPDATE clips SET file = ?", (name,))
    database.close()
    client, url = look(folder), f"/api/runs/{run_id(folder)}/clips/{made.STREAM.hex()}-0"
    for kind in ("video", "poster"):
        reply = client.get(f"{url}/{kind}")
        assert reply.status_code == 404
        assert "secret" not in reply.text.replace("secret'", "")
    assert client.get(url).status_code == 200


def test_a_clip_being_recorded_has_no_video_yet(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 1, 1, video=video)
    database = sqlite3.connect(folder / INDEX_NAME)
    with database:
        database.execute("UPDATE clips SET state = 'recording'")
    database.close()
    client, url = look(folder), f"/api/runs/{run_id(folder)}/clips/{made.STREAM.hex()}-0"
    assert client.get(url).json()["video"] is None
    assert client.get(f"{url}/video").status_code == 404
    assert "being recorded" in client.get(f"{url}/video").json()["error"]


def test_ranges_by_themselves():
    assert requested_range("", 10) is None
    assert requested_range("bytes=3-5", 10) == (3, 6)
    assert requested_range("bytes=-3", 10) == (7, 10)
    assert requested_range("bytes=10-", 10) == (10, 10)
    assert requested_range("bytes=0-", 0) == (0, 0)
