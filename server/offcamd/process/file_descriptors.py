"""File descriptors: how many the daemon may have. Each client, each run and each open video takes one."""

from __future__ import annotations

import resource

ENOUGH = 4096
"""File descriptors that are enough for some hundred recording clients, each with a run folder of its own."""

FIX = (
    "Raise it: `ulimit -Hn 65536` as root before the daemon is started, LimitNOFILE=65536 in its systemd unit, or "
    "`docker run --ulimit nofile=65536`."
)


def raise_limit() -> int:
    """Raise this process's limit as far as it may by itself (soft to hard); returns the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, ENOUGH):  # macOS reports a hard limit of infinity, but refuses to set it
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        return _number(wanted)
    return _number(soft)


def attainable() -> int:
    """The limit that `raise_limit` would set."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def shortage(limit: int) -> str:
    """What is wrong with a limit, for people; empty if it is enough."""
    if limit >= ENOUGH:
        return ""
    return f"at most {limit} files and connections can be open, which many clients at a time exceed"


def _number(limit: int) -> int:
    return 2**63 - 1 if limit == resource.RLIM_INFINITY else limit
