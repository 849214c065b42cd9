"""Server-sent events: what changes, for all listeners, from one task that runs while there are any.

The format, three lines of text, is written by hand: sse-starlette finds out about a shutdown by uvicorn's signal
handlers, which it replaces when it is imported, and a server on a thread has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from offcam_runs.json_text import dumps

if TYPE_CHECKING:
    from offcamd.web.runs import RunDescriptions
    from offcamd.web.source import RunSource

INTERVAL_SECONDS = 1.0

MOST_SHARE = 0.2
"""The share of the time that looking for changes may take: where many runs change at a time, it is done less often."""

KEEP_ALIVE_SECONDS = 15.0

MOST_LISTENERS = 64

MOST_WAITING = 16
"""Seconds of events that are kept for one listener; one further behind is let go, and its browser reconnects."""

_STOP_SECONDS = 0.2
"""How soon listeners are disconnected when the server stops, in seconds."""


class Broadcaster:
    """Sends the daemon's statistics, and each run that changed, to all listeners. For the event loop's thread.

    Args:
        source: the runs and the statistics.
        runs: describes the runs.
        stopping: whether the server is about to stop.
    """

    def __init__(self, source: RunSource, runs: RunDescriptions, stopping: Callable[[], bool]) -> None:
        self._source = source
        self._runs = runs
        self._stopping = stopping
        self._listeners: set[asyncio.Queue[bytes | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._sent: dict[str, bytes] = {}

    @property
    def full(self) -> bool:
        """Whether there are as many listeners as there may be."""
        return len(self._listeners) >= MOST_LISTENERS

    async def listen(self) -> AsyncIterator[bytes]:
        """Events as bytes, until the server stops or the listener falls behind; at first, everything there is."""
        events: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        yield b"retry: 2000\n\n"
        for event in await run_in_threadpool(self._everything):
            yield event
        self._listeners.add(events)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        try:
            while True:
                try:
                    news = await asyncio.wait_for(events.get(), KEEP_ALIVE_SECONDS)
                except (TimeoutError, asyncio.TimeoutError):  # two classes until Python 3.11
                    yield b": still here\n\n"
                    continue
                if news is None:
                    return
                yield news
        finally:
            self._listeners.discard(events)

    async def _work(self) -> None:
        """Look for changes once a second, or as `MOST_SHARE` allows, until there is no listener left."""
        waited, pause = 0.0, INTERVAL_SECONDS
        while self._listeners and not self._stopping():
            await asyncio.sleep(_STOP_SECONDS)
            waited += _STOP_SECONDS
            if waited >= pause:
                began = time.monotonic()
                news = b"".join(await run_in_threadpool(self._news))  # one queue entry, of however many runs
                waited, pause = 0.0, pause_after(time.monotonic() - began)
                if news:
                    self._tell(news)
        for events in list(self._listeners):
            _put(events, None)

    def _tell(self, event: bytes) -> None:
        for events in list(self._listeners):
            if events.qsize() >= MOST_WAITING - 1:
                self._listeners.discard(events)
                _put(events, None)
            else:
                _put(events, event)

    def _everything(self) -> list[bytes]:
        described = {run["id"]: _event("run", run) for run in self._runs.all()}
        return [*self._stats(), *described.values()]

    def _news(self) -> list[bytes]:
        """The statistics, and the runs that changed since they were last sent. On a worker thread, one at a time."""
        described = {run["id"]: _event("run", run) for run in self._runs.all()}
        changed = [event for run, event in described.items() if self._sent.get(run) != event]
        self._sent = described
        return [*self._stats(), *changed]

    def _stats(self) -> list[bytes]:
        stats = self._source.stats()
        return [] if stats is None else [_event("stats", {key: stats[key] for key in stats if key != "runs"})]


def pause_after(took: float) -> float:
    """Seconds until changes are looked for again, after a look that took so many."""
    return max(INTERVAL_SECONDS, took / MOST_SHARE)


def _put(events: asyncio.Queue[bytes | None], event: bytes | None) -> None:
    with contextlib.suppress(asyncio.QueueFull):  # this listener is being dropped already
        events.put_nowait(event)


def _event(name: str, value: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(json.loads(dumps(value)))}\n\n".encode()
