"""A run that is recorded is followed: its newest clip plays, and those that come, until somebody looks at one."""

from __future__ import annotations

import re

import pytest
from stage import PHONE, Painted, playwright

import offcam

expect = playwright().expect


@pytest.fixture
def live(serve, endpoint, tmp_path, monkeypatch):
    """The address of a daemon's page, and an env that it records: each episode has a clip of half a second."""
    _process, ready = serve()
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    env = offcam.record(Painted(14), str(tmp_path / "run"), every=1)

    yield dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"], env
    env.close()


def play(env):
    env.reset()
    finish(env)


def finish(env):
    while not any(env.step(0)[2:4]):
        pass


def test_the_newest_clip_is_played_and_those_that_come(live, visit):
    url, env = live
    play(env)
    seen = visit(url)
    page = seen.page
    title = page.locator("#player h2")
    button = page.locator(".transport").get_by_role("button", name="Follow")
    expect(page.locator(".card")).to_have_count(1)
    page.keyboard.press("f")
    expect(title).to_have_text(re.compile("^Episode 0 · "))
    expect(button).to_have_attribute("aria-pressed", "true")
    for _ in range(3):
        play(env)
    expect(title).to_have_text(re.compile("^Episode 3 · "))
    seen.shot("following")
    play(env)
    expect(title).to_have_text(re.compile("^Episode 4 · "))

    page.keyboard.press("ArrowLeft")  # somebody looks at it
    expect(button).to_have_attribute("aria-pressed", "false")
    play(env)
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(6)  # one has come meanwhile
    expect(title).to_be_hidden()

    page.keyboard.press("f")
    expect(title).to_have_text(re.compile("^Episode 5 · "))
    page.keyboard.press("f")
    expect(button).to_have_attribute("aria-pressed", "false")
    play(env)
    page.keyboard.press("f")
    expect(title).to_have_text(re.compile("^Episode 6 · "))
    page.keyboard.press("j")  # another one is wanted
    expect(title).to_have_text(re.compile("^Episode 5 · "))
    expect(button).to_have_attribute("aria-pressed", "false")


def test_it_waits_for_the_first_clip_and_a_phone_has_a_button(live, visit):
    url, env = live
    env.reset()
    seen = visit(url, viewport=PHONE, has_touch=True, color_scheme="dark")
    page = seen.page
    title = page.locator("#player h2")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("f")
    finish(env)
    expect(title).to_have_text(re.compile("^Episode 0 · "))
    button = page.locator(".transport").get_by_role("button", name="Follow")
    button.tap()
    expect(button).to_have_text("Follow")
    play(env)
    button.tap()
    expect(title).to_have_text(re.compile("^Episode 1 · "))
    seen.shot("following-phone")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
