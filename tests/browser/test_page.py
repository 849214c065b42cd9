"""The page in a real browser: a training is watched, curves are clicked, videos play what the env drew."""

from __future__ import annotations

import re
import shutil
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
from stage import COLOURS, SIDE, Told, film, frame_shown, picture, playwright, training

import made
from offcam_runs.run_ids import run_id

expect = playwright().expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

MOST_DRIFT_SECONDS = 0.1


def url_of(ready: str) -> str:
    return re.search(r"http=(\S+)", ready).group(1)


def episodes_drawn(page: Page, least: int) -> None:
    """Wait until the curve has as many."""
    page.wait_for_function("least => Number(document.querySelector('.chart').dataset.episodes) >= least", arg=least)


def click_episode(page: Page, number: int, last: int) -> None:
    """Click on the curve where an episode is, of those from 0 to `last`."""
    box = page.locator(".u-over").bounding_box()
    page.mouse.click(box["x"] + box["width"] * number / last, box["y"] + box["height"] / 2)


def still(page: Page) -> Locator:
    """Stop what plays; the first video."""
    page.get_by_role("button", name="Pause (space)").click()
    expect(page.get_by_role("button", name="Play (space)")).to_be_visible()
    return page.locator("#player video").first


@pytest.fixture(scope="module")
def films(tmp_path_factory, shared_daemon):
    """A run of 13 painted episodes of different length, of which each fourth was filmed."""
    folder = tmp_path_factory.mktemp("films") / "painted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFCAM_ADDR", shared_daemon.address)
        film(folder, [20 + 5 * number for number in range(13)], every=4)
    return folder


def test_a_training_is_watched_from_its_first_episode_on(serve, visit, tmp_path):
    _, ready = serve()
    seen = visit(url_of(ready))
    page = seen.page
    expect(page.get_by_role("heading", name="Nothing recorded yet")).to_be_visible()
    expect(page.locator("pre code")).to_contain_text("offcam.record(env")
    seen.shot("empty")
    page.evaluate("window.neverReloaded = true")

    agent = training(tmp_path / "runs" / "cartpole", every=10)
    first = list(islice(agent, 12))
    expect(page.get_by_role("heading", level=1)).to_have_text("runs/cartpole")
    episodes_drawn(page, 12)
    expect(page.locator(".badge.live")).to_be_visible()
    expect(page.locator("#health")).to_contain_text("recording 1 stream")
    for item in ("queue", "lag", "drops"):
        expect(page.locator(f"#health [data-item={item}] b")).to_be_visible()

    later = list(islice(agent, 18))
    episodes_drawn(page, 30)
    seen.shot("live")
    agent.close()
    expect(page.locator(".badge.live")).to_be_hidden()
    assert page.evaluate("window.neverReloaded")
    everything = first + later
    mean = np.mean(everything)
    returns = page.locator(".tile").filter(has_text="Return, last 100").locator(".number")
    expect(returns).to_have_text(f"{round(mean, 1 if mean >= 100 else 2):g}")
    expect(page.locator(".card img")).to_have_count(3)
    page.wait_for_function("() => [...document.querySelectorAll('.card img')].every(image => image.naturalWidth > 0)")
    seen.shot("light")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.mouse.move(700, 500)
    seen.shot("dark")


def test_a_click_on_the_curve_plays_that_episode_or_the_nearest(films, view, visit):
    page = visit(view(films)).page
    episodes_drawn(page, 13)
    click_episode(page, 4, 12)
    expect(page.locator("#player h2")).to_have_text("Episode 4 · painted")
    video = page.locator("#player video")
    page.wait_for_function("() => document.querySelector('#player video').currentTime > 0.2")
    assert video.evaluate("video => [video.videoWidth, video.videoHeight, video.error]") == [2 * SIDE, SIDE, None]
    expect(page.locator("#player dl")).to_contain_text("Return40")
    expect(page.locator("#player .asked")).to_be_hidden()

    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    click_episode(page, 9, 12)
    expect(page.locator("#player h2")).to_have_text("Episode 8 · painted")
    expect(page.locator("#player .asked")).to_contain_text(
        "Episode 9 (return 65) was not recorded. This is the nearest one that was, 1 episode away."
    )


