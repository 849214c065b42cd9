"""An episode's screen: its video and its steps on one axis, with an address of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cv2
import gymnasium as gym
import numpy as np
import pytest
from stage import SIDE, Painted, film, frame_shown, playwright

import offcam
from envs import decode
from offcam_runs.run import read_run
from offcam_runs.run_ids import run_id
from waiting import wait_until

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page

expect = playwright().expect

LENGTHS = [20, 40, 60, 90]


@pytest.fixture(scope="module")
def stepped(tmp_path_factory, shared_daemon):
    """A run of four painted episodes with their steps, of which the first and the third were filmed."""
    folder = tmp_path_factory.mktemp("films") / "stepped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFCAM_ADDR", shared_daemon.address)
        painted = Painted()
        env = offcam.record(painted, str(folder), every=2, steps=True)
        for seed, length in enumerate(LENGTHS):
            painted.length = length
            env.reset(seed=seed)
            over = False
            while not over:
                offcam.trace(env, value=painted.number / 2)
                over = any(env.step(painted.number % 2)[2:4])
        env.close()
    return folder


def click_frame(page: Page, frame: int, frames: int) -> None:
    """Click on the traces where a frame is."""
    page.locator(".scrub").wait_for()
    box = page.locator(".scrub").bounding_box()
    page.mouse.click(box["x"] + box["width"] * (frame + 0.5) / frames, box["y"] + box["height"] / 3)


def test_a_click_on_a_trace_shows_that_frame_and_playing_moves_the_cursor(stepped, view, visit):
    seen = visit(f"{view(stepped)}/r/{run_id(stepped)}/e/2?t=0")
    page = seen.page
    video, slider = page.locator("#player video"), page.get_by_role("slider", name="Step")
    expect(page.locator(".lane-head > span:first-child")).to_have_text(["Reward", "Return so far", "action", "value"])
    for frame in (17, 59, 3):
        click_frame(page, frame, 61)
        assert frame_shown(video) == frame
        expect(slider).to_have_attribute("aria-valuenow", str(frame))
        expect(page.locator(".traces .at")).to_contain_text(f"step {frame}")
        expect(page.locator(".lane-head b")).to_have_text(
            ["1", str(frame), str((frame - 1) % 2), f"{(frame - 1) / 2:g}"]
        )
    seen.shot("traces")

    box = slider.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 30.5 / 61, box["y"] + 40)
    page.mouse.up()
    assert frame_shown(video) == 30
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert frame_shown(video) == 31
    expect(slider).to_have_attribute("aria-valuetext", "step 31, reward 1, return so far 31")

    slider.evaluate("node => node.blur()")
    page.keyboard.press(" ")
    page.wait_for_function("() => Number(document.querySelector('.scrub').ariaValueNow) > 40")
    apart = page.evaluate(
        """async () => {
            const [video, slider] = [document.querySelector("#player video"), document.querySelector(".scrub")];
            const apart = [];
            do { // at its end at the latest, which a busy machine may have reached by now
                await new Promise(done => requestAnimationFrame(() => setTimeout(done))); // the page has had its turn
                apart.push(Math.abs(Number(slider.ariaValueNow) + 0.5 - video.currentTime * 30));
            } while (apart.length < 9 && !video.ended);
            return apart;
        }"""
    )
    assert min(apart) <= 1.5, apart  # in a busy machine's pauses it may be more
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    wait_until(
        lambda: abs(frame_shown(video) - int(slider.get_attribute("aria-valuenow"))) <= 1, "both stand at one frame"
    )


def test_an_address_opens_an_episode_at_its_place_and_the_way_back_is_there(stepped, view, visit):
    url = view(stepped)
    run = run_id(stepped)
    page = visit(f"{url}/r/{run}/e/2?t=0.9").page
    video = page.locator("#player video")
    expect(page.locator("#player h2")).to_have_text("Episode 2 · stepped")
    expect(page.locator("#player .frame")).to_have_text("28 of 61")
    assert frame_shown(video) == 27
    assert page.url.startswith(f"{url}/r/{run}/e/2")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(r"t=0\.95"))
    page.reload()
    expect(page.locator("#player .frame")).to_have_text("29 of 61")
    assert frame_shown(video) == 28

    page.get_by_role("link", name="stepped", exact=True).click()
    expect(page.locator("#player")).to_be_hidden()
    expect(page.locator(".card")).to_have_count(2)
    page.go_back()
    expect(page.locator("#player .frame")).to_have_text("29 of 61")
    page.go_forward()
    expect(page.locator("#player")).to_be_hidden()
    page.get_by_role("button", name="Play Episode 0").click()
    page.wait_for_url(f"**/r/{run}/e/0*")
    page.go_back()
    expect(page.locator("#player")).to_be_hidden()

    key = [f"{clip.stream_id}-{clip.clip}" for clip in read_run(stepped).clips][1]
    page.goto(f"{url}/?runs={run}&play={run}:{key}&at=0.5")  # as addresses were
    page.wait_for_url(f"{url}/r/{run}/e/2?t=0.5*")
    assert frame_shown(video) == 15


def test_an_episode_without_a_video_has_its_steps_all_the_same(stepped, view, visit):
    seen = visit(f"{view(stepped)}/r/{run_id(stepped)}/e/3", permissions=["clipboard-read", "clipboard-write"])
    page = seen.page
    expect(page.locator("#player [role=status]").filter(has_text="Episode 3 has no video")).to_be_visible()
    expect(page.locator("#player dl")).to_contain_text("Return90")
    click_frame(page, 45, 91)
    expect(page.locator(".traces .at")).to_have_text("step 45")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".traces .at")).to_have_text("step 44")
    seen.shot("no-video")
    page.get_by_role("button", name="Copy what reproduces it").click()
    expect(page.locator(".toast")).to_have_text("What reproduces it copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[0] == f"# {stepped}, episode 3"
    assert "env.reset(seed=3)" in copied
    assert f'offcam.load("{stepped}").steps(3)' in copied


def test_without_steps_it_is_the_video_and_a_line_that_says_how(daemon, view, visit, tmp_path):
    film(tmp_path / "painted", [20])
    seen = visit(f"{view(tmp_path / 'painted')}/r/{run_id(tmp_path / 'painted')}/e/0?t=0")
    page = seen.page
    expect(page.locator(".traces .note")).to_contain_text("No steps were recorded: with steps=True")
    expect(page.get_by_role("slider", name="Step")).to_be_hidden()
    assert frame_shown(page.locator("#player video")) == 0
    seen.shot("no-steps")


def test_on_a_phone_the_traces_are_below_the_video(stepped, view, visit):
    seen = visit(f"{view(stepped)}/r/{run_id(stepped)}/e/2?t=0", viewport={"width": 390, "height": 844}, has_touch=True)
    page = seen.page
    expect(page.locator(".lane")).to_have_count(4)
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    video, traces = page.locator("#player video").bounding_box(), page.locator(".scrub").bounding_box()
    assert traces["y"] >= video["y"] + video["height"]
    page.touchscreen.tap(traces["x"] + traces["width"] * 10.5 / 61, traces["y"] + 30)
    assert frame_shown(page.locator("#player video")) == 10
    seen.shot("phone")


def test_a_frame_is_saved_as_it_is_and_with_the_words_that_lie_over_it(stepped, view, visit, tmp_path):
    seen = visit(f"{view(stepped)}/r/{run_id(stepped)}/e/2?t=0.9")
    page = seen.page
    expect(page.locator(".traces .at")).to_contain_text("step 27")

    def saved() -> tuple[str, NDArray[np.uint8]]:
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Save this frame").click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path.name, cv2.imread(str(path))

    name, picture = saved()
    assert (name, decode(picture, SIDE, SIDE)) == ("rl-video-episode-2-frame-27.png", 27)
    page.keyboard.press("o")
    expect(page.locator(".overlay")).to_have_text("step 27 · reward 1 · return so far 27 · action 0")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".overlay")).to_have_text("step 28 · reward 1 · return so far 28 · action 1")
    seen.shot("overlay")
    name, worded = saved()
    assert name == "rl-video-episode-2-frame-28.png"
    assert (worded[:10] != picture[:10]).any()
    assert (worded[40:, SIDE:] == picture[40:, SIDE:]).mean() > 0.9
    page.keyboard.press("o")
    expect(page.locator(".overlay")).to_be_hidden()


def test_an_episode_of_a_vector_envs_video_opens_where_it_begins_with_its_own_steps(daemon, view, visit, tmp_path):
    folder = tmp_path / "vector"
    envs = gym.vector.SyncVectorEnv([lambda length=length: Painted(length) for length in (300, 149)])
    env = offcam.vector.RecordVideo(
        envs, str(folder), steps=True, step_trigger=lambda step: step == 0, video_length=310
    )
    env = offcam.vector.RecordEpisodeStatistics(env)
    env.reset()
    for _ in range(320):
        env.step(np.zeros(2, np.int64))
    env.close()
    number = [(each.env_index, each.episode) for each in read_run(folder).episodes].index((1, 1))
    page = visit(f"{view(folder)}/r/{run_id(folder)}/e/{number}?speed=0.1").page
    slider = page.get_by_role("slider", name="Step")
    expect(slider).to_have_attribute("aria-valuenow", re.compile(r"^15\d$"), timeout=30_000)  # from the start: 50 s
    expect(page.get_by_label("Sub-environment")).to_have_value("1")
    expect(page.locator("#player h2")).to_have_text(f"#{number} · env 1 · episode 1 · vector")
    expect(page.locator("#player dl")).to_contain_text("Return149")
    page.get_by_role("button", name="Pause (space)").wait_for()
    page.keyboard.press(" ")
    page.get_by_role("button", name="Play (space)").wait_for()
    click_frame(page, 160, 311)
    expect(page.locator(".traces .at")).to_contain_text(re.compile(r"^step (9|10|11) · "))
    assert re.search(rf"/r/{run_id(folder)}/e/{number}\b", page.url)
    page.get_by_label("Sub-environment").select_option("0")
    expect(page.locator(".traces .at")).to_contain_text(re.compile(r"^step (159|160|161) · "))


def test_an_episode_is_saved_as_an_animated_picture(stepped, view, visit, tmp_path):
    seen = visit(view(stepped))
    page = seen.page
    page.get_by_role("button", name=re.compile("^Play Episode 0")).click()
    for kind, begins in (("GIF", b"GIF89a"), ("WebP", b"RIFF")):
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert download.value.suggested_filename == f"rl-video-episode-0.{kind.lower()}"
        download.value.save_as(tmp_path / kind)
        assert (tmp_path / kind).read_bytes().startswith(begins)
    seen.shot("animations")
    page.keyboard.press("o")
    with page.expect_download() as download:
        page.get_by_role("button", name="GIF", exact=True).click()
    download.value.save_as(tmp_path / "told")
    assert (tmp_path / "told").read_bytes() != (tmp_path / "GIF").read_bytes()
    assert [url.endswith("overlay=true") for url in seen.asked if "/animation?" in url] == [False, False, True]
