"""The pictures of a replayed episode."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any

from offcam.replay.plans import Outcome, Plan, Stretch, play
from offcam_proto.errors import NotReplayable

if TYPE_CHECKING:
    from offcam.replay.tape import Event, TapeReader


class Film:
    """What an env renders while a stretch of a tape is replayed in it. Each step is checked.

    Attributes:
        outcome: the outcome of the replay; None until `frames` has come to its end.

    Args:
        tape: the recorded tape.
        wanted: the stretch.
        plan: the plan by which it is replayed.
        env: a base env that was just made, with a ``render_mode`` that yields images. The caller closes it.
    """

    def __init__(self, tape: TapeReader, wanted: Stretch, plan: Plan, env: Any) -> None:  # noqa: ANN401 - a base env
        self.outcome: Outcome | None = None
        self._tape = tape
        self._wanted = wanted
        self._plan = plan
        self._env = env

    def frames(self, marks: Container[int]) -> Iterator[tuple[int, Any]]:
        """Replay the stretch, and take pictures.

        Args:
            marks: the rows of the tape behind which a picture is taken.

        Yields:
            The row, and what ``render`` returned there, which is valid until the next one. There are no pictures behind
            the first event that differed from the tape: see `outcome`.

        Raises:
            NotReplayable: something that is needed is missing on the tape.
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
        # MuJoCo's camera is placed when the first picture is rendered, which was after the very first reset
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
    """The picture that an env rendered; the last one where it returned a list.

    Raises:
        NotReplayable: there is no picture.
    """
    if isinstance(rendered, list):
        rendered = rendered[-1] if rendered else None
    if rendered is None:
        raise NotReplayable("the env rendered nothing: it needs a render_mode that yields images")
    return rendered