def test_every_frame_is_the_one_it_says_and_has_the_colours_the_env_drew(films, view, visit):
    seen = visit(view(films))
    page = seen.page
    page.get_by_role("button", name="Play Episode 0").click()
    video = still(page)
    page.keyboard.press("Home")
    assert frame_shown(video) == 0
    for frame in (1, 2, 3):
        page.keyboard.press("ArrowRight")
        assert frame_shown(video) == frame
        expect(page.locator("#player .frame")).to_have_text(f"{frame + 1} of 21")
    page.keyboard.press("Shift+ArrowRight")
    assert frame_shown(video) == 13
    page.keyboard.press("ArrowLeft")
    assert frame_shown(video) == 12
    page.keyboard.press("End")
    assert frame_shown(video) == 20  # the terminal one
    page.keyboard.press("ArrowRight")
    assert frame_shown(video) == 20
    shown = picture(video)
    band = SIDE // len(COLOURS)
    for place, colour in enumerate(COLOURS):
        middle = shown[place * band + 6 : (place + 1) * band - 6, SIDE + 8 : -8]
        assert np.abs(middle.mean(axis=(0, 1)) - colour).max() < 5, (colour, middle.mean(axis=(0, 1)))
    seen.shot("player")


def test_clips_side_by_side_go_and_stand_together(films, view, visit):
    seen = visit(view(films))
    page = seen.page
    for episode in (0, 8, 12):
        page.locator(f".card:has([aria-label^='Play Episode {episode},'])").get_by_label("Compare").check()
    page.get_by_role("button", name="Play 3 side by side").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('#player video')].filter(video => video.currentTime > 0.15).length === 3"
    )
    drifts = page.evaluate(
        """async () => {
            const drifts = [];
            const videos = [...document.querySelectorAll("#player video")];
            for (let turn = 0; turn < 12; turn += 1) {
                await new Promise(requestAnimationFrame);
                const times = videos.map(video => video.currentTime).filter(time => time < 0.65);
                if (times.length > 1) drifts.push(Math.max(...times) - Math.min(...times));
            }
            return drifts;
        }"""
    )
    together = min(drifts, default=0) < MOST_DRIFT_SECONDS  # in a busy machine's pauses it may be more
    assert together or drifts[-1] < drifts[0], drifts
    still(page)
    videos = page.locator("#player video").all()
    page.keyboard.press("Home")
    assert [frame_shown(video) for video in videos] == [0, 0, 0]
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert [frame_shown(video) for video in videos] == [5, 5, 5]
    seen.shot("side-by-side")
    page.get_by_label("Position").fill("70")  # behind the end of two: they keep their last frame
    assert [frame_shown(video) for video in videos] == [20, 60, 70]
    page.wait_for_url("**at=2.35*")
    page.reload()
    page.locator("#player video").nth(2).wait_for()
    expect(page.locator("#player .frame").nth(2)).to_have_text("71 of 81")
    assert [frame_shown(video) for video in page.locator("#player video").all()] == [20, 60, 70]
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()


