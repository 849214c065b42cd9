"""An episode that nobody rendered is clicked on the curve, and plays once it is rendered."""

from __future__ import annotations

import re

import gymnasium as gym
import pytest
from stage import playwright

import offcam
from envs import play

pytest.importorskip("xxhash")
expect = playwright().expect


def click_episode(page, number, last):
    page.wait_for_function("least => Number(document.querySelector('.chart').dataset.episodes) >= least", arg=last + 1)
    box = page.locator(".u-over").bounding_box()
    page.mouse.click(box["x"] + box["width"] * number / last, box["y"] + box["height"] / 2)


def refuse(route):
    """As where the page is another site's, to the recorder."""
    if route.request.method == "POST":
        route.fulfill(status=403, json={"error": "Only with the token."})
    else:
        route.continue_()


@pytest.fixture
def seen(serve, endpoint, visit, folder, monkeypatch):
    """The page of a daemon that has recorded nine episodes, of which the last three cannot happen again."""
    _, ready = serve()
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=lambda _: False)
    play(env, 6, seed=3)
    env.unwrapped.gravity = 5.0  # which is on no tape
    play(env, 3, seed=9)
    env.close()

    return visit(re.search(r"http=(\S+)", ready).group(1))


def test_an_episode_that_is_clicked_is_rendered_and_plays(seen, folder):
    page = seen.page
    page.evaluate("window.neverReloaded = true")
    expect(page.locator("#curves .note")).to_contain_text("Click an episode to have it rendered.")
    page.route("**/episodes/render*", refuse)
    click_episode(page, 4, 8)
    expect(page.locator("#player h2")).to_have_text(re.compile("Episode 4 · "))
    expect(page.locator("#player [role=status]").filter(has_text="Only with the token.")).to_be_visible()
    expect(page.locator("#player code")).to_have_text(f"offcam render {folder} --episode 4")
    seen.shot("refused")
    seen.forgive("403")
    page.unroute("**/episodes/render*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#player [role=status]").filter(has_text="being rendered")).to_be_visible()
    expect(page.locator("#player progress")).to_be_visible()
    seen.shot("rendering")
    page.set_viewport_size({"width": 390, "height": 844})
    seen.shot("rendering-390")
    page.wait_for_function("() => document.querySelector('#player video')?.currentTime > 0.1")
    seen.shot("rendered-390")
    page.set_viewport_size({"width": 1360, "height": 900})
    expect(page.locator("#player .asked")).to_be_hidden()
    expect(page.locator("#player .rendering")).to_have_count(0)
    assert page.evaluate("window.neverReloaded")
    assert "~" not in page.url
    expect(page.locator("#player dl")).to_contain_text("Renderedafterwards; each step checked")
    seen.shot("rendered")
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator("#curves .note")).to_contain_text("Marks are episodes with a video")

    page.locator(".plot").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")  # as by mouse
    said = page.locator("#player [role=status]").filter(has_text="It did not happen again at step 1: ")
    expect(said).to_be_visible()
    expect(page.locator("#player code")).to_have_text(f"offcam render {folder} --episode 8")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    seen.shot("failed")
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    seen.shot("failed-390-dark")
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    expect(page.locator(".card")).to_have_count(1)  # it is no video


def test_how_far_it_is_is_shown(seen):
    page = seen.page

    def told(route):
        answer = route.fetch().json() if route.request.method == "GET" else {}
        route.fulfill(json={**rendering, **answer, "state": "rendering", "percent": percents[0]})

    percents = [None]
    rendering = {"number": 4, "episode": 4, "ahead": 0, "clip": None, "why": None, "diverged_at": None, "command": ""}
    page.route("**/episodes/render*", told)
    click_episode(page, 4, 8)
    bar = page.get_by_role("progressbar", name="Being rendered")
    expect(bar).to_be_visible()
    expect(bar).not_to_have_attribute("value", re.compile("."))
    percents[0] = 40
    expect(bar).to_have_attribute("value", "40")
    expect(bar).to_have_attribute("max", "100")
    expect(page.locator("#player .took")).to_have_text(re.compile(r"40%, \d+ s"))
    page.keyboard.press("Escape")
