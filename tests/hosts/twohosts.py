"""Two hosts with a cable between them that can be pulled: network namespaces, which end with the test. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_IP = shutil.which("ip") or ""


@dataclass
class Host:
    """A host.

    Attributes:
        name: of its network namespace, and of its end of the cable.
        address: where the other one reaches it.
    """

    name: str
    address: str

    def start(self, *words: str | os.PathLike[str], **environment: str) -> subprocess.Popen[str]:
        """Start a Python command there."""
        return subprocess.Popen(
            [_IP, "netns", "exec", self.name, sys.executable, *map(os.fspath, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip

    def plug(self, state: str) -> None:
        """Pull its end of the cable (``down``) or plug it in (``up``). The other host is told nothing."""
        _ip("-n", self.name, "link", "set", self.name, state)


def problem() -> str:
    """Why there can be no two hosts here; empty where there can."""
    if sys.platform != "linux" or os.geteuid() or not _IP:
        return "only root can make network namespaces, with iproute2's ip"
    try:
        with two_hosts():
            return ""
    except subprocess.CalledProcessError as error:
        return f"no two network namespaces can be made: {error.stderr.strip()}"


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other."""
    one, other = hosts = Host(_name(), "10.213.0.1"), Host(_name(), "10.213.0.2")
    with contextlib.ExitStack() as stack:
        for host in hosts:
            _ip("netns", "add", host.name)
            stack.callback(_ip, "netns", "delete", host.name)  # with its end of the cable
        _ip("-n", one.name, "link", "add", one.name, "type", "veth", "peer", "name", other.name, "netns", other.name)
        for host in hosts:
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", host.name)
            _ip("-n", host.name, "link", "set", "lo", "up")
            host.plug("up")
        yield hosts


def _name() -> str:
    return f"oc{uuid.uuid4().hex[:8]}"  # an interface's name has at most 15 characters


def _ip(*words: str) -> None:
    subprocess.run([_IP, *words], check=True, capture_output=True, text=True)
