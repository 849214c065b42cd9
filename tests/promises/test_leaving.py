"""However a process leaves, it does so in bounded time; what was recorded is finalised, what could not be is counted.

The deadline is `offcam.connection.timeouts.EXIT_SECONDS`; a daemon that says nothing is given up on before, after
`offcam.connection.timeouts.SILENCE_SECONDS`.
"""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenes import SLOW_DAEMON, encoded_and_dropped, offered, over, python, stopped

import films
from offcam.connection import timeouts
from offcamd.store.recovery import recover_folder
from waiting import HANG_SECONDS, wait_until

LENGTH = 20
MIDWAY = 7
OVERHEAD_SECONDS = 3.0
"""For the interpreter itself."""

FOR_EVER = 1e6
PATIENT = "; ".join(
    f"offcam.connection.timeouts.{name} = {FOR_EVER}" for name in ("EXIT_SECONDS", "SILENCE_SECONDS", "GONE_SECONDS")
)
"""Who waits for one of these does not leave, however busy the machine is."""

TELLS = """
finish = offcam.connection.connection.Connection.flush
def flush(*arguments, **options):
    print("finishing", flush=True)
    return finish(*arguments, **options)
offcam.connection.connection.Connection.flush = flush
"""
"""Says when it is about to wait for its recordings; at its end, as `env.flush` has been called before."""

SCRIPT = """
import signal, sys, time, offcam, offcam.connection.connection, offcam.connection.timeouts
from envs import Barcode, Look, play
{setup}
env = offcam.record(Barcode({length}, Look(84, 84)), sys.argv[1], every=1, overflow="block", strict=True)
play(env)
env.reset()
for _ in range({midway}):
    env.step(0)
{before}
{tells}
print("ready", flush=True)
sys.stdin.readline()
{ending}
"""
WAITS = "while True:\n    time.sleep(0.02)"
"""A signal that comes between two lines is seen at the next one: in one long sleep, when that is over."""
CATCHES = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))"
ENDINGS = {
    "end": ("", 0, []),
    "sys.exit": ("sys.exit(3)", 3, []),
    "error": ("1 / 0", 1, []),
    "ctrl-c": (WAITS, -signal.SIGINT, [signal.SIGINT]),
    "ctrl-c twice": (WAITS, -signal.SIGINT, [signal.SIGINT, signal.SIGINT]),
    "sigterm": (WAITS, -signal.SIGTERM, [signal.SIGTERM]),
    "sigterm caught": (f"{CATCHES}; print(flush=True)\n{WAITS}", 4, [signal.SIGTERM]),
}


class Leaver:
    """A process that recorded one episode and a part of the next, and leaves when it is told to."""

    def __init__(self, name: str, folder, *, setup: str = "", before: str = "env.flush()") -> None:
        self.ending, self.code, self.signals = ENDINGS[name]
        self.name = name
        self.folder = folder
        script = SCRIPT.format(
            length=LENGTH, midway=MIDWAY, setup=setup, before=before, tells=TELLS, ending=self.ending
        )
        self.process = python(script, folder)

    def ready(self) -> None:
        """Wait until it has recorded, and sits at its last line but one."""
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()

    def leave(self) -> None:
        """Tell it to leave. The second signal comes while it waits for its recordings, or has left already."""
        self.began = time.monotonic()
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        if "flush" in self.ending:
            self.process.stdout.readline()
        for number in self.signals:
            self.process.send_signal(number)
            if self.signals[1:]:
                self.process.stdout.readline()

    def gone(self) -> float:
        """Require that it leaves, and as it should; returns the seconds it took."""
        with self.process:
            _, self.error = self.process.communicate(timeout=HANG_SECONDS)
        took = time.monotonic() - self.began
        assert self.process.returncode == self.code, self.error
        assert "Exception ignored" not in self.error or self.signals[1:], self.error
        return took


@pytest.fixture
def leavers(tmp_path, runtime, endpoint, monkeypatch):
    """A process for each way to leave, all of them ready."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")
    made = []

    def make(names=ENDINGS, *, setup="", twice="", **how):
        for name in names:
            own = f"{PATIENT}; {twice}" if name == "ctrl-c twice" else setup
            made.append(Leaver(name, tmp_path / name.replace(" ", "-"), setup=own, **how))
        for leaver in made:
            leaver.ready()
        return made

    yield make
    for leaver in made:
        leaver.process.kill()
        leaver.process.communicate()


@pytest.fixture
def all_gone(within, capsys):
    """Require of all of them that they leave, within so many seconds beside the interpreter's own; shows how many."""

    def gone(made: list[Leaver], where: str, seconds: float) -> None:
        with ThreadPoolExecutor(len(made)) as pool:  # all of them are waited for at once
            times = dict(zip((leaver.name for leaver in made), pool.map(Leaver.gone, made), strict=True))
        with capsys.disabled():
            print(f"\nleft {where} in " + ", ".join(f"{name} {took:.1f} s" for name, took in times.items()))
        within(max(times.values()), seconds + OVERHEAD_SECONDS)

    return gone


