"""Reading and writing objects by obstore, whose errors become offcam's here."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from offcam_proto.errors import ConfigError, RunFolderError
from offcam_proto.limits import MIB

if TYPE_CHECKING:
    from offcam_runs.objects.layout import ObjectPlace

REQUEST_SECONDS: Final = 60
"""How long one request may take, in seconds; of a large object each piece has its own."""

RETRIES: Final = 3
"""How often a request is made again at once, as after a 503. Who sends a run waits and tries again after that."""

RETRY_SECONDS: Final = 30
AT_ONCE: Final = 4
"""Pieces of a large object that are under way at the same time."""


PIECE_BYTES: Final = 5 * MIB
"""Bytes of each piece of a large object but the last: the least that S3 takes."""


class Changed(RunFolderError):
    """An object is not the one any more that it was when it was read."""


class Missing(RunFolderError):
    """There is no such object."""


class ObjectStore:
    """Objects below one place, by their keys. Thread-safe.

    All methods raise ConfigError where trying again changes nothing, as without rights or a bucket, and RunFolderError
    where it may.

    Attributes:
        place: where they are.

    Args:
        place: as above.
        make: whether a folder is made that is not there (``file://``). Buckets are not made.

    Raises:
        ConfigError: obstore is not installed, or the place makes no sense to it.
        Missing: there is no such folder.
    """

    def __init__(self, place: ObjectPlace, *, make: bool = False) -> None:
        self.place = place
        try:
            import obstore.store  # noqa: PLC0415 - only where a run is in object storage
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{place.url} needs obstore, which is not installed in {sys.prefix}. "
                f'Run: {sys.executable} -m pip install "offcam[objects]"'
            ) from error
        self._objects: Any
        if place.scheme == "file":
            folder = Path("/", place.prefix)
            if not make and not folder.is_dir():
                raise Missing(f"there is no folder {folder}")
            try:
                self._objects = obstore.store.LocalStore(folder, mkdir=make)
            except (OSError, obstore.exceptions.BaseError) as error:
                raise ConfigError(f"{folder} cannot be made ({_line(error)}): {_RIGHTS['file']}") from error
            return
        try:
            self._objects = obstore.store.from_url(
                f"{place.scheme}://{place.bucket}/{quote(place.prefix)}",
                client_options={"timeout": timedelta(seconds=REQUEST_SECONDS), "allow_http": True},
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
            )
        except obstore.exceptions.BaseError as error:
            raise ConfigError(f"{place.url} cannot be used ({_line(error)}): {_RIGHTS[place.scheme]}") from error

    def get(self, key: str) -> bytes:
        """An object's bytes. Raises Missing, and as the class says."""
        return self.get_tagged(key)[0]

    def get_tagged(self, key: str) -> tuple[bytes, dict[str, str]]:
        """An object's bytes, and what `put` takes to replace it only if it is the same. Raises as `get`."""
        with self._explained(key):
            found = self._objects.get(key)
            return bytes(found.bytes()), _tag(found.meta)

    def facts(self, key: str) -> tuple[int, int]:
        """An object's size in bytes, and when it was written, in nanoseconds since the epoch. Raises as `get`."""
        with self._explained(key):
            found = self._objects.head(key)
            return int(found["size"]), int(found["last_modified"].timestamp()) * 10**9

    def get_range(self, key: str, begin: int, size: int) -> bytes:
        """So many bytes of an object, from there. Raises as `get`."""
        with self._explained(key):
            return bytes(self._objects.get_range(key, start=begin, length=size))

    def fetch(self, key: str, path: Path) -> None:
        """Write an object into a file, which is there once it is whole. Raises as `get`, and OSError."""
        descriptor, name = tempfile.mkstemp(prefix=".offcam-", dir=path.parent)
        new = Path(name)
        try:
            with open(descriptor, "wb") as file, self._explained(key):
                file.writelines(self._objects.get(key).stream())
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)

    def put(self, key: str, data: bytes, tag: dict[str, str] | None = None) -> dict[str, str]:
        """Write an object. Returns its tag. Raises as the class says.

        Args:
            key: of the object.
            data: its bytes.
            tag: only if it is the one that has this; empty only if there is none. Where a storage cannot compare, as a
                folder cannot, the object is replaced in any case.

        Raises:
            Changed: it is not.
        """
        mode: Any = "overwrite" if tag is None else tag or "create"
        with self._explained(key):
            try:
                return _tag(self._objects.put(key, data, mode=mode))
            except NotImplementedError:
                return _tag(self._objects.put(key, data))

    def put_file(self, key: str, file: Any) -> None:  # noqa: ANN401 - a binary file
        """Write what a file holds from its beginning, in pieces. Raises as the class says."""
        with self._explained(key):
            self._objects.put(key, file, chunk_size=PIECE_BYTES, max_concurrency=AT_ONCE)

    def holds(self, key: str, file: BinaryIO) -> bool:
        """Whether there is an object that has a file's bytes. Raises as the class says.

        By its size and its tag, where that is of MD5 as `put_file` makes it. Any other is read and compared.
        """
        try:
            with self._explained(key):
                found = self._objects.head(key)
                if found["size"] != file.seek(0, os.SEEK_END):
                    return False
                if str(found.get("e_tag")).strip('"') in md5_tags(file):
                    return True
                file.seek(0)
                pieces = map(bytes, self._objects.get(key).stream())
                return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
        except Missing:
            return False

    def remove(self, key: str) -> None:
        """Remove an object that nothing leads to any more. Where that cannot be done, it stays."""
        with suppress(ConfigError, RunFolderError), self._explained(key):
            self._objects.delete(key)

    def below(self) -> list[str]:
        """The names of what is right below the place and has keys below it, in order."""
        with self._explained(""):
            return sorted(name.strip("/") for name in self._objects.list_with_delimiter()["common_prefixes"])

    def sizes(self, prefix: str) -> dict[str, int]:
        """The sizes in bytes of all objects below a prefix, by their keys. Raises as the class says."""
        with self._explained(prefix):
            return {found["path"]: int(found["size"]) for chunk in self._objects.list(prefix) for found in chunk}

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn obstore's errors into offcam's."""
        from obstore import exceptions  # noqa: PLC0415 - it is installed, and was imported

        what = f"{self.place.url}/{key}" if key else self.place.url
        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
            raise Changed(f"{what} was written by somebody else meanwhile") from error
        except FileNotFoundError as error:
            if any(text in str(error) for text in ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")):
                raise ConfigError(
                    f"there is no bucket {self.place.bucket!r}: make it, or give another one than in {self.place.url}"
                ) from error
            raise Missing(f"there is no {what}") from error
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
            raise ConfigError(f"{what} is refused ({_line(error)}): {_RIGHTS[self.place.scheme]}") from error
        except exceptions.BaseError as error:
            if _DENIED in str(error):  # a folder's is no PermissionDeniedError
                raise ConfigError(f"{what} is refused ({_line(error)}): {_RIGHTS[self.place.scheme]}") from error
            if _ASKED_FOR_KEY in str(error):
                raise ConfigError(
                    f"{what} cannot be reached: no key was found, {_RIGHTS[self.place.scheme]}"
                ) from error
            if _OTHER_REGION in str(error):
                raise ConfigError(
                    f"{what} cannot be reached: the bucket is in another region, set AWS_REGION to that"
                ) from error
            raise RunFolderError(f"{what} cannot be reached ({_line(error)})") from error


_RIGHTS: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role, to one that may list, read and write there",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to one that may list, read and write there",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY to one that may list, read and write there",
    "file": "give yourself the rights to read and write there",
}
_ASKED_FOR_KEY: Final = "169.254.169.254"
"""Where a machine of Amazon's, Google's or Microsoft's is asked for a key, if the environment has none."""

_OTHER_REGION: Final = "incorrectly configured region"
_DENIED: Final = "Permission denied (os error 13)"
_LONGEST: Final = 300


def md5_tags(file: BinaryIO) -> tuple[str, str]:
    """The tags that S3 gives an object of a file's bytes: of one that was sent as one, and of one sent in pieces."""
    file.seek(0)
    whole, pieces = hashlib.md5(usedforsecurity=False), list[bytes]()
    while piece := file.read(PIECE_BYTES):
        whole.update(piece)
        pieces.append(hashlib.md5(piece, usedforsecurity=False).digest())
    return whole.hexdigest(), f"{hashlib.md5(b''.join(pieces), usedforsecurity=False).hexdigest()}-{len(pieces)}"


def _tag(found: Any) -> dict[str, str]:  # noqa: ANN401 - obstore's mapping
    return {name: found[name] for name in ("e_tag", "version") if found.get(name)}


def _line(error: Exception) -> str:
    """An error of obstore's in one line; behind the first there are Rust's own."""
    return (str(error).splitlines() or [type(error).__name__])[0][:_LONGEST]
