"""axe-core finds nothing to complain about on any screen, light and dark, wide and as on a phone."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest
from stage import PHONE, playwright

import offcam
import runs
from offcam_runs.run import read_run
from offcam_runs.run_ids import run_id

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
        seen.page.evaluate(AXE.read_text("utf-8"))
        violations = seen.page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
        for each in violations:
            found[f"{place}: {each['id']}"] = [node["html"] for node in each["nodes"]][:3]
    assert found == {}
