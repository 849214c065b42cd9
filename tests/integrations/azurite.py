"""Azurite, Microsoft's own emulator of its object storage, where it is installed: `npm install azurite`."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTAINER = "recordings"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The one that each Azurite has, and says in its manual."""

VERSION = "2021-08-06"


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Azurite with one container; the variables by which obstore finds it. Its log is in the folder."""
    path = os.pathsep.join([f"{sys.prefix}/node_modules/.bin", os.environ["PATH"]])
    command = shutil.which("azurite-blob", path=path)
    if command is None:
        pytest.skip("azurite is not installed: npm install --prefix VIRTUAL_ENVIRONMENT azurite")
    log = folder / "azurite.log"
    words = [command, "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"]
    with log.open("w") as file, subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, cwd=folder) as process:
        try:
            listens = wait_until(lambda: re.search(r"listens on http://127.0.0.1:(\d+)", log.read_text()), "it listens")
            port = int(listens[1])
            _make_container(port)
            endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                "AZURE_STORAGE_ENDPOINT": endpoint,
            }
        finally:
            process.kill()


def _make_container(port: int) -> None:
    """Make the container, which obstore does not do."""
    own = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION}
    headers = "".join(f"{name}:{value}\n" for name, value in own.items())
    signed = "PUT" + "\n" * 12 + f"{headers}/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    digest = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    own |= {"Authorization": f"SharedKey {ACCOUNT}:{digest}", "Content-Length": "0"}
    connection.request("PUT", f"/{ACCOUNT}/{CONTAINER}?restype=container", headers=own)
    assert connection.getresponse().status == 201
    connection.close()
