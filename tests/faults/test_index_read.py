"""An index that somebody reads for long, as the daemon is to open it: that waits, and nothing else does."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import zmq

import films
import runs
from offcam_proto import messages as msg
from offcam_runs.format import INDEX_NAME
from rawpeer import RawPeer, episode


def test_recording_begins_when_it_was_read(daemons, tmp_path):
    folder, other = runs.write(tmp_path / "run", [1.0, 2.0]), tmp_path / "other"
    daemons.start()
    with zmq.Context() as context, RawPeer(daemons.endpoint.url, context) as peer:
        peer.greet()
        with closing(sqlite3.connect(folder / INDEX_NAME, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM episodes").fetchone()
            peer.say(msg.OpenStream(1, b"r" * 16, str(folder), "", 0, False, "Raw-v0", 1, False, 1.0))
            for number in range(3):  # each of them waits for the store, which tries again meanwhile
                assert peer.open_stream(2 + number, other).handle == 2 + number, "another run is opened at once"
                peer.say(msg.Records(2 + number, 1, (episode(number),)))
                assert peer.await_(msg.Ack, msg.StreamOpened, msg.StreamRefused) == msg.Ack(2 + number, 1)
            (problem,) = [run["problem"] for run in daemons.stats()["runs"] if run["folder"] == str(folder)]
            assert "locked" in problem
        assert peer.await_(msg.StreamOpened, msg.StreamRefused) == msg.StreamOpened(1, 0, 0, 0)
        peer.say(msg.Records(1, 1, (episode(7),)), msg.CloseStream(1))
        peer.await_(msg.Ack)
    daemons.stop()
    assert [row.return_ for row in films.episodes(folder)] == [1.0, 2.0, 7.0]
