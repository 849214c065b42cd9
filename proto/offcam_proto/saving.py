"""The message by which a client has the last seconds of a ring made a video."""

from __future__ import annotations

from typing import ClassVar

from offcam_proto.validation import Checked, FileName, Real, Text, UInt


class SaveClip(Checked, frozen=True):
    """Makes a video of the last frames of a ring: of an open clip with `messages.OpenClip.ring_seconds`.

    The video is a clip by itself, which the daemon ends: a `messages.ClipDone` tells of it. It begins with the keyframe
    at or before the first frame that is wanted, where the ring has that still. The ring goes on.

    Attributes:
        clip: number of the ring.
        saved: number of the video's clip, higher than any before.
        name: the video's, without suffix, part or extension.
        reason: why, for people.
        episode: RecordVideo's episode id.
        step: RecordVideo's step id.
        started: seconds since the Unix epoch, now.
        index: of the ring's next frame.
        before: so many frames before that one are wanted, those that were dropped included.
        after: so many from that one on. The video is ended with them, or with the ring.
    """

    TYPE: ClassVar[int] = 14

    handle: UInt
    clip: UInt
    saved: UInt
    name: FileName
    reason: Text
    episode: UInt
    step: UInt
    started: Real
    index: UInt
    before: UInt
    after: UInt
