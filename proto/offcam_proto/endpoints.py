"""Where the daemon listens: one rule for both sides, as pure functions. `host` looks at the directories for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from offcam_proto.errors import ConfigError
from offcam_proto.limits import PROTOCOL_VERSION

ADDR_VARIABLE = "OFFCAM_ADDR"
"""Environment variable with the daemon's endpoint."""

RUNTIME_VARIABLE = "XDG_RUNTIME_DIR"
"""Environment variable with the directory that the system has made for the user's sockets."""

SOCKET_NAME = f"daemon-v{PROTOCOL_VERSION}.sock"
"""A default daemon's socket. It carries the protocol's version: a client never meets a daemon of another one, and two
versions record side by side while an upgrade is under way."""

MAX_SOCKET_PATH = 107
"""Longest path of a Unix socket, in bytes (``sun_path`` is 108 with its NUL)."""

_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/]+):(?P<port>[0-9]{1,5})")
_EXAMPLE = "for example ipc:///run/offcam/daemon.sock"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed endpoint: ``ipc`` with a socket path, or ``tcp`` with host and port."""

    url: str
    path: str | None
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A directory that may hold the daemon's files.

    Attributes:
        base: what must be there already, for example ``/run/user/1000``.
        path: the directory, in it or below; made where it is missing.
        source: the environment variable that names the base, empty where the system names it.
        final: whether to look at no later candidate if this one can be used.
    """

    base: str
    path: str
    source: str = ""
    final: bool = False

    @property
    def socket(self) -> str:
        """The path of the socket."""
        return f"{self.path}/{SOCKET_NAME}"

    def __str__(self) -> str:
        return f"{self.path} (of {self.source})" if self.source else self.path


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a candidate without changing anything.

    Attributes:
        problem: why the directory cannot be used, empty where nothing speaks against it.
        missing: whether the problem is only that the base does not exist, which is worth a warning only if a variable
            named it.
        listening: whether a daemon listens in it.
    """

    problem: str = ""
    missing: bool = False
    listening: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome of `choose`.

    Attributes:
        candidate: the directory, None where none can be used.
        skipped: what came before it and cannot be used, with the reason, as far as that is worth a warning.
    """

    candidate: Candidate | None
    skipped: tuple[tuple[Candidate, str], ...] = ()


def candidates(environ: Mapping[str, str], uid: int, host: str) -> tuple[Candidate, ...]:
    """The directories for the files of a user's daemon, the best first; both sides use them.

    Args:
        environ: the environment.
        uid: the user.
        host: the host's name: a home may be shared by many, and a socket is one host's.
    """
    own, asked, temporary = f"/run/user/{uid}", environ.get(RUNTIME_VARIABLE, ""), environ.get("TMPDIR", "")
    found = []
    if asked:  # a directory other than the system's was chosen to be apart from the daemon that all others share
        base = asked.rstrip("/")
        found.append(Candidate(asked, f"{base}/offcam", RUNTIME_VARIABLE, final=base != own))
    found += [Candidate(own, f"{own}/offcam"), Candidate("/tmp", f"/tmp/offcam-{uid}")]  # noqa: S108 - see `host`
    if temporary.startswith("/"):  # after /tmp, as all of the user's processes see the same /tmp
        found.append(Candidate(temporary, f"{temporary.rstrip('/')}/offcam-{uid}", "TMPDIR"))
    home = environ.get("HOME", "").rstrip("/")
    for variable, default in (("XDG_STATE_HOME", "/.local/state"), ("XDG_CACHE_HOME", "/.cache")):
        below = f"/offcam/{re.sub('[^A-Za-z0-9.-]', '_', host)}"
        if (base := environ.get(variable, "").rstrip("/")).startswith("/"):
            found.append(Candidate(base, base + below, variable))
        elif home.startswith("/"):
            found.append(Candidate(home, home + default + below, "HOME"))
    return tuple({candidate.path: candidate for candidate in reversed(found)}.values())[::-1]


def choose(
    candidates: Iterable[Candidate], look: Callable[[Candidate], Look], prepare: Callable[[Candidate], str]
) -> Choice:
    """The first candidate in which a daemon listens, else the first that can be used.

    Args:
        candidates: the best first.
        look: sees what can be seen without changing anything.
        prepare: makes the directory, and returns why it cannot be used, empty where it can.
    """
    fine: list[Candidate] = []
    skipped: dict[Candidate, str] = {}
    order: list[Candidate] = []

    def chosen(candidate: Candidate | None) -> Choice:
        before = order[: order.index(candidate)] if candidate else order
        return Choice(candidate, tuple((each, skipped[each]) for each in before if each in skipped))

    for candidate in candidates:
        order.append(candidate)
        seen = look(candidate)
        if seen.listening:
            return chosen(candidate)
        if seen.problem:
            if candidate.source == RUNTIME_VARIABLE or not seen.missing:
                skipped[candidate] = seen.problem
        elif not candidate.final:
            fine.append(candidate)
        elif problem := prepare(candidate):
            skipped[candidate] = problem
        else:
            return chosen(candidate)
    for candidate in fine:
        if problem := prepare(candidate):
            skipped[candidate] = problem
        else:
            return chosen(candidate)
    return chosen(None)


def fits(path: str) -> bool:
    """Whether a path is short enough for a socket."""
    return len(path.encode(errors="surrogateescape")) <= MAX_SOCKET_PATH


def endpoint_in(candidate: Candidate) -> Endpoint:
    """Where a default daemon with its files in a directory listens."""
    return parse_endpoint(f"ipc://{candidate.socket}", "the default endpoint")


def endpoint_asked(environ: Mapping[str, str]) -> Endpoint | None:
    """The endpoint that ``OFFCAM_ADDR`` names, if it names one.

    Raises:
        ConfigError: it is malformed.
    """
    text = environ.get(ADDR_VARIABLE, "").strip()
    return parse_endpoint(text, ADDR_VARIABLE) if text else None


def parse_endpoint(text: str, source: str) -> Endpoint:
    """Parse ``ipc:///absolute/path`` or ``tcp://host:port``.

    Args:
        text: the endpoint.
        source: where it came from, for the message.

    Raises:
        ConfigError: it is neither.
    """
    if text.startswith("ipc://"):
        path = text.removeprefix("ipc://")
        if not path.startswith("/") or path.endswith("/") or "\0" in path or _never_a_path(path):
            raise ConfigError(f"{source} must name a socket by its absolute path, got {text!r}; {_EXAMPLE}.")
        if not fits(path):
            raise ConfigError(
                f"{source} names a socket path longer than {MAX_SOCKET_PATH} bytes, which no Unix system "
                f"accepts: {path!r}. Set {ADDR_VARIABLE} or XDG_RUNTIME_DIR to a shorter path, {_EXAMPLE}.",
            )
        return Endpoint(text, path)
    match = _TCP.fullmatch(text)
    if match and 1 <= int(match["port"]) <= 65535:
        return Endpoint(text, None, match["host"], int(match["port"]))
    raise ConfigError(
        f"{source} must be ipc:///absolute/path or tcp://host:port, got {text!r}. Fix it, {_EXAMPLE}, "
        f"or unset it to use this user's own daemon.",
    )


def _never_a_path(text: str) -> bool:
    """Whether a text holds surrogates that stand for no byte, as no path of the operating system does."""
    return any("\ud800" <= char < "\udc80" or "\udcff" < char <= "\udfff" for char in text)
