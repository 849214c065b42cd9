"""How an env is made again, and in which interpreter: what the first row of a tape begins with.

Whoever makes the env again runs what its recipe names. So each recipe is sealed with a key of its user on this host,
and what is in a folder from elsewhere is never run by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

from offcam_proto import host
from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage
from offcam_runs.journal import state_folder

KEY_NAME: Final = "replay.key"
"""File of the key in the user's `state_folder`."""

_KEY_BYTES: Final = 32


class Recipe(NamedTuple):
    """How an env is made again.

    Attributes:
        spec: of the env, as `offcam.replay.recipe` packs it, in hexadecimal digits.
        executable: path of the interpreter that the env was made in.
        path: that interpreter's ``sys.path``.
        folder: its working directory.
        variables: environment variables that change what an env does or shows, as they were set.
        fingerprint: what code the env was made of, by names: versions of distributions, a hash of its sources.
        seal: of all fields above with the key of the user who recorded it, in hexadecimal digits; empty without a key.
    """

    spec: str
    executable: str
    path: list[str]
    folder: str
    variables: dict[str, str]
    fingerprint: dict[str, str]
    seal: str = ""

    @property
    def text(self) -> str:
        """The recipe as JSON."""
        return json.dumps(self._asdict(), sort_keys=True)

    def sealed(self, key: bytes) -> Recipe:
        """The same recipe with a seal."""
        bare = self._replace(seal="").text
        return self._replace(seal=hmac.new(key, bare.encode(errors="surrogatepass"), hashlib.sha256).hexdigest())

    def is_sealed_by(self, key: bytes | None) -> bool:
        """Whether the owner of this key has recorded it, and nobody has changed it since."""
        return key is not None and hmac.compare_digest(self.sealed(key).seal, self.seal)

    @staticmethod
    def parse(text: str | bytes) -> Recipe:
        """Parse the JSON of a recipe.

        Raises:
            MalformedMessage: the text is not a recipe.
        """
        try:
            found = Recipe(**json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise MalformedMessage(f"not how an env is made again: {check.shown(text)}") from error
        lists, dicts = (found.path,), (found.variables, found.fingerprint)
        if not all(type(each) is list for each in lists) or not all(type(each) is dict for each in dicts):
            raise MalformedMessage(f"not how an env is made again: {check.shown(text)}")
        texts = [found.spec, found.executable, found.folder, found.seal, *found.path]
        texts += [word for each in dicts for item in each.items() for word in item]
        if not all(type(each) is str and "\0" not in each for each in texts):
            raise MalformedMessage(f"not how an env is made again: {check.shown(text)}")
        return found


def read_key(environ: Mapping[str, str], uid: int) -> bytes | None:
    """The key of a user on this host; None where there is none, or one that others could have put there."""
    folder = state_folder(environ, uid)
    with contextlib.suppress(OSError):
        if not host.private_problem(os.lstat(folder)):
            with open(os.path.join(folder, KEY_NAME), "rb") as file:
                key = file.read(_KEY_BYTES + 1)
            return key if len(key) == _KEY_BYTES else None
    return None


def make_key(environ: Mapping[str, str], uid: int) -> bytes | None:
    """The key of a user on this host, made where there is none; None where it cannot be made."""
    folder = state_folder(environ, uid)
    if host.make_private(folder):
        return None
    path, new = os.path.join(folder, KEY_NAME), os.path.join(folder, f"{KEY_NAME}-{secrets.token_hex(8)}")
    if (key := read_key(environ, uid)) is not None:
        return key
    with contextlib.suppress(OSError):
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(new, path)  # whole or not at all, and never in the place of another process's
        except FileExistsError:
            pass
        finally:
            os.unlink(new)
    return read_key(environ, uid)
