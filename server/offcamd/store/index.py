"""The index of one run folder, as the daemon writes it."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from offcam_proto.errors import LocalProtocolError, RemoteProtocolError, RunFolderError
from offcam_proto.records import count_all, count_records, numbered
from offcam_runs import format as fmt
from offcam_runs.accounts import EncodedResult, EncoderShare, FrameCount
from offcam_runs.database import explained, format_version, upgrade
from offcam_runs.pending import enter_stream, is_of
from offcam_runs.record_rows import Fields, add_records, known_lost, quarantine, settle_clip
from offcam_runs.run_ids import new_id
from offcam_runs.schema import id_text
from offcam_runs.totals import KEEP_EPISODES, RunTotals, newest_session
from offcamd import __version__
from offcamd.store import sql
from offcamd.store.elsewhere import ClipsElsewhere
from offcamd.store.entries import Applied, OpenedClip, OpenedStream
from offcamd.store.index_file import IndexGone, open_to_write, place_of
from offcamd.store.keeping import Keeping
from offcamd.store.step_files import STEPS_LIMIT, StepFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from offcam_proto.messages import OpenClip, OpenStream
    from offcam_runs.journal_reader import JournalContents
    from offcam_runs.record_rows import NewRecords
    from offcamd.store.entries import StreamOwner


class RunIndex:
    """The index of one run folder, open for writing. Made by `RunIndex.open`.

    Not thread-safe: all of it, `open` and `close` included, belongs to one thread, the store's.

    What is committed survives a crash of the daemon; a loss of power only where the index has a rollback
    journal (each commit is synced). With a WAL the last commits before a power loss may be gone; the
    index stays whole.

    It has a method for each thing that a task of the store does to an index, which makes more of them than a class
    should have else: what they share is the one connection and its transactions.

    Every method that writes is one transaction, or part of the one that `transaction` began, and raises
    RunFolderError where the index cannot be written (a full disk, a damaged file): nothing of that
    transaction is kept then, and the same call may be tried again.

    Attributes:
        folder: the run folder.
        totals: statistics of its newest session's episodes, as far as `advance_totals` has counted them.
        keeping: decides which of its videos are kept.
        steps: the files of its steps.
        elsewhere: writes its clips that other hosts have.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, steps_limit: int = STEPS_LIMIT) -> None:
        self.folder = folder
        self.totals = RunTotals()
        self.keeping = Keeping(folder, database)
        self.steps = StepFiles(folder, database, steps_limit)
        self.elsewhere = ClipsElsewhere(database)
        self._db = database
        self._closed = False
        self._place = place_of(folder)
        self._left = False  # whether `leave` was called
        self._mode = "delete"  # the journal mode that it had before
        self._opened = False  # whether a stream was opened since the last `advance_totals`

    @classmethod
    def open(cls, folder: Path, steps_limit: int = STEPS_LIMIT) -> RunIndex:
        """Open the index of a run folder; both are made where they do not exist.

        Args:
            folder: of the run.
            steps_limit: most bytes of its steps on the disk, unless a stream sets another bound.

        Raises:
            FolderNotWritable: the folder or the index cannot be made or written.
            RunFormatTooNew: a newer offcam wrote it.
            RunFolderError: the index is damaged, or no index of offcam.
        """
        index = cls(folder, open_to_write(folder), steps_limit)
        try:
            with index.transaction():  # a transaction, as another daemon may do the same at this moment
                upgrade(index._db, format_version(index._db, folder), folder)
                facts = {"created": repr(time.time()), "created_by": f"offcam {__version__}", fmt.RUN_KEY: new_id()}
                index._db.executemany(sql.NEW_FACT, [{"key": key, "value": value} for key, value in facts.items()])
            with explained(folder):
                index.totals = RunTotals.kept(index._db, newest=True)
                index.totals.load_recent(index._db)
        except BaseException:
            index._db.close()
            raise
        return index

    def close(self) -> None:
        """Close the index and leave it as one plain file, unless a reader still has it open. Twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self.steps.close()
        if not self.in_place:
            self.leave()
            self._db.close()
            return
        if self.totals.unkept:
            self._keep_totals()
        with explained(self.folder), closing(self._db):
            self._db.execute("PRAGMA busy_timeout = 0")
            try:
                self._db.execute("PRAGMA journal_mode = DELETE").fetchone()
            except sqlite3.OperationalError:
                # A reader holds the index: it stays in WAL mode, complete, with its companions beside it.
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    @property
    def in_place(self) -> bool:
        """Whether this index is still the one in its folder: not if that was removed, renamed or replaced."""
        return self._place is not None and not self._left and place_of(self.folder) == self._place

    def leave(self) -> None:
        """Give up the folder to another index that lies there now. From then on this one can only be read.

        SQLite finds the files beside an index by their names, which now belong to the other one: they are left alone.

        Raises:
            RunFolderError: a process is reading the index, or the one that lies there now is in use.
        """
        if self._left:
            return
        wal = self.folder / (fmt.INDEX_NAME + "-wal")
        if place_of(self.folder) is not None and wal.exists():
            RunIndex.open(self.folder).close()  # from a daemon that died with it
            if wal.exists():
                raise RunFolderError(f"the index that was put into {self.folder} is in use: close what reads it")
        with explained(self.folder):
            (self._mode,) = self._db.execute("PRAGMA journal_mode").fetchone()
            self._db.execute("PRAGMA journal_mode = MEMORY").fetchone()
            self._db.execute("BEGIN")  # during a transaction SQLite does not look for such files again
            self._db.execute("SELECT count(*) FROM streams").fetchone()
        self._left = True

    def came_back(self) -> bool:
        """Whether an index that was left lies in its folder again; then it can be written again."""
        if not self._left or place_of(self.folder) != self._place:
            return False
        with explained(self.folder):
            self._db.execute("COMMIT")
            self._left = False
            self._db.execute(f"PRAGMA journal_mode = {self._mode}").fetchone()
        return True

    def take_over(self, other: RunIndex, streams: Iterable[bytes]) -> None:
        """Copy everything of some streams that this index lacks from another one, whose place it takes."""
        with self.transaction():
            self.keeping.enter(other.keeping.rules())
            for stream in streams:
                self._take_over(other, stream)

    def _take_over(self, other: RunIndex, stream: bytes) -> None:
        own = {"stream": stream.hex()}
        self._inherit(other, "streams", own)
        self._db.execute(sql.GO_ON, {**own, "last_seq": other._stream(stream)[1], "live": fmt.LIVE})
        for table in sql.OF_STREAMS:
            self._inherit(other, table, own, stream_id=self._stream(stream)[0])

    def _inherit(self, other: RunIndex, table: str, stream: dict[str, str], **changed: object) -> None:
        rows = other._db.execute(sql.rows_of_stream(table), stream)
        names = [name for name, *_ in rows.description]
        self._db.executemany(sql.inherit(table, names), (dict(zip(names, row, strict=True)) | changed for row in rows))

    def _require_place(self) -> None:
        if not self.in_place:
            raise IndexGone(
                f"the run folder {self.folder} was removed, renamed or replaced while it was recorded into: leave it "
                "where it is until the recording is over"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the calls within a ``with`` block one transaction: at its end all are committed, or none.

        A transaction within another one is part of that.

        Raises:
            IndexGone: the index is not in its folder any more. Nothing is committed where nobody would find it.
        """
        if self._db.in_transaction and not self._left:
            yield
            return
        with explained(self.folder):
            self._require_place()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.keeping.note()
                self._require_place()
                self._db.execute("COMMIT")
                self.steps.kept()
            finally:
                if self._db.in_transaction:
                    self.keeping.undo()
                    self._db.execute("ROLLBACK")
                    self.steps.undo()
        self.keeping.perform()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only what is done in this block if it raises, and keep what the transaction did before."""
        with explained(self.folder):
            mark, made = self.keeping.mark(), self.steps.mark()
            self._db.execute("SAVEPOINT task")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK TO task")
                self.keeping.undo(mark)
                self.steps.undo(made)
                raise
            finally:
                self._db.execute("RELEASE task")

    # --- streams ------------------------------------------------------------------------------------------

    def open_stream(self, message: OpenStream, owner: StreamOwner, gone: Sequence[str] = ()) -> OpenedStream:
        """Note that a stream is open, for the first time or again.

        Args:
            message: the client's message.
            owner: the client.
            gone: ids of streams, in hexadecimal digits, that count as closed, as their clients are gone.
        """
        suffix = self._suffix(message)
        own = owner._asdict() | {
            **{name: id_text(getattr(message, name)) for name in ("training", "replays")},
            "stream": message.stream.hex(),
            "suffix": suffix,
            "state": fmt.LIVE,
            "gone": json.dumps(gone),
            "since": None,
        }
        with self.transaction():
            self._db.execute(sql.OPEN_STREAM, Fields(message, **own))
            self._opened = True
            return OpenedStream(self._stream(message.stream)[1], suffix)

    def _suffix(self, message: OpenStream) -> int:
        """The number in the names of a stream's files, by which no other stream's files are replaced, in any session.

        A stream keeps its number. A new one gets the number that it asks for, as from an earlier index, or the next
        free: none (0), 2, 3, ... One that resumes gets the names that it asks for, one that replays the other's.
        """
        if not message.prefix:
            return 0
        names = {"stream": message.stream.hex(), "prefix": message.prefix, "live": fmt.LIVE}
        names["replays"] = id_text(message.replays)
        with explained(self.folder):
            taken = {suffix for (suffix,) in self._db.execute(sql.SUFFIXES, names)}
            wanted, fixed = self._db.execute(sql.SUFFIX, names).fetchone() or (message.suffix, False)
            live = {suffix for (suffix,) in self._db.execute(sql.LIVE_SUFFIXES, names)}
        if fixed or (message.resumes and wanted not in live):
            return int(wanted)
        numbers = itertools.chain(() if wanted else (0,), itertools.count(max(wanted, 2)))
        return next(number for number in numbers if number not in taken)

    def close_stream(self, stream: bytes, *, lost: bool = False, ended: float | None = None) -> None:
        """Note that a stream has ended, closed by its client or ``lost``, as that vanished; now or at another time."""
        with self.transaction():
            key, _ = self._stream(stream)
            self.keeping.settle(key)
            self.steps.settle(key)
            state = fmt.LOST if lost else fmt.CLOSED
            self._db.execute(sql.END_STREAM, {"state": state, "ended": ended or time.time(), "stream_id": key})

    @contextmanager
    def reopened(self, message: OpenStream, owner: StreamOwner) -> Iterator[int]:
        """Open a stream whose client is gone, to add to it in a transaction; it then ends as it had ended.

        Yields its suffix. A new stream, or one whose client did not say its end, counts as lost.
        """
        said = self._db.execute(sql.SAID_END, {"stream": message.stream.hex(), "closed": fmt.CLOSED}).fetchone()
        yield self.open_stream(message, owner).suffix
        self.close_stream(message.stream, lost=said is None, ended=said and said[0])

    def live_streams(self) -> list[bytes]:
        """Streams that are not closed: of this daemon, of another one, or of a dead one."""
        with explained(self.folder):
            return [bytes.fromhex(stream) for (stream,) in self._db.execute(sql.LIVE_STREAMS, {"live": fmt.LIVE})]

    def _stream(self, stream: bytes) -> tuple[int, int]:
        """Row id of a stream, and the number of its last committed record."""
        row: tuple[int, int] | None = self._db.execute(sql.STREAM, {"stream": stream.hex()}).fetchone()
        if row is None:
            raise LocalProtocolError(f"stream {stream.hex()} was never opened in {self.folder}")
        return row

    # --- records ------------------------------------------------------------------------------------------

    def apply(self, stream: bytes, first_seq: int, bodies: Sequence[bytes]) -> Applied:
        """Commit records of a stream, each exactly once however often it is sent.

        Args:
            stream: the stream's id.
            first_seq: sequence number of the first record; records that are committed already are skipped.
            bodies: the records, packed. One that cannot be decoded goes to the quarantine table.

        Returns:
            What is new. Within a `transaction` it is committed only once that has ended.

        Raises:
            RemoteProtocolError: records are missing between the last committed one and the first of these.
            RunFolderError: they could not be written; nothing of them is kept.
        """
        with self.transaction():
            key, last_seq = self._stream(stream)
            if first_seq > last_seq + 1:
                raise RemoteProtocolError(
                    f"records {last_seq + 1} to {first_seq - 1} of stream {stream.hex()} are missing in "
                    f"{self.folder}: its client must send them, or its index was replaced by an older one"
                )
            if not (fresh := [(key, seq, body) for seq, body in numbered(first_seq, bodies) if seq > last_seq]):
                return Applied(last_seq)
            of, last_seq = self._add(fresh), first_seq + count_all(bodies) - 1
            self._db.execute(sql.COMMITTED, {"last_seq": last_seq, "stream_id": key})
            return Applied(
                last_seq, of.episodes, of.clips, of.quarantined, lost=of.lost, dropped_steps=of.dropped_steps
            )

    def _add(self, records: Iterable[tuple[int, int, bytes]]) -> NewRecords:
        new = add_records(self._db, records, self.steps.add)
        for key, record in new.to_judge:
            self.keeping.said(key, record)
        return new

    def has(self, journal: JournalContents) -> bool:
        """Whether a journal belongs to this run."""
        with explained(self.folder):
            return is_of(self._db, self.folder, journal)

    def enter_journals(self, journals: Iterable[JournalContents]) -> int:
        """Enter the streams of journals that are to be taken in, if the index does not have them.

        Returns:
            How many records are missing between the last committed ones and the journals' first ones, because an index
            was removed or replaced by an older one. They are lost; the records behind them are taken in all the same.
        """
        missing = 0
        with self.transaction():
            for journal in journals:
                _, last_seq = enter_stream(self._db, journal)
                missing += max(journal.first_seq - 1 - last_seq, 0) if journal.bodies else 0
        return missing

    def take_in(self, records: Sequence[tuple[JournalContents, int, bytes]]) -> NewRecords:
        """Commit records of journals whose streams are entered, each exactly once however often this is tried.

        Args:
            records: of each record its journal, its number and its body; those of a stream in order, without a gap.
        """
        last: dict[int, int] = {}
        fresh = []
        with self.transaction():
            streams = {journal.path: self._stream(journal.stream.stream) for journal, _, _ in records}
            for journal, seq, body in records:
                key, last_seq = streams[journal.path]
                if seq > last_seq:
                    last[key] = seq + count_records(body) - 1
                    fresh.append((key, seq, body))
            new = self._add(fresh)
            for key, seq in last.items():
                self._db.execute(sql.COMMITTED, {"last_seq": seq, "stream_id": key})
        return new

    def set_aside(self, stream: bytes, first_seq: int, bodies: Sequence[bytes], reason: str) -> Applied:
        """Put records that cannot be applied into quarantine, unread, so that later ones can go on.

        Raises as `apply` does.
        """
        with self.transaction():
            key, last_seq = self._stream(stream)
            fresh = [(seq, body) for seq, body in numbered(first_seq, bodies) if seq > last_seq]
            for seq, body in fresh:
                quarantine(self._db, key, seq, body, reason)
            last_seq = max(last_seq, first_seq + count_all(bodies) - 1)
            self._db.execute(sql.COMMITTED, {"last_seq": last_seq, "stream_id": key})
            return Applied(last_seq, quarantined=count_all(body for _, body in fresh))

    def advance_totals(self, most: int = -1) -> bool:
        """Count committed episodes into `totals`, at most ``most`` or all; returns whether there may be more."""
        with explained(self.folder):
            if self._opened:
                self.totals.begin(newest_session(self._db))
                self._opened = False
            more = self.totals.advance(self._db, most)
        if self.totals.unkept >= KEEP_EPISODES:
            self._keep_totals()
        return more

    def _keep_totals(self) -> None:
        with suppress(RunFolderError):  # they are kept another time, or counted again
            with self.transaction():
                self.totals.keep(self._db)
            self.totals.was_kept()

    # --- clips --------------------------------------------------------------------------------------------

    def clip_opened(self, stream: bytes, message: OpenClip, file: str, saved: str = "") -> int:
        """Note that a clip of a stream is being recorded, or saved for a reason, into a file of this final name.

        Returns:
            How many of its frames were counted as lost, as its account came first, and are still to come.
        """
        with self.transaction():
            key, _ = self._stream(stream)
            said = known_lost(self._db, key, message.clip)
            self._db.execute(sql.OVERWRITE_PART, {"replaced": fmt.REPLACED, "part": file + fmt.PART_EXTENSION})
            own = {"stream_id": key, "file": file, "state": fmt.RECORDING, "envs": json.dumps(message.envs)}
            own |= {"rule_id": self.keeping.rule_of(key, message), "keep_reason": f"saved: {saved}" if saved else None}
            self._db.execute(sql.OPEN_CLIP, Fields(message, **own))
            still = 0 if said is None else settle_clip(self._db, key, message.clip).dropped.get(fmt.LOST_DROP, 0)
            self.keeping.opened(key, message)
            return (said or 0) - still

    def clip_goes_on(self, stream: bytes, opening: OpenClip, frames: int, above: int) -> OpenClip:
        """Which clip frames go into that no file has, as their client and its daemon died: see `left_frames`.

        Their own clip, if no daemon had opened it; else the next part of the video, to whose account they then move.

        Args:
            stream: its id.
            opening: how the frames' clip was opened.
            frames: how many frames there are.
            above: the highest number of a clip of this stream that is known elsewhere.
        """
        with self.transaction():
            key, _ = self._stream(stream)
            where = {"stream_id": key, "clip": opening.clip}
            row = self._db.execute(sql.CLIP_SO_FAR, where).fetchone()
            if row is None or (row[0] != fmt.RECORDING and row[1] is None):
                return opening
            _, _, complete, offered, received, encoded, dropped = row
            if complete is not None:
                share = FrameCount(offered, received, encoded, json.loads(dropped)).client_share()
                share = replace(share, offered=max(share.offered - frames, 0))
                settle_clip(self._db, key, opening.clip, client=share)
            last, part = self._db.execute(sql.LAST_PART, {"stream_id": key, "name": opening.name}).fetchone()
            return structs.replace(opening, clip=max(last, above) + 1, part=part + 1)

    def clip_encoded(self, stream: bytes, clip: int, result: EncodedResult) -> FrameCount:
        """Note how the encoder ended a clip: the daemon's half of the account. The last call counts.

        If the file replaces another clip's, that clip becomes ``replaced``. A whole clip that a rule is to judge waits
        for the verdict.

        Returns:
            The clip's frame count, as far as the client's and the encoder's shares are known.

        Raises:
            LocalProtocolError: the clip was never opened, or a drop reason is not one of the encoder's.
        """
        share = EncoderShare(result.encoded, result.dropped)
        with self.transaction():
            key, _ = self._stream(stream)
            where = {"stream_id": key, "clip": clip}
            if result.state != fmt.FINAL or not self.keeping.hold(key, clip, result):
                own = Fields(result, error=result.error or None, ended=time.time(), **where)
                if not self._db.execute(sql.END_CLIP, own).rowcount:
                    raise LocalProtocolError(f"clip {clip} of stream {stream.hex()} was never opened")
                if result.file is not None:
                    states = {"replaced": fmt.REPLACED, "recording": fmt.RECORDING}
                    self._db.execute(sql.REPLACE_CLIPS, {"file": result.file, **states, **where})
            count = settle_clip(self._db, key, clip, encoder=share)
            self.keeping.look(key, clip)
            return count

    def open_clips(self) -> list[OpenedClip]:
        """Clips that are still recording: of this daemon, of another one, or of a dead one, to be recovered."""
        with explained(self.folder):
            rows = self._db.execute(sql.OPEN_CLIPS, {"recording": fmt.RECORDING})
            return [
                OpenedClip(bytes.fromhex(stream), clip, file, fmt.real_from_sql(started))
                for stream, clip, file, started in rows
            ]

    def knows_file(self, name: str) -> bool:
        """Whether a file, finished or not, belongs to any clip."""
        values = {"name": name, "final": name.removesuffix(fmt.PART_EXTENSION), "recording": fmt.RECORDING}
        with explained(self.folder):
            return self._db.execute(sql.CLIP_OF_FILE, values).fetchone() is not None
