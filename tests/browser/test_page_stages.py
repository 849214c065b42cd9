"""The stages of a run: a sheet of clips, and how one is watched learning."""

from __future__ import annotations

import re

import pytest
from stage import film, playwright

from commandline import WAIT_SECONDS

expect = playwright().expect


@pytest.fixture(autouse=True)
def _patience():
    expect.set_options(timeout=WAIT_SECONDS * 1000)


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
