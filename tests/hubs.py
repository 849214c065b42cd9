"""Hubs that tests start and kill, and the keys of those who push to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import commandline
import offcam
import ports
from offcam_runs.discover import is_run
from offcamd.security.key_store import KeyStore
from offcamd.security.keys import new_pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class HubHost:
    """A host on which a hub can be started again and again, at one address.

    Attributes:
        url: the address.
        root: folder of the runs that were pushed.
        process: the hub that was started last.
        http: address of its page.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"tcp://127.0.0.1:{port}"
        self.root = folder / "runs"
        folder.mkdir(mode=0o700)
        self.process: subprocess.Popen[str] | None = None
        self.http = ""
        self._folder = folder
        self.store = KeyStore(folder / "keys")
        self.store.make_directories()
        self._server, _ = self.store.make_server(new_pair)

    def key(self, name: str) -> Path:
        """The file of a key that the hub lets in."""
        path, key = self.store.make_client(name, new_pair, self._server)
        self.store.authorise(name, key.public)
        return path

    def start(self, *options: str) -> None:
        words = ("hub", "--tcp", self.url, "--keys", str(self.store.directory), "--root", str(self.root), "--json")
        more = ("--http", "127.0.0.1:0", "--endpoint", f"ipc://{self._folder}/h.sock", "--encoders", "1")
        self.process = commandline.Offcam(*words, *more, *options, stdout=subprocess.PIPE, text=True)
        self.http = json.loads(self.process.stdout.readline())["http"]

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait()
        self.process.stdout.close()

    def runs(self) -> list[Path]:
        """The folders of the runs that were pushed."""
        return sorted(path for path in self.root.glob("*/*") if is_run(str(path)))

    def load(self) -> offcam.Run:
        """The run, where there is one alone."""
        (folder,) = self.runs()
        return offcam.load(folder, session="all")


@contextlib.contextmanager
def hub_host(folder: Path) -> Iterator[HubHost]:
    """A host for a hub, with what may push there given to this process: the key ``node``."""
    with ports.one() as port:
        found = HubHost(folder, port)
        os.environ["OFFCAM_KEYS"] = str(found.key("node"))
        try:
            yield found
        finally:
            if found.process is not None and found.process.poll() is None:
                found.kill(signal.SIGTERM)
