"""The benchmark works and counts right. What it measures is nobody's business here."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from offcam_runs.database import open_to_read
from offcam_runs.totals import RunTotals, run_totals
from waiting import HANG_SECONDS

BENCH = Path(__file__).parent
STEPS = 40


def run(*arguments: str, folder: Path) -> dict[str, Any]:
    report = folder / "report.json"
    done = subprocess.run(
        [sys.executable, str(BENCH), *arguments, "--json", str(report)],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {"text": done.stdout, **json.loads(report.read_text())}


def compared(folder: Path, *recorders: str) -> dict[str, Any]:
    settings = ("--quick", "--steps", str(STEPS), "--repetitions", "1", "--envs", "CartPole-v1")
    return run(*settings, "--recorders", *recorders, folder=folder)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compared(tmp_path_factory.mktemp("bench"), "pyav-inline", "pyav-thread", "offcam")


@pytest.mark.slow
def test_every_recorder_that_is_installed_has_a_row(tmp_path: Path) -> None:
    report = compared(tmp_path, "gymnasium", "pyav-inline", "pyav-thread", "imageio-ffmpeg", "offcam")
    needs = {"gymnasium": "moviepy", "imageio-ffmpeg": "imageio_ffmpeg"}
    installed = [name for name, module in needs.items() if importlib.util.find_spec(module)]
    assert [row["recorder"] for row in report["rows"]] == [
        "render-only", *[n for n in installed if n == "gymnasium"], "pyav-inline", "pyav-thread",
        *[n for n in installed if n == "imageio-ffmpeg"], "offcam",
    ]  # fmt: skip


def test_all_recorders_were_offered_the_same_frames(report: dict[str, Any]) -> None:
    offered = {row["expected"] for row in report["rows"] if row["recorder"] != "render-only"}
    assert len(offered) == 1
    assert offered.pop() > STEPS


@pytest.mark.parametrize("recorder", ["pyav-inline", "pyav-thread", "offcam"])
def test_every_frame_is_found_in_its_place(report: dict[str, Any], recorder: str) -> None:
    row = next(row for row in report["rows"] if row["recorder"] == recorder)
    assert row["found"] == row["expected"]
    assert row["in_place_percent"] == 100


def test_the_daemon_is_counted_for_offcam_alone(report: dict[str, Any]) -> None:
    with_daemon = {row["recorder"] for row in report["rows"] if row["daemon_mib"]}
    assert with_daemon == {"offcam"}


def test_the_text_says_how_each_figure_was_measured(report: dict[str, Any]) -> None:
    for method in report["methods"].values():
        assert method in report["text"]


@pytest.mark.slow
def test_another_tree_gets_a_row_of_its_own(tmp_path: Path) -> None:
    tree = BENCH.parents[1]
    settings = ("--quick", "--steps", "5", "--repetitions", "1", "--envs", "CartPole-v1", "--recorders", "offcam")
    rows = run(*settings, "--against", str(tree), folder=tmp_path)["rows"]
    assert [row["recorder"] for row in rows] == ["render-only", "offcam", f"offcam@{tree.name}"]
    assert rows[1]["found"] == rows[2]["found"] == rows[1]["expected"]


@pytest.mark.slow
def test_what_is_to_be_reached_is_measured_with_free_and_with_busy_cores(tmp_path: Path) -> None:
    report = run("--crowded", "--steps", str(STEPS), "--repetitions", "2", "--envs", "CartPole-v1", folder=tmp_path)
    rows = {(row["measure"].partition(",")[0], row["load"]): row for row in report["rows"]}
    assert {load for _, load in rows} == {"free", "crowded"}
    for row in rows.values():
        middle, least, most = row["offcam"]
        assert least <= middle <= most
        assert row["measure"] in report["text"]
    loop = rows["loop / render-only's", "crowded"]
    assert loop["reach"] == 1.1
    assert len(loop["writer"]) == 3


def test_busy_cores_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    crowded = importlib.import_module("crowded")
    with crowded.busy_cores(2) as pids:
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_the_pieces_are_measured(tmp_path: Path) -> None:
    pieces = run("--micro", "--quick", folder=tmp_path)["pieces"]
    assert all(piece["us"] > 0 for piece in pieces)
    assert {piece["piece"].split(":")[0] for piece in pieces} >= {"client", "daemon"}


@pytest.mark.slow
def test_a_daemon_in_trouble_is_measured(tmp_path: Path) -> None:
    report = run("--faults", "--steps", str(STEPS), "--repetitions", "1", "--envs", "CartPole-v1", folder=tmp_path)
    alone, *rows = report["rows"]
    trackers = ("tracker", "tracker hangs", "tracker fails", "sender killed")
    assert alone["case"] == "no recorder"
    assert alone["offered"] == 0
    assert [row["case"] for row in rows] == [
        "healthy", "none", "killed", "replaced", "stopped", "slow", "slow, spool", *trackers
    ]  # fmt: skip
    for row in rows:
        assert row["offered"] == row["encoded"] + row["dropped"] > STEPS
        assert row["ratio"] > 0
    assert rows[0]["dropped"] == rows[1]["encoded"] == 0


@pytest.mark.slow
def test_growth_is_measured(tmp_path: Path) -> None:
    rows = run("--growth", "--quick", folder=tmp_path)["rows"]
    assert {row["frames"] for row in rows} >= {10, 100, 1000}
    assert all(row["convert_us"] > 0 and row["write_us"] > 0 and row["remux_ms"] > 0 for row in rows)


def long_run(*arguments: str) -> str:
    command = [sys.executable, str(BENCH / "long_run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS, check=True).stdout


def test_a_long_run_is_as_a_daemon_would_have_left_it(tmp_path: Path) -> None:
    long_run("--keep", str(tmp_path / "run"), "--episodes", "1000")
    with open_to_read(tmp_path / "run") as database:
        assert RunTotals.kept(database).last == 1000
        kept = run_totals(database).as_dict()
        database.execute("CREATE TEMP TABLE meta AS SELECT * FROM main.meta WHERE key NOT LIKE 'totals:%'")
        counted = run_totals(database).as_dict()
    assert counted["episodes"] == 1000
    assert flat(kept) == pytest.approx(flat(counted), nan_ok=True)


def flat(found: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name} {key}": each
        for name, value in found.items()
        for key, each in (value.items() if isinstance(value, dict) else [("", value)])
    }


@pytest.mark.slow
def test_a_long_run_is_measured() -> None:
    said = long_run("--episodes", "2000")
    for name in ("ls", "show", "plot", "export", "offcam.load(run)", "/curve", "record, if_exists='resume'"):
        assert name in said


@pytest.mark.slow
def test_limits_are_measured(tmp_path: Path) -> None:
    rows = run("--reach", "--quick", folder=tmp_path)["rows"]
    told = {row["measure"]: row for row in rows}
    assert set(told) == {"import", "start", "records", "statistics", "single", "million", "1080p", "growth", "streams"}
    assert told["start"]["daemon"] > told["start"]["launcher"] > 0
    assert told["statistics"]["offcam/gymnasium"] > 0
    assert told["single"]["offcam"] > 0
    assert told["million"]["stored"] == told["million"]["of"] > 0
    assert told["million"]["most MiB"] >= told["million"]["MiB at the end"] > 0
    assert 0 < told["1080p"]["in the file"] <= told["1080p"]["offered"]  # all of them where the cores are free
    assert told["growth"]["frames"] == 1001
    assert told["streams"]["streams"] == 16
