"""One stream as its client sees it: its credit, its open clips, and the records that are not committed yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from msgspec.structs import replace

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.errors import LocalProtocolError, RemoteProtocolError
from offcam_proto.limits import (
    MAX_BYTES_IN_FLIGHT,
    MAX_CLIPS_PER_STREAM,
    MAX_HEADER_BYTES,
    MAX_RECORDS_IN_FLIGHT,
    MAX_RECORDS_PER_MESSAGE,
)
from offcam_proto.records import ClipRecord, KeepRecord, Record, StepRecord, count_all, kind_of, numbered

if TYPE_CHECKING:
    from offcam_proto.backlog import Backlog
    from offcam_proto.client_outbox import Outbox
    from offcam_proto.codec import Parts
    from offcam_proto.layout import FrameLayout
    from offcam_proto.saving import SaveClip

StreamMessage = msg.StreamOpened | msg.StreamRefused | msg.ArenaReply | msg.Credit | msg.Ack | msg.Again
"""What the daemon says about a stream; `messages.ClipDone` is for the shell."""


class ClientStream:
    """One stream as its client sees it. Made by `ClientSession.open_stream`.

    It has a method for each message that a client sends about a stream, which makes more of them than a class should
    have else.

    Args:
        outbox: where its messages go.
        info: what it is to be opened with.
        backlog: keeps its records until they are acked.
        forget: called once the stream has nothing more to send or to receive.

    Attributes:
        backlog: its records that are not acked yet.
        info: what it was opened with; its ``suffix`` is the one the daemon gave.
        daemon: instance and process id of the daemon that was last asked to open the stream.
        epoch: number of times the daemon has opened it. A clip opened in an earlier epoch is cut off there.
        live: whether the daemon has it open now, so that frames can be sent.
        credit: bytes of frames that may be sent.
        saturated: whether the daemon said that waiting for credit is in vain.
        arena: whether the daemon takes frames in the slots of the stream's arena; None without an arena, or before the
            daemon's answer.
        spool: the daemon's descriptor of the file to which it moves frames of the arena that it has no memory for; 0
            where there is none.
        refused: why the daemon refused the stream, or None.
        refused_code: the same as a word, as in `StreamRefused`; empty where the stream is not refused.
        lost_records: records that are in no index: too many were waiting, or the index they were in is gone.
    """

    def __init__(
        self, outbox: Outbox, info: msg.OpenStream, backlog: Backlog, forget: Callable[[ClientStream], None]
    ) -> None:
        self.info = info
        self.backlog = backlog
        self.daemon: tuple[bytes, int] = (b"", 0)
        self.epoch = 0
        self.live = False
        self.credit = 0
        self.saturated = False
        self.arena: bool | None = None
        self.spool = 0
        self.refused: str | None = None
        self.refused_code = ""
        self.closed = False
        self.lost_records = 0
        self._outbox = outbox
        self._forget = forget
        self._surplus = False  # whether its session has as many streams as it may have without this one
        self._asked = False  # an OpenStream is on its way and not answered yet
        self._offer: msg.OpenArena | None = None  # the arena that was offered last
        self._unanswered = 0  # offers of arenas that the daemon has yet to answer
        self._clips: set[int] = set()  # numbers of the clips that are open in this epoch
        self._last_clip = -1
        self._acked = 0
        self._next_seq = 1
        self._sent = 0  # the last record that was sent in this epoch, or is held back
        self._bytes = 0  # of records that were sent since none was unacked
        self._held: list[bytes] = []  # the bodies of the last records in _sent, which wait to be sent together

    @property
    def unacked(self) -> int:
        """Records the daemon has not committed yet."""
        return self._next_seq - 1 - self._acked

    @property
    def kept_episodes(self) -> int:
        """How many of the unacked records are of episodes and outlive this process."""
        last, others = self._next_seq - 1 - self.backlog.in_memory, (ClipRecord.KIND, KeepRecord.KIND, StepRecord.KIND)
        kept = takewhile(lambda each: each[0] <= last, self.backlog.after(self._acked))
        return count_all(body for _, body in kept if kind_of(body) not in others)

    @property
    def arena_asked(self) -> bool:
        """Whether the daemon has yet to say if it takes the stream's arena."""
        return self._unanswered > 0

    def open_clip(self, clip: msg.OpenClip) -> None:
        """Open a clip, with a number higher than any before. The stream must be `live`."""
        self._require_live()
        if clip.clip <= self._last_clip:
            raise LocalProtocolError(f"clip {clip.clip} after clip {self._last_clip}: numbers are never used again")
        if len(self._clips) >= MAX_CLIPS_PER_STREAM:
            raise LocalProtocolError(f"a stream has at most {MAX_CLIPS_PER_STREAM} open clips")
        self._last_clip = clip.clip
        self._clips.add(clip.clip)
        self.send_held()  # the record of an earlier clip goes out before this clip, as they are in the index
        self._outbox.send(clip)

    def frame(
        self,
        clip: int,
        index: int,
        layouts: tuple[FrameLayout, ...],
        pixels: tuple[msg.Buffer, ...],
    ) -> Parts | None:
        """Spend credit on a frame of an open clip.

        Returns:
            The parts to send, behind what `ClientSession.take` holds; or None where the clip is not open, as it was
            cut off when the connection broke, or where the stream's credit does not suffice.
        """
        frame = msg.Frame(handle=self.info.handle, clip=clip, index=index, layouts=layouts, pixels=pixels)
        cost = frame.nbytes
        if clip not in self._clips or cost > self.credit:
            return None
        self.credit -= cost
        self._outbox.flush_slots()
        return codec.encode(frame)

    def offer_arena(self, descriptor: int, token: bytes, slot_bytes: int, slots: int) -> None:
        """Offer an arena in place of the one it has. The stream must be `live`; `arena` says when it may be used."""
        self._require_live()
        self._offer = msg.OpenArena(
            handle=self.info.handle, descriptor=descriptor, token=token, slot_bytes=slot_bytes, slots=slots
        )
        self._outbox.send(self._offer)
        self._unanswered += 1
        self.arena, self.spool = None, 0

    def slot_frame(self, clip: int, index: int, layouts: tuple[FrameLayout, ...], slot: int) -> bool:
        """Spend credit on a frame of an open clip that lies in a slot of its arena, which must be usable.

        It goes out with the frames behind it, before anything else, or when `ClientSession.flush_slots` is called.

        Returns:
            False where it cannot be sent, for the reasons of `frame`.
        """
        offer, cost = self._offer, sum([layout.nbytes for layout in layouts])
        if not self.arena or offer is None:
            raise LocalProtocolError(f"stream {self.info.handle} has no arena that the daemon can use")
        if slot >= offer.slots or cost > offer.slot_bytes:
            raise LocalProtocolError(f"{cost} bytes in slot {slot} of {offer.slots} slots of {offer.slot_bytes} bytes")
        if clip not in self._clips or cost > self.credit:
            return False
        self.credit -= cost
        self._outbox.hold((self.info.handle, clip, layouts), index, slot)
        return True

    def end_clip(self, clip: int, *, complete: bool) -> None:
        """End a clip that was opened in this epoch; its `ClipRecord` should follow by `record`."""
        if clip not in self._clips:
            raise LocalProtocolError(f"clip {clip} of stream {self.info.handle} is not open")
        self._clips.remove(clip)
        self._outbox.send(msg.EndClip(handle=self.info.handle, clip=clip, complete=complete))

    def save_clip(self, save: SaveClip) -> None:
        """Have a video made of a ring that was opened in this epoch, with a number as for `open_clip`."""
        if save.clip not in self._clips:
            raise LocalProtocolError(f"clip {save.clip} of stream {self.info.handle} is not open")
        if save.saved <= self._last_clip:
            raise LocalProtocolError(f"clip {save.saved} after clip {self._last_clip}: numbers are never used again")
        self._last_clip = save.saved
        self._outbox.send(save)

    def record(self, *records: Record) -> bool:
        """Keep records until the daemon has committed them, and send them if the stream is live.

        Returns:
            False where one was counted as lost: too many are waiting, or it is one stream too many.
        """
        kept = self.keep(*records)
        self.send_held()
        return kept

    def keep(self, *records: Record) -> bool:
        """As `record`, but they are held back, to be sent together with others: see `ClientSession.send_held`."""
        if self.closed:
            raise LocalProtocolError(f"a record for stream {self.info.handle}, which is closed")
        bodies = list(map(codec.pack_record, records))
        there = 0 if self._surplus else self.backlog.append(self._next_seq, bodies)
        kept = count_all(bodies[:there])
        if there < len(bodies):
            self.lost_records += count_all(bodies[there:])
        behind = self._sent < self._next_seq - 1 or self._sent - self._acked >= MAX_RECORDS_IN_FLIGHT
        behind = behind or self._bytes > MAX_BYTES_IN_FLIGHT
        self._next_seq += kept
        if self.live and kept and not behind:
            self._held += bodies[:there]
            self._sent += kept
            self._bytes += sum(map(len, bodies[:there]))
            self._outbox.holders[self.info.handle] = self.send_held
        return there == len(bodies)

    def send_held(self) -> None:
        """Send the records that are held back."""
        held, self._held = self._held, []
        self._outbox.holders.pop(self.info.handle, None)
        self._send(numbered(self._sent - count_all(held) + 1, held))

    def refuse_here(self, why: str) -> None:
        """Refuse the stream as one too many for its session: the daemon is never asked, and its records are lost."""
        self._surplus = True
        self.refused, self.refused_code = why, "limit"

    def close(self) -> None:
        """Say that nothing more comes. Its unacked records are still kept and replayed."""
        if not self.closed:
            self.closed = True
            if self.live:
                self._send_more()
            self._forget_if_done()

    def ask(self) -> None:
        """Ask the daemon to open it."""
        self._asked = True
        self.refused, self.refused_code = None, ""
        self._outbox.send(self.info)

    def receive(self, message: StreamMessage) -> None:
        """Take in a message of the daemon about this stream."""
        match message:
            case msg.StreamOpened() if self._asked:
                self._opened(message)
            case msg.ArenaReply() if self._unanswered:  # an answer about an earlier offer is passed over
                self._unanswered -= 1
                if not self._unanswered:
                    self.arena, self.spool = message.usable, message.spool
            case msg.StreamRefused() if self._asked:  # its records are kept: another daemon may take them
                self.lost()
                self.refused, self.refused_code = message.text, message.code
                self._forget_if_done()
            case msg.Credit() if self.live:
                self.credit += message.nbytes
                self.saturated = message.saturated
            case msg.Ack():
                self._committed(message.seq)
            case msg.Again():
                self._again()

    def lost(self) -> None:
        """The connection is gone: frames cannot be sent, records wait for the next opening."""
        self._asked = False
        self.live = False
        self.credit = 0
        self.arena, self.spool = None, 0
        self._unanswered = 0
        self._clips.clear()
        self._held.clear()
        self._outbox.holders.pop(self.info.handle, None)

    @property
    def done(self) -> bool:
        """Whether the stream has nothing more to send or to receive."""
        return self.closed and not self.unacked and not self._asked

    def _opened(self, message: msg.StreamOpened) -> None:
        """The daemon has (re)opened it: settle what is acked, send the rest again."""
        self._asked = False
        self._agree(message.acked_seq)
        self.info = replace(self.info, suffix=message.suffix)
        self.epoch += 1
        self.live = True
        self.saturated = False
        self.credit = message.credit
        self._sent, self._bytes = self._acked, 0
        self._send_more()

    def _again(self) -> None:
        """The daemon has room again: send it the records that it did not take, or ask it again to open the stream."""
        if self.live:
            self._held.clear()
            self._sent, self._bytes = self._acked, 0
            self._send_more()
        elif not self._asked and (self.refused is not None or self.unacked):
            self.ask()

    def _committed(self, seq: int) -> None:
        """Forget the records up to ``seq``: they are committed."""
        if seq >= self._next_seq:
            raise RemoteProtocolError(f"the daemon acked record {seq}, only {self._next_seq - 1} were sent")
        if seq > self._acked:
            self._acked = seq
            self.backlog.acked(seq)
            if seq >= self._sent:
                self._bytes = 0
            if self.live and self._sent - seq <= MAX_RECORDS_IN_FLIGHT // 2:
                self._send_more()
        self._forget_if_done()

    def _send_more(self) -> None:
        """Send the records that were not sent yet, as many as may be in flight; after the last a closed one leaves."""
        if self._sent < self._next_seq - 1 and self._bytes <= MAX_BYTES_IN_FLIGHT:
            self.send_held()
            most = self._acked + MAX_RECORDS_IN_FLIGHT
            records: list[tuple[int, bytes]] = []
            for seq, body in takewhile(lambda each: each[0] <= most, self.backlog.after(self._sent)):
                records.append((seq, body))
                self._bytes += len(body)
                if self._bytes > MAX_BYTES_IN_FLIGHT:
                    break
            self._sent += count_all(body for _, body in records)
            self._send(records)
        if self.closed and self._sent == self._next_seq - 1:
            self._leave()

    def _send(self, records: Iterable[tuple[int, bytes]]) -> None:
        for first_seq, bodies in batches(records):
            self._outbox.send(msg.Records(handle=self.info.handle, first_seq=first_seq, bodies=tuple(bodies)))

    def _leave(self) -> None:
        """Send what is held back, then CloseStream: nothing may follow that."""
        self.send_held()
        self._outbox.send(msg.CloseStream(self.info.handle))
        self.lost()

    def _agree(self, acked_seq: int) -> None:
        """Go on from the daemon's last record.

        Where that is earlier than what was acked, the index was replaced by an older one: what was in it
        cannot be sent again, and the rest takes the next numbers, so that no gap keeps it out.
        """
        gone = max(self._acked - acked_seq, 0)
        if gone:
            self.lost_records += gone
            self.backlog.renumber(gone)
            self._next_seq -= gone
            self._acked = acked_seq
        self._committed(acked_seq)

    def _forget_if_done(self) -> None:
        if self.done:
            self.backlog.end()
            self._forget(self)

    def _require_live(self) -> None:
        if not self.live:
            raise LocalProtocolError(f"stream {self.info.handle} is not open at the daemon")


def batches(records: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """Split records so that each batch fits one message. Yields the first one's number, and their bodies."""
    first, bodies, room = 0, list[bytes](), 0
    for seq, body in records:
        cost = len(body) + 8
        if len(bodies) == MAX_RECORDS_PER_MESSAGE or cost > room:
            if bodies:
                yield first, bodies
            first, bodies, room = seq, [], MAX_HEADER_BYTES - 64
        bodies.append(body)
        room -= cost
    if bodies:
        yield first, bodies
