"""``offcam show``, ``plot``, ``compare`` and ``export``: what a recorded run says, from the command line."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import pytest

import commandline
import runs
from commandline import COMMAND, WAIT_SECONDS
from terminal import Terminal


@pytest.fixture
def offcam(tmp_path):
    def run(*arguments, without=""):
        if not without:
            return commandline.run(*arguments, cwd=tmp_path)
        blocked = f"import sys; sys.modules[{without!r}] = None; from offcamd.__main__ import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", blocked, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=WAIT_SECONDS,
        )  # fmt: skip

    return run


@pytest.fixture
def folder(tmp_path):
    return runs.write(tmp_path / "cartpole[b]", [23.0, 15.0, 200.0, 67.0, math.nan])


@pytest.fixture
def seeds(tmp_path):
    for name in ("ppo/seed-0", "ppo/seed-1", "ppo/seed-2", "dqn/seed-0"):
        runs.write(tmp_path / name, [float(number) for number in range(len(name), 150)])
    return tmp_path


def fine(done):
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# --- show -------------------------------------------------------------------------------------------------


def test_show(offcam, folder):
    shown = fine(offcam("show", folder))
    assert f"{folder}: 5 episodes of CartPole-v1, 60 steps; left out as not finite: 1 of the returns" in shown
    assert "19 to 155.8" in shown  # of the four that are finite: see tests/analysis
    assert "per step: reward 6.63, 0.01 seconds; 100 steps a second" in shown  # reward: of 46 of the 60 steps
    assert "success" not in shown  # nobody said what that is
    assert "95 %: bootstrap interval" in shown


def test_show_counts_successes_by_a_rule_and_only_by_one(offcam, folder):
    shown = fine(offcam("show", folder, "--success", "return > 0"))
    assert "success 80.0% (37.6% to 96.4%)" in shown
    assert "4 of 5 episodes with return > 0" in shown
    (run,) = json.loads(fine(offcam("show", folder, "--json")))["runs"]
    assert run["success"] is None
    assert "--success" in run["success_why"]


def test_show_counts_successes_by_what_the_env_said(offcam, tmp_path):
    infos = [{"is_success": 1.0, "distance": 0.5}, {}, {"is_success": 0.0, "distance": 1.5}]
    folder = runs.write(tmp_path / "told", [1, 2, 3], infos=infos)
    shown = fine(offcam("show", folder))
    assert "1 of 2 episodes with is_success" in shown
    listed = [line.split()[-2:] for line in fine(offcam("ls", folder)).splitlines()]
    assert listed[-4:] == [["is_success", "distance"], ["1", "0.5"], ["-", "-"], ["0", "1.5"]]
    assert "distance: mean 1 of 2 episodes" in shown
    assert "2 of 2 episodes with distance < 2" in fine(offcam("show", folder, "--success", "distance < 2"))
    wrong = offcam("show", folder, "--success", "reward > 2")
    assert wrong.returncode == 2
    assert "no episode has a value 'reward': there are distance, is_success" in wrong.stderr


def test_show_as_json(offcam, folder):
    found = json.loads(
        fine(offcam("show", folder, "--json", "--success", "terminated and return >= 20", "--last", "4"))
    )
    (run,) = found["runs"]
    assert found["groups"] == []
    assert (run["episodes"], run["return"]["non_finite"], run["return"]["count"]) == (4, 1, 3)
    assert run["return"]["mean"] == pytest.approx(94)
    assert run["length"]["median"] == 12.5
    assert run["per_step"] == pytest.approx({"reward": 282 / 36, "seconds": 0.01, "steps_per_second": 100})
    assert (run["success"]["rule"], run["success"]["rate"]) == ("terminated and return >= 20", 0.25)


def test_show_several_seeds_together(offcam, seeds):
    found = json.loads(fine(offcam("show", "ppo", "dqn", "--json")))
    assert [run["folder"] for run in found["runs"]] == ["ppo/seed-0", "ppo/seed-1", "ppo/seed-2", "dqn/seed-0"]
    (group,) = found["groups"]
    assert (group["env_id"], group["count"], group["mean"]) == ("CartPole-v1", 4, 99.5)  # each ends with 50 to 149
    assert group["score"] == "mean return of the last 100 episodes"
    assert "CartPole-v1: 4 runs together" in fine(offcam("show", "ppo", "dqn"))


def test_show_what_is_not_there(offcam, tmp_path):
    runs.write(tmp_path / "empty", [])
    assert "0 episodes" in fine(offcam("show", "empty"))
    assert json.loads(fine(offcam("show", "empty", "--json")))["runs"][0]["return"]["mean"] is None
    for arguments, message in [
        (("absent",), "does not exist"),
        ((tmp_path,), ""),
        (("empty", "--success", "reward"), "no condition of success"),
    ]:
        done = offcam("show", *arguments)
        assert done.returncode == (2 if message else 0)
        assert message in done.stderr
        assert "Traceback" not in done.stderr


# --- plot -------------------------------------------------------------------------------------------------


def test_the_guides_plot_in_one_command(offcam, tmp_path):
    runs.write(tmp_path / "cartpole", [float(number % 100) for number in range(1000)])
    assert fine(offcam("plot", "cartpole", "-o", "learning.svg")) == "learning.svg: 1,000 episodes of 1 run\n"
    assert "moving average of 100 episodes" in (tmp_path / "learning.svg").read_text()


def test_plot_several(offcam, seeds):
    fine(offcam("plot", "ppo", "dqn", "--group", "--x", "step", "--window", "20", "-o", "seeds.svg"))
    grouped = (seeds / "seeds.svg").read_text()
    assert "ppo (3 seeds)" in grouped
    assert ">dqn<" in grouped
    fine(offcam("plot", "ppo/seed-0", "ppo/seed-1", "--group", "-o", "together.svg"))
    assert "ppo (2 seeds)" in (seeds / "together.svg").read_text()
    fine(offcam("plot", "ppo", "dqn", "-o", "all.svg"))
    overlaid = (seeds / "all.svg").read_text()
    assert all(f">{name}<" in overlaid for name in ("ppo/seed-0", "ppo/seed-1", "ppo/seed-2", "dqn/seed-0"))


def test_plot_what_cannot_be_plotted(offcam, folder, tmp_path):
    runs.write(tmp_path / "empty", [])
    for arguments, message in [
        ((folder, "-o", "figure.bmp"), ".png, .svg, .pdf"),
        (("absent",), "does not exist"),
        ((folder, folder), "twice"),
        ((folder, "-o", "/proc/nothing/figure.png"), "cannot be written"),
    ]:
        done = offcam("plot", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    done = offcam("plot", "empty", "-o", "figure.png")
    assert (done.returncode, done.stdout) == (2, "")
    said = "offcam: there are no finished episodes in empty yet to be plotted: come back when one has ended\n"
    assert done.stderr == said  # once
    drawn = offcam("plot", "empty", folder, "-o", "some.svg")
    assert (drawn.returncode, drawn.stderr) == (0, "offcam: empty has no finished episodes yet\n")
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (("plot", "cartpole[b]"), "matplotlib", "plot"),
        (("export", "cartpole[b]", "--to", "parquet"), "pyarrow", "parquet"),
    ],
)
def test_a_library_that_is_missing(offcam, folder, arguments, module, extra):
    done = offcam(*arguments, without=module)
    assert done.returncode == 2
    assert f"needs {module}, which is not installed" in done.stderr
    assert f'-m pip install "offcam[{extra}]"' in done.stderr


# --- compare ----------------------------------------------------------------------------------------------


def test_compare(offcam, tmp_path):
    for group, scores in (("ppo", [5, 6, 7, 8, 9]), ("dqn", [1, 2, 9])):
        for number, score in enumerate(scores):
            runs.write(tmp_path / group / f"seed-{number}", [float(score)] * 4, lengths=[25] * 4)
    done = offcam("compare", "ppo", "dqn", "--threshold", "8")
    assert done.returncode == 0
    assert done.stderr == "offcam: dqn has 3 of the 5 runs that an interval should be of: with fewer it is too narrow\n"
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    found = json.loads(offcam("compare", "ppo", "dqn", "--threshold", "8", "--json").stdout)
    ppo = found["groups"][0]
    assert (ppo["iqm"]["value"], ppo["gap"]["value"]) == (pytest.approx(7), pytest.approx((3 + 2 + 1) / 5))
    assert next(line for line in lines if line.startswith("ppo ")).split() == [
        "ppo", "5", "7", *f"{ppo['iqm']['low']:.4g} to {ppo['iqm']['high']:.4g}".split(), "1.2",
        *f"{ppo['gap']['low']:.4g} to {ppo['gap']['high']:.4g}".split(),
    ]  # fmt: skip
    (pair,) = found["pairs"]
    assert pair["probability"]["value"] == pytest.approx((5 + 5 + 0.5) / 15)
    assert any(line.split()[:4] == ["ppo", ">", "dqn", "0.7"] for line in lines)
    assert any(line.split()[:3] == ["dqn", "50%", "4"] for line in lines)
    assert lines[-4].split() == ["dqn", "0.67", "0.33", "0.33", "0.33", "0.33", "0.33", "0.00"]
    assert found["score"] in lines[-2]
    assert found["warnings"] == [done.stderr.removeprefix("offcam: ").strip()]


def test_compare_what_cannot_be_compared(offcam, seeds):
    runs.write(seeds / "other", [1.0], env_id="Pole-v0")
    for words, why in (
        (("ppo",), "at least two groups"),
        (("ppo", "other"), "no env in common"),
        (("ppo", "ppo/seed-0"), "is given twice"),
        (("ppo", "dqn", "--scale", "Pole-v0"), "--scale takes ENV=LOW:HIGH"),
        (("ppo", "nowhere"), "nowhere"),
    ):
        assert why in commandline.one_line(offcam("compare", *words))


# --- export -----------------------------------------------------------------------------------------------


def test_export(offcam, folder, tmp_path):
    assert fine(offcam("export", folder, "--to", "csv")) == "cartpole[b]-episodes.csv: 5 episodes\n"
    with (tmp_path / "cartpole[b]-episodes.csv").open(newline="") as file:
        assert [row["return"] for row in csv.DictReader(file)] == ["23.0", "15.0", "200.0", "67.0", "NaN"]
    again = offcam("export", folder, "--to", "csv")
    assert again.returncode == 2
    assert "--force" in again.stderr
    fine(offcam("export", folder, "--to", "csv", "--force"))
    assert fine(offcam("export", folder, "--to", "monitor", "-o", "sb3")) == "sb3: 5 episodes in 1 file\n"
    assert (tmp_path / "sb3" / "monitor.csv").read_text().splitlines()[1:3] == ["r,l,t", "23.0,10,0.1"]


def test_what_is_done_soon_leaves_the_terminal_as_it_is(folder, tmp_path):
    with Terminal([*COMMAND, "export", str(folder), "--to", "csv", "-o", str(tmp_path / "x.csv")]) as terminal:
        assert terminal.left() == 0
        assert "5 episodes" in terminal.raw
        assert "\x1b" not in terminal.raw


def test_export_of_an_unknown_format(offcam, folder):
    done = offcam("export", folder, "--to", "xlsx")
    assert done.returncode == 2
    assert "parquet" in done.stderr


def test_the_verbs_show_the_newest_session_unless_another_is_asked_for(offcam, tmp_path):
    folder = runs.write(tmp_path / "run", [1.0, 2.0, 3.0], stream=b"1" * 16)
    runs.write(folder, [10.0, 20.0], stream=b"2" * 16, session=2)
    for session, count in (((), 2), (("--session", "1"), 3), (("--session", "all"), 5)):
        assert len(json.loads(offcam("ls", str(folder), "--json", *session).stdout)["episodes"]) == count
        (shown,) = json.loads(offcam("show", str(folder), "--json", *session).stdout)["runs"]
        assert (shown["episodes"], shown["sessions"]) == (count, [1, 2])
        out = tmp_path / f"{count}.csv"
        assert offcam("export", str(folder), "--to", "csv", "-o", str(out), *session).returncode == 0
        found = [row["session"] for row in csv.DictReader(out.read_text("utf-8").splitlines())]
        assert found == {2: list("22"), 3: list("111"), 5: list("11122")}[count]
        drawn = offcam("plot", str(folder), "-o", str(tmp_path / f"{count}.svg"), "--json", *session)
        assert json.loads(drawn.stdout)["episodes"] == count
    assert "session 2 of 2 (--session N for another, or all)" in offcam("ls", str(folder)).stdout
    every = offcam("ls", str(folder), "--session", "all").stdout
    assert "all 2 sessions (--session N for one of them)" in every
    assert [line.split()[-1] for line in every.splitlines()[-6:]] == ["session", *"11122"]
    refused = offcam("ls", str(folder), "--session", "7")
    assert refused.returncode == 2
    assert "has no session 7: its sessions are 1, 2" in refused.stderr
