"""Keeps videos or lets them go, by rules: judged within the index's transactions, files renamed or removed after those.

If the daemon is killed in between, a row says what is to become of each file, and `Keeping.finish` does that.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from offcam_proto.errors import EncodeError, MalformedMessage
from offcam_proto.limits import MIB
from offcam_runs import format as fmt
from offcam_runs.accounts import EncodedResult
from offcam_runs.keep.judge import Facts, Judge
from offcam_runs.keep.rules import unpack
from offcam_runs.record_rows import Fields
from offcamd.store import keep_sql as sql
from offcamd.store.entries import Kept
from offcamd.store.sql import END_CLIP, REPLACE_CLIPS
from offcamd.video.files import publish

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from offcam_proto.messages import OpenClip
    from offcam_proto.records import KeepRecord

log = logging.getLogger(__name__)

KEEP_BYTES = 4096 * MIB
"""Most bytes of the videos that one rule keeps, unless its wrapper sets another bound."""

REMEMBERED = 1000
"""How many of the last judged episodes of a rule are known by name: a part of a video may come late."""

CUT_OFF = "cut off"
"""The reason of a kept video whose episode's end nobody has said."""

_RESULT = [field.name for field in fields(EncodedResult)]

_read_rule = lru_cache(maxsize=64)(unpack)  # all records of a training have the same rule

_NOT_PLAYED = -1
"""The number of an episode that was not played to its end: its video is let go, and no ranking counts it."""


class _Clip(NamedTuple):
    """A row of `sql.CLIPS_OF_VIDEO`."""

    clip: int
    file: str | None
    state: str
    waits: str | None
    ended: float | None
    dropped: str
    error: str | None
    file_bytes: int | None
    rule_id: int | None
    number: int | None
    part: int

    @property
    def whole(self) -> bool:
        """Whether no more of the clip comes: not if it is unopened and its frames wait in its client's memory."""
        if self.state == fmt.EVICTED:
            return False
        if self.waits is not None or self.ended is not None:
            return True
        return self.state == fmt.ABORTED and not json.loads(self.dropped).get(fmt.LOST_DROP)


