"""What the sinks of trackers have in common that are opened, with a key, before anything is sent to them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from offcam.sync.sinks.sink import Sink

if TYPE_CHECKING:
    from offcam.sync.core import Batch, ClipSent
    from offcam.sync.index import RunFacts


class Remote(Sink):
    """Opens a tracker's run, or repository, once it has its options: all of these do so alike.

    Attributes:
        defaults: of options that were not given. ``{name}`` in them is the recorded run's.
    """

    defaults: ClassVar[Mapping[str, str]] = {}

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        super().__init__(run, options, saved)
        own = {option: text.format(name=run.name) for option, text in self.defaults.items()}
        self.where = self.open({**own, **options})

    @abstractmethod
    def open(self, options: Mapping[str, str]) -> str:
        """Open it. Returns, for people, where that is.

        Args:
            options: as they were given, and `defaults`.

        Raises:
            ConfigError: they make no sense together.
        """

    @property
    def facts(self) -> dict[str, Any]:
        """What a tracker's run says of the recorded one."""
        return {"folder": self.run.folder, "session": self.run.session, "env_ids": list(self.run.env_ids)}


NUMBER: Final = "offcam/episode"
"""What each line has: how many episodes came before."""


class Lines(Remote):
    """Logs line by line into a run of our own, which each process that sends a recorded run goes on with.

    Lines have steps of our own, counted from 0. So those that the tracker has already are known when they come again.

    Attributes:
        has: so many lines the tracker has; `open` says.
    """

    late: ClassVar[bool] = True
    has: int

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        self._step = int(saved.get("step", 0))  # of the next line
        self._over = False
        super().__init__(run, options, saved)

    @abstractmethod
    def line(self, values: dict[str, Any], step: int) -> None:
        """Log one."""

    @abstractmethod
    def video(self, clip: ClipSent) -> object:
        """A video as what is logged has it."""

    @abstractmethod
    def end(self) -> None:
        """Wait until the tracker has all lines, or keeps them where they outlive this process."""

    def send(self, batch: Batch) -> dict[str, Any]:
        """Log it; the tracker's own thread or process stores it."""
        for episode in batch.episodes:
            self._log({NUMBER: episode.number, **episode.values})
        if (clip := batch.clip) is not None:
            video = {} if self._step < self.has else {"offcam/video": self.video(clip)}
            self._log({NUMBER: clip.number, **video})
        return {"step": self._step}

    def finish(self) -> None:
        """Wait until all is stored."""
        self._over = True
        self.end()

    def close(self) -> None:
        """Leave it. What is not stored comes again."""
        if not self._over:
            self.finish()

    def _log(self, values: dict[str, Any]) -> None:
        if self._step >= self.has:
            self.line(values, self._step)
        self._step += 1
