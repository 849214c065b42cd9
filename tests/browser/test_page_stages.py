"""What one sees of a run before one plays anything: the marks on its curve, its stages, how it is watched learning."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

from stage import film, playwright

import made
from offcam_runs.format import INDEX_NAME

expect = playwright().expect


def test_one_watches_it_learn_and_goes_from_stage_to_stage(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    film(tmp_path / "run", [3, 9, 4, *[5 + number for number in range(21)]])  # an episode's return is its length
    seen = visit(view(tmp_path / "run"), viewport={"width": 390, "height": 844})
    page = seen.page
    frames = page.locator("#stages .frame")
    expect(frames).to_have_count(24)
    returns = [int(text) for text in frames.locator("b").all_inner_texts()]
    assert returns == [[9, 4, 3][row] if not part else 5 + 3 * part - 1 - row for row in range(3) for part in range(8)]
    page.wait_for_function("() => document.querySelector('#stages .frame img').naturalWidth > 0")
    seen.shot("stages-390")
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    page.get_by_role("button", name="Watch it learn").click()
    title, here = page.locator("#player h2"), page.locator("#tour [aria-current=step]")
    expect(title).to_have_text("Episode 2 · run")
    for part in range(1, 8):  # by themselves
        expect(title).to_have_text(f"Episode {3 * part + 1} · run")
        expect(here).to_have_text(str(5 + 3 * part - 2))
    expect(page).to_have_url(re.compile(r"/e/22\?tour=median"))
    page.keyboard.press("[")
    expect(title).to_have_text("Episode 19 · run")
    page.keyboard.press("b")
    expect(title).to_have_text("Episode 23 · run")
    page.keyboard.press("Escape")
    expect(page.locator("#tour")).to_be_hidden()
    assert "tour" not in page.url
    page.keyboard.press("]")  # of the best ones now, the first
    expect(title).to_have_text("Episode 1 · run")


def test_what_cannot_be_played_is_said_and_the_next_stage_plays(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    film(tmp_path / "run", [5 + number for number in range(24)])
    seen = visit(view(tmp_path / "run"))
    page = seen.page
    expect(page.locator("#stages .frame")).to_have_count(24)
    for episode in (4, 7):
        (tmp_path / "run" / f"rl-video-episode-{episode}.mp4").write_bytes(b"no video" * 1000)
    # let go since the stages were asked for
    page.route("**/clips/*-10", lambda route: route.fulfill(status=404, json={"error": "there is no such clip"}))
    page.get_by_role("button", name="Watch it learn").click()
    for part in (2, 3, 4):
        expect(page.get_by_text(f"Stage {part} cannot be played: on to the next.")).to_be_visible()
    expect(page.locator("#player h2")).to_have_text("Episode 13 \N{MIDDLE DOT} run")
    expect(page.locator("#player h2")).to_have_text("Episode 16 \N{MIDDLE DOT} run")
    seen.forgive("404")


def test_a_mark_says_why_its_video_was_kept_and_shows_it(view, visit, tmp_path):
    folder = made.make_run(tmp_path / "run", 41, 10, video=made.make_video(tmp_path / "video.bin"))
    with closing(sqlite3.connect(folder / INDEX_NAME)) as database, database:
        for episode, reason in ((0, "best(2)"), (10, "worst(1), failures()"), (40, "spread(3, among=worst(1))")):
            database.execute("UPDATE clips SET keep_reason = ? WHERE episode = ?", (reason, episode))
    page = visit(view(folder)).page
    expect(page.locator(".shapes li")).to_have_text(["filmed", "best", "another rule", "failure"])
    box = page.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    expect(page.locator(".readout .hint")).to_have_text("▶ video of episode 10, kept as worst(1), failures()")
    page.wait_for_function("() => document.querySelector('.preview img')?.naturalWidth > 0")
    page.mouse.move(box["x"] + box["width"] * 0.37, box["y"] + box["height"] / 2)
    expect(page.locator(".preview")).to_have_count(0)


def test_clips_are_filtered_by_the_address_and_listed_as_a_table(view, visit, tmp_path):
    folder = made.make_run(tmp_path / "run", 41, 10, video=made.make_video(tmp_path / "video.bin"))
    seen = visit(view(folder))
    page = seen.page
    titles = page.locator(".card .title")
    expect(titles).to_have_text(["Episode 40", "Episode 30", "Episode 20", "Episode 10", "Episode 0"])
    expect(page.locator(".card .end")).to_have_text(
        ["terminated, ", "truncated, ", *["terminated, "] * 2, "truncated, "]
    )
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Length of at least").fill("22")
    page.get_by_label("End").select_option("terminated")
    wanted = [f"Episode {n}" for n in (40, 20, 10) if made.length_of(n) >= 22]
    expect(titles).to_have_text(wanted)
    page.get_by_role("button", name="Table").click()
    expect(page).to_have_url(re.compile("lmin=22&end=terminated&as=table"))
    page.reload()
    expect(titles).to_have_text(wanted)
    expect(page.locator(".card .seed").first).to_have_text(f"seed {wanted[0].split()[1]}")
    seen.shot("table")
    page.get_by_label("Seed").fill("12345")
    expect(page.locator("#gallery .note")).to_contain_text(
        "No clip of this run is like that: length of at least 22, term"
    )
    page.get_by_role("button", name="Clear the filters").click()
    expect(titles).to_have_count(5)