class Keeping:
    """What rules keep of one run. For the index's thread; call its methods within transactions of the index.

    Args:
        folder: the run folder.
        database: its index, open to be written.

    Attributes:
        kept: clips that were kept since the caller last took them from here; their files have their names by then.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.kept: list[Kept] = []
        self._folder = folder
        self._db = database
        self._judges: dict[int, Judge] = {}
        self._rules: dict[tuple[int, str], tuple[int, int]] = {}  # by stream and text, its bound of bytes and its id
        self._origins: dict[int, int] = {}  # see `_origin`
        self._judging: set[int] = set()  # rules that have judged an episode in this transaction
        self._let_go_by: Counter[int] = Counter()  # how many clips each rule has let go in this transaction
        self._bytes: dict[int, int] = {}  # size of the videos that each rule keeps
        self._looked: dict[int, int] = {}  # up to which episode each rule has forgotten those that are of no more use
        self._naming: list[tuple[str, Kept]] = []  # files to be renamed once this is committed
        self._removing: list[tuple[str, tuple[int, int]]] = []  # files to be removed then, with their clips' keys
        self._gone: list[tuple[int, int]] = []  # keys of clips whose files are gone
        self._forgotten = 0  # how many of those are no more in the index once this is committed

    # --- within a transaction -----------------------------------------------------------------------------

    def rule_of(self, key: int, opening: OpenClip) -> int | None:
        """The rule that judges a clip of a stream, entered if it is new; None if none does."""
        return self._rule(key, opening.keep, opening.keep_bytes) if opening.keep else None

    def _rule(self, key: int, text: str, keep_bytes: int) -> int:
        known, rule = self._rules.get((key, text), (-1, 0))
        if known != keep_bytes:
            values = {"stream_id": key, "rule": text, "bytes": keep_bytes}
            self._db.execute(sql.ENTER_RULE, values)
            (rule,) = self._db.execute(sql.RULE_OF, values).fetchone()
            self._rules[key, text] = (keep_bytes, rule)
        return rule

    def opened(self, key: int, opening: OpenClip) -> None:
        """A clip of a stream was opened: judge its video if the record of that came first."""
        if opening.keep:
            self.judge(key, opening.name)

    def hold(self, key: int, clip: int, result: EncodedResult) -> bool:
        """Have a whole clip wait for its verdict; False if no rule is to judge it, or it has no file."""
        if result.file is None:  # none of its frames came
            return False
        waits = json.dumps({name: getattr(result, name) for name in _RESULT})
        return self._db.execute(sql.HOLD, {"stream_id": key, "clip": clip, "waits": waits}).rowcount > 0

    def look(self, key: int, clip: int) -> None:
        """A clip's encoder has ended it: apply its rule's verdict if there is one."""
        name, rule, state = self._db.execute(sql.OF_CLIP, {"stream_id": key, "clip": clip}).fetchone()
        if rule is not None and not self.judge(key, name) and state != fmt.RECORDING:
            self._db.execute(sql.SAY_REASON, {"stream_id": key, "clip": clip, "reason": CUT_OFF})

    def said(self, key: int, record: KeepRecord) -> None:
        """The record of a video has come: judge the video if it has clips, or is rendered only once it is kept."""
        if not record.keep:
            self.judge(key, record.name)
            return
        try:
            _read_rule(record.keep)
        except MalformedMessage as error:
            log.warning("%s is not rendered, as its rule cannot be read: %s", record.name, error)
            return
        self.judge(key, record.name, self._rule(key, record.keep, record.keep_bytes))

    def judge(self, key: int, name: str, rule: int | None = None) -> bool:
        """Judge the episode of a video, once, and apply the verdict to those of its clips that are whole.

        Args:
            key: row id of its stream.
            name: of the video.
            rule: the rule of a video without clips, as its frames were not recorded.

        Returns:
            Whether it is judged: not if its record has yet to come, or no clip of it was opened.
        """
        if (origin := self._origin(key)) != key:
            self._judge_replayed(key, origin, name)
            return True
        video = {"stream_id": key, "name": name}
        if (facts := self._db.execute(sql.FACTS, video).fetchone()) is None:
            return False
        return_, length, tests, over, number, reason, *_ = facts
        clips = [] if rule is not None else self._clips(key, name)
        rule = next((clip.rule_id for clip in clips if clip.rule_id is not None), rule)
        if rule is None:
            return False
        if number is None:
            number, reason, fixed = _NOT_PLAYED, None, None
            if over:
                number, reason, fixed = self._verdict(rule, Facts(fmt.real_from_sql(return_), length, tests))
            values = {"rule_id": rule, "number": number, "reason": reason, "fixed": fixed}
            self._db.execute(sql.JUDGED, {**video, **values})
            self._judging.add(rule)
        for clip in clips:
            if clip.whole and clip.number is None:
                self._decide(key, rule, clip, number, reason)
        return True

    def _origin(self, key: int) -> int:
        """The stream whose episodes a stream's clips show: another one, if it replays that, else itself."""
        if key not in self._origins:
            replays, origin = self._db.execute(sql.JUDGED_AS, {"stream_id": key}).fetchone()
            if replays and origin is None:
                return key  # the replayed stream is not in the index yet
            self._origins[key] = origin if replays else key
        return self._origins[key]

    def _judge_replayed(self, key: int, origin: int, name: str) -> None:
        """Decide about the clips of a replayed episode, which was judged when it was first played.

        A clip is let go if it is not whole, if its episode was let go meanwhile, or if there is another one already. If
        its episode is kept it is rendered again.
        """
        facts = self._db.execute(sql.FACTS, {"stream_id": origin, "name": name}).fetchone()
        *_, number, reason, rule, made = facts or (_NOT_PLAYED, None, None, False)
        clips = [clip for clip in self._clips(key, name) if clip.state != fmt.EVICTED]
        elsewhere = made and all(clip.number is None for clip in clips)
        parts = 0  # how many of its parts are there, or may still come
        for clip in clips:
            if clip.rule_id is None:
                continue
            if not clip.whole or clip.number is not None:
                parts += 1
            elif clip.waits is None or clip.rule_id != rule or clip.part != parts + 1 or elsewhere:
                self._remove(key, clip)
            else:
                parts += 1
                self._decide(key, rule, clip, number, reason, replayed=True)

    def _verdict(self, rule: int, facts: Facts) -> tuple[int, str | None, int | None]:
        """Number and reason of a rule's next episode, and what is fixed of it; earlier ones may have to make room."""
        judge = self._judge(rule)
        verdict = judge.judge(facts)
        for other in verdict.fell:
            values = {"rule_id": rule, "number": other, "fixed": judge.fixed(other)}
            if other in verdict.evicted:
                self._let_go(rule, other, judge.fixed(other))
            elif reasons := verdict.admitted.get(other):
                self._db.execute(sql.ADMIT, {**values, "reason": ", ".join(reasons)})
            elif reasons := verdict.changed.get(other):
                self._db.execute(sql.CHANGE_VERDICT, {**values, "reason": ", ".join(reasons)})
                self._db.execute(sql.CHANGE_REASON, {**values, "reason": ", ".join(reasons)})
            else:
                self._db.execute(sql.CHANGE_FIXED, values)
                self._forget(rule, other)
        return verdict.number, ", ".join(verdict.reasons) or None, judge.fixed(verdict.number)

    def settle(self, key: int) -> None:
        """A stream is over: keep clips that are whole and whose episode's end nobody has said."""
        for (name,) in self._db.execute(sql.UNDECIDED, {"stream_id": key}).fetchall():
            if self.judge(key, name):
                continue
            for clip in self._clips(key, name):
                if clip.waits is not None and clip.state == fmt.RECORDING:
                    self._end(key, clip, fmt.ABORTED)
                    self._db.execute(sql.SAY_REASON, {"stream_id": key, "clip": clip.clip, "reason": CUT_OFF})

    def _clips(self, key: int, name: str) -> list[_Clip]:
        """All clips of a video, in the order of its parts."""
        return [_Clip(*row) for row in self._db.execute(sql.CLIPS_OF_VIDEO, {"stream_id": key, "name": name})]

    def _judge(self, rule: int) -> Judge:
        """The judge of a rule, as it was after its last committed judgement."""
        if rule not in self._judges:
            text, state = self._db.execute(sql.RULE, {"rule_id": rule}).fetchone()
            held = dict(self._db.execute(sql.HELD, {"rule_id": rule}))
            judge = Judge(_read_rule(text), json.loads(state), held)
            if judge.needs_history:
                rows = self._db.execute(sql.HISTORY, {"rule_id": rule})
                history = (Facts(fmt.real_from_sql(return_), length, tests) for return_, length, tests in rows)
                judge = Judge(_read_rule(text), json.loads(state), held, history)
            self._judges[rule] = judge
        return self._judges[rule]

    def _decide(
        self, key: int, rule: int, clip: _Clip, number: int, reason: str | None, *, replayed: bool = False
    ) -> None:
        """Keep a clip for a reason, or let it go if there is none."""
        if reason is None:
            self._remove(key, clip)
            return
        where = {"stream_id": key, "clip": clip.clip}
        if clip.waits is not None:
            self._end(key, clip, fmt.FINAL)
        elif clip.state == fmt.ABORTED and clip.file and not clip.error:
            self._db.execute(sql.FINAL_AFTER_ALL, {**where, "final": fmt.FINAL})
        self._db.execute(sql.KEEP, {**where, "number": number, "reason": reason})
        if replayed:
            self._db.execute(sql.MADE, {"rule_id": rule, "number": number})
            self._forget(rule, number)
        self._keep_within(rule, number, clip, replayed=replayed)

    def _end(self, key: int, clip: _Clip, state: str) -> None:
        """End a clip that waits: it has its final name from now on."""
        assert clip.waits is not None  # noqa: S101 - as its callers have seen
        assert clip.file is not None  # noqa: S101 - a clip that is recorded has one
        result = EncodedResult(**json.loads(clip.waits))
        where = {"stream_id": key, "clip": clip.clip}
        (ended,) = self._db.execute(sql.NOW).fetchone()
        own = Fields(result, state=state, file=clip.file, error=result.error or None, ended=ended, **where)
        self._db.execute(END_CLIP, own)
        states = {"replaced": fmt.REPLACED, "recording": fmt.RECORDING}
        self._db.execute(REPLACE_CLIPS, {"file": clip.file, **states, **where})
        (stream,) = self._db.execute(sql.STREAM_ID, {"stream_id": key}).fetchone()
        self._naming.append((result.file or "", Kept(bytes.fromhex(stream), clip.clip, clip.file, result.encoded)))

    def _remove(self, key: int, clip: _Clip) -> None:
        """Let a clip go, and its file with it."""
        where = {"stream_id": key, "clip": clip.clip}
        file = clip.file
        if clip.waits is not None:
            file = json.loads(clip.waits)["file"]
        self._db.execute(sql.EVICT, {**where, "evicted": fmt.EVICTED, "file": file})
        if clip.rule_id is not None:
            self._let_go_by[clip.rule_id] += 1
        self._removing.append((file or "", (key, clip.clip)))

    def _let_go(self, rule: int, number: int, fixed: int | None = None) -> None:
        """Let a kept episode go; ``fixed`` is what to remember of an episode that may come back."""
        where = {"rule_id": rule, "number": number}
        self._db.execute(sql.CHANGE_VERDICT, {**where, "reason": None, "fixed": fixed})
        self._forget(rule, number)
        for key, name in self._db.execute(sql.VIDEOS_OF_NUMBER, where).fetchall():
            for clip in self._clips(key, name):
                if clip.number == number and clip.state != fmt.EVICTED:
                    self._bytes[rule] = self._bytes_of(rule) - (clip.file_bytes or 0)
                    self._remove(key, clip)

    def _forget(self, rule: int, number: int) -> None:
        """Forget an episode's row if it may be of no more use: see `note`."""
        if number <= self._looked.get(rule, -1):
            self._db.execute(sql.FORGET_JUDGED, {"rule_id": rule, "first": number, "number": number})

    def _bytes_of(self, rule: int) -> int:
        if rule not in self._bytes:
            (self._bytes[rule],) = self._db.execute(sql.BYTES, {"rule_id": rule, "evicted": fmt.EVICTED}).fetchone()
        return self._bytes[rule]

    def _keep_within(self, rule: int, number: int, clip: _Clip, *, replayed: bool) -> None:
        """Let the oldest videos go until those that a rule keeps are within its bound; those in a ranking go last.

        A video that was rendered late may be older than all others.
        """
        more = json.loads(clip.waits)["file_bytes"] if clip.waits else clip.file_bytes
        if rule in self._bytes:
            self._bytes[rule] += more or 0
        (bound,) = self._db.execute(sql.BOUND, {"rule_id": rule}).fetchone()
        if self._bytes_of(rule) <= (bound or KEEP_BYTES):
            return
        judge = self._judge(rule)
        oldest = [other for (other,) in self._db.execute(sql.OLDEST, {"rule_id": rule, "evicted": fmt.EVICTED})]
        for other in sorted(oldest, key=lambda other: (judge.ranked(other), other)):
            oldest_is_new = other == number and not (replayed and number < oldest[-1])
            if self._bytes_of(rule) <= (bound or KEEP_BYTES) or oldest_is_new:
                break
            judge.forget(other)
            self._let_go(rule, other)

    def note(self) -> None:
        """Store what the rules judged and let go in the index: at the end of each transaction, not for each episode."""
        for rule in self._judging:
            judge = self._judge(rule)
            first, last = self._looked.get(rule, -1), judge.count - 1 - REMEMBERED
            self._db.execute(sql.NOTE, {"rule_id": rule, "state": json.dumps(judge.state())})
            if not judge.needs_history:
                self._db.execute(sql.FORGET_JUDGED, {"rule_id": rule, "first": first, "number": last})
                self._looked[rule] = max(first, last)
        if self._judging:
            self._db.executemany(sql.FORGET_CLIP, [{"stream_id": key, "clip": clip} for key, clip in self._gone])
            self._forgotten = len(self._gone)
        self._judging.clear()
        counts = [{"rule_id": rule, "clips": clips} for rule, clips in self._let_go_by.items()]
        self._db.executemany(sql.COUNT_LET_GO, counts)
        self._let_go_by.clear()

    # --- behind a transaction -----------------------------------------------------------------------------

    def mark(self) -> tuple[int, int]:
        """How much is to be done with files so far; see `undo`."""
        self.note()
        return len(self._naming), len(self._removing)

    def undo(self, mark: tuple[int, int] = (0, 0)) -> None:
        """What was decided since a mark was not committed: do none of it, and go back to what the index has."""
        naming, removing = mark
        del self._naming[naming:], self._removing[removing:]
        self._judges.clear()
        self._rules.clear()
        self._origins.clear()
        self._judging.clear()
        self._let_go_by.clear()
        self._looked.clear()
        self._bytes.clear()
        self._forgotten = 0

    def perform(self) -> None:
        """All decisions are committed: remove the files that are let go, and rename the others."""
        naming, self._naming = self._naming, []
        removing, self._removing = self._removing, []
        going = {file for file, _ in removing}
        del self._gone[: self._forgotten]
        self._forgotten = 0
        self._gone += [key for file, key in removing if self._unlink(file)]
        for part, kept in naming:
            if kept.file in going:  # kept and let go in one transaction, as better episodes came
                self._unlink(part)
                continue
            self._name(self._folder / part, self._folder / kept.file)
            self.kept.append(kept)

    def _name(self, part: Path, final: Path) -> None:
        try:
            publish(part, final)
        except EncodeError as error:
            log.error("%s is kept, but could not get this name: %s", final, error)  # noqa: TRY400 - the reason says it all

    def _unlink(self, file: str) -> bool:
        if file:
            try:
                (self._folder / file).unlink(missing_ok=True)
            except OSError as error:
                log.error("%s is not kept by its rule, but cannot be removed: %s", self._folder / file, error)  # noqa: TRY400 - as above
                return False
        return True

    # --- after a daemon's death ---------------------------------------------------------------------------

    def finish(self) -> None:
        """Do with files what a dead daemon had decided, in a transaction of its own."""
        for part in self._folder.glob("*" + fmt.UNFINISHED):
            final = part.with_name(part.name.removesuffix(fmt.PART_EXTENSION))
            if self._db.execute(sql.UNNAMED, {"file": final.name, "recording": fmt.RECORDING}).fetchone():
                self._name(part, final)
        for file, key, clip in self._db.execute(sql.EVICTED, {"evicted": fmt.EVICTED}).fetchall():
            with suppress(OSError):
                if file and not self._db.execute(sql.TAKEN, {"file": file, "evicted": fmt.EVICTED}).fetchone():
                    (self._folder / file).unlink(missing_ok=True)
                    (self._folder / (file + fmt.PART_EXTENSION)).unlink(missing_ok=True)  # of one that was kept, too
                self._db.execute(sql.FORGET_CLIP, {"stream_id": key, "clip": clip})

    def rules(self) -> list[dict[str, Any]]:
        """All rules as rows by column, to be entered into an index that takes this one's place."""
        found = self._db.execute(sql.RULES)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def enter(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Enter the rules of the index whose place this one takes."""
        self._db.executemany(sql.ENTER_RULES, rules)
