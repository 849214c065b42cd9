"""The pictures of an episode that happens again."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any

from offcam.replay.plans import Outcome, Plan, Stretch, play
from offcam_proto.errors import NotReplayable

if TYPE_CHECKING:
    from offcam.replay.tape import Event, TapeReader


class Film:
    """What an env renders while a stretch of a tape happens again in it. Each step is checked.

    Attributes:
        outcome: how it went; None until `frames` has come to its end.

    Args:
        tape: what happened.
        wanted: the stretch.
        plan: by which it does again.
        env: a base env that was just made, with a ``render_mode`` of pictures. It is closed by whoever made it.
    """

    def __init__(self, tape: TapeReader, wanted: Stretch, plan: Plan, env: Any) -> None:  # noqa: ANN401 - a base env
        self.outcome: Outcome | None = None
        self._tape = tape
        self._wanted = wanted
        self._plan = plan
        self._env = env

    def frames(self, marks: Container[int]) -> Iterator[tuple[int, Any]]:
        """The pictures.

        Args:
            marks: behind which rows of the tape one is taken.

        Yields:
            The row, and what ``render`` gave there, which the env may write the next one into. Those behind the first
            event that was another one than on the tape are not: see `outcome`.

        Raises:
            NotReplayable: something that is needed is not on the tape.
        """
        for event, why in self._events():
            if why:
                self.outcome = Outcome(self._plan, event.row - self._wanted.begin, why)
                return
            if event.row in marks:
                yield event.row, self._env.render()
        self.outcome = Outcome(self._plan, None)

    def _events(self) -> Iterator[tuple[Event, str]]:
        if not hasattr(self._env, "mujoco_renderer"):
            return play(self._tape, self._wanted, self._plan, self._env)
        # MuJoCo's camera looks where the first picture had it look: that of the first reset there was
        before = self._tape.resets[0]
        plan = self._plan
        if before < self._wanted.begin and not plan.resets and plan.resets is not None:
            return self._with_camera(before)
        return play(self._tape, self._wanted, plan, self._env, first_seen=self._env.render)

    def _with_camera(self, first: int) -> Iterator[tuple[Event, str]]:
        for _ in play(self._tape, Stretch(first, first + 1), Plan(), self._env, first_seen=self._env.render):
            pass
        yield from play(self._tape, self._wanted, self._plan, self._env)


def picture(rendered: Any) -> Any:  # noqa: ANN401 - whatever the env renders
    """The one picture of what an env rendered: of a list, as some give, the last.

    Raises:
        NotReplayable: there is none.
    """
    if isinstance(rendered, list):
        rendered = rendered[-1] if rendered else None
    if rendered is None:
        raise NotReplayable("the env rendered nothing: it needs a render_mode that yields images")
    return rendered
