"""SIGTERM in the midst of the loop, with `offcam.flush_on_signal`: every finished episode is in the index."""

from __future__ import annotations

import random
import signal
import time

import pytest
from scenes import python, stopped

import films
from waiting import HANG_SECONDS, wait_until

LENGTH = 5
HEARD = 20
"""Episodes that a training has played when a test begins."""
SCRIPT = """
import signal, sys, offcam
from envs import Barcode, Look
{before}
offcam.flush_on_signal({arguments})
env = offcam.record(Barcode({length}, Look(84, 84)), sys.argv[1], every=50, overflow="block")
played = 0
while True:
    env.reset()
    for _ in range({length}):
        env.step(0)
    played += 1
    print(played, flush=True)
    {after}
"""
SAVES = """
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
"""


@pytest.fixture
def trainee(tmp_path, runtime, endpoint, serve, monkeypatch):
    """Starts a training in a busy loop, which has a daemon, and returns both once it has played some episodes."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")
    daemon, _ = serve()
    made = []

    def start(before="", after="pass", arguments=""):
        process = python(
            SCRIPT.format(before=before, after=after, arguments=arguments, length=LENGTH), tmp_path / str(len(made))
        )
        made.append(process)
        for _ in range(HEARD):
            assert process.stdout.readline(), process.communicate()
        return process, daemon, tmp_path / str(len(made) - 1)

    yield start
    for process in made:
        process.kill()
        process.communicate()


def ended(process) -> tuple[str, str]:
    """What it still says on stdout, and on stderr. `communicate` would pass over what has been read from the pipe."""
    output, error = process.stdout.read(), process.stderr.read()
    process.wait(HANG_SECONDS)
    return output, error


def last(output: str) -> int:
    """The last episode that was played to its end."""
    return int(output.splitlines()[-1]) if output else HEARD


def stored_all(folder, output):
    """Every episode whose last step returned is in the index, and the one whose last step was interrupted may be."""
    stored = [row.episode for row in films.episodes(folder)]
    assert stored == list(range(len(stored)))
    assert last(output) <= len(stored) <= last(output) + 1
    films.check(folder)


@pytest.mark.parametrize("_try", range(3))
def test_in_a_busy_loop(trainee, _try):
    process, _, folder = trainee()
    time.sleep(random.uniform(0, 0.1))
    process.send_signal(signal.SIGTERM)
    output, error = ended(process)
    assert process.returncode == -signal.SIGTERM, error
    assert error == ""
    stored_all(folder, output)


def test_a_handler_of_the_users_goes_on(trainee):
    """It is called when what has ended is safe; then the loop goes on, and records, until it sees that it is to end."""
    process, _, folder = trainee(before=SAVES, after="if told: env.close(); sys.exit(7)")
    process.send_signal(signal.SIGTERM)
    output, error = ended(process)
    assert process.returncode == 7, error
    stored_all(folder, output)
    assert len(films.episodes(folder)) == last(output)


def test_it_waits_no_longer_than_it_may(trainee, within):
    process, daemon, folder = trainee(arguments="seconds=0.5")
    with stopped(daemon):
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, error = ended(process)
        within(time.monotonic() - began, 0.5 + 2)
    assert process.returncode == -signal.SIGTERM, error
    wait_until(lambda: films.episodes(folder), "the daemon has taken in what was sent")


def test_told_twice_it_does_not_wait(trainee):
    process, daemon, _ = trainee(arguments="seconds=1e6")
    with stopped(daemon):
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
        _, error = ended(process)
    assert process.returncode == -signal.SIGTERM, error


def test_what_cannot_be_heard_is_refused():
    import offcam  # noqa: PLC0415 - the others need none in this process

    for wrong in ({"signum": signal.SIGKILL}, {"signum": signal.SIGCHLD}, {"seconds": 0}, {"seconds": float("nan")}):
        with pytest.raises(offcam.ConfigError, match=next(iter(wrong))):
            offcam.flush_on_signal(**wrong)