def test_with_a_daemon(leavers, serve, all_gone):
    serve()
    made = leavers(setup=PATIENT)
    for leaver in made:
        leaver.leave()
    all_gone(made, "with a daemon", timeouts.LINGER_MS / 1000)
    for leaver in made:
        wait_until(lambda folder=leaver.folder: over(folder), f"the daemon has ended the videos of {leaver.name}")
        assert offered(leaver.folder) == LENGTH + 1 + MIDWAY + 1
        assert encoded_and_dropped(leaver.folder) == {"encoded": LENGTH + 1 + MIDWAY + 1}
        first, second = films.clips(leaver.folder).values()
        assert films.numbers(leaver.folder / first.file) == list(range(LENGTH + 1))
        assert films.numbers(leaver.folder / second.file) == list(range(MIDWAY + 1))
        assert first.state == "final"
        assert not second.complete
        assert [row.length for row in films.episodes(leaver.folder)] == [LENGTH]


def test_with_a_dead_daemon(leavers, serve, all_gone):
    process, _ = serve()
    made = leavers(setup=PATIENT, before="")  # the daemon may still have all to encode
    process.kill()
    process.wait()
    for leaver in made:
        leaver.leave()
    all_gone(made, "with a dead daemon", timeouts.LINGER_MS / 1000)
    for leaver in made:
        recover_folder(leaver.folder)
        films.check(leaver.folder)
        clips = sorted(films.clips(leaver.folder).values(), key=lambda clip: (clip.episode, clip.part))
        for episode, rendered in ((0, LENGTH + 1), (1, MIDWAY + 1)):
            # in parts where the daemon had not written all that it had taken in; the first has no file if it had none
            files = [leaver.folder / clip.file for clip in clips if clip.episode == episode and clip.file]
            shown = [number for file in files for number in films.numbers(file)]
            assert shown == sorted(set(shown) & set(range(rendered)))
            assert len(shown) >= rendered - 1, "one that the muxer had"
        assert leaver.signals[-1:] == [signal.SIGTERM] or "not confirmed" in leaver.error


@pytest.mark.parametrize("silence", [0.5, pytest.param(timeouts.SILENCE_SECONDS, marks=pytest.mark.slow)])
def test_with_a_stopped_daemon(leavers, serve, all_gone, silence):
    """Who is told twice does not wait for its silence to end."""
    process, _ = serve()
    made = leavers(setup=f"offcam.connection.timeouts.SILENCE_SECONDS = {silence}")
    with stopped(process):
        for leaver in made:
            leaver.leave()
        all_gone(made, "with a stopped daemon", silence + timeouts.LINGER_MS / 1000)
    for leaver in made:
        wait_until(lambda folder=leaver.folder: over(folder), f"the daemon has ended the videos of {leaver.name}")
        assert offered(leaver.folder) == LENGTH + 1 + MIDWAY + 1
        assert encoded_and_dropped(leaver.folder) == {"encoded": LENGTH + 1 + MIDWAY + 1}
        assert [row.length for row in films.episodes(leaver.folder)] == [LENGTH]


def test_the_deadline_holds_against_a_daemon_that_is_only_slow(leavers, serve, all_gone, tmp_path):
    """It answers all the time, so its silence ends nothing. What it has it still finishes."""
    gate = tmp_path / "gate"
    serve("0", "--gate", str(gate), script=SLOW_DAEMON)
    names = ("end", "ctrl-c", "ctrl-c twice")
    seconds = 2.5
    taken_in = (
        f"offcam.connection.timeouts.LINGER_MS = {HANG_SECONDS * 1000:.0f}"  # however long the daemon takes to read it
    )
    made = leavers(
        names, setup=f"{PATIENT}; offcam.connection.timeouts.EXIT_SECONDS = {seconds}", twice=taken_in, before=""
    )
    for leaver in made:
        leaver.leave()
    all_gone(made, f"with a slow daemon and a deadline of {seconds:g} s", seconds)
    gate.touch()
    for leaver in made:
        wait_until(lambda folder=leaver.folder: over(folder), f"the daemon has ended the videos of {leaver.name}")
        assert offered(leaver.folder) == LENGTH + 1 + MIDWAY + 1, (films.clips(leaver.folder), leaver.error)
        assert encoded_and_dropped(leaver.folder) == {"encoded": LENGTH + 1 + MIDWAY + 1}


def test_who_has_nothing_left_waits_for_nobody(tmp_path, runtime, endpoint, serve, monkeypatch):
    """A video that was cut off by a daemon's death is settled by the next one; after that, nothing is awaited."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")
    process, _ = serve()
    script = f"""
import sys, offcam, offcam.connection.timeouts
from envs import Barcode, play
env = offcam.record(Barcode(20), sys.argv[1], every=1)
play(env, 3)
print("played", flush=True)
sys.stdin.readline()
play(env, 3)
while not env.flush():
    pass
env.close()
{PATIENT}
print("closed", flush=True)
sys.stdin.readline()
"""
    with python(script, tmp_path / "run") as agent:
        assert agent.stdout.readline() == "played\n"
        process.kill()
        process.wait()
        process, _ = serve()
        agent.stdin.write("go\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == "closed\n"
        process.kill()
        process.wait()
        _, error = agent.communicate("go\n")
        assert agent.returncode == 0, error
        assert "not confirmed" not in error
    films.check(tmp_path / "run")
    assert len(films.episodes(tmp_path / "run")) == 6
