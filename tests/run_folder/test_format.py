import json
import math
import re
import sqlite3
from pathlib import Path

import pytest

from offcam_proto.errors import LimitExceeded, LocalProtocolError, MalformedMessage, RunFormatTooNew
from offcam_proto.limits import MAX_INT, MAX_NAME_BYTES
from offcam_runs import format as fmt
from offcam_runs.accounts import ClientShare, EncoderShare, FrameCount, account
from offcam_runs.schema import upgrade_sql

SPEC = Path(__file__).parents[2] / "proto" / "FORMAT.md"


@pytest.fixture
def database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in upgrade_sql(0, "run"):
        connection.execute(statement)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("suffix", "part", "expected"),
    [
        (0, 1, "rl-video-episode-0.mp4"),
        (2, 1, "rl-video-episode-0-s2.mp4"),
        (0, 2, "rl-video-episode-0-part2.mp4"),
        (3, 12, "rl-video-episode-0-s3-part12.mp4"),
    ],
)
def test_video_file_names(suffix, part, expected):
    assert fmt.video_file("rl-video-episode-0", suffix, part) == expected


def test_the_longest_name_fits_a_directory_entry():
    name = fmt.video_file("é" * (MAX_NAME_BYTES // 2), MAX_INT, MAX_INT) + fmt.PART_EXTENSION
    assert len(name.encode()) <= 255


def test_a_new_index_has_version_and_application_id(database):
    assert database.execute("PRAGMA user_version").fetchone() == (fmt.FORMAT_VERSION,)
    assert database.execute("PRAGMA application_id").fetchone() == (fmt.APPLICATION_ID,)


def test_versions_up_to_date_and_too_new():
    assert upgrade_sql(fmt.FORMAT_VERSION, "run") == ()
    with pytest.raises(RunFormatTooNew, match=rf"runs/a has .* {fmt.FORMAT_VERSION + 1}, .*upgrade"):
        upgrade_sql(fmt.FORMAT_VERSION + 1, "runs/a")


def test_the_upgrade_can_be_rolled_back_as_one():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("BEGIN")
    for statement in upgrade_sql(0, "run"):
        connection.execute(statement)
    connection.execute("ROLLBACK")
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_the_spec_names_every_column_state_and_reason(database):
    text = SPEC.read_text()
    sections = dict(re.findall(r"^### `(\w+)`(.*?)(?=^##)", text + "\n##", re.DOTALL | re.MULTILINE))
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert sorted(sections) == sorted(tables)
    for table in tables:
        columns = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        rows = re.findall(r"^\|([^|]*)\|", sections[table], re.MULTILINE)
        documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
        assert columns == documented - set(fmt.CLIP_STATES)
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows.issuperset({*fmt.CLIP_STATES, *fmt.DROP_REASONS})
    assert f"`0x{fmt.APPLICATION_ID:08X}`" in text
    assert text.splitlines()[2].startswith(f"Version {fmt.FORMAT_VERSION} ")


@pytest.mark.parametrize("value", [0.0, -1.5, 1e308, math.inf, -math.inf, math.nan, 5e-324])
def test_reals_survive_sqlite(database, value):
    stored = database.execute("SELECT return FROM (SELECT ? AS return)", (value,)).fetchone()[0]
    back = fmt.real_from_sql(stored)
    assert back == value or (math.isnan(back) and math.isnan(value))
    assert fmt.json_number(back) == (value if math.isfinite(value) else None)
    json.dumps(fmt.json_number(back), allow_nan=False)


@pytest.mark.parametrize("seed", [0, -(2**63), 2**63 - 1, str(2**64), "007", None])
def test_a_seed_keeps_its_type(database, seed):
    database.execute(
        "INSERT INTO episodes (stream_id, seq, env_index, episode, length, terminated, truncated, seed)"
        " VALUES (1, 1, 0, 0, 1, 1, 0, ?)",
        (seed,),
    )
    stored = database.execute("SELECT seed FROM episodes").fetchone()[0]
    assert stored == seed
    assert type(stored) is type(seed)


# --- accounting -------------------------------------------------------------------------------------------


def test_account_of_both_halves():
    count = account(ClientShare(100, {"credit": 7, "invalid": 1}), EncoderShare(80, {"disk_full": 9}))
    assert count == FrameCount(100, 89, 80, {"credit": 7, "invalid": 1, "disk_full": 9, "lost": 3})
    assert count.balanced


def test_account_without_the_clients_half_takes_the_received_for_offered():
    count = account(None, EncoderShare(5, {"io": 2}))
    assert count == FrameCount(7, 7, 5, {"io": 2})
    assert count.balanced


def test_account_without_the_encoders_half_does_not_balance_yet():
    count = account(ClientShare(10, {"credit": 2}), None)
    assert count == FrameCount(10, 0, 0, {"credit": 2})
    assert not count.balanced


def test_a_client_that_sent_nothing_balances_alone():
    assert account(ClientShare(10, {"no_daemon": 10}), EncoderShare()).balanced


def test_a_client_that_understates_what_it_sent_is_corrected():
    count = account(ClientShare(3, {"credit": 3}), EncoderShare(5))
    assert count == FrameCount(8, 5, 5, {"credit": 3})
    assert count.balanced


def test_zero_counts_are_left_out():
    assert account(ClientShare(1, {"credit": 0}), EncoderShare(1, {"io": 0})).dropped == {}


def test_halves_come_back_out_of_a_count():
    client, encoder = ClientShare(50, {"timeout": 4}), EncoderShare(30, {"encoder": 6})
    count = account(client, encoder)
    assert (count.client_share(), count.encoder_share()) == (client, encoder)


def test_reasons_are_a_closed_set():
    with pytest.raises(MalformedMessage, match="lost"):
        ClientShare(5, {"lost": 1})
    with pytest.raises(LocalProtocolError, match="credit"):
        EncoderShare(5, {"credit": 1})
    with pytest.raises(LimitExceeded):
        ClientShare(MAX_INT)
