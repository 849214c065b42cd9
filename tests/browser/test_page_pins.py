"""Clips are pinned on the page, with a note, and found by that again."""

from __future__ import annotations

import pytest
from stage import PHONE, film, playwright

from offcam_runs.pins import read_pins
from waiting import wait_until

expect = playwright().expect


@pytest.fixture
def folder(daemon, tmp_path, monkeypatch):
    """A run of five episodes, each with a clip."""
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    film(tmp_path / "run", [8, 12, 9, 20, 11])
    return tmp_path / "run"


def notes(folder):
    return sorted(pin.note for pin in read_pins(folder).values())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_pinned_with_a_note_is_found_again(folder, view, visit, scheme):
    seen = visit(view(folder), color_scheme=scheme)
    page = seen.page
    page.get_by_role("button", name="Play Episode 3").click()
    expect(page.get_by_role("button", name="Pin", exact=True)).to_be_visible()
    page.keyboard.press("s")
    note = page.get_by_label("Note")
    expect(note).to_be_focused()
    page.keyboard.type("kept upright longest")
    page.keyboard.press("Enter")
    wait_until(lambda: notes(folder) == ["kept upright longest"], "it is written")
    seen.shot(f"pinned-episode-{scheme}")
    page.keyboard.press("Escape")
    card = page.locator(".card", has_text="Episode 3")
    expect(card.locator(".note-said")).to_have_text("kept upright longest")
    expect(page.locator(".shapes")).to_contain_text("pinned")

    page.locator(".card", has_text="Episode 1").hover()
    page.keyboard.press("s")
    expect(page.get_by_role("button", name="Unpin Episode 1")).to_be_visible()
    seen.shot(f"pinned-run-{scheme}")
    page.evaluate("() => document.querySelector('.card').scrollIntoView()")  # whichever is there: a pin draws them anew
    seen.shot(f"pinned-gallery-{scheme}")
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Pinned").check()
    expect(page.locator(".card .title")).to_have_text(["Episode 3", "Episode 1"])
    page.wait_for_url("**pinned=1**")
    page.get_by_role("button", name="Unpin Episode 1").click()
    expect(page.locator(".card .title")).to_have_text(["Episode 3"])
    page.reload()
    expect(page.locator(".card .title")).to_have_text(["Episode 3"])
    assert notes(folder) == ["kept upright longest"]


def test_a_folder_that_cannot_be_written_says_so(folder, view, visit):
    (folder / "offcam.pins.json").write_text("{}")
    seen = visit(view(folder))
    page = seen.page
    page.get_by_role("button", name="Play Episode 3").click()
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("is not understood")
    expect(page.get_by_role("button", name="Pin", exact=True)).to_have_attribute("aria-pressed", "false")
    seen.forgive("409")


def test_on_a_phone_and_in_an_exported_page(folder, view, visit, offcam_command, tmp_path):
    seen = visit(view(folder), viewport=PHONE, has_touch=True)
    page = seen.page
    page.get_by_role("button", name="Pin Episode 4").tap()
    expect(page.get_by_role("button", name="Unpin Episode 4")).to_be_visible()
    page.evaluate("() => document.querySelector('.card').scrollIntoView()")  # whichever is there: a pin draws them anew
    seen.shot("pinned-phone")
    page.get_by_role("button", name="Play Episode 4").tap()
    page.get_by_label("Note").fill("a note")
    page.get_by_label("Note").press("Enter")
    wait_until(lambda: notes(folder) == ["a note"], "it is written")
    expect(page.get_by_label("Note")).to_be_visible()
    seen.shot("pinned-phone-episode")

    offcam_command("export", folder, "--to", "html", "-o", tmp_path / "page")
    shown = visit((tmp_path / "page" / "index.html").as_uri())
    page = shown.page
    expect(page.locator(".card .note-said")).to_have_text(["a note"])
    expect(page.get_by_role("button", name="Pin Episode 3")).to_have_count(0)
    page.get_by_role("button", name="Play Episode 4").click()
    expect(page.locator(".noted")).to_have_text("a note")
    shown.shot("pinned-exported")
