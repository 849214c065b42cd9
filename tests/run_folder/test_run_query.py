"""Which runs are meant: what a query finds, and where it says that it is wrong."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam_proto.errors import ConfigError, QueryError
from offcam_runs.query import FIELDS, NUMBERS, TEXTS, parse_query
from offcam_runs.run_state import RUN_STATES

RUN = {
    "name": "ppo/0",
    "env": "CartPole-v1",
    "folder": "/runs/My Agents/ppo/0",
    "state": "live",
    "return": 150.5,
    "best": 500.0,
    "length": 150.5,
    "episodes": 12_000,
    "steps": 900_000,
    "clips": 3,
    "envs": 8,
    "success": None,
    "dropped": 0,
}

PIECES = st.sampled_from(
    [*FIELDS, *RUN_STATES, *":<>=-", ">=", '"', " ", "\t", "not", "not ", "1", "-1.5", "1e6", "10k", "nan", "é", "\0"]
)
QUERIES = st.text(max_size=50) | st.lists(PIECES, max_size=12).map("".join)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " \t",
        "cartpole",
        "CARTPOLE ppo",
        "agents",
        '"my agents"',
        "env:cart",
        "name:PPO/0",
        'folder:"My agents"',
        "live",
        "LIVE",
        "state:liv",
        "return>100",
        "return>=150.5",
        "return<=150.5",
        "return=150.5",
        "return > 100",
        "best>= 500",
        "return<1k",
        "steps<1M",
        "episodes>1e4",
        "dropped=0",
        "-crashed",
        "not crashed",
        "-env:atari",
        "not return<100",
        "--live",
        "not not live",
        "-success>0",
        "-success<=0",
        "env:cartpole return>100 live",
        '-"live"',
        'ppo"cart"',
        "-notable",
    ],
)
def test_a_run_is_found(query):
    assert parse_query(query).matches(RUN)


@pytest.mark.parametrize(
    "query",
    [
        "atari",
        "cartpole atari",
        '"agents my"',
        "env:ppo",
        "name:cartpole",
        "ended",
        "crashed",
        "lost",
        "-live",
        "NOT live",
        "return>150.5",
        "return<150.5",
        "return=150",
        "success>0",
        "success<=0",
        "success=0",
        "-return>100",
        "not not ended",
        "live return>200",
        '"live"',
        "notable",
        "best<1k -ppo",
        "steps>1m",
        "-cartpole",
    ],
)
def test_a_run_is_not_found(query):
    assert not parse_query(query).matches(RUN)


@pytest.mark.parametrize(
    ("query", "column", "said"),
    [
        ("live retrun>5", 6, "unknown field 'retrun'; did you mean `return`?"),
        ("ALE:Pong", 1, "unknown field 'ALE': it is one of name, env"),
        (">5", 1, "a field is missing"),
        ("env>5", 4, "`env` is a text"),
        ("x return:5", 9, "`return` is a number"),
        ("return>", 8, "nothing follows `return>`"),
        ("env: live", 5, "nothing follows `env:`"),
        ("return>many", 8, "a number such as 100, -1.5, 1e6 or 10k, got 'many'"),
        ("return>nan", 8, "got 'nan'"),
        ("return>1e999", 8, "got '1e999'"),
        ("return>1_000", 8, "got '1_000'"),
        ("steps > k", 9, "got 'k'"),
        ('live "my agents', 6, "this quote is never closed"),
        ("live -", 6, "nothing follows '-'"),
        ("live not ", 6, "nothing follows 'not'"),
    ],
)
def test_an_error_points_at_the_place(query, column, said):
    with pytest.raises(QueryError) as raised:
        parse_query(query)
    assert raised.value.column == column
    assert f"at column {column}: " in str(raised.value)
    assert said in str(raised.value)
    assert isinstance(raised.value, ConfigError)


@given(QUERIES)
def test_a_text_is_understood_or_its_error_says_where_it_is_wrong(text):
    wrong = None
    try:
        query = parse_query(text)
    except QueryError as error:
        wrong = error
    if wrong is None:
        assert {query.matches(RUN), query.matches({})} <= {True, False}
    else:
        assert 1 <= wrong.column <= len(text) + 1
        assert f"at column {wrong.column}: " in str(wrong)


@given(QUERIES)
def test_a_term_and_its_negation_never_both_hold(text):
    try:
        (term,) = parse_query(text).terms
        (negated,) = parse_query(f"-{text.lstrip()}").terms
    except (QueryError, ValueError):
        return
    assert term.holds(RUN) != negated.holds(RUN)


@given(st.sampled_from(NUMBERS), st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e9, 1e9))
def test_numbers_are_compared_as_they_are(name, limit, number):
    holds = {
        sign: parse_query(f"{name}{sign}{limit!r}").matches({name: number}) for sign in ("<", "<=", "=", ">=", ">")
    }
    assert holds == {
        "<": number < limit, "<=": number <= limit, "=": number == limit, ">=": number >= limit, ">": number > limit,
    }  # fmt: skip


@given(st.sampled_from(TEXTS), st.text(st.characters(exclude_characters='"'), min_size=1, max_size=20))
def test_a_text_finds_itself_in_quotes(name, text):
    assert parse_query(f'{name}:"{text}"').matches({name: f"<{text.upper()}>" if text.isascii() else text})


def test_a_long_query_costs_what_its_length_does():
    text = "return>1 " * 20_000
    assert len(parse_query(text).terms) == 20_000
    with pytest.raises(QueryError, match=re.escape("did you mean")):
        parse_query(f"retrun{'n' * 2}:1{'-' * 100_000}")
