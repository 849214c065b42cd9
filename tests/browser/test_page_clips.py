"""What the page says of clips: of a vector env's, of short ones, and with how few keys the first is reached."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from gymnasium.vector import SyncVectorEnv
from stage import SIDE, Painted, film, playwright

import offcam
from envs import Barcode, Look

expect = playwright().expect


def test_each_mark_of_a_vector_env_plays_with_the_return_that_was_hovered(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    lengths = (9, 5, 7)  # an episode's return is its length
    envs = SyncVectorEnv([lambda length=length: Painted(length) for length in lengths])
    env = offcam.record(envs, str(tmp_path / "vector"), every=1)
    env.reset()
    for _ in range(30):
        env.step([0, 0, 0])
    env.close()

    seen = visit(view(tmp_path / "vector"))
    page = seen.page
    plot = page.locator(".plot")
    page.wait_for_function("() => Number(document.querySelector('.chart').dataset.episodes) >= 6")
    for place in range(1, 6):
        plot.focus()
        page.keyboard.press("Home")
        for _ in range(place):
            page.keyboard.press("ArrowRight")
        expect(page.locator(".readout .hint")).to_have_text(f"▶ video of #{place}")
        hovered = page.locator(".readout b").inner_text()
        page.keyboard.press("Enter")
        title = page.locator("#player h2")
        expect(title).to_have_text(re.compile(rf"^#{place} · env \d · episode \d · vector$"))
        env_index = int(re.search(r"env (\d)", title.inner_text())[1])
        assert hovered == str(lengths[env_index])
        expect(page.locator("#player dl")).to_contain_text(f"Return{hovered}Length{hovered} steps")
        page.locator("#player .outline").wait_for()
        outline, video = (page.locator(f"#player {name}").bounding_box() for name in (".outline", "video"))
        width, height = page.locator("#player video").evaluate("video => [video.videoWidth, video.videoHeight]")
        scale = min(video["width"] / width, video["height"] / height)
        left = outline["x"] - video["x"] - (video["width"] - width * scale) / 2
        top = outline["y"] - video["y"] - (video["height"] - height * scale) / 2
        tile = top / scale / SIDE * (width // (2 * SIDE)) + left / scale / (2 * SIDE)  # they stand row by row
        assert tile == pytest.approx(env_index, abs=0.05)
        seen.shot(f"vector-{place}")
        page.keyboard.press("Escape")


@pytest.fixture
def short(daemon, tmp_path, monkeypatch):
    """A run of three episodes with clips of a third of a second and less."""
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    film(tmp_path / "short", [4, 9, 6])
    return tmp_path / "short"


def test_a_short_clip_is_repeated_until_somebody_says_otherwise(short, view, visit):
    page = visit(view(short), reduced_motion="no-preference").page
    page.get_by_role("button", name="Play Episode 1").click()
    repeat = page.get_by_role("button", name="Repeat (l)")
    expect(repeat).to_have_attribute("aria-pressed", "true")
    page.locator("#player video").evaluate(
        """video => new Promise(resolve => {
            let before = 0, turns = 0;
            const look = () => {
                if (video.currentTime < before) turns += 1;
                before = video.currentTime;
                if (turns > 1) resolve(); else requestAnimationFrame(look);
            };
            look();
        })"""
    )
    page.keyboard.press("l")
    expect(page.get_by_role("button", name="Play (space)")).to_be_visible()  # its end
    page.keyboard.press("n")
    expect(page.locator("#player h2")).to_have_text("Episode 0 · short")
    expect(repeat).to_have_attribute("aria-pressed", "false")


def test_a_video_in_parts_is_played_through(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    resized = Barcode(30, Look(SIDE, SIDE), sizes={10: (SIDE, 2 * SIDE), 20: (SIDE, SIDE)})
    env = offcam.record(resized, str(tmp_path / "run"))
    env.reset()
    while not any(env.step(0)[2:4]):
        pass
    env.close()
    seen = visit(view(tmp_path / "run"), reduced_motion="no-preference")
    page = seen.page
    page.evaluate(
        """() => {
            window.titles = [];
            const title = document.querySelector("#player h2");
            const look = () => window.titles.push(title.textContent);
            new MutationObserver(look).observe(title, {childList: true, characterData: true, subtree: true});
        }"""
    )
    page.get_by_role("button", name="Play Episode 0, return").click()
    expect(page.locator("#player h2")).to_have_text("Episode 0 · part 3 of 3 · run")
    expect(page.get_by_role("button", name="Play (space)")).to_be_visible()
    told = page.evaluate("window.titles.filter((title) => title.includes('part'))")
    assert told == [f"Episode 0 · part {part} of 3 · run" for part in (1, 2, 3)]
    page.keyboard.press("Escape")
    expect(page.locator(".card .title")).to_have_text(["Episode 0 · part 3", "Episode 0 · part 2", "Episode 0"])
    seen.shot("parts")


def test_the_first_clip_is_few_tabs_away_and_each_box_says_whose_it_is(short, view, visit):
    seen = visit(view(short), viewport={"width": 390, "height": 844}, has_touch=True)
    page = seen.page
    expect(page.locator(".card")).to_have_count(3)
    focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
    stops = []
    for key in ("Tab", "Tab", "Enter", *["Tab"] * 6):
        page.keyboard.press(key)
        stops += [page.evaluate(focused)] * (key == "Tab")
        if stops[-1].startswith("Play Episode 2"):
            break
    assert stops[1] == "Skip to the clips"
    assert stops[-1].startswith("Play Episode 2"), stops
    assert len(stops) <= 8
    boxes = page.locator(".card .pick")
    assert [box.get_by_role("checkbox").get_attribute("aria-label") for box in boxes.all()] == [
        f"Compare Episode {number}" for number in (2, 1, 0)
    ]
    for box in boxes.all():
        size = box.bounding_box()
        assert min(size["width"], size["height"]) >= 40, size
    seen.shot("short-390")


class Raising(Painted):
    """One whose step raises, in its second episode at the third."""

    def __init__(self) -> None:
        super().__init__(6)
        self.done: list[int] = []

    def reset(self, **given: Any) -> Any:
        self.done.append(0)
        return super().reset(**given)

    def step(self, action: Any) -> Any:
        self.done[-1] += 1
        if len(self.done) == 2 and self.done[-1] == 3:
            raise RuntimeError("the simulator is gone")
        return super().step(action)


def test_an_exception_is_no_ordinary_end(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    env = offcam.record(Raising(), str(tmp_path / "run"), every=1)
    for _ in range(3):
        env.reset()
        with contextlib.suppress(RuntimeError):
            while not any(env.step(0)[2:4]):
                pass
    for _ in range(2):
        env.reset()
        env.step(0)
    env.close()
    seen = visit(view(tmp_path / "run"))
    page = seen.page
    card = page.locator(".card[data-end=unfinished]")
    expect(page.locator(".card")).to_have_count(5)
    expect(card.locator(".end")).to_have_text(["unfinished, "] * 3)
    expect(card.locator(".flag")).to_have_text(["closed before its end", "reset before its end", "ended by an error"])
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("End").select_option("unfinished")
    expect(page.locator(".card .title")).to_have_text(["Episode 4", "Episode 3", "Episode 1"])
    seen.shot("unfinished")
    said = ["closed before its end", "reset before its end", "ended by an error: RuntimeError: the simulator is gone"]
    for place, why in enumerate(said):
        card.get_by_role("button", name="Play").nth(place).click()
        expect(page.locator("#player dl")).to_contain_text(why)
        seen.shot(f"unended-{place}")
        page.keyboard.press("Escape")


def test_what_nobody_counted_is_not_shown_as_nothing(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    env = offcam.RecordVideo(Painted(6), str(tmp_path / "run"), episode_trigger=lambda _: True)
    env.reset()
    while not any(env.step(0)[2:4]):
        pass
    env.close()
    page = visit(view(tmp_path / "run")).page
    for name in ("Episodes", "Steps"):
        tile = page.locator(".tile", has=page.locator("dt", has_text=re.compile(f"^{name}$")))
        expect(tile.locator(".number")).to_have_text("\N{EN DASH}")
