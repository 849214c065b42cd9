"""The page as a folder of files: it works from a disk, with no recorder behind it, and asks nothing of anybody."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from stage import SIDE, Painted, Told, film, playwright

import offcam
import runs as written
from envs import Barcode
from offcam_runs.run_ids import run_id

expect = playwright().expect


@pytest.fixture
def runs(embedded):
    """Two runs; of one it is known how its episodes ended, of the other each step."""
    folder = embedded / "runs"
    film(folder / "told", [*range(4, 30, 2), 5, 7], every=2, painted=Told())
    env = offcam.record(Barcode(12), str(folder / "stepped"), every=1, steps=True)
    for _ in range(3):
        env.reset()
        while not any(env.step(0)[2:4]):
            pass
    env.close()
    return folder


def test_it_is_the_same_page(runs, offcam_command, visit, tmp_path):
    site = tmp_path / "site"
    done = json.loads(offcam_command("export", str(runs), "--to", "html", "-o", str(site), "--json").stdout)
    assert (done["runs"], done["clips"]) == (2, 11)
    seen = visit(f"file://{site}/index.html#/?runs={run_id(runs / 'told')}")
    page = seen.page
    expect(page.locator("#health")).to_contain_text("exported on")
    expect(page.get_by_role("heading", level=1)).to_have_text("told")
    page.wait_for_function("() => document.querySelector('.chart').dataset.episodes === '15'")
    mean = np.mean([*range(4, 30, 2), 5, 7])
    returns = page.locator(".tile").filter(has_text="Length, last 100").locator(".number")
    expect(returns).to_have_text(f"{round(mean, 2):g}")
    expect(page.locator(".card img")).to_have_count(8)
    page.wait_for_function("() => [...document.querySelectorAll('.card img')].every(image => image.naturalWidth > 0)")
    seen.shot("exported")

    page.get_by_label("Sort").select_option("Longest")
    expect(page.locator(".card").first).to_contain_text("Episode 12")
    page.get_by_label("Show", exact=True).select_option("Failed")
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("button", name="Play Episode 14").click()
    expect(page.locator("#player h2")).to_have_text("Episode 14 · told")
    page.wait_for_function(f"() => document.querySelector('#player video').videoWidth === {2 * SIDE}")
    there = page.url
    assert "#/r/" in there
    page.go_back()
    expect(page.locator("#player")).to_be_hidden()
    page.goto(there)
    page.reload()
    expect(page.locator("#player h2")).to_have_text("Episode 14 · told")


def test_steps_are_beside_the_video(runs, offcam_command, visit, tmp_path):
    site = tmp_path / "site"
    offcam_command("export", str(runs), "--to", "html", "-o", str(site))
    page = visit(f"file://{site}/index.html#/r/{run_id(runs / 'stepped')}/e/1").page
    expect(page.locator("#player h2")).to_have_text("Episode 1 · stepped")
    expect(page.locator("#player")).to_contain_text("Return so far")


def test_clips_of_a_seed_and_each_sub_environment_are_there_and_what_is_not_is_said(
    embedded, offcam_command, visit, tmp_path
):
    seeded, vector = embedded / "runs" / "seeded", embedded / "runs" / "vector"
    painted = Painted(6)
    env = offcam.record(painted, str(seeded), every=1)
    for seed in (3, 4, 3):
        env.reset(seed=seed)
        while not any(env.step(0)[2:4]):
            pass
    env.close()
    envs = offcam.record(
        SyncVectorEnv([lambda length=length: Painted(length) for length in (4, 7)]), str(vector), every=1, steps=True
    )
    envs.reset()
    for _ in range(12):
        envs.step(np.array([0, 1]))
    envs.close()
    for name in ("ppo/0", "ppo/1", "dqn/0", "dqn/1"):
        written.write(embedded / "runs" / name, [1.0, 2.0], lengths=[10, 10])
    site = tmp_path / "site"
    assert offcam_command("export", str(embedded / "runs"), "--to", "html", "-o", str(site)).returncode == 0
    page = visit(f"file://{site}/index.html#/r/{run_id(seeded)}/e/0").page
    page.get_by_label("Compare with").select_option("Same seed")
    expect(page.locator("#player figcaption .who b")).to_have_text(["Episode 0", "Episode 2"])

    seen = visit(f"file://{site}/index.html#/r/{run_id(vector)}/e/0")
    page = seen.page
    chosen = page.locator("#player .traces select")
    expect(chosen).to_be_visible()
    for env in ("1", "0"):
        chosen.select_option(env)
        expect(chosen).to_have_value(env)
        action = page.locator("#player .lane-head").filter(has_text="action")
        expect(action.locator(".value")).to_have_text(env)  # each does what its number is
    seen.shot("exported-vector")

    page = visit(f"file://{site}/index.html#/?statistics=1").page
    expect(page.get_by_role("region", name="Statistics")).to_contain_text("An exported page has no statistics")
    expect(page.get_by_role("button", name="Wall")).to_be_visible()
    expect(page.get_by_role("button", name="Statistics")).to_be_hidden()
    page.goto(f"file://{site}/index.html#/?runs={run_id(seeded)},{run_id(vector)}")
    expect(page.get_by_role("button", name="Raw")).to_be_visible()
    expect(page.get_by_role("button", name="Interval")).to_have_count(0)


def test_what_is_there_stays(runs, offcam_command, tmp_path):
    site = tmp_path / "site"
    words = ("export", str(runs), "--to", "html", "-o", str(site))
    assert offcam_command(*words).returncode == 0
    done = offcam_command(*words)
    assert (done.returncode, "replace it with --force" in done.stderr) == (2, True)
    assert offcam_command(*words, "--force").returncode == 0
    (site / "offcam-page.json").unlink()
    done = offcam_command(*words, "--force")
    assert (done.returncode, "is no exported page" in done.stderr) == (2, True)
    done = offcam_command("export", str(tmp_path / "nothing"), "--to", "html", "-o", str(tmp_path / "none"))
    assert (done.returncode, "there is no folder" in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"], "and nothing half written"
