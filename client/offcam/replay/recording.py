"""What a wrapper needs that records an env for replay: the tap at its base, its tape, and who makes its videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offcam.recorder import readings
from offcam.replay import recipe
from offcam.replay.clip import ReplayClip
from offcam.replay.renderer import Renderer
from offcam.replay.tap import insert
from offcam.replay.tape_log import TapeLog
from offcam_proto.errors import ConfigError, NotReplayable

if TYPE_CHECKING:
    from collections.abc import Callable

    import gymnasium as gym

    from offcam.recorder.clip_writer import Encoding
    from offcam.recorder.env_stream import EnvStream


class Replaying:
    """Records a single env for replay. It belongs to the thread of the env; a copy of an env has none.

    Args:
        env: the env. A tap is put at its base.

    Attributes:
        env: in place of the one that was given.
        tape: what happens at its base.

    Raises:
        ConfigError: it cannot be replayed, and why.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        if readings.number_of_envs(env) is not None:
            raise ConfigError("source='replay' is for single envs; this one steps many at once. Leave it out.")
        try:
            self._recipe = recipe.of(env)
            self.tape = TapeLog(env.unwrapped.action_space, self._recipe)
            self.env = insert(env, lambda _: self.tape)
        except NotReplayable as error:
            raise ConfigError(f"source='replay' cannot be had for this env: {error}") from error
        self.renderer: Renderer | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def attach(self, stream: EnvStream, made: Callable[[str], object]) -> None:
        """The tape goes into this stream; ``made`` is called with the path of each video that is made."""
        self.tape.attach(stream)
        self.renderer = Renderer(self._recipe, made)

    def look(self) -> None:
        """Take notice of videos that were made meanwhile. It waits for nothing."""
        if self.renderer is not None:
            self.renderer.look()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until each video is made that was asked for, at most so many seconds. Returns whether all are."""
        return self.renderer is None or self.renderer.wait(timeout)

    def finish(self) -> None:
        """Wait until each video is made that was asked for, and have the process leave that makes them."""
        if self.renderer is not None:
            self.renderer.close()

    def clip(
        self, stream: EnvStream, name: str, *, encoding: Encoding, episode: int, step: int, every: int
    ) -> ReplayClip:
        """A video to be made of the steps that follow."""
        assert self.renderer is not None  # noqa: S101 - attached where anything is recorded
        return ReplayClip(self.renderer, stream, name, encoding=encoding, episode=episode, step=step, every=every)
