"""The picture of now: a clip that is being recorded is seen up to its newest frame, in the same player."""

from __future__ import annotations

import os
import re
import signal

import httpx
import pytest
from stage import PHONE, Painted, film, frame_shown, playwright

import offcam
from envs import play
from going import going
from offcam_runs.run import read_run
from offcam_runs.run_ids import run_id
from waiting import freeze, wait_until

expect = playwright().expect

ENDLESS = 4000
"""Steps of an episode that lasts longer than a test; a `Painted` can count no further."""


@pytest.fixture
def live(serve, endpoint, tmp_path, monkeypatch):
    """The address of a daemon's page, and an env that it records: each episode has a clip, as long as it takes.

    It has one process that encodes, so that nothing is encoded while that is stopped.
    """
    _process, ready = serve("--encoders", "1")
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    env = offcam.record(Painted(ENDLESS), str(tmp_path / "run"), every=1)
    yield dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"], env
    env.close()


def sees_now(page, env):
    """Wait until the player shows what the env did when it was asked, or what came after that."""
    now = env.unwrapped.number
    wait_until(lambda: frame_shown(page.locator("#player video")) >= now, f"frame {now} is shown")


def test_the_picture_of_now_until_somebody_seeks_and_the_next_episode(live, visit):
    url, env = live
    env.reset()
    with going(env):
        seen = visit(url)
        page = seen.page
        title, video = page.locator("#player h2"), page.locator("#player video")
        following = page.locator(".transport").get_by_role("button", name=re.compile("^Follow"))
        slider = page.get_by_role("slider", name="Position")
        page.get_by_role("button", name="Watch Episode 0 as it is recorded").click()
        expect(title).to_have_text(re.compile("^Episode 0 · "))
        for _ in range(3):
            sees_now(page, env)
            expect(following).to_have_text("Following")
        expect(page.get_by_role("region", name="Steps")).to_be_hidden()
        seen.shot("live")
        for hidden in ("true", "false"):  # as another tab is looked at meanwhile
            page.evaluate(
                f"""() => {{
                    Object.defineProperty(document, "hidden", {{configurable: true, get: () => {hidden}}});
                    document.dispatchEvent(new Event("visibilitychange"));
                }}"""
            )
        sees_now(page, env)
        expect(following).to_have_text("Following")

        page.keyboard.press("ArrowLeft")  # somebody looks at what was before
        expect(following).to_have_text("Follow")
        before = frame_shown(video)
        frames = slider.get_attribute("max")
        expect(slider).not_to_have_attribute("max", frames)  # it grows all the same
        assert frame_shown(video) == before
        page.keyboard.press("Home")
        assert frame_shown(video) == 0
        page.keyboard.press("f")
        sees_now(page, env)
        page.keyboard.press(" ")
        expect(following).to_have_text("Follow")
        page.keyboard.press("f")
        expect(following).to_have_text("Following")
        sees_now(page, env)
        env.unwrapped.length = last = env.unwrapped.number + 20

        expect(page.locator("#player dt", has_text="Return")).to_be_visible()  # it is over, and its numbers are there
        wait_until(lambda: frame_shown(video) == last, "its last frame is shown")
        expect(following).to_have_text("Following")
    env.unwrapped.length = ENDLESS
    env.reset()
    with going(env):
        expect(title).to_have_text(re.compile("^Episode 1 · "))
        sees_now(page, env)
        page.keyboard.press("Escape")
        expect(title).to_be_hidden()


def test_who_looks_at_what_was_before_stays_there_when_the_clip_is_over(live, visit):
    url, env = live
    env.reset()
    with going(env):
        seen = visit(url, viewport=PHONE, has_touch=True, color_scheme="dark")
        page = seen.page
        page.get_by_role("button", name="Watch Episode 0 as it is recorded").tap()
        sees_now(page, env)
        seen.shot("live-phone")
        page.keyboard.press("ArrowLeft")
        before = frame_shown(page.locator("#player video"))
        env.unwrapped.length = last = env.unwrapped.number + 20
        expect(page.locator("#player dt", has_text="Return")).to_be_visible()
    slider = page.get_by_role("slider", name="Position")
    expect(slider).to_have_attribute("aria-valuetext", f"frame {before + 1} of {last + 1}")
    assert frame_shown(page.locator("#player video")) == before


