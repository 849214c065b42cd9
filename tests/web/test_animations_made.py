"""An episode's video becomes an animated picture because somebody who looks at it asks over HTTP."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing

import av
import pytest
from starlette.datastructures import QueryParams

import made
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import run_id
from offcamd.web import animations
from offcamd.web.animations import Animations
from offcamd.web.episode_cache import EpisodeCache
from offcamd.web.params import Query
from offcamd.web.reading import AskedRun
from offcamd.web.renders import CannotRender, TooMany
from offcamd.web.source import FolderSource


@pytest.fixture
def folder(tmp_path, video):
    return made.make_run(tmp_path / "run", 21, 10, video=video)


@pytest.fixture
def make(folder):
    """Make one of an episode, with what keeps them: ``make(number, kind)``."""
    source = FolderSource([folder])
    maker = Animations(source, EpisodeCache(), lambda: False)

    def ask(number, kind="gif"):
        return maker.make(AskedRun(run_id(folder), folder), Query(QueryParams(number=str(number), kind=kind)))

    ask.maker = maker
    return ask


def pictures(data, video):
    """How many an animation has, and how wide they are; and how many the video has."""
    with av.open(io.BytesIO(data)) as file, av.open(str(video)) as source:
        frames = list(file.decode(video=0))
        return len(frames), frames[0].width, sum(1 for _ in source.decode(video=0)), source.streams.video[0].width


def test_the_page_gets_one_of_the_video_and_nobody_else_does(look, folder, video):
    client = look(folder)
    url = f"/api/runs/{run_id(folder)}/episodes/animation"
    asked = {"number": 10, "kind": "gif"}
    assert client.post(url, params=asked).status_code == 403
    assert client.post(url, params=asked, headers={"origin": "http://attacker.example"}).status_code == 403
    origin = {"origin": str(client.base_url).rstrip("/")}
    answer = client.post(url, params=asked, headers=origin)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif"), answer.text
    shown, width, frames, its_width = pictures(answer.content, video)
    assert width == its_width
    assert 1 < shown <= frames
    over = client.post(url, params={**asked, "overlay": "true"}, headers=origin)
    assert pictures(over.content, video) == pictures(answer.content, video)
    assert over.content != answer.content
    assert client.post(url, params={**asked, "overlay": "perhaps"}, headers=origin).status_code == 400
    webp = client.post(url, params={**asked, "kind": "webp"}, headers=origin)
    assert webp.headers["content-type"] == "image/webp"
    assert (webp.content[:4], webp.content[8:12]) == (b"RIFF", b"WEBP")
    assert client.post(url, params={**asked, "kind": "png"}, headers=origin).status_code == 400
    assert client.post(url, params={**asked, "number": 99}, headers=origin).status_code == 404
    unfilmed = client.post(url, params={**asked, "number": 11}, headers=origin)
    assert (unfilmed.status_code, unfilmed.json()["error"]) == (
        409,
        "episode 11 has no video that an animation could be made of",
    )


def test_the_last_ones_are_kept_within_a_bound(make, monkeypatch):
    runs = []
    real = animations.run_offcam
    monkeypatch.setattr(animations, "run_offcam", lambda *args, **more: runs.append(args) or real(*args, **more))
    _, first = make(10)
    assert make(10) == ("gif", first)
    assert len(runs) == 1
    monkeypatch.setattr(animations, "MOST_BYTES", int(len(first) * 1.5))
    make(20)  # takes the place of the first
    make(10)
    assert len(runs) == 3
    monkeypatch.setattr(animations, "MOST_BYTES", len(first) // 2)
    with pytest.raises(CannotRender, match="`offcam gif` makes such ones"):
        make(20)


def test_one_is_made_at_a_time(make):
    with make.maker._working, pytest.raises(TooMany, match="another animation is being made"):
        make(10)


def test_a_long_video_is_for_the_command(make, folder):
    with closing(sqlite3.connect(folder / INDEX_NAME)) as database, database:
        database.execute("UPDATE clips SET duration = 61 WHERE episode = 10")
    with pytest.raises(CannotRender, match=rf"longer than 60 s.*: offcam gif {folder} --episode 10 .* -o episode.gif"):
        make(10)


def test_what_the_command_says_is_wrong_is_said(make, folder):
    for file in folder.glob("*.mp4"):
        file.unlink()
    with pytest.raises(CannotRender, match=r"^no animation: .*video"):
        make(10)


def test_a_server_that_stops_makes_none(folder):
    maker = Animations(FolderSource([folder]), EpisodeCache(), lambda: True)
    with pytest.raises(CannotRender, match="no animation: the recorder is stopping"):
        maker.make(AskedRun(run_id(folder), folder), Query(QueryParams(number="10")))
