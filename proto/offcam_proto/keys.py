"""The keys of ``tcp://``, for both sides: what their files hold, where they lie and who may touch them.

Pure: nothing is opened here. A key is 32 bytes of Curve25519, in files as 64 hexadecimal digits::

    keys/               mode 0700
      server.key        the daemon's pair, mode 0600
      server.pub        its public half, for clients
      client.key        a client's pair and the daemon's public key, mode 0600
      clients/NAME.pub  who may come in, on the daemon's host
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from offcam_proto.errors import ConfigError

KEYS_VARIABLE = "OFFCAM_KEYS"
"""Environment variable with the directory of the keys; for a client also the path of one key file."""

SERVER_FILE = "server.key"
SERVER_PUBLIC_FILE = "server.pub"
CLIENT_FILE = "client.key"
CLIENTS_DIRECTORY = "clients"
SECRET_ENDING = ".key"  # noqa: S105 - the end of a file's name, no secret
PUBLIC_ENDING = ".pub"

KEY_BYTES = 32
MAX_KEY_FILE_BYTES = 4096
"""Longest key file, in bytes; a real one is far shorter."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LINE = re.compile(r'(name|public|secret|server) = "([^"]*)"')


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file holds.

    Attributes:
        name: of its owner: ``server``, or the client's name.
        public: 32 bytes.
        secret: 32 bytes; None in a ``.pub`` file.
        server: the public key of the daemon that a client talks to, or None.
    """

    name: str
    public: bytes
    secret: bytes | None = field(default=None, repr=False)
    server: bytes | None = None

    @property
    def fingerprint(self) -> str:
        """The first 32 hexadecimal digits of the public key's SHA-256: what people compare."""
        return hashlib.sha256(self.public).hexdigest()[:32]

    @property
    def public_half(self) -> KeyFile:
        """What may be shown to anybody."""
        return KeyFile(self.name, self.public)


def keys_directory(environ: Mapping[str, str]) -> str:
    """Where a user's keys are unless something else is said: ``$XDG_CONFIG_HOME/offcam/keys``."""
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME') or '/'}/.config"
    return f"{home.rstrip('/')}/offcam/keys"


def client_file(environ: Mapping[str, str]) -> str:
    """The file of a client's key: what ``OFFCAM_KEYS`` names, or `CLIENT_FILE` in the directory that it names."""
    given = environ.get(KEYS_VARIABLE, "").strip() or keys_directory(environ)
    return given if given.endswith(SECRET_ENDING) else f"{given.rstrip('/')}/{CLIENT_FILE}"


def for_client(key: KeyFile, source: str) -> KeyFile:
    """Require a key that a client can use: secret, and knowing its daemon's.

    Raises:
        ConfigError: it is not.
    """
    if key.secret is None or key.server is None:
        raise ConfigError(
            f"{source} is no client's key: it lacks {'the daemon' if key.secret else 'its secret half and the daemon'}"
            f"'s public key. Make one with `offcam keys new NAME` on the daemon's host and copy NAME.key here.",
        )
    return key


def no_client_key(url: str, path: str) -> ConfigError:
    """The error of a client without a key."""
    return ConfigError(
        f"{url} is reached with a key, and there is no {path}. Run `offcam keys new NAME` on the daemon's host, copy "
        f"NAME.key from its keys to this one, chmod 600 it, and set {KEYS_VARIABLE} to its path.",
    )


def check_name(name: str) -> str:
    """Require a name for a key: it becomes the name of a file and of a folder.

    Raises:
        ConfigError: it is none.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise ConfigError(
            f"the name of a key must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit, "
            f"got {name[:80]!r}. Choose another.",
        )
    return name


def render(key: KeyFile) -> str:
    """The text of a key file."""
    what = "public key" if key.secret is None else "SECRET key: for its owner alone, mode 0600"
    values = {"public": key.public, "secret": key.secret, "server": key.server}
    lines = [f"# offcam {what}", f'name = "{key.name}"']
    lines += [f'{name} = "{value.hex()}"' for name, value in values.items() if value is not None]
    return "\n".join([*lines, ""])


def parse(text: str, source: str) -> KeyFile:
    """Read the text of a key file; ``source`` is its path, for messages.

    Raises:
        ConfigError: it is no key file.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in found:
            raise _no_key(source)
        found[match[1]] = match[2]
    try:
        values = {name: bytes.fromhex(found.pop(name)) for name in ("public", "secret", "server") if name in found}
        key = KeyFile(check_name(found["name"]), **values)
    except (KeyError, ValueError, TypeError) as error:  # a ConfigError of the name is a ValueError
        raise _no_key(source) from error
    if any(len(value) != KEY_BYTES for value in values.values()):
        raise _no_key(source)
    return key


def check_private(path: str, mode: int, owner: int, user: int) -> None:
    """Require a secret file, or the directory of secrets, to be its user's and closed to everybody else.

    Args:
        path: for the message.
        mode: ``st_mode``.
        owner: ``st_uid``.
        user: the effective user id of the process.

    Raises:
        ConfigError: it is not; the message has the command that helps.
    """
    if owner != user:
        raise ConfigError(
            f"{path} belongs to uid {owner}, and you are uid {user}: whoever owns it could have put another key "
            f"there. Run: sudo chown {user} {path}, or name your own with {KEYS_VARIABLE}.",
        )
    if stat.S_IMODE(mode) & 0o077:
        wanted = "700" if stat.S_ISDIR(mode) else "600"
        raise ConfigError(
            f"{path} holds secrets and is open to others (mode {stat.S_IMODE(mode):04o}). Run: chmod {wanted} {path}",
        )


def _no_key(source: str) -> ConfigError:
    return ConfigError(
        f"{source} is no key file of offcam, or a damaged one. Copy it anew, or make another with `offcam keys new`.",
    )
