"""Clips are pinned over HTTP, by the page itself, and found by that again."""

from __future__ import annotations

import json

import httpx
import jsonschema
import pytest

import made
import offcam
from envs import Barcode, play
from offcam_runs.format import PINS_NAME
from offcam_runs.pins import MOST_NOTE, read_pins
from offcam_runs.run_ids import run_id
from offcamd.web.openapi import description
from waiting import HANG_SECONDS


@pytest.fixture
def own(look, tmp_path, video):
    """A run of this test's own: its folder, a client that is on its page, and where its clips are."""
    folder = made.make_run(tmp_path / "run", 50, 10, video=video)
    client = look(folder)
    client.headers["origin"] = str(client.base_url).rstrip("/")
    return folder, client, f"/api/runs/{run_id(folder)}"


def key(number):
    return f"{made.STREAM.hex()}-{number}"


def test_a_pin_is_seen_wherever_its_clip_is(own):
    folder, client, base = own
    assert client.get(f"{base}/clips/{key(2)}").json()["pin"] is None
    answer = client.put(f"{base}/clips/{key(2)}/pin", params={"note": "falls late"})
    assert answer.status_code == 200, answer.text
    pin = read_pins(folder)[key(2)]._asdict()
    assert pin["note"] == "falls late"
    shown = client.get(f"{base}/clips/{key(2)}").json()
    assert answer.json() == shown
    assert shown["pin"] == pin
    jsonschema.validate(shown, {**description(), "$ref": "#/components/schemas/ClipDetail"})
    assert [clip["pin"] for clip in client.get(f"{base}/clips?sort=oldest").json()["clips"]] == [
        *[None] * 2, pin, *[None] * 2,
    ]  # fmt: skip
    assert client.get(f"{base}/nearest?number=20").json()["clip"]["pin"] == pin
    assert client.get(f"{base}/curve").json()["recorded"]["pinned"] == [False, False, True, False, False]

    removed = client.delete(f"{base}/clips/{key(2)}/pin")
    assert (removed.status_code, removed.json()["pin"], read_pins(folder)) == (200, None, {})


def test_the_pinned_ones_are_found_and_are_each_others_neighbours(own):
    _folder, client, base = own
    for number in (1, 3):
        client.put(f"{base}/clips/{key(number)}/pin").raise_for_status()

    def found(**given):
        clips = client.get(f"{base}/clips", params={"sort": "oldest", **given}).raise_for_status().json()["clips"]
        return [clip["number"] for clip in clips]

    assert found(pinned=True) == [10, 30]
    assert found(pinned=False) == [0, 20, 40]
    assert found(pinned=True, min_length=made.length_of(30) + 1) == [
        number for number in (10,) if made.length_of(number) > made.length_of(30)
    ]
    beside = client.get(f"{base}/clips/{key(1)}/neighbours", params={"sort": "oldest", "pinned": True}).json()
    assert beside == {"before": None, "after": key(3), "place": 0, "total": 2}


def test_a_long_run_has_the_same_marks(client, base, run):
    origin = {"origin": str(client.base_url).rstrip("/")}
    client.put(f"{base}/clips/{key(7)}/pin", headers=origin).raise_for_status()
    try:
        recorded = client.get(f"{base}/curve").json()["recorded"]
        pinned = [each for each, is_pinned in zip(recorded["keys"], recorded["pinned"], strict=True) if is_pinned]
        assert pinned == [key(7)]
    finally:
        (run / PINS_NAME).unlink()


def test_only_the_page_itself_may(own):
    folder, client, base = own
    url = f"{base}/clips/{key(0)}/pin"
    for origin in ("http://attacker.example", "null", ""):
        refused = client.put(url, headers={"origin": origin})
        assert refused.status_code == 403, origin
        assert client.delete(url, headers={"origin": origin}).status_code == 403
    assert client.get(url).status_code == 405
    assert not (folder / PINS_NAME).exists()


def test_another_users_folder_is_only_looked_at(own, monkeypatch):
    folder, client, base = own
    with monkeypatch.context() as patch:
        patch.setattr("os.geteuid", lambda: 4711)
        refused = client.put(f"{base}/clips/{key(0)}/pin")
    assert refused.status_code == 409
    assert refused.json()["error"].startswith(f"pins are kept in the run folder, and {folder} is user id")
    assert not (folder / PINS_NAME).exists()


def test_what_makes_no_sense_is_refused(own):
    folder, client, base = own
    assert client.put(f"{base}/clips/{key(99)}/pin").status_code == 404
    assert client.put(f"{base}/clips/{key(0)}/pin", params={"note": "x" * (MOST_NOTE + 1)}).status_code == 400
    (folder / PINS_NAME).write_text(json.dumps({"version": 9}))
    refused = client.put(f"{base}/clips/{key(0)}/pin")
    assert refused.status_code == 409
    assert "is not of version 1" in refused.json()["error"]


def test_a_daemon_pins_in_the_folders_that_it_writes(serve, endpoint, monkeypatch, folder):
    _process, ready = serve()
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    url = dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]
    env = offcam.record(Barcode(), folder, every=1)
    play(env, 2)
    env.close()
    with httpx.Client(base_url=url, timeout=HANG_SECONDS, headers={"origin": url}) as client:
        base = f"/api/runs/{run_id(folder)}/clips"
        first = client.get(base).json()["clips"][0]["key"]
        client.put(f"{base}/{first}/pin", params={"note": "☺"}).raise_for_status()
        assert [clip["key"] for clip in client.get(base, params={"pinned": True}).json()["clips"]] == [first]
    assert read_pins(folder)[first].note == "☺"
