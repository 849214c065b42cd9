"""Which session of a run its readers see."""

from __future__ import annotations

import pytest

import offcam
import runs
from offcam_proto.errors import ConfigError
from offcam_runs.sessions import session_of


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


def test_a_user_names_one_by_its_number(folder):
    assert [session_of(text) for text in ("", "all", "1", "12")] == [None, "all", 1, 12]
    for text in ("0", "-1", "newest", "1.5", "9" * 30, "\u0663"):
        with pytest.raises(ConfigError, match="a session is a number from 1 on, or `all`"):
            session_of(text)
