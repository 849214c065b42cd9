"""What became of a run, by its streams."""

import pytest

from offcam_runs.run_state import state_of
from offcam_runs.streams import Stream


def stream(state="closed", started=0.0, ended=None, prefix="rl-video", suffix=0, replays=""):
    over = ended if ended is not None or state == "live" else started + 10
    return Stream(
        "ab" * 16, "CartPole-v1", 1, False, prefix, suffix, "node7", 1, "offcam", started, over, state, 1, replays
    )


@pytest.mark.parametrize(
    ("state", "streams"),
    [
        ("ended", []),
        ("ended", [stream(), stream()]),
        ("crashed", [stream("lost")]),
        ("crashed", [stream("lost"), stream(suffix=2, started=20)]),
        ("crashed", [stream("lost"), stream(started=5)]),  # beside it, not after it
        ("crashed", [stream(), stream("lost", started=20)]),
        ("ended", [stream("lost"), stream(started=20)]),
        ("ended", [stream(started=20), stream("lost")]),
        ("crashed", [stream("lost"), stream(started=20), stream("lost", started=40)]),
        ("lost", [stream("live")]),
        ("lost", [stream("lost"), stream(), stream("live", suffix=2)]),
        ("ended", [stream(), stream("lost", replays="cd" * 16)]),  # who rendered it was killed
        ("crashed", [stream("lost"), stream(started=20, replays="cd" * 16)]),
    ],
)
def test_what_became_of_it(state, streams):
    assert state_of(streams) == state