@pytest.mark.parametrize("place", ["/", "/r/RUN"])
def test_a_page_that_is_left_open_moves_nothing_by_itself(live, visit, tmp_path, place):
    """A mark that pulsed had the browser draw 60 times a second: a third of a core, on the host that trains."""
    url, env = live
    env.unwrapped.length = 5
    play(env, 2)
    env.flush()
    page = visit(url + place.replace("RUN", run_id(tmp_path / "run"))).page
    expect(page.locator(".dot.live").first).to_be_visible()
    moving = "document.getAnimations().filter((each) => each.effect.getTiming().iterations > 1).length"
    assert page.evaluate(moving) == 0


LEAVING = """async () => {
    const { showNow } = await import("/static/now.js");
    const looked = (node) => new Promise((done) => new IntersectionObserver(() => setTimeout(done)).observe(node));
    const add = (parent) => {
        const node = parent.appendChild(document.createElement("span"));
        showNow(node, "run:clip");
        return new WeakRef(node);
    };
    document.body.insertAdjacentHTML("beforeend", '<div id="below"></div>');
    document.getElementById("below").style.marginTop = "9000px";
    window.left = Array.from({ length: 20 }, () => add(document.getElementById("below")));
    await looked(document.getElementById("below"));
    document.getElementById("below").remove();
    add(document.body);
    await looked(document.body);
}"""


def test_a_picture_of_now_that_goes_while_it_is_out_of_sight_is_let_go_of(live, visit):
    url, _env = live
    page = visit(url).page
    page.evaluate(LEAVING)
    devtools = page.context.new_cdp_session(page)

    def held():
        devtools.send("HeapProfiler.collectGarbage")
        return page.evaluate("left.filter((each) => each.deref()).length")

    wait_until(lambda: held() == 0, "nothing holds them any more", held)


PLACES = {  # and the lengths of episodes that are over by then, whose posters are there
    "wall": ("/?wall=1", ".wall", [10]),
    "runs": ("/", ".run-list", [10]),
    "gallery": ("/r/RUN", "#gallery", [10]),
    "stages": ("/r/RUN", "#stages", [10, 12]),
}


def begin_after(env, folder, lengths):
    """Record episodes of these lengths, and begin a long one."""
    for length in lengths:
        env.unwrapped.length = length
        play(env)
    env.unwrapped.length = ENDLESS
    env.reset()
    wait_until(lambda: any(clip.state == "recording" for clip in read_run(folder).clips), "it is recorded")


@pytest.mark.parametrize("where", PLACES)
def test_what_is_in_sight_shows_its_picture_of_now(live, visit, tmp_path, where):
    url, env = live
    place, within, lengths = PLACES[where]
    film(tmp_path / "other", [5])  # of several runs there is a list
    begin_after(env, tmp_path / "run", lengths)
    with going(env):
        seen = visit(url + place.replace("RUN", run_id(tmp_path / "run")), reduced_motion="no-preference")
        page = seen.page
        now = page.locator(f"{within} video.now")
        page.locator(within).scroll_into_view_if_needed()
        expect(now).to_have_count(1)
        number = env.unwrapped.number
        wait_until(lambda: frame_shown(now) >= number, f"frame {number} is shown")
        seen.shot(f"now-{where}")
        page.emulate_media(reduced_motion="reduce")  # nothing moves by itself then
        expect(now).to_have_count(0)
        page.emulate_media(reduced_motion="no-preference")
        expect(now).to_have_count(1)
        page.evaluate("document.body.style.paddingBottom = '4000px'; scrollTo(0, 3500)")
        expect(now).to_have_count(0)
        page.locator(within).scroll_into_view_if_needed()
        number = env.unwrapped.number
        wait_until(lambda: now.count() == 1 and frame_shown(now) >= number, f"frame {number} is shown")
        env.unwrapped.length = env.unwrapped.number + 20
        expect(now).to_have_count(0)  # the clip is over, and its poster is there
    env.unwrapped.length = ENDLESS
    env.reset()
    with going(env):
        wait_until(lambda: now.count() == 1 and frame_shown(now) >= 1, "the next one is shown")


