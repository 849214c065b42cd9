"""axe-core finds nothing to complain about on any screen, light and dark, wide and as on a phone."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest
from stage import PHONE, Painted, film, playwright

import offcam
import runs
from envs import play
from going import going
from offcam_runs.run import read_run
from offcam_runs.run_ids import run_id
from waiting import wait_until

expect = playwright().expect

AXE = Path(__file__).parents[1] / "javascript" / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP = {"width": 1360, "height": 900}
LOOKS = {f"{scheme}-{size['width']}": (scheme, size) for scheme in ("light", "dark") for size in (DESKTOP, PHONE)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, shared_daemon):
    """A run with steps and videos, and two groups of runs that can be compared."""
    folder = tmp_path_factory.mktemp("accessible")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFCAM_ADDR", shared_daemon.address)
        env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), folder / "filmed", every=2, steps=True)
        for episode in range(6):
            env.reset(seed=episode)
            while not any(env.step(episode % 2)[2:4]):
                pass
        env.close()
    for group, score in {"ppo": 60.0, "dqn": 40.0}.items():
        for seed in range(3):
            runs.write(folder / group / f"seed{seed}", [score + seed] * 30, lengths=[10] * 30)
    return folder


def screens(folder):
    """The address of each screen, and what is there once it is drawn."""
    first = folder / "filmed"
    run, clips = run_id(first), [f"{clip.stream_id}-{clip.clip}" for clip in read_run(first).clips]
    two = ",".join(f"{run}:{key}" for key in clips[:2])
    return {
        "": ".all-runs .run canvas, .all-runs .run svg",
        "?statistics=1": ".statistics table",
        f"r/{run}": "#gallery img",
        f"r/{run}?as=table": "#gallery img",
        f"r/{run}/c/{clips[0]}?t=0": ".lane-head",
        f"?runs={run}&play={two}&at=0": ".lane-head",
    }


@pytest.mark.parametrize(("scheme", "size"), LOOKS.values(), ids=LOOKS)
def test_no_screen_has_a_violation(recorded, view, visit, scheme, size):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm --prefix tests/javascript install")
    url = view(recorded).rstrip("/")
    seen = visit(url, viewport=size, color_scheme=scheme, bypass_csp=True)  # whose policy refuses axe, too
    found = {}
    for place, drawn in screens(recorded).items():
        seen.page.goto(f"{url}/{place}")
        expect(seen.page.locator(drawn).first).to_be_visible()
        found |= violations(seen.page, place)
    assert found == {}


def violations(page, place):
    """What axe-core complains about on a screen: the elements by place and rule."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    return {f"{place}: {each['id']}": [node["html"] for node in each["nodes"]][:3] for each in found}


def recording(folder):
    return [clip for clip in read_run(folder).clips if clip.state == "recording"]


@pytest.mark.parametrize(("scheme", "size"), LOOKS.values(), ids=LOOKS)
def test_no_live_screen_has_a_violation(serve, endpoint, visit, tmp_path, monkeypatch, scheme, size):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm --prefix tests/javascript install")
    _process, ready = serve()
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    url = dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]
    film(tmp_path / "other", [5])
    env = offcam.record(Painted(10), str(tmp_path / "run"), every=1)
    play(env)
    env.unwrapped.length = 4000
    env.reset()
    run = f"r/{run_id(tmp_path / 'run')}"
    screens = {"?wall=1": ".wall video.now", "": ".run-list video.now", run: "#gallery video.now"}
    found = {}
    with going(env):
        wait_until(lambda: recording(tmp_path / "run"), "it is recorded")
        options = {"reduced_motion": "no-preference", "bypass_csp": True}
        seen = visit(url, viewport=size, color_scheme=scheme, **options)
        for number, (place, drawn) in enumerate(screens.items()):
            seen.page.goto(f"{url}/{place}")
            seen.page.locator("#gallery" if "#gallery" in drawn else "body").scroll_into_view_if_needed()
            expect(seen.page.locator(drawn).first).to_be_visible()
            seen.shot(f"live-{number}-{scheme}-{size['width']}")
            found |= violations(seen.page, place)
        seen.page.locator("#gallery").get_by_role("button", name="as it is recorded").click()
        expect(seen.page.locator(".transport").get_by_role("button", name="Following")).to_be_visible()
        seen.shot(f"live-player-{scheme}-{size['width']}")
        found |= violations(seen.page, "player")
    env.close()
    assert found == {}
