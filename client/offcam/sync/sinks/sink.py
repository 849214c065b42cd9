"""The base class of all trackers' sinks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from offcam.sync.core import Batch, ClipSent
    from offcam.sync.index import RunFacts
    from offcam.sync.local_limit import LocalFiles


class Sink(ABC):
    """Sends one session of a run to one place. Thread: the main thread of a process of its own.

    If any of its methods raises, or takes longer than the option ``timeout`` says, the batch counts as not sent: the
    sink is closed, and after a while another one is made and gets the same batch again. A sink should send nothing
    twice, by means of the tracker or by what it has saved.

    Attributes:
        options: by name, the options that the sink takes, each with what it is for; others are refused.
        paths: the options among these that are paths: a relative one counts from where the sending was asked for.
        late: whether what was sent is certain to outlive this process only once `finish` returns. What was sent after
            that then comes again to the next sink.
        ends: whether the tracker is told of the end by `finish`, which is then called once all was sent even where this
            process has sent nothing.
        key: what the user can do if the tracker refuses the key (HTTP 401 and 403), after which nothing is tried again.
        local: what is left of the run on this host, where the sink removes some of it; None where it does not.
        where: where the run is sent to, for people. Set by the constructor.

    Args:
        run: the run that is sent.
        options: the options as they were given, each one of `options`.
        saved: what the last `send` of an earlier sink of the session returned; empty for the first sink.
    """

    options: ClassVar[Mapping[str, str]] = {}
    paths: ClassVar[Collection[str]] = ()
    late: ClassVar[bool] = False
    ends: ClassVar[bool] = False
    key: ClassVar[str] = "give it a key that may write there"

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        self.run = run
        self.given = options
        self.saved = dict(saved)
        self.where = ""
        self.local: LocalFiles | None = None

    @classmethod
    def check(cls, tracker: str, options: Mapping[str, str]) -> None:
        """Check that all options are known.

        Raises:
            ConfigError: one is not; the message says which there are.
        """
        if others := sorted(set(options) - set(cls.options)):
            there = ", ".join(f"{name} ({what})" for name, what in cls.options.items()) or "none"
            raise ConfigError(f"{tracker!r} has no option {', '.join(map(repr, others))}. There are: {there}")

    @abstractmethod
    def send(self, batch: Batch) -> dict[str, Any]:
        """Send a batch. When this returns the tracker has it, or keeps it where it outlives this process.

        Returns:
            What the next sink of the same session is given as ``saved``: plain values. They are stored together with
            the position behind the batch, or not at all.
        """

    def has_clip(self, clip: ClipSent) -> bool:  # noqa: ARG002 - for those that know
        """Whether the tracker has a clip for certain, or fetches it itself, though its file is gone here."""
        return False

    def finish(self) -> None:  # noqa: B027 - most need nothing
        """All was sent: return once the tracker has it. After this only `close` is called."""

    def close(self) -> None:  # noqa: B027 - most need nothing
        """Let go of the tracker, as nothing more is sent for now. This must not wait for long."""