def test_it_can_be_used_by_keyboard(films, view, visit):
    seen = visit(view(films))
    page = seen.page
    episodes_drawn(page, 13)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for key in ["Tab"] * 8 + ["ArrowRight"] * 8 + ["Tab"] * 6:  # which controls what is drawn is one stop
        page.keyboard.press(key)
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached
    for name in (
        "Switch between light and dark",
        "Filter runs by name, environment or folder",
        "Length",
        "Step",
        "CSV",
        "Sort",
    ):
        assert name in reached, (name, reached)
    page.locator(".plot").focus()
    page.keyboard.press("Home")
    expect(page.locator("output")).to_contain_text("episode 0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).to_contain_text("episode 1")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#player h2")).to_have_text("Episode 12 · painted")
    page.keyboard.press(".")
    expect(page.get_by_label("Speed")).to_have_value("2")
    assert page.locator("#player video").evaluate("video => video.playbackRate") == 2
    page.keyboard.press("p")
    expect(page.locator("#player h2")).to_have_text("Episode 12 · painted")  # there is none newer
    page.keyboard.press("n")
    expect(page.locator("#player h2")).to_have_text("Episode 8 · painted")
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    assert page.evaluate("document.activeElement.className").startswith("plot")


def test_the_address_is_the_view(films, view, visit):
    seen = visit(view(films))
    page = seen.page
    page.get_by_role("button", name="Length", exact=True).click()
    page.get_by_role("button", name="Step", exact=True).click()
    page.get_by_label("Sort").select_option("Highest return")
    page.get_by_label("Filter clips by name").fill("episode-")
    page.wait_for_url("**clip=episode-**")
    page.reload()
    for name in ("Length", "Step"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Sort")).to_have_value("return desc")
    expect(page.get_by_label("Filter clips by name")).to_have_value("episode-")
    titles = page.locator(".card .title")
    expect(titles).to_have_text([f"Episode {number}" for number in (12, 8, 4, 0)])
    page.get_by_label("Sort").select_option("Shortest")
    expect(titles).to_have_text([f"Episode {number}" for number in (0, 4, 8, 12)])
    page.go_back()
    expect(titles).to_have_text([f"Episode {number}" for number in (12, 8, 4, 0)])
    page.get_by_role("button", name="Play Episode 4").click()
    expect(page.locator("#player")).to_be_visible()
    page.go_back()
    expect(page.locator("#player")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#player h2")).to_have_text("Episode 4 · painted")


def test_neighbours_of_a_clip_that_is_not_loaded(view, visit, tmp_path):
    video = made.make_video(tmp_path / "video.mp4")
    folder = made.make_run(tmp_path / "runs" / "made", 500, 10, video=video)
    keys = [f"{run_id(folder)}:{made.STREAM.hex()}-{clip}" for clip in range(50)]
    address = f"{view(folder)}/?runs={run_id(folder)}&at=0&play="
    page = visit(address + keys[5]).page
    expect(page.locator("#player h2")).to_have_text("Episode 50 · made")
    expect(page.locator(".card")).to_have_count(36)  # of the newest
    page.keyboard.press("n")
    expect(page.locator("#player h2")).to_have_text("Episode 40 · made")
    page.get_by_role("button", name="Clip before (p)").click()
    expect(page.locator("#player h2")).to_have_text("Episode 50 · made")
    page.goto(address + keys[0])
    expect(page.locator("#player h2")).to_have_text("Episode 0 · made")
    expect(page.get_by_role("button", name="Clip after (n)")).to_be_disabled()
    expect(page.get_by_role("button", name="Clip before (p)")).to_be_enabled()


def test_several_runs_lie_over_one_another(films, daemon, view, visit, tmp_path):
    film(tmp_path / "other", [22 + 5 * number for number in range(13)], every=6)
    seen = visit(view(films.parent, tmp_path))
    page = seen.page
    page.get_by_label("/painted in the plot").check()
    page.get_by_label("/other in the plot").check()
    episodes_drawn(page, 26)
    page.get_by_role("button", name="Interval").click()
    page.locator(".u-over").hover()
    expect(page.locator(".readout")).to_contain_text("of 2 runs")
    seen.shot("interval")
    page.get_by_label("Filter runs by name").fill("oth")
    expect(page.locator(".run-list li")).to_have_count(1)


@pytest.mark.parametrize("width", [360, pytest.param(390, marks=pytest.mark.slow)])
def test_a_phone_shows_it_without_scrolling_sideways(films, view, visit, width):
    seen = visit(view(films), viewport={"width": width, "height": 780}, has_touch=True, color_scheme="dark")
    page = seen.page
    sideways = "document.documentElement.scrollWidth > innerWidth"
    episodes_drawn(page, 13)
    assert not page.evaluate(sideways)
    assert page.get_by_label("Filter clips by name").bounding_box()["width"] > 140  # of what is typed all can be read
    seen.shot(f"phone-{width}")
    page.get_by_role("button", name=re.compile("^Runs")).click()
    expect(page.get_by_label("Filter runs by name")).to_be_visible()
    assert not page.evaluate(sideways)
    page.get_by_role("button", name="Play Episode 8").tap()
    still(page)
    assert not page.evaluate(sideways)
    assert not page.evaluate("(box => box.scrollWidth > box.clientWidth)(document.querySelector('#player'))")
    seen.shot(f"phone-player-{width}")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_at_each_width_numbers_stand_in_whole_rows(serve, visit, tmp_path, scheme):
    _, ready = serve()
    film(tmp_path / "painted", [20, 30], every=2)
    seen = visit(url_of(ready), color_scheme=scheme)
    page = seen.page
    episodes_drawn(page, 2)
    expect(page.locator("#health [data-item=drops] b")).to_be_visible()
    # for each of them how many stand side by side, row by row
    rows = """names => names.map(name => {
        const counts = {};
        for (const node of document.querySelectorAll(name)) {
            const top = Math.round(node.getBoundingClientRect().top);
            counts[top] = (counts[top] ?? 0) + 1;
        }
        return Object.values(counts);
    })"""
    for width, in_row in ((1440, 6), (1200, 6), (800, 3), (390, 3)):
        page.set_viewport_size({"width": width, "height": 900})
        tiles, health = page.evaluate(rows, [".tile", "#health .item"])
        assert tiles == [in_row] * (6 // in_row), width
        assert health == [3], width
        page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")  # drawings follow
        seen.shot(f"{scheme}-{width}")


def test_what_is_wrong_is_said_and_the_rest_works(films, view, visit, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "offcam.sqlite3").write_bytes(b"this is no database " * 500)
    half = shutil.copytree(films, tmp_path / "half")
    (half / "rl-video-episode-4.mp4").unlink()
    (tmp_path / "plain").mkdir()
    shutil.copy(films / "rl-video-episode-4.mp4", tmp_path / "plain" / "rl-video-episode-4.mp4")
    url = view(films.parent, tmp_path)
    seen = visit(f"{url}/?runs=0123456789ab")
    page = seen.page
    expect(page.get_by_role("heading", level=1)).to_have_text("That run is not here")
    page.locator(".run", has_text="broken").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{tmp_path.name}/broken cannot be read")
    seen.shot("broken")
    page.locator(".run", has_text="plain").click()
    expect(page.locator("#overview")).to_contain_text("Videos without offcam's index")
    expect(page.locator(".run", has_text="plain")).to_contain_text("1 video")
    expect(page.locator(".card")).to_contain_text("frames")
    page.locator(".card .watch").click()
    page.wait_for_function("() => document.querySelector('#player video').currentTime > 0.1")
    page.keyboard.press("Escape")
    page.locator(".run", has_text="half").click()
    page.get_by_role("button", name="Play Episode 4").click()
    expect(page.locator("#player .failed")).to_contain_text("was it moved")
    page.keyboard.press("Escape")
    page.locator(".run", has=page.get_by_text("/painted")).click()
    episodes_drawn(page, 13)
    run, name = page.url.partition("runs=")[2], f"{films.parent.name}/{films.name}"
    for key, what in (("nope-1", "Clip"), ("~99999", "Episode")):
        page.goto(f"{url}/?runs={run}&play={run}:{key}")
        expect(page.locator("#player h2")).to_have_text(f"{what} not found · {name}")
        expect(page).to_have_title(f"{what} not found · {name} · offcam")
        expect(page.locator("#player [role=status], #player .failed").filter(has_text="there is no")).to_be_visible()
    seen.forgive("404")


def test_what_the_env_said_of_its_episodes(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    film(tmp_path / "told", [10, 11, 12, 14], painted=Told())
    seen = visit(view(tmp_path / "told"))
    page = seen.page
    expect(page.locator(".tile", has_text="Success rate")).to_contain_text("75%")
    page.get_by_label("Draw", exact=True).select_option("distance")
    page.wait_for_url("**y=distance**")
    expect(page.locator("#curves .note")).to_contain_text("4 episodes.")
    page.locator(".plot").focus()
    page.keyboard.press("End")
    expect(page.locator(".readout")).to_contain_text("3.5")
    page.get_by_label("Show", exact=True).select_option("failure")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card")).to_contain_text("failure, 11 steps")
    page.locator(".card .watch").click()
    facts = page.locator("#player dl")
    expect(facts).to_contain_text("is_success0")
    expect(facts).to_contain_text("distance2.75")
    seen.shot("values")


def test_cards_of_another_run_cannot_be_clicked(films, view, visit, tmp_path):
    """As long as the clips of the one that was chosen have not come; they would play what was not asked for."""
    shutil.copytree(films, tmp_path / "other")
    seen = visit(view(films.parent, tmp_path))
    page = seen.page
    page.locator(".run", has=page.get_by_text("/painted")).click()
    expect(page.locator(".card").first).to_be_visible()
    held: list[Route] = []
    let_go: list[bool] = []
    page.route("**/clips?*", lambda route: route.continue_() if let_go else held.append(route))
    page.locator(".run", has_text="other").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{tmp_path.name}/other")
    assert page.locator(".grid").evaluate("grid => grid.inert && grid.children.length > 0")
    let_go.append(True)
    for route in held:
        route.continue_()
    page.get_by_role("button", name="Play Episode 4").click()
    expect(page.locator("#player h2")).to_have_text(f"Episode 4 · {tmp_path.name}/other")


def test_a_daemon_that_dies_is_missed_and_one_that_comes_back_is_found(serve, visit, tmp_path):
    process, ready = serve()
    url = url_of(ready)
    film(tmp_path / "painted", [20])
    seen = visit(url)
    page = seen.page
    episodes_drawn(page, 1)
    process.kill()
    process.communicate()
    expect(page.locator("#banner")).to_contain_text("The recorder does not answer.")
    expect(page.locator("#banner code")).to_have_text("offcam start")
    expect(page.locator("#health")).to_contain_text("no connection")
    expect(page.locator(".tile").first).to_be_visible()
    seen.shot("gone")
    serve("--http", url.removeprefix("http://"))
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("#health")).to_contain_text("idle")
    seen.forgive("ERR_")


def test_a_token_is_asked_for_once_a_tab(serve, visit, tmp_path, monkeypatch):
    token = "0123456789abcdef0123456789abcdef"  # noqa: S105 - a test's
    monkeypatch.setenv("OFFCAM_HTTP_TOKEN", token)
    _, ready = serve()
    film(tmp_path / "painted", [20])
    seen = visit(url_of(ready))
    page = seen.page
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#login .bad")).to_have_text("That is not this recorder's token.")
    page.get_by_role("textbox", name="Token").fill(token)
    page.get_by_role("button", name="Open").click()
    episodes_drawn(page, 1)
    page.wait_for_function("() => document.querySelector('.card img')?.naturalWidth > 0")
    page.get_by_role("button", name="Play Episode 0").click()
    page.wait_for_function("() => document.querySelector('#player video').currentTime > 0.1")
    page.reload()
    expect(page.locator("#player")).to_be_visible()
    assert token not in page.url
    seen.forgive("401")
