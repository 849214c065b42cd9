"""A Unix socket that passes everything on to another one, and can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Proxy:
    """Accepts connections at a path of its own and joins each to one at ``target``, until it is closed."""

    def __init__(self, path: Path, target: str) -> None:
        self.address = f"ipc://{path}"
        self.passed = 0
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._start(self._accept)

    def cut(self, known: Callable[[], bool] | None = None) -> int:
        """Break all connections, in the midst of whatever is being said. Returns how many there were.

        With ``known`` nothing gets through before that is true: who connects again at once could undo it unseen.
        """
        if known is not None:
            self._open.clear()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        if known is not None:
            wait_until(known, "the cut is known")
            self._open.set()
        return len(pairs)

    def close(self) -> None:
        """Break all connections, accept none, and wait until every thread has ended."""
        self._open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _start(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                self._open.wait()
                there = socket.socket(socket.AF_UNIX)
                try:
                    there.connect(self._target)
                except OSError:  # nobody listens there at the moment
                    here.close()
                    there.close()
                    continue
                with self._lock:
                    self._pairs.append((here, there))
                left = [2]
                self._start(self._pass_on, here, there, left)
                self._start(self._pass_on, there, here, left)

    def _pass_on(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                self.passed += len(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            left[0] -= 1
            if not left[0]:
                source.close()
                sink.close()
                self._pairs = [pair for pair in self._pairs if pair not in ((source, sink), (sink, source))]
