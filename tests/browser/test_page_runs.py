"""The list of all runs in a real browser: what is asked for, in which order, by folder, as a table and as cards."""

from __future__ import annotations

import re
import shutil
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from stage import film, playwright, training

import runs
from offcam_runs.folder_lock import FolderLock
from offcam_runs.format import INDEX_NAME
from waiting import wait_until

expect = playwright().expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ".run-list .run .name"
SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def root(tmp_path_factory, shared_daemon):
    """Two experiments of two and three runs, and one that cannot be read."""
    root = tmp_path_factory.mktemp("experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFCAM_ADDR", shared_daemon.address)
        for place, name in enumerate(["ppo/0", "ppo/1", "dqn/0", "dqn/1", "dqn/2"]):
            film(root / name, [10 + 10 * place] * (2 + place), every=2)
    (root / "broken").mkdir()
    (root / "broken" / INDEX_NAME).write_bytes(b"this is no database " * 500)
    return root


def names(page: Page) -> list[str]:
    return page.locator(NAMES).all_text_contents()


def ends(page, which):
    """Where the text of the first such element ends, in pixels from the left."""
    return page.locator(which).first.evaluate(
        """node => {
            const range = document.createRange();
            range.selectNodeContents(node);
            return range.getBoundingClientRect().right;
        }"""
    )


def test_all_runs_are_a_table_by_folder(root, view, visit):
    seen = visit(view(root))
    page = seen.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs 6")
    expect(page.locator(".branch .name")).to_have_text(["dqn", "ppo"])  # the newest first
    assert names(page) == ["2", "1", "0", "1", "0", "broken"]
    row = page.locator(".run-list li", has=page.get_by_role("button", name=re.compile("^2")))
    expect(row).to_contain_text("50")
    expect(row.locator(".spark path")).to_have_attribute("d", re.compile("^M0 12L"))
    page.wait_for_function("() => document.querySelector('.run .thumb img')?.naturalWidth > 0")
    expect(page.locator(".run-list li", has_text="broken")).to_contain_text("cannot be read")
    seen.shot("runs")
    for column in ("episodes", "steps"):  # a head ends where its numbers do
        places = [f".column.{column}", f".run .cell.{column}"]
        wait_until(
            lambda places=places: abs(ends(page, places[0]) - ends(page, places[1])) <= 2,
            f"{column}: one below the other",
        )
    for column, wanted in [("Episodes", ["2", "1", "0", "1", "0"]), ("Last 100", ["2", "1", "0", "1", "0"])]:
        page.get_by_role("button", name=column, exact=True).click()
        assert names(page)[:5] == wanted
        page.get_by_role("button", name=column, exact=True).click()
        assert names(page)[:5] == ["0", "1", "0", "1", "2"], column
    page.wait_for_url("**by=return&turned=1**")
    page.get_by_role("button", name=re.compile("^dqn")).click()
    assert names(page) == ["0", "1", "broken"]
    page.get_by_role("button", name=re.compile("^dqn")).click()
    page.locator(".run-list li .run", has=page.get_by_text("broken", exact=True)).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("broken cannot be read")
    page.get_by_role("button", name="All runs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs 6")
    page.go_back()
    page.get_by_role("button", name="Curve of dqn").click()  # beside a run: in its plot
    page.wait_for_function("() => Number(document.querySelector('.chart').dataset.episodes) >= 4 + 5 + 6")
    expect(page.get_by_role("button", name="Interval")).to_have_attribute("aria-pressed", "true")


def test_the_runs_of_a_folder_are_one_curve_where_they_are_five(view, visit, tmp_path):
    for place in range(5):
        runs.write(tmp_path / "five" / str(place), [10.0 * place] * 40)
    for place in range(3):
        runs.write(tmp_path / "three" / str(place), [float(place)] * (40 + place))
    seen = visit(view(tmp_path))
    page = seen.page
    note = page.locator(".together .note")
    five = page.get_by_role("button", name="Curve of five")
    five.click()
    expect(note).to_contain_text("n = 5. Interquartile mean")
    expect(note).to_contain_text("At episode 39, as far as each has come: 20 (")
    expect(page.locator(".together canvas")).to_be_visible()
    seen.shot("group")
    five.click()
    expect(note).to_have_count(0)
    page.get_by_role("button", name="Curve of three").click()
    expect(note).to_contain_text("n = 3 runs: too few for an interval, so each is drawn.")
    expect(note.locator(".one")).to_have_text([" 0: 0", " 1: 1", " 2: 2"])
    seen.shot("seeds")
    page.locator(".run").first.click()
    expect(page.locator(".badge.lost")).to_have_text("lost")  # nobody said their end


