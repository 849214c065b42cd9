"""What those sinks share whose tracker has to be opened, with a key, before anything is sent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from offcam.sync.sinks.sink import Sink

if TYPE_CHECKING:
    from offcam.sync.core import Batch, ClipSent
    from offcam.sync.index import RunFacts


class Remote(Sink):
    """A sink that opens a run, or a repository, at its tracker when it is made.

    Attributes:
        defaults: values of options that are not given, in which ``{name}`` stands for the recorded run's name.
    """

    defaults: ClassVar[Mapping[str, str]] = {}

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        super().__init__(run, options, saved)
        own = {option: text.format(name=run.name) for option, text in self.defaults.items()}
        self.where = self.open({**own, **options})

    @abstractmethod
    def open(self, options: Mapping[str, str]) -> str:
        """Open the tracker's run or repository. Returns where it is, for people.

        Args:
            options: the options as they were given, and `defaults` for the others.

        Raises:
            ConfigError: the options make no sense together.
        """

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the recorded run, for the tracker's run."""
        return {"folder": self.run.folder, "session": self.run.session, "env_ids": list(self.run.env_ids)}


NUMBER: Final = "offcam/episode"
"""Name of the value that each line has: how many episodes came before."""


class Lines(Remote):
    """Logs line by line into a run of offcam's own, with which each process that sends a recorded run goes on.

    Lines have steps that are counted from 0, so that lines which the tracker has already are known if they come again.

    Attributes:
        has: how many lines the tracker has; set by `open`.
    """

    late: ClassVar[bool] = True
    has: int

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        self._step = int(saved.get("step", 0))  # step of the next line
        self._over = False
        super().__init__(run, options, saved)

    @abstractmethod
    def line(self, values: dict[str, Any], step: int) -> None:
        """Log one line."""

    @abstractmethod
    def video(self, clip: ClipSent) -> object:
        """A video as a line's value."""

    @abstractmethod
    def end(self) -> None:
        """Wait until the tracker has all lines, or keeps them where they outlive this process."""

    def send(self, batch: Batch) -> dict[str, Any]:
        """Log a batch; the tracker's own thread or process stores it."""
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
        """Leave the tracker's run. Lines that are not stored come again."""
        if not self._over:
            self.finish()

    def _log(self, values: dict[str, Any]) -> None:
        if self._step >= self.has:
            self.line(values, self._step)
        self._step += 1
