"""The last seconds of an env, which the daemon holds in memory, and the videos that are saved of them."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from offcam.recorder.clip_writer import ClipWriter
from offcam.recorder.readings import as_float
from offcam_proto.limits import MAX_NAME_BYTES, MAX_TEXT_BYTES
from offcam_proto.records import ClipRecord
from offcam_proto.saving import SaveClip

if TYPE_CHECKING:
    from offcam.connection.shared_memory import Picture
    from offcam.recorder.clip_writer import Encoding, Overflow
    from offcam.recorder.env_stream import EnvStream

ROOM_BYTES = len("--step-") + 19 + len("-99")
"""Bytes of a video's name besides its prefix and its reason."""

REASON_BYTES = 40
"""Most characters of a reason that go into its video's name."""


def slug(reason: str) -> str:
    """A reason in a form that can be part of a file name."""
    short = re.sub(r"[^\w]+", "-", reason).strip("-_").lower().encode()[:REASON_BYTES].decode(errors="ignore")
    return short.strip("-_") or "clip"


class _Ring(ClipWriter):
    """The ring: a clip without a file, whose frames the daemon holds. The index has no row of it."""

    def _tell(self, *parts: object) -> None:
        """Do nothing: the frames of a ring are not accounted for."""

    def _not_whole(self, why: str) -> None:
        self._stream.warn_once(
            f"the last seconds that the recorder daemon held of {self._name!r} are lost ({why}). From here on they are "
            "held anew. (Said once.)",
            about=f"ring: {self._name}",
        )

    def cut_off(self) -> None:
        """Nothing is cut off: a ring is not a video."""

    def save(self, saved: SaveClip, number: int) -> bool:
        """Ask for a video of the ring's frames; returns whether the daemon was asked.

        ``saved`` says what is wanted, except handle, clips and index; ``number`` is that of the next frame.
        """
        part, stream = self._part, self._stream
        wire, videos = stream.wire(), stream.videos
        with stream.connection.lock:
            if part is None or part.wire is not wire or not wire.live or part.epoch != wire.epoch:
                return False
            message = SaveClip(
                handle=wire.info.handle,
                clip=part.number,
                saved=saved.saved,
                name=saved.name,
                reason=saved.reason,
                episode=saved.episode,
                step=saved.step,
                started=saved.started,
                index=number - part.begin,
                before=saved.before,
                after=saved.after,
            )
            part.connection.frames.say(wire, message)
            videos.unfinished[message.saved] = message.name, wire, wire.epoch, 0
            part.connection.unsettled.add(stream)
            part.connection.pump()
            return True


class BlackBox:
    """Has the daemon hold the last seconds of an env, across episodes, and make videos of them.

    Thread: that of the env; `save` may be called on any.

    Args:
        stream: the stream of the env that is shown.
        prefix: what names of the videos begin with.
        encoding: how the videos are made; ``ring_seconds`` is how much is held.
        after: how many seconds of frames follow in a video.
        overflow: what to do with a frame when the daemon is far behind.
        envs: as in `messages.OpenClip`.

    Attributes:
        number: number of the next frame: every reset and every step has one, whether or not it is shown.
        episode: number of the episode, -1 before the first; set by the wrapper.
        step: number of the last step, over all episodes; set by the wrapper.
        broken: whether it has stopped holding frames, as the env rendered something that is not a picture.
    """

    def __init__(
        self,
        stream: EnvStream,
        prefix: str,
        *,
        encoding: Encoding,
        after: float,
        overflow: Overflow,
        envs: tuple[int, ...] = (),
    ) -> None:
        self.number = 0
        self.episode = self.step = -1
        self.broken = False
        self._stream = stream
        self._prefix = prefix
        self._encoding = encoding
        self._before = max(1, round(encoding.ring_seconds * encoding.fps))
        self._after = round(after * encoding.fps)
        self._ring = _Ring(
            stream, f"{prefix}-vanished", encoding=encoding, episode=0, step=0, overflow=overflow, envs=envs
        )
        self._dropped: deque[tuple[int, str]] = deque()  # the dropped frames among those that are held, and why
        self._rewards: deque[tuple[int, float]] = deque()  # those of the held frames that show a step, and its reward
        self._names: tuple[int, Counter[str]] = (-1, Counter())  # names of the videos that were saved at one step
        self._saved_at = -1  # the next frame's number when a failure was last saved

    def add(self, pictures: tuple[Picture, ...], grid: tuple[int, int]) -> None:
        """Take the picture of the reset or step that the next call of `count` is for. Never raises."""
        reason = self._ring.add(pictures, grid, self.number)
        if reason is not None:
            self._dropped.append((self.number, reason))

    def count(self, reward: object | None) -> None:
        """Count a step with its reward, or with None a reset, whether or not it was shown."""
        if reward is not None:
            self._rewards.append((self.number, as_float(reward)))
        self.number += 1
        begin = self.number - self._before
        while self._dropped and self._dropped[0][0] < begin:
            self._dropped.popleft()
        while self._rewards and self._rewards[0][0] < begin:
            self._rewards.popleft()

    def failed(self, reason: str) -> None:
        """Something is wrong with the env: save what led to it, but only once until the next frame."""
        if self._saved_at != self.number:
            self._saved_at = self.number
            self.save(reason)

    def save(self, reason: str = "") -> str:
        """Have a video made of the frames that are held. Returns its name at once; never raises."""
        reason = reason.encode(errors="replace").decode().replace("\0", " ")[: MAX_TEXT_BYTES // 4]
        name, now, stream = self._name(reason), time.time(), self._stream
        stream.wire()
        with stream.connection.lock:
            videos = stream.videos
            videos.take_over()
            clip, videos.next_clip = videos.next_clip, videos.next_clip + 1
            saved = SaveClip(
                handle=0,
                clip=0,
                saved=clip,
                name=name,
                reason=reason,
                episode=max(self.episode, 0),
                step=max(self.step, 0),
                started=now,
                index=0,
                before=self._before,
                after=self._after,
            )
            asked = self._ring.save(saved, self.number)
        dropped, rewards = Counter(why for _, why in list(self._dropped)), list(self._rewards)
        account = ClipRecord(
            clip=clip,
            name=name,
            part=1,
            episode=saved.episode,
            step=saved.step,
            steps=len(rewards),
            return_=sum(reward for _, reward in rewards),
            offered=dropped.total(),
            dropped=dict(dropped),
            fps=self._encoding.fps,
            started=now,
            complete=True,
        )
        stream.record(account)
        if not asked:
            videos.losses.videos[name] = "nothing was held of it"
            stream.warn_once(
                f"{name!r} cannot be saved: no recorder daemon holds the last seconds of the env, as none is there or "
                "nothing was shown yet. (Said once.)",
                about=f"not saved: {self._prefix}",
            )
        return name

    def close(self) -> None:
        """Let go of the frames that are held; none of them is written."""
        self._ring.end()

    def abandon(self) -> None:
        """As `close`, where the process ends without it."""
        self._ring.abandon()

    def _name(self, reason: str) -> str:
        """A name for a video that no other video has which was saved at this step."""
        step = max(self.step, 0)
        if self._names[0] != step:
            self._names = step, Counter()
        what = slug(reason)
        self._names[1][what] += 1
        again = self._names[1][what]
        room = MAX_NAME_BYTES - ROOM_BYTES - len(what.encode())
        prefix = self._prefix.encode()[:room].decode(errors="ignore")
        return f"{prefix}-{what}-step-{step}" + (f"-{again}" if again > 1 else "")
