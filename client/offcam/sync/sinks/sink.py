"""What every tracker's sink is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from offcam.sync.core import Batch
    from offcam.sync.index import RunFacts


class Sink(ABC):
    """Sends one session of a run to one place. It is used on one thread: the main thread of a process of its own.

    What any of its methods raises means that nothing is known to be sent: it is closed, and after a while another one
    is made and gets the same batch again. So is one whose method takes longer than the option ``timeout`` says. A
    sink should send nothing twice, by what the tracker offers or by what it has saved.

    Attributes:
        options: those that there are, with what each is for; others are refused.
        late: whether what was sent is certain to outlive this process only once `finish` returns. What was sent since
            then comes again to the next sink.
        key: what people do where the tracker refuses theirs (HTTP 401 and 403), which is not tried again.
        where: for people, where it is sent to. Known once it is made.

    Args:
        run: what is sent.
        options: as they were given, each one of `options`.
        saved: what the last `send` of an earlier one returned; empty for the first.
    """

    options: ClassVar[Mapping[str, str]] = {}
    late: ClassVar[bool] = False
    key: ClassVar[str] = "give it a key that may write there"

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        self.run = run
        self.given = options
        self.saved = dict(saved)
        self.where = ""

    @classmethod
    def check(cls, tracker: str, options: Mapping[str, str]) -> None:
        """Require options that there are.

        Raises:
            ConfigError: one is not; the message says which there are.
        """
        if others := sorted(set(options) - set(cls.options)):
            there = ", ".join(f"{name} ({what})" for name, what in cls.options.items()) or "none"
            raise ConfigError(f"{tracker!r} has no option {', '.join(map(repr, others))}. There are: {there}")

    @abstractmethod
    def send(self, batch: Batch) -> dict[str, Any]:
        """Send it. When this returns the tracker has it, or keeps it where it outlives this process.

        Returns:
            What the next sink of the same session is to know, of plain values. It is kept together with the position
            behind the batch, or not at all.
        """

    def finish(self) -> None:  # noqa: B027 - most need nothing
        """All was sent that there is: return once the tracker has it. It is used no more, but closed."""

    def close(self) -> None:  # noqa: B027 - most need nothing
        """Nothing more is sent, for now. What is waited for here is not waited for long."""
