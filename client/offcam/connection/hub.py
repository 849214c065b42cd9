"""A conversation with a hub: a daemon of another host that takes in what was recorded here, and lies in an index here.

It has a session and a socket of its own, and no memory: whoever loses it begins another one, and is told by the hub how
far it has come.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from offcam.connection import timeouts
from offcam.connection.transport import Transport
from offcam_proto import __version__
from offcam_proto import messages as msg
from offcam_proto.client_session import ClientSession, State
from offcam_proto.client_stream import batches
from offcam_proto.errors import DaemonUnavailable, RemoteProtocolError
from offcam_proto.records import count_all, numbered

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile
    from offcam_proto.pushing import ClipElsewhere, ClipsGone

GOODBYE_MS: Final = 2000
"""How long the last messages may take to be sent."""


class Hub:
    """A hub, greeted. For one thread.

    Args:
        endpoint: where it is, ``tcp://``.
        key: the key to show to it.
        host: this host's name.

    Raises:
        ConfigError: nothing can connect to the endpoint.
        DaemonUnavailable: nobody answers there.
        KeyRefused: the hub does not take the key, or has not the key that this one is for.
        RemoteProtocolError: it is of another offcam.
    """

    def __init__(self, endpoint: Endpoint, key: KeyFile | None, host: str) -> None:
        self._url = endpoint.url
        self._transport = Transport(endpoint, key)
        self._session = ClientSession(
            uuid.uuid4().bytes, pid=os.getpid(), host=host, client=f"offcam/{__version__} sync"
        )
        self._handles = 0
        self._sent: dict[int, int] = {}  # the last record of each stream that is open
        self._acked: dict[int, int] = {}
        self._opened: dict[int, int] = {}
        self._flushed = 0  # the last flush after which nothing remained
        self._done: dict[tuple[int, int], str] = {}  # what was said of clips: the error, or nothing
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def _greet(self) -> None:
        try:
            self._transport.connect_with_key(timeouts.HUB_SECONDS)
        except DaemonUnavailable as error:
            raise DaemonUnavailable(
                f"no hub answers at {self._url}. Start it there with `offcam hub --tcp {self._url}`, and see that no "
                "firewall is in between."
            ) from error
        self._session.connect()
        self._wait(lambda: self._session.state is State.OPEN, "greet")

    def open(self, streams: Iterable[msg.OpenStream]) -> list[tuple[int, int]]:
        """Open streams. Returns of each its handle, and its last record that the hub has. Raises as `settle`."""
        first = self._handles + 1
        for stream in streams:
            self._handles += 1
            self._session.outbox.send(replace(stream, handle=self._handles))
        new = range(first, self._handles + 1)
        self._wait(lambda: all(handle in self._opened for handle in new), "open a stream")
        for handle in new:
            self._sent[handle] = self._acked[handle] = self._opened[handle]
        return [(handle, self._opened[handle]) for handle in new]

    def send(self, handle: int, bodies: Iterable[bytes]) -> None:
        """Send the next records of a stream. `settle` waits until the hub has them."""
        given = list(bodies)
        for first_seq, those in batches(numbered(self._sent[handle] + 1, given)):
            self._session.outbox.send(msg.Records(handle=handle, first_seq=first_seq, bodies=tuple(those)))
        self._sent[handle] += count_all(given)
        self._speak()

    def tell(self, clips: ClipElsewhere | ClipsGone) -> None:
        """Tell of a clip, or of those that are gone, and wait until the hub's index has it. Raises as `settle`."""
        key = clips.handle, clips.clip
        self._done.pop(key, None)
        self._session.outbox.send(clips)
        self._wait(lambda: key in self._done, "take a video's row")
        if error := self._done.pop(key):
            raise DaemonUnavailable(f"the hub at {self._url} cannot write: {error}")

    def settle(self) -> None:
        """Wait until all that was sent is in the hub's indexes.

        Raises:
            DaemonUnavailable: the connection broke, or the hub says nothing, or cannot write.
            RemoteProtocolError: it has broken the protocol, or refused this client.
        """
        self._wait(lambda: all(self._acked[handle] >= seq for handle, seq in self._sent.items()), "commit")

    def end(self, handles: Iterable[int]) -> None:
        """Say that nothing more comes of streams, and wait until the hub has taken it in. Raises as `settle`."""
        for handle in handles:
            self._session.outbox.send(msg.CloseStream(handle))
            self._sent.pop(handle)
        token = self._session.flush()
        self._wait(lambda: self._flushed >= token, "commit")

    def close(self) -> None:
        """Leave."""
        self._session.close()
        for parts in self._session.take():
            self._transport.send(parts)
        self._transport.close(GOODBYE_MS)

    # --- the conversation -------------------------------------------------------------------------------------

    def _wait(self, settled: Callable[[], bool], what: str) -> None:
        """Send what there is to be sent, and take in answers until ``settled``."""
        heard = asked = time.monotonic()
        self._speak()
        while not settled():
            now = time.monotonic()
            if now - heard > timeouts.HUB_SILENCE_SECONDS:
                raise DaemonUnavailable(f"the hub at {self._url} did not {what} in {now - heard:.0f} s: is it busy?")
            if now - asked > timeouts.ANSWER_SECONDS:  # a hub that was restarted says so only to who says something
                asked = now
                if self._session.state is State.OPEN:
                    self._session.flush()
                    self._speak()
            self._transport.await_message(timeouts.ANSWER_SECONDS)
            for parts in self._transport.received():
                message = self._session.receive(parts)
                if not isinstance(message, msg.Flushed):
                    heard = time.monotonic()
                self._hear(message)

    def _hear(self, message: msg.ServerMessage) -> None:
        match message:
            case msg.StreamOpened():
                self._opened[message.handle] = message.acked_seq
            case msg.Ack():
                self._acked[message.handle] = max(message.seq, self._acked.get(message.handle, 0))
            case msg.Flushed(clips=0):
                self._flushed = max(self._flushed, message.token)
            case msg.ClipDone():
                self._done[message.handle, message.clip] = message.error
            case msg.StreamRefused():
                raise DaemonUnavailable(f"the hub at {self._url} does not take the run: {message.text}")
            case msg.Again():
                raise DaemonUnavailable(f"the hub at {self._url} had no room for what was sent: is its disk full?")
            case msg.Refused():
                raise RemoteProtocolError(f"the hub at {self._url} refused this sender: {message.text}")
            case msg.SayHello() | msg.Goodbye():
                raise DaemonUnavailable(f"the hub at {self._url} was stopped or restarted")

    def _speak(self) -> None:
        for parts in self._session.take():
            if not self._transport.send(parts):
                raise DaemonUnavailable(f"the connection to the hub at {self._url} broke")
