"""Which session of a run its readers see."""

from __future__ import annotations

import math

import pytest

import offcam
import runs
from offcam_proto.errors import ConfigError
from offcam_runs.sessions import session_of
from offcam_runs.streams import Stream, number_of_envs


@pytest.fixture
def folder(tmp_path):
    """Three trainings, the second with two envs."""
    where = runs.write(tmp_path / "run", [1.0, 2.0, 3.0], stream=b"1" * 16)
    runs.write(where, [10.0, 20.0], stream=b"2" * 16, session=2)
    runs.write(where, [30.0], stream=b"3" * 16, session=2, env_id="Other-v0")
    return runs.write(where, [7.0] * 5, stream=b"4" * 16, session=3)


@pytest.mark.parametrize(
    ("session", "returns", "shown"),
    [
        (None, [7.0] * 5, 3),
        (3, [7.0] * 5, 3),
        (2, [10.0, 20.0, 30.0], 2),
        (1, [1.0, 2.0, 3.0], 1),
        ("all", [1.0, 2.0, 3.0, 10.0, 20.0, 30.0, *[7.0] * 5], None),
    ],
)
def test_a_session_is_shown_alone(folder, session, returns, shown):
    run = offcam.load(folder, session=session)
    assert run.episodes.return_.tolist() == returns
    assert (run.session, run.sessions) == (shown, (1, 2, 3))
    assert run.episodes.summary().mean == pytest.approx(sum(returns) / len(returns))
    assert [run.streams[place].session for place in run.episodes.stream] == _sessions(returns)
    assert [one.episodes.return_.tolist() for one in offcam.load([folder], session=session)] == [returns]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_of_several_tell_them_apart(folder, library):
    frame = getattr(offcam.load(folder, session="all"), f"to_{library}")()
    assert list(zip(frame["session"], frame["return"], strict=True)) == [
        *((1, value) for value in (1.0, 2.0, 3.0)),
        *((2, value) for value in (10.0, 20.0, 30.0)),
        *[(3, 7.0)] * 5,
    ]


def _sessions(returns):
    return [1 if value < 7 else 3 if value == 7 else 2 for value in returns]


@pytest.mark.parametrize("session", [0, 4, -1])
def test_one_that_is_not_there_is_an_error(folder, session):
    with pytest.raises(
        ConfigError, match=f"no session {session}: its sessions are 1, 2, 3. Give one of them, or `all`"
    ):
        offcam.load(folder, session=session)


def stream(begin, end, prefix="", suffix=0, num_envs=1, session=1, env_id="CartPole-v1"):
    who = {"host": "node7", "pid": 1, "client": "", "state": "live" if end is None else "closed"}
    own = {"started": begin, "ended": end, "num_envs": num_envs, "vector": num_envs > 1, "session": session}
    return Stream(stream=str(begin), env_id=env_id, prefix=prefix, suffix=suffix, **who, **own)


@pytest.mark.parametrize(
    ("streams", "envs"),
    [
        ([], 0),
        ([(1, 2)], 1),
        ([(1, 1)], 1),
        ([(1, 2), (2, 3), (4, None)], 1),  # one that was gone on with, twice
        ([(1, 3), (2, 4), (5, 6), (5, 7)], 2),
        ([(1, None), (2, None)], 2),
        ([(math.nan, 3), (2, 4)], 2),
        ([(1, 2, "rl-video"), (1, 2, "rl-video", 2), (5, 6, "rl-video"), (5, 6, "rl-video", 2)], 2),
        ([(1, 9, "rl-video"), (8, None, "rl-video")], 1),  # lost, and gone on with before anybody said so
        ([(1, 9, "rl-video"), (1, 9, "eval"), (1, 9)], 3),
        ([(1, 2, "", 0, 8), (3, 4, "", 0, 8)], 8),
        ([(1, 2, "", 0, 8, 1), (3, 4, "", 0, 2, 2)], 8),
    ],
)
def test_an_env_that_is_gone_on_with_is_one(streams, envs):
    assert number_of_envs(stream(*each) for each in streams) == envs


def test_a_user_names_one_by_its_number(folder):
    assert [session_of(text) for text in ("", "all", "1", "12")] == [None, "all", 1, 12]
    for text in ("0", "-1", "newest", "1.5", "9" * 30, "\u0663"):
        with pytest.raises(ConfigError, match="a session is a number from 1 on, or `all`"):
            session_of(text)