def test_a_query_finds_runs_and_says_where_it_is_wrong(root, view, visit):
    seen = visit(view(root))
    page = seen.page
    expect(page.locator(NAMES)).to_have_count(6)
    page.keyboard.press("/")
    page.keyboard.type("folder:dqn return>30")
    expect(page.locator(NAMES)).to_have_text(["2", "1"])
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs 2 of 6")
    page.wait_for_url("**filter=folder:dqn**")
    page.get_by_label("Filter runs by name").fill("folder:dqn return>30 retrun<1")
    expect(page.locator(".wrong")).to_contain_text("At column 22: unknown field 'retrun'; did you mean `return`?")
    expect(page.locator(".wrong mark")).to_have_text("retrun<1")
    expect(page.locator(NAMES)).to_have_text(["2", "1"])  # as before
    seen.shot("query")
    seen.forgive("400")
    page.get_by_label("Filter runs by name").fill("lost")
    expect(page.locator(NAMES)).to_have_text(["broken"])
    expect(page.locator(".wrong")).to_be_hidden()
    page.reload()
    expect(page.locator(NAMES)).to_have_text(["broken"])
    page.get_by_label("Filter runs by name").fill("")
    expect(page.locator(NAMES)).to_have_count(6)


def test_one_run_opens_at_once(root, view, visit):
    page = visit(view(root / "ppo" / "0")).page
    expect(page.get_by_role("heading", level=1)).to_have_text("0")
    expect(page.locator(".tile").first).to_be_visible()
    expect(page.get_by_role("button", name="All runs")).to_be_hidden()


@pytest.mark.parametrize("width", [360, pytest.param(390, marks=pytest.mark.slow)])
def test_a_phone_shows_cards(root, view, visit, width):
    seen = visit(view(root), viewport={"width": width, "height": 780}, has_touch=True, color_scheme="dark")
    page = seen.page
    expect(page.locator(NAMES)).to_have_count(6)
    assert not page.evaluate(SIDEWAYS)
    boxes = [row.bounding_box() for row in page.locator(".run-list li:not(.head)").all()]
    assert {round(box["width"]) for box in boxes} == {width - 32}
    assert all(60 < box["height"] < 110 for box in boxes)
    page.get_by_label("Order", exact=True).select_option("Last 100")
    expect(page.locator(NAMES).first).to_have_text("2")
    seen.shot(f"phone-runs-{width}")
    page.locator(".run").first.tap()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2")
    page.get_by_role("button", name=re.compile("^Runs")).tap()
    page.get_by_role("button", name="All runs").tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs 6")
    assert not page.evaluate(SIDEWAYS)


def test_the_wall_is_of_nine_runs_at_most(root, view, visit, tmp_path):
    folders = [shutil.copytree(root / "ppo" / "0", tmp_path / str(place)) for place in range(11)]
    locks = [FolderLock.acquire(folder, "a test") for folder in folders[1:]]
    try:
        page = visit(view(tmp_path)).page
        expect(page.locator(".wall")).to_be_hidden()
        page.get_by_role("button", name="Wall").click()
        expect(page.locator(".wall li")).to_have_count(9)
        expect(page.locator(".wall .note")).to_contain_text("1 more live")
    finally:
        for lock in locks:
            lock.release()
    expect(page.locator(".wall .note")).to_contain_text("No live run has a clip yet.")
    expect(page.locator(".wall li")).to_have_count(0)


PLAYING = "() => [...document.querySelectorAll('.wall video')].filter(video => !video.paused && video.currentTime > 0)"

STOPPED = """() => {
    const video = document.querySelector('.wall video');
    video.pause = () => {
        HTMLMediaElement.prototype.pause.call(video);
        window.stopped = true;
    };
}"""
"""Notes that the page stops a clip: it pauses at its end, too, where Chromium may leave one stopped just before."""


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_wall_shows_the_latest_clip_of_each_live_run(root, serve, visit, tmp_path, monkeypatch, motion):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path))
    shutil.copytree(root / "ppo" / "0", tmp_path / "ended")
    _, ready = serve()
    agent = training(tmp_path / "learning", every=4)
    list(islice(agent, 6))
    url = re.search(r"http=(\S+)", ready).group(1)
    seen = visit(f"{url}/?wall=1", reduced_motion=motion)
    page = seen.page
    tiles = page.locator(".wall li")
    expect(tiles).to_have_count(1)
    expect(tiles).to_contain_text("episode")
    expect(page.locator(".run-list li", has_text="learning")).to_contain_text("live")
    page.wait_for_function("() => document.querySelector('.wall video').readyState >= 1")
    if motion == "reduce":
        assert page.evaluate("document.querySelector('.wall video').controls")
        assert page.evaluate("document.querySelector('.wall video').paused")
    else:
        page.wait_for_function(f"{PLAYING}.length === 1")
        assert page.evaluate("document.querySelector('.wall video').muted")
        first = page.locator(".wall video").get_attribute("src")
        list(islice(agent, 4))
        expect(page.locator(".wall video")).not_to_have_attribute("src", first)  # once that one has come to its end
        page.wait_for_function(f"{PLAYING}.length === 1")
        page.set_viewport_size({"width": 1360, "height": 300})
        page.evaluate(STOPPED)
        page.evaluate("document.body.style.paddingBottom = '2000px'; scrollTo(0, 1500)")
        page.wait_for_function("() => window.stopped")
        assert page.evaluate("document.querySelector('.wall video').paused")
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_function(f"{PLAYING}.length === 1")
    seen.shot(f"wall-{motion}")
    agent.close()
    expect(tiles).to_have_count(0)