def test_what_is_recorded_is_seen_beside_what_is_over_and_played_with_it_once_it_is_over_too(live, visit, tmp_path):
    url, env = live
    begin_after(env, tmp_path / "run", [10])
    with going(env):
        seen = visit(f"{url}/r/{run_id(tmp_path / 'run')}", reduced_motion="no-preference")
        page = seen.page
        for episode in (0, 1):
            page.get_by_label(f"Compare Episode {episode}", exact=True).check()
        page.get_by_role("button", name="Play 2 side by side").click()
        now, over = page.locator("#player video.now"), page.locator("#player video:not(.now)")
        expect(now).to_have_count(1)
        expect(page.get_by_text("still being recorded")).to_be_hidden()
        for _ in range(2):
            number = env.unwrapped.number
            wait_until(lambda number=number: frame_shown(now) >= number, f"frame {number} is shown")
        wait_until(lambda: frame_shown(over.first) == 10, "the one that is over was played")
        seen.shot("compare-now")
        boxes = [now.bounding_box(), over.first.bounding_box()]
        assert abs(boxes[0]["height"] - boxes[1]["height"]) < 2
        page.emulate_media(reduced_motion="reduce")
        expect(now).to_have_count(0)
        expect(page.get_by_text("still being recorded")).to_be_visible()
        env.unwrapped.length = last = env.unwrapped.number + 20
        expect(page.locator("#player video[src]")).to_have_count(2)
        page.keyboard.press("End")
        wait_until(lambda: [frame_shown(video) for video in over.all()] == [10, last], "both show their last frame")


def test_a_clip_that_waits_to_be_encoded_is_said_to_be_over_and_played_once_it_is_whole(live, visit, tmp_path):
    url, env = live
    env.unwrapped.length = 30
    play(env, 1)
    env.flush()
    pids = httpx.get(f"{url}/api/stats").json()["encoders"]["pids"]
    try:
        for pid in pids:
            freeze(pid)
        play(env, 2)
        env.unwrapped.length = ENDLESS
        env.reset()
        with going(env):
            seen = visit(f"{url}/r/{run_id(tmp_path / 'run')}")
            page = seen.page
            card = page.locator(".card", has_text="Episode 1")
            expect(card.locator(".flag")).to_have_text("ended")
            expect(card).to_contain_text("being made")
            expect(page.locator(".card", has_text="Episode 3").locator(".flag")).to_have_text("recording")
            seen.shot("being-made")
            card.get_by_role("button", name="Watch Episode 1 as it is made").click()
            expect(page.locator("#player dd").first).to_have_text("over, its video is being made")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    expect(page.locator("#player dt", has_text="Return")).to_be_visible()
    expect(page.locator("#player h2")).to_have_text(re.compile("^Episode 1 · "))
    page.keyboard.press("End")
    wait_until(lambda: frame_shown(page.locator("#player video")) == 30, "its last frame is shown")


def test_who_asks_for_the_picture_of_now_sees_what_comes_next_where_that_clip_is_over_by_then(live, visit, tmp_path):
    url, env = live
    run = tmp_path / "run"
    env.unwrapped.length = 30
    play(env, 12)
    env.flush()
    pids = httpx.get(f"{url}/api/stats").json()["encoders"]["pids"]
    env.unwrapped.length = ENDLESS
    env.reset()
    with going(env):
        wait_until(lambda: [*run.glob("rl-video-episode-12*.part")], "the first frames of episode 12 are encoded")
    try:
        for pid in pids:
            freeze(pid)
        env.reset()
        with going(env):
            page = visit(f"{url}/r/{run_id(run)}").page
            title, following = page.locator("#player h2"), page.get_by_role("button", name="Following")
            page.get_by_role("button", name="See now what is recorded").click()
            expect(title).to_have_text(re.compile("^Episode 12 · "))
            expect(following).to_be_visible()
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            expect(title).to_have_text(re.compile("^Episode 13 · "))
            sees_now(page, env)
            expect(following).to_be_visible()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
