"""What is sent next is a function of what was sent and what the index has: each thing once, and none left out."""

from __future__ import annotations

import json
import math
import urllib.error
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam.sync.core import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    Batch,
    ClipRow,
    Position,
    StreamClips,
    after_clip,
    after_episodes,
    next_clip,
    numbered,
    refusal,
    wait_seconds,
)

A, B = "a" * 32, "b" * 32


def row(length=10, return_=1.0):
    common = {"env_index": 0, "episode": 7, "return_": return_, "duration": math.nan, "ended": 5.0, "info": {}}
    return {**common, "length": length}


def clip(number, *, final=True, opened=False, stream=A, ended=None):
    return ClipRow(stream, number, final=final, open=opened, ended=number if ended is None else ended)


def test_episodes_are_numbered_on_and_their_steps_add_up():
    sent = numbered(Position(episodes=5, steps=100), [row(10), row(20)])
    assert [(each.number, each.steps) for each in sent] == [(5, 110), (6, 130)]
    after = after_episodes(Position(), Batch(sent, last_id=9))
    assert (after.last_id, after.episodes, after.steps) == (9, 7, 130)
    assert after_episodes(after, Batch(last_id=9)) == after


def test_an_episode_s_values_have_names_that_no_value_of_its_info_can_take():
    (sent,) = numbered(Position(), [{**row(return_=3.0), "info": {"return": 9.0, "is_success": 1.0}}])
    assert sent.values["offcam/return"] == 3.0
    assert sent.values["offcam/info/return"] == 9.0
    assert sent.values["offcam/info/is_success"] == 1.0


def test_a_stream_s_first_clip_is_next_and_one_that_is_open_keeps_its_turn():
    rows = [clip(0, final=False, opened=True), clip(1, ended=9.0), clip(2, ended=3.0), clip(7, stream=B, ended=5.0)]
    assert next_clip(Position(), rows) == rows[3], "of the streams the one that ended first"
    assert next_clip(Position(), rows[:3]) == rows[1]
    position = after_clip(Position(), rows, rows[2])
    assert position.of(A) == StreamClips(2, (0, 1))
    position = after_clip(position, rows[:2], rows[1])
    assert position.of(A) == StreamClips(2, (0,))
    assert next_clip(position, rows[:1]) is None
    ended = clip(0)
    assert next_clip(position, [ended]) == ended
    assert after_clip(position, [ended], ended).of(A) == StreamClips(2, ())


def test_a_clip_that_is_gone_counts_as_none_and_is_not_looked_for_again():
    position = after_clip(Position(), [clip(0)], clip(0), gone=True)
    assert position.sent_clips == 0
    assert next_clip(position, [clip(0)]) is None


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 12)), unique=True),
    st.data(),
)
def test_each_clip_is_sent_once_in_whatever_order_they_become_final(names, data):
    """Some are open for long, some are let go while they are, and each time it may be another process that goes on."""
    index = {name: clip(name[1], final=False, opened=True, stream=name[0]) for name in names}
    position, sent, gone = Position(), [], set()
    for name in data.draw(st.permutations(names)):
        if data.draw(st.booleans()):
            gone.add(name)
            del index[name]
        else:
            index[name] = index[name]._replace(final=True, open=False)
        if data.draw(st.booleans()):
            continue
        while found := next_clip(position, _unsettled(position, index)):
            sent.append((found.stream, found.clip))
            position = after_clip(position, _unsettled(position, index), found)
            position = Position.parse(json.loads(json.dumps(position.as_dict())))
    while found := next_clip(position, _unsettled(position, index)):
        sent.append((found.stream, found.clip))
        position = after_clip(position, _unsettled(position, index), found)
    assert sorted(sent) == sorted(set(names) - gone)
    assert position.sent_clips == len(sent)


def _unsettled(position, index):
    """What is read of an index: of each stream what lies behind what was seen, and what waits."""
    return [each for each in index.values() if not position.of(each.stream).has(each.clip)]


def test_what_waits_is_bounded_by_the_clips_that_are_open():
    position, rows = Position(), [clip(0, final=False, opened=True)]
    for number in range(1, 200):
        new = clip(number)
        position = after_clip(position, [*rows, new], new)
    assert position.of(A) == StreamClips(199, (0,))


@pytest.mark.parametrize("found", [{}, {"clips": 7}, {"clips": {"a": []}}, {"clips": {}, "last_id": "x"}, []])
def test_a_position_that_makes_no_sense_is_the_beginning(found):
    assert Position.parse(found) == Position()


def test_waits_grow_to_a_bound_and_differ():
    assert wait_seconds(1, 1.0) == FIRST_WAIT_SECONDS
    assert wait_seconds(3, 1.0) == FIRST_WAIT_SECONDS * 4
    assert wait_seconds(10**6, 1.0) == LONGEST_WAIT_SECONDS
    assert wait_seconds(3, 0.0) == FIRST_WAIT_SECONDS * 2


class Answered(Exception):
    """As requests, httpx and the Hub's package have the answer."""

    def __init__(self, status):
        self.response = SimpleNamespace(status_code=status)


class Asked(Exception):
    """As W&B has it."""

    def __init__(self, status):
        super().__init__()
        self.response = SimpleNamespace(http_status=status)


class Stored(Exception):
    """As MLflow has it."""

    def get_http_status_code(self):
        return 403


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Answered(401), 401),
        (Answered(403), 403),
        (Asked(401), 401),
        (Asked(500), None),
        (Stored(), 403),
        (urllib.error.HTTPError("http://tracker", 403, "Forbidden", None, None), 403),
        (Answered(500), None),
        (Answered(429), None),
        (Answered(404), None),
        (OSError(401, "x"), None),
    ],
)
def test_a_key_that_is_refused_is_known_from_a_server_that_is_in_trouble(error, status):
    assert refusal(error) == status
    assert refusal(ValueError("the package's own")) is None
    outer = ValueError("the package's own")
    outer.__cause__ = error
    assert refusal(outer) == status


def test_causes_that_go_in_circles_end():
    error = ValueError()
    other = ValueError()
    error.__cause__, other.__cause__ = other, error
    assert refusal(error) is None
