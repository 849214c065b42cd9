"""What people see in a terminal: ``offcam top``, and the progress of what takes long."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import films
import offcam
from commandline import COMMAND, WAIT_SECONDS
from envs import Barcode, Look, play
from offcamd.cli.query import Asker, ask_stats
from offcamd.cli.topview import View
from terminal import Terminal, plain

LENGTH = 20
TESTS = Path(__file__).parents[1]
SLOW_DAEMON = TESTS / "peers" / "slow_daemon.py"


@pytest.fixture(autouse=True)
def address(endpoint, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")


@pytest.fixture
def recorded(tmp_path, serve):
    """Five envs that record: two episodes each, and the first steps of the next."""
    process, _ = serve()
    with contextlib.ExitStack() as stack:
        for number in range(5):
            env = offcam.record(Barcode(LENGTH), str(tmp_path / f"run{number}"), every=1)
            stack.callback(env.close)
            play(env, 2)
            env.flush()
            env.reset()
            env.step(0)
        yield process


# --- top ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--once",)], ids=["piped", "once"])
def test_top_prints_once(recorded, options, offcam_command):
    done = offcam_command("top", *options, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert f"pid {recorded.pid}" in done.stdout
    assert "1 client, 5 streams" in done.stdout
    rows = re.findall(
        r"^Barcode +(run\d) +(\d+) +2 +([\d,.]+) +(\d+) +(\d+) .* (\d+) recording *$", done.stdout, re.MULTILINE
    )
    assert [row[0] for row in rows] == [f"run{number}" for number in reversed(range(5))]
    for _, _, rate, last, mean, dropped in rows:
        assert float(rate.replace(",", "")) > 0
        assert (last, mean, dropped) == (str(LENGTH), str(LENGTH), "0")


def test_top_without_a_daemon_says_what_to_do(endpoint, offcam_command):
    done = offcam_command("top")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no offcam daemon at {endpoint.url}" in done.stderr
    assert "offcam start" in done.stderr


def test_top_from_before_a_daemon_until_after_the_next(serve):
    with Terminal([*COMMAND, "top", "--interval", "0.1"]) as terminal:
        assert "No daemon" in terminal.until("offcam start")
        process, _ = serve()
        terminal.until(f"pid {process.pid}")
        terminal.until("Nobody records")
        process.kill()
        process.wait()
        terminal.until("No daemon")
        other, _ = serve()
        terminal.until(f"pid {other.pid}")
        terminal.type("q")
        assert terminal.left() == 0
        assert terminal.as_before
        assert "Traceback" not in terminal.raw


LEAVING = {
    "ctrl-c": (lambda terminal: terminal.type("\x03"), 0),
    "sigint": (lambda terminal: terminal.process.send_signal(signal.SIGINT), 0),
    "sigterm": (lambda terminal: terminal.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
    "escape": (lambda terminal: terminal.type("\x1b"), 0),
}


@pytest.mark.parametrize("how", LEAVING)
def test_top_leaves_the_terminal_as_it_was(serve, how):
    leave, code = LEAVING[how]
    serve()
    with Terminal([*COMMAND, "top", "--interval", "3600"]) as terminal:
        terminal.until("q leaves")
        leave(terminal)
        assert terminal.left() == code, terminal.raw  # it does not wait for its next look
        assert terminal.as_before
        assert "Traceback" not in terminal.raw
        assert "Aborted" not in terminal.raw


def test_top_fits_every_terminal(recorded, endpoint):
    view = View()
    view.take(ask_stats(endpoint), 0.0)
    for columns, rows in ((200, 50), (80, 24), (60, 10), (40, 8), (20, 7), (5, 3)):
        console = Console(width=columns, height=rows, force_terminal=True)
        with console.capture() as captured:
            console.print(view.show(columns, rows))
        lines = plain(captured.get()).splitlines()
        assert max(map(len, lines)) <= columns
        assert len(lines) <= max(rows, 7), lines
        hidden = max(5 - max(rows - 6, 1), 0)
        assert sum(line.startswith("Barc") for line in lines) == 5 - hidden
        if columns >= 40:
            assert (f"not shown: {hidden}" in lines[-1]) == bool(hidden)
            assert "steps/s" in lines[4]


def column(view, heading):
    console = Console(width=120)
    with console.capture() as captured:
        console.print(view.show(120, None))
    lines = captured.get().splitlines()
    begin = next(line for line in lines if "steps/s" in line).index(heading)
    return [line[begin : begin + len(heading)] for line in lines if line.startswith("Barcode")]


def test_top_sorts_by_any_column_and_turns_round(recorded, endpoint):
    stats = ask_stats(endpoint)
    for stream in stats["stream_list"]:
        number = int(stream["folder"][-1])
        stream["frames"]["dropped"] = {"queue_full": number * 3 % 5}
        stream["pid"] = None if number == 2 else number
    view = View("dropped")
    view.take(stats, 0.0)
    assert [int(each) for each in column(view, "dropped")] == [4, 3, 2, 1, 0]
    view.turn_round()
    assert [int(each) for each in column(view, "dropped")] == [0, 1, 2, 3, 4]
    view = View("run")
    view.take(stats, 0.0)
    assert column(view, "run ") == ["run0", "run1", "run2", "run3", "run4"]
    view.sort_next()
    assert column(view, "pid")[-1].strip() == "-"  # what is not known is behind
    for _ in range(9):
        view.sort_next()
    assert column(view, "run ") == ["run4", "run3", "run2", "run1", "run0"]  # the latest first, as at the beginning


def test_top_is_sorted_by_keys_while_it_runs(recorded):
    with Terminal([*COMMAND, "top", "--interval", "3600", "--sort", "run"]) as terminal:
        terminal.until("s sorts by the next column")
        before = len(terminal.raw)
        terminal.type("r")
        terminal.until("run4")
        shown = plain(terminal.raw[before:])
        assert shown.index("run4") < shown.index("run0")
        terminal.type("q")
        assert terminal.left() == 0


def test_top_knows_its_columns(offcam_command):
    done = offcam_command("top", "--sort", "nonsense")
    assert done.returncode == 2
    assert "'steps/s'" in done.stderr


def test_top_counts_what_happens_between_two_looks(tmp_path, serve, endpoint):
    serve()
    env = offcam.record(Barcode(LENGTH), str(tmp_path / "run"), every=1, overflow="block")
    view = View()
    with Asker(endpoint) as asker:
        for now in (0.0, 2.0):
            play(env, 2)
            assert env.flush()
            stats = asker.ask()
            view.take(stats, now)
    (stream,) = stats["stream_list"]
    assert (stream["env_id"], stream["num_envs"], stream["folder"]) == ("Barcode", 1, str(tmp_path / "run"))
    assert stream["frames"] == {"encoded": 4 * (LENGTH + 1), "dropped": {}}
    console = Console(width=100)
    with console.capture() as captured:
        console.print(view.show(100, None))
    assert re.search(rf"\b{LENGTH}\b", captured.get())  # 2 episodes of 20 steps in 2 s
    view.miss("it is gone")
    with console.capture() as captured:
        console.print(view.show(100, None))
    assert "it is gone" in captured.get()
    env.close()


def test_a_stream_s_drops_and_waiting_frames_are_in_the_statistics(tmp_path, serve, endpoint):
    gate = tmp_path / "gate"
    serve("0", "--gate", str(gate), "--memory-limit", "4MiB", "--spool-limit", "0", script=SLOW_DAEMON)
    env = offcam.record(Barcode(60, Look(200, 200)), str(tmp_path / "run"), every=1)
    with pytest.warns(UserWarning, match="are missing"):  # noqa: PT031 - whichever hears of it first
        play(env)
        seen = ask_stats(endpoint)["stream_list"]
        gate.touch()
        env.env.stop_recording()
        assert env.flush()
    (stream,) = ask_stats(endpoint)["stream_list"]
    assert seen[0]["queue_frames"] > 0
    assert seen[0]["queue_bytes"] > 0
    assert seen[0]["encode_lag_seconds"] > 0
    assert (stream["queue_frames"], stream["queue_bytes"], stream["recording"]) == (0, 0, 0)
    (clip,) = films.clips(tmp_path / "run").values()
    assert stream["frames"] == {"encoded": clip.frames, "dropped": clip.dropped}
    env.close()


# --- progress -------------------------------------------------------------------------------------------------

CLOSES = """
import sys, offcam
from envs import Barcode, play
quiet = sys.argv[2] == "quiet"
env = offcam.RecordVideo(Barcode(40), sys.argv[1], lambda _: True, overflow="block", disable_logger=quiet)
play(env)
env.close()
print("closed")
"""


def test_close_shows_its_progress_on_a_terminal_and_wipes_it_off(tmp_path, serve, monkeypatch):
    gate = tmp_path / "gate"
    serve("0", "--gate", str(gate), script=SLOW_DAEMON)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    with Terminal([sys.executable, "-c", CLOSES, str(tmp_path / "run"), "quiet"]) as terminal:
        shown = terminal.until("offcam: finishing videos: 1 left, ")
        gate.touch()
        shown += terminal.until("closed")
        assert terminal.left() == 0
    assert re.search(r"offcam: finishing videos: 1 left, \d+ frames", shown)
    assert re.search(r"\r +\rclosed", shown)


@pytest.mark.parametrize(("how", "lines"), [("quiet", 0), ("loud", 1)])
def test_close_is_quiet_off_a_terminal_unless_it_was_asked(tmp_path, serve, how, lines, monkeypatch):
    serve("0.02", script=SLOW_DAEMON)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    command = [sys.executable, "-c", CLOSES, str(tmp_path / "run"), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("finishing videos") == lines


def test_a_verb_that_is_done_soon_shows_no_progress(tmp_path, serve):
    process, _ = serve()
    env = offcam.record(Barcode(LENGTH), str(tmp_path / "run"), every=1)
    play(env)
    env.close()
    process.terminate()
    process.wait(WAIT_SECONDS)
    for verb, code in (("verify", 0), ("recover", 1)):
        with Terminal([*COMMAND, verb, str(tmp_path / "run")]) as terminal:
            assert terminal.left() == code
            assert "%" not in plain(terminal.raw)


BAR = """
import time
from offcamd.cli import progress as shown
shown.PATIENCE_SECONDS = 0.2
with shown.progress_bar("Decoding") as progress:
    for done in range(8):
        time.sleep(0.1)
        if progress:
            progress(done, 8)
print("done")
"""

ONE_LONG_STEP = """
import time
from offcamd.cli import progress as shown
shown.PATIENCE_SECONDS = 0.1
with shown.progress_bar("Decoding"):
    time.sleep(0.8)
print("done")
"""


def test_what_takes_long_shows_a_bar_on_a_terminal_only():
    with Terminal([sys.executable, "-c", BAR]) as terminal:
        shown = terminal.until("done")
        assert terminal.left() == 0
        assert terminal.as_before
    assert "Decoding" in shown
    assert "%" in shown
    done = subprocess.run([sys.executable, "-c", BAR], capture_output=True, text=True, check=True, timeout=WAIT_SECONDS)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_one_long_step_shows_a_bar_too():
    with Terminal([sys.executable, "-c", ONE_LONG_STEP]) as terminal:
        assert "Decoding" in terminal.until("done")
        assert terminal.left() == 0
        assert terminal.as_before
