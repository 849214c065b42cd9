"""The directory of keys on this host: reads keys, checking owner and mode of each file, and makes them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from offcam_proto import keys
from offcam_proto.errors import ConfigError
from offcam_proto.host import read_key
from offcam_proto.keys import KeyFile
from offcamd.process.atomic_file import destination

if TYPE_CHECKING:
    from pathlib import Path

HOW = "Run `offcam keys new` on this host, and copy the client's key file to where agents train."


class KeyStore:
    """The keys in a directory. Owner, mode and format of each file are checked each time it is read.

    Args:
        directory: the directory; it need not exist yet.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server_file = directory / keys.SERVER_FILE
        self.server_public_file = directory / keys.SERVER_PUBLIC_FILE
        self.clients_directory = directory / keys.CLIENTS_DIRECTORY

    # --- reading ------------------------------------------------------------------------------------------

    def server(self) -> KeyFile:
        """The daemon's pair of keys, if it can be used: there must be a client to accept.

        Raises:
            ConfigError: there is no pair, no client is authorised, or a file or directory is open to others.
        """
        if not self.server_file.exists():
            raise ConfigError(f"tcp:// needs a key of the daemon, and there is no {self.server_file}. {HOW}")
        key = self.secret(self.server_file)
        if next(self.clients(), None) is None:
            raise ConfigError(f"tcp:// needs clients that may come in, and {self.clients_directory} names none. {HOW}")
        return key

    def clients(self) -> Iterator[tuple[Path, KeyFile]]:
        """The clients that may connect, sorted by file name: each file and its key.

        Raises:
            ConfigError: a file is damaged, or another user may write it or its directory.
        """
        if not self.clients_directory.exists():
            return
        self.check_directory(self.directory)
        self.check_directory(self.clients_directory)
        for path in sorted(self.clients_directory.glob(f"*{keys.PUBLIC_ENDING}")):
            yield path, self.public(path)

    def name_of(self, public: bytes) -> str | None:
        """The name of the client with a public key, or None if no client with it may connect. Raises as `clients`."""
        return next((path.stem for path, key in self.clients() if key.public == public), None)

    def secret(self, path: Path) -> KeyFile:
        """Read a secret key from a file that, as its directory, only this user may read.

        Raises:
            ConfigError: they are not, or the file is not a secret key.
        """
        self.check_directory(path.parent)
        key = read_key(str(path), keys.check_private)
        if key.secret is None:
            raise ConfigError(f"{path} holds a public key where the secret one is needed. {HOW}")
        return key

    @staticmethod
    def public(path: Path) -> KeyFile:
        """Read a public key, wherever it is. Its name is that of its file.

        Raises:
            ConfigError: the file is not a public key, or others may write it.
        """
        key = read_key(str(path), _check_not_writable)
        return KeyFile(keys.check_name(path.stem), key.public)

    @staticmethod
    def check_directory(directory: Path) -> None:
        """Raise ConfigError unless a directory is this user's and closed to others."""
        try:
            status = directory.stat()
        except OSError as error:
            raise ConfigError(f"cannot look into {directory} ({error.strerror}). {HOW}") from error
        keys.check_private(str(directory), status.st_mode, status.st_uid, os.geteuid())

    # --- making -------------------------------------------------------------------------------------------

    def make_directories(self) -> None:
        """Make the missing directories, for their owner alone.

        Raises:
            ConfigError: a directory cannot be made, or is open to others.
        """
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            for directory in (self.directory, self.clients_directory):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot make the directory {self.directory} for keys ({error.strerror}). Name another with --keys."
            ) from error
        self.check_directory(self.directory)
        self.check_directory(self.clients_directory)

    def make_server(self, pair: Callable[[], tuple[bytes, bytes]]) -> tuple[KeyFile, bool]:
        """The daemon's pair of keys, made by ``pair`` if there is none. Returns the key and whether it is new."""
        if self.server_file.exists():
            return self.secret(self.server_file), False
        key = KeyFile("server", *pair())
        write(self.server_file, key)
        write(self.server_public_file, key.public_half, replace=True)
        return key, True

    def make_client(self, name: str, pair: Callable[[], tuple[bytes, bytes]], server: KeyFile) -> tuple[Path, KeyFile]:
        """Make a client's key pair, in a file of its own beside the daemon's; ConfigError if its name is taken."""
        if name == keys.SERVER_FILE.removesuffix(keys.SECRET_ENDING):
            raise ConfigError(f"{name!r} is the daemon's own name. Choose another for the client.")
        path = self.directory / f"{keys.check_name(name)}{keys.SECRET_ENDING}"
        public, secret = pair()
        key = KeyFile(name, public, secret, server.public)
        write(path, key)
        return path, key

    def authorise(self, name: str, public: bytes) -> Path:
        """Accept a client from now on. ConfigError if another client has that name."""
        path = self._authorised(name)
        write(path, KeyFile(name, public))
        return path

    def revoke(self, name: str) -> Path:
        """Accept a client no more. Its open connections remain until they break.

        Raises:
            ConfigError: there is no client of that name.
        """
        path = self._authorised(name)
        try:
            path.unlink()
        except OSError as error:
            raise ConfigError(f"no client {name!r} is authorised: cannot remove {path} ({error.strerror}).") from error
        return path

    def _authorised(self, name: str) -> Path:
        return self.clients_directory / f"{keys.check_name(name)}{keys.PUBLIC_ENDING}"


def write(path: Path, key: KeyFile, *, replace: bool = False) -> None:
    """Write a key file, for its owner alone.

    Raises:
        ConfigError: it cannot be written, or is there already and ``replace`` is not given.
    """
    file = destination(path).file if replace else path
    if file is None:
        raise ConfigError(f"{path} is no file: remove it first.")
    draft = file.with_name(f".{file.name}.{os.getpid()}")  # a daemon sees the whole file or none
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as text:
            text.write(keys.render(key))
        if replace:
            draft.replace(file)
        else:
            file.hardlink_to(draft)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already. Choose another name, or remove it first.") from error
    except OSError as error:
        raise ConfigError(
            f"cannot write the key file {path} ({error.strerror}). Make its folder writable for you, or name another."
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _check_not_writable(path: str, mode: int, _owner: int, _user: int) -> None:
    """Check that nobody else may change a public key. Its owner is not checked, as it was copied from elsewhere."""
    if stat.S_IMODE(mode) & 0o022:
        raise ConfigError(
            f"{path} says who may come in, and others may write it (mode {stat.S_IMODE(mode):04o}). "
            f"Run: chmod go-w {path}"
        )
