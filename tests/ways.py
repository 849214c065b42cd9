"""Which ways frames take to the daemon: slots of shared memory, or the socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcam.connection.frame_sender import FrameSender

if TYPE_CHECKING:
    import pytest


def noted(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The slots that frames of this process go into from now on, None for each that goes through the socket."""
    seen: list[int | None] = []
    send_slot, send_pixels = FrameSender._send_slot, FrameSender._send_pixels

    def by_slot(sender, wire, clip, index, layouts, slot):
        seen.append(slot)
        return send_slot(sender, wire, clip, index, layouts, slot)

    def by_socket(*arguments):
        seen.append(None)
        return send_pixels(*arguments)

    monkeypatch.setattr(FrameSender, "_send_slot", by_slot)
    monkeypatch.setattr(FrameSender, "_send_pixels", by_socket)
    return seen
