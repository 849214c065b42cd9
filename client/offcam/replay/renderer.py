"""Has another process render videos from a stream's recorded steps. Never raises into the loop."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam import logger
from offcam.replay.audits import told
from offcam_proto.errors import OffcamError
from offcam_runs.idle import give_way, hurry
from offcam_runs.replay.process import start
from offcam_runs.replay.requests import END, Answer, Follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam_runs.replay.recipe import Recipe
    from offcam_runs.replay.requests import Request

_LOOK_SECONDS: Final = 0.5

_left: list[subprocess.Popen[bytes]] = []

CLOSE_SECONDS: Final = 600.0
"""How long `close` waits for videos: long enough for hundreds of short ones, and no script hangs for a night."""

LEAVE_SECONDS: Final = 30.0
"""How long the process may take to end once it has made all, as it takes leave of the daemon."""

MOST_DEATHS: Final = 3
"""How often in a row the process may die before it has made anything, as the same episode is likely to kill it."""

_MOST_NAMES: Final = 100

MOST_WAITING: Final = 10_000
"""Most videos that wait to be requested. Further ones are not made here; `offcam render` can make them later."""


class Asked(NamedTuple):
    """A request under way: whether it is a comparison rather than a recording, and of which episode."""

    compares: bool
    episode: int


_BY_RULE: Final = Asked(compares=False, episode=-1)  # for all videos that a rule keeps


class Renderer:
    """The process, and its requests. Thread: that of the env.

    Args:
        recipe: recipe of the env.
        made: a function that is called with the path of each video that is made.
        judge: a function that is called with the outcome of a comparison, or of a video that was not made. It returns
            the warning that is due, ``""`` for none, or None to have the renderer warn.

    Attributes:
        not_made: by name, videos that could not be made, with the reasons; the first ones if they are many.
        sealed: when the rows of the stream were last sent for a video, by `time.monotonic`.
    """

    def __init__(
        self,
        recipe: Recipe,
        made: Callable[[str], object],
        judge: Callable[[Asked, Answer], str | None] = lambda asked, _: "" if asked.compares else None,
    ) -> None:
        self._recipe = recipe
        self._made = made
        self._judge = judge
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._waiting: deque[bytes] = deque()
        self._asked: deque[Asked] = deque()  # requests without an answer yet
        self._answers = b""
        self._said = False
        self._deaths = 0  # how often the process has died since its last answer
        self._follow: Follow | None = None  # asks for the videos that a rule keeps, if there is one
        self._behind = False  # whether the rule may keep videos that were not requested yet
        self.sealed = 0.0
        self.not_made: dict[str, str] = {}

    def ask(self, request: Request) -> None:
        """Have a video made. Does not wait."""
        if self._pid == os.getpid() and len(self._waiting) >= MOST_WAITING:
            why = f"{MOST_WAITING} others wait. Ask `offcam render` for it later"
            self._not_made(request.name, f"{request.name!r} is not rendered: {why}.", why)
            return
        self._ask(request)

    def _ask(self, request: Request | Follow) -> None:
        if self._pid != os.getpid():  # a forked child starts a process of its own
            self._let_go()
            self._waiting.clear()
            self._asked.clear()
            self._pid, self._answers, self._follow = os.getpid(), b"", None
            self.not_made = {}
        self._waiting.append(request.line.encode())
        self._asked.append(
            _BY_RULE if isinstance(request, Follow) else Asked(request.seen is not None, request.episode)
        )
        self._go_on()

    @property
    def comparisons(self) -> int:
        """How many comparisons are under way."""
        return sum(asked.compares for asked in self._asked) if self._pid == os.getpid() else 0

    def _catch_up(self) -> None:
        """Request the videos that the rule keeps by now."""
        if self._follow is not None and self._behind and self._pid == os.getpid():
            self._behind = False
            self._ask(self._follow)

    def follow(self, follow: Follow) -> None:
        """Have the videos of a stream made that its rule keeps, now and later. Does not wait."""
        if follow != self._follow or self._pid != os.getpid():
            self._ask(follow)
            self._follow = follow
        self._behind = True

    def look(self) -> None:
        """Read the answers that are there, and send requests that wait. Does not wait."""
        if (self._asked or self._follow) and self._pid == os.getpid():
            self._go_on()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all videos are made that were requested or that the rule keeps, at most ``timeout`` seconds.

        Returns whether all are made that can be. Comparisons are not waited for.
        """
        self._catch_up()
        deadline = None if timeout is None else time.monotonic() + timeout
        hurried: subprocess.Popen[bytes] | None = None
        while self._videos and self._pid == os.getpid():
            self._go_on()
            process = self._process
            left = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, deadline - time.monotonic())
            if process is None or left <= 0 or not self._videos:
                break
            assert process.stdout is not None  # noqa: S101 - a pipe
            if process is not hurried and hurry(process.pid):
                hurried = process
            select.select([process.stdout], [], [], left)
        if hurried is not None and hurried.poll() is None:  # else its id may be another process's by now
            give_way(hurried.pid)
        return not self._videos

    @property
    def _videos(self) -> bool:
        return not all(asked.compares for asked in self._asked)

    def rest(self) -> None:
        """Have the process end if it has nothing to do; it is started again when it is needed."""
        process = self._process
        if process is not None and not self._asked and self._pid == os.getpid():
            assert process.stdin is not None  # noqa: S101 - a pipe
            with suppress(OSError):  # the process has ended
                os.write(process.stdin.fileno(), END)
            self._go_on()

    def close(self) -> None:
        """Wait until all requested videos are made, or cannot be, and have the process end.

        This waits for `CLOSE_SECONDS` at most; then the process goes on by itself, and a warning says so.
        """
        if self._pid != os.getpid():
            return
        all_made, process = self.wait(CLOSE_SECONDS), self._process
        if not all_made and process is not None:
            self._say(
                f"after {CLOSE_SECONDS:.0f} s videos are still being rendered: the process that does so goes on alone. "
                "`offcam ls` says what it has made."
            )
            self.not_made.setdefault("some", f"not rendered within {CLOSE_SECONDS:.0f} s")
        self._follow = None
        self._let_go()
        self._waiting.clear()
        self._asked.clear()
        if all_made and process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LEAVE_SECONDS)

    def _hurry(self, process: subprocess.Popen[bytes]) -> None:
        """Have the process skip comparisons, as nobody waits for them any more, but for those before a video."""
        if self._asked and not self._videos:
            process.send_signal(signal.SIGUSR1)

    def __del__(self) -> None:
        """Let go of the process if `close` was not called: it ends once it has done its requests."""
        if "_process" in self.__dict__:
            self._let_go()

    def _let_go(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes both
            if self._pid == os.getpid():
                self._hurry(process)
                left = [self._follow.line.encode()] if self._follow is not None and self._behind else []
                with suppress(OSError):
                    os.write(process.stdin.fileno(), b"".join((*self._waiting, *left, END)))
            process.stdin.close()
            process.stdout.close()
            _left.append(process)  # keeps subprocess from warning that it still runs
            _left[:] = [each for each in _left if each.poll() is None]

    def _go_on(self) -> None:
        try:
            process = self._process
            if process is not None and process.poll() is not None:
                self._read()
                self._process = None
                with process:
                    self._ended(process)
            if self._process is None and self._waiting:
                self._process = start(self._recipe, os.environ)
                assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - pipes
                os.set_blocking(self._process.stdin.fileno(), False)
                os.set_blocking(self._process.stdout.fileno(), False)
            if self._process is not None:
                self._write()
                self._read()
        except OffcamError as error:
            self._waiting.clear()
            self._follow = None
            if self._untold(len(self._asked), str(error)):
                self._not_made("some", f"videos are not rendered: {error}", str(error))

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        """The process is gone: its requests without an answer are not done."""
        self._answers, self._deaths = b"", self._deaths + 1
        why = f"the process that does so ended ({process.returncode})"
        lost = self._untold(len(self._asked) - len(self._waiting), why)
        if self._follow is not None and self._deaths < MOST_DEATHS:  # a new process finds in the index what is not made
            self._waiting.append(self._follow.line.encode())
            self._asked.append(_BY_RULE)
        elif lost or self._follow is not None:
            what = f"{lost} videos were" if self._follow is None else "what the rule keeps is"
            self._follow = None
            self._not_made("some", f"{what} not rendered: {why}. Ask `offcam render` for it.", why)

    def _untold(self, count: int, why: str) -> int:
        """Give up the first ``count`` requests. Returns how many of them the judge leaves to this object to warn of."""
        return sum(self._leaves(self._asked.popleft(), Answer("", why=why)) for _ in range(count))

    def _leaves(self, asked: Asked, answer: Answer) -> bool:
        """Tell the judge of an outcome, and give its warning. Returns whether it leaves that to this object."""
        text = self._judge(asked, answer)
        if text:
            logger.warn(text)
        return text is None

    def _write(self) -> None:
        """Write as many requests as fit into the pipe. A line is short enough to be written whole or not at all."""
        assert self._process is not None and self._process.stdin is not None  # noqa: S101, PT018 - started
        while self._waiting:
            try:
                written = os.write(self._process.stdin.fileno(), self._waiting[0])
            except BlockingIOError:
                return
            except BrokenPipeError:  # the process is gone, which the next look finds out
                return
            if written < len(self._waiting[0]):
                self._waiting[0] = self._waiting[0][written:]
                return
            self._waiting.popleft()

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None  # noqa: S101, PT018 - started
        try:
            while data := os.read(self._process.stdout.fileno(), 65536):
                self._take(data)
        except BlockingIOError:
            pass

    def _take(self, data: bytes) -> None:
        *lines, self._answers = (self._answers + data).split(b"\n")
        for line in lines:
            self._deaths = 0
            answer = Answer.parse(line.decode(errors="replace"))
            asked = _BY_RULE if answer.kept else self._asked.popleft()
            if answer.file:
                self._made(answer.file)
            elif (answer.why or asked.compares) and self._leaves(asked, answer):
                self._not_made(answer.name, f"{answer.name!r} is not rendered: {told(answer)}", told(answer))

    def _not_made(self, name: str, text: str, why: str) -> None:
        if len(self.not_made) < _MOST_NAMES:
            self.not_made[name] = why
        self._say(text)

    def _say(self, text: str) -> None:
        if not self._said:
            self._said = True
            logger.warn(f"{text} (Said once.)")
