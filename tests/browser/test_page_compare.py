"""Clips side by side: up to nine of them, aligned by what one likes."""

from __future__ import annotations

import pytest
from stage import PHONE, Painted, frame_shown, playwright

import offcam

expect = playwright().expect

LENGTHS = [20, 30, 40, 50, 60, 24, 36, 48, 59]
"""Of the episodes; a clip has one frame more."""

SEEDS = [0, 1, 2, 3, 4, 0, 1, 2, 3]


@pytest.fixture(scope="module")
def nine(tmp_path_factory, shared_daemon):
    """A run of nine painted episodes with their steps and a video each; some have the same seed."""
    folder = tmp_path_factory.mktemp("films") / "nine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFCAM_ADDR", shared_daemon.address)
        painted = Painted()
        env = offcam.record(painted, str(folder), every=1, steps=True, overflow="block")
        for seed, length in zip(SEEDS, LENGTHS, strict=True):
            painted.length = length
            env.reset(seed=seed)
            while not any(env.step(painted.number % 2)[2:4]):
                pass
        env.close()
    return folder


def shown(page):
    """The frame on each of the videos."""
    return [frame_shown(video) for video in page.locator("#player video").all()]


def test_nine_clips_are_aligned_by_their_ends_or_by_fraction(nine, view, visit):
    seen = visit(view(nine))
    page = seen.page
    for episode in range(9):
        page.locator(f".card:has([aria-label^='Play Episode {episode},'])").get_by_label("Compare").check()
    page.get_by_role("button", name="Play 9 side by side").click()
    expect(page.locator("#player video")).to_have_count(9)
    page.wait_for_function("() => [...document.querySelectorAll('#player video')].every(each => each.readyState > 1)")
    page.keyboard.press("End")
    assert shown(page) == LENGTHS  # the shorter ones keep their last frame
    page.keyboard.press("Home")
    page.get_by_role("button", name="End", exact=True).click()
    page.wait_for_url("**align=end**")
    page.keyboard.press("End")
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    assert shown(page) == [length - 10 for length in LENGTHS]
    seen.shot("nine-by-end")
    boxes = [figure.bounding_box() for figure in page.locator(".stage figure").all()]
    assert max(box["y"] + box["height"] for box in boxes) <= page.viewport_size["height"]
    page.get_by_role("button", name="Fraction", exact=True).click()
    page.wait_for_url("**align=fraction**")
    page.get_by_label("Position").fill("30")  # of the 61 of the longest one: it is half over
    assert shown(page) == [int((30.5 / 61) * (length + 1)) for length in LENGTHS]
    page.wait_for_url("**at=**")
    page.reload()
    expect(page.get_by_role("button", name="Fraction", exact=True)).to_have_attribute("aria-pressed", "true")
    page.locator("#player video").nth(8).wait_for()
    expect(page.locator("#player .frame").first).to_have_text("11 of 21")
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")  # drawings follow
    seen.shot("nine-on-a-phone")


def test_presets_find_clips_and_two_of_a_seed_say_where_they_differ(nine, view, visit):
    seen = visit(view(nine))
    page = seen.page
    page.get_by_role("button", name="Play Episode 5,").click()
    page.get_by_label("Compare with").select_option("Same seed")
    expect(page.locator("#player h2")).to_have_text("2 clips side by side")
    expect(page.locator(".who b")).to_have_text(["Episode 5", "Episode 0"])
    differ = page.locator(".differ")
    expect(differ).to_contain_text("differ first at step 21 (one of them is over)")
    differ.get_by_role("button").click()
    assert frame_shown(page.locator("#player video").first) == 21
    lanes = page.locator("#player .lane")
    expect(lanes.first).to_contain_text("Reward")
    expect(lanes.first.locator(".value")).to_have_count(2)
    seen.shot("same-seed")
    page.get_by_role("button", name="Event", exact=True).click()
    page.wait_for_url("**align=event**")
    page.get_by_label("Compare with").select_option("Stages of this run")
    expect(page.locator("#player video")).to_have_count(8)
    page.get_by_label("Compare with").select_option("Best and worst")
    expect(page.locator(".who b")).to_have_text(["Episode 4", "Episode 0"])
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#player .lane").first).to_be_visible()
    seen.shot("best-and-worst-dark")
    page.set_viewport_size(PHONE)
    page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")  # drawings follow
    seen.shot("best-and-worst-on-a-phone")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("clip before")
    seen.shot("keys")
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_visible()
