"""What a run in object storage is made of: its place, its keys and its manifest. Nothing here opens anything."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from offcam_proto.errors import ConfigError, RunFolderError
from offcam_runs.json_text import dumps

VERSION: Final = 1
MANIFEST: Final = "offcam.json"
"""Key of the manifest, the one object that is ever replaced: what it does not lead to is not part of the run."""

SEGMENTS: Final = "index"
"""What the keys of the index's segments begin with."""

SCHEMES: Final = ("s3", "gs", "az", "file")
"""Schemes of URLs: Amazon S3 and what speaks as it does, Google's and Microsoft's object storage, and a folder."""

MOST_MANIFEST_BYTES: Final = 1 << 16
"""Largest manifest that is read, in bytes: a larger one is not ours."""

_DIGEST: Final = 32
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]")
_SEGMENT: Final = re.compile(rf"{SEGMENTS}/([0-9a-f]{{{_DIGEST}}})\.sqlite3\.gz")


@dataclass(frozen=True)
class ObjectPlace:
    """Where a run, or several, lie in object storage.

    Attributes:
        scheme: one of `SCHEMES`.
        bucket: or container; empty for ``file``.
        prefix: what all keys begin with, without slashes at its ends.
        url: the place as it is written.
    """

    scheme: str
    bucket: str
    prefix: str
    url: str

    @staticmethod
    def parse(text: str) -> ObjectPlace:
        """A place by its URL.

        Raises:
            ConfigError: the text is no such URL.
        """
        parts = urlsplit(text)
        scheme = parts.scheme
        if scheme not in SCHEMES:
            known = ", ".join(f"{each}://" for each in SCHEMES)
            raise ConfigError(f"{text!r} is in no object storage that offcam knows: there are {known}")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                f"the place at {parts.hostname!r} has more than a bucket and a prefix: keys and options belong "
                "into the environment, as AWS_ACCESS_KEY_ID and AWS_REGION"
            )
        names = [name for name in parts.path.split("/") if name]
        if bool(parts.netloc) == (scheme == "file") or {".", ".."} & set(names) or (scheme == "file" and not names):
            form = "file:///folder/run" if scheme == "file" else f"{scheme}://bucket/run"
            raise ConfigError(f"a place is given as {form}, got {text!r}")
        prefix = "/".join(names)
        where = f"{scheme}://{parts.netloc}"
        return ObjectPlace(scheme, parts.netloc, prefix, f"{where}/{prefix}" if prefix else where)

    def below(self, name: str) -> ObjectPlace:
        """The place with a further part in its prefix."""
        return ObjectPlace.parse(f"{self.url}/{name}")


def filled(url: str, name: str, host: str) -> str:
    """A URL in which ``{name}`` and ``{host}`` stand for the run folder's and the host's name, with these in place."""
    return url.replace("{name}", name).replace("{host}", host)


def is_url(text: str) -> bool:
    """Whether somebody who gives this for a run means a place in object storage, and no folder."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in object storage of one run.

    Attributes:
        run: what tells it from any other: the run's id, and when its index was made.
        host: on which it was recorded, for people.
        folder: the run folder's path there, for people.
        head: key of the newest head: the segment that has all but episodes and places of steps.
        last_id: ``episodes.id`` of the last episode in the segments.
        last_block: row id in ``step_blocks`` of the last block in the segments.
        updated: when it was written, in seconds since the epoch.
    """

    run: str
    host: str
    folder: str
    head: str = ""
    last_id: int = 0
    last_block: int = 0
    updated: float = 0.0

    @property
    def data(self) -> bytes:
        """The manifest as JSON."""
        return dumps({"version": VERSION, **asdict(self)}).encode()

    @staticmethod
    def parse(data: bytes, url: str) -> Manifest:
        """The manifest in JSON.

        Raises:
            RunFolderError: it is another program's, or a newer offcam's. ``url`` is for the message.
        """
        try:
            found = json.loads(data) if len(data) <= MOST_MANIFEST_BYTES else None
            version = found.pop("version") if isinstance(found, dict) else None
            if isinstance(version, int) and version > VERSION:
                raise RunFolderError(
                    f"{url} has a run of version {version}, this offcam knows versions up to {VERSION}: upgrade offcam "
                    "(pip install -U offcam)"
                )
            if isinstance(found, dict) and version == VERSION:
                return _checked(found)
        except (ValueError, KeyError, TypeError):
            pass
        raise RunFolderError(
            f"{url}/{MANIFEST} is an object of another program: give another prefix, or move that object away"
        )


def _checked(found: Mapping[str, Any]) -> Manifest:
    manifest = Manifest(**{name: found[name] for name in Manifest.__dataclass_fields__})
    texts = (manifest.run, manifest.host, manifest.folder, manifest.head)
    if not all(isinstance(each, str) for each in texts) or not is_segment(manifest.head):
        raise TypeError(manifest)
    if not all(isinstance(each, int) and each >= 0 for each in (manifest.last_id, manifest.last_block)):
        raise TypeError(manifest)
    return manifest


# --- keys -------------------------------------------------------------------------------------------------


def segment_key(data: bytes) -> str:
    """The key of a segment, by which its bytes are known: two that differ never have the same."""
    return f"{SEGMENTS}/{_digest(data)}.sqlite3.gz"


def is_segment(key: str) -> bool:
    """Whether a key is that of a segment."""
    return _SEGMENT.fullmatch(key) is not None


def video_key(stream: str, clip: int, file: str) -> str:
    """The key of a clip's file. Numbers are never used again, so neither are keys; the name is for people."""
    return f"{stream}/{clip:06d}-{_ODD.sub('_', file)}"


def steps_key(stream: str, file: int, offset: int, size: int) -> str:
    """The key of some bytes of a steps file, which only ever grows."""
    return f"{stream}/steps-{file}-{offset}-{size}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGEST]


# --- on this host -------------------------------------------------------------------------------------------


def cache_folder(environ: Mapping[str, str]) -> str:
    """Absolute path of the folder for what was read from object storage: ``$XDG_CACHE_HOME/offcam/objects``.

    Raises:
        ConfigError: this user has no home.
    """
    home = environ.get("XDG_CACHE_HOME", "")
    if not home.startswith("/"):
        if not environ.get("HOME", "").startswith("/"):
            raise ConfigError("what is read from object storage needs a folder: set XDG_CACHE_HOME to one of yours")
        home = os.path.join(environ["HOME"], ".cache")
    return os.path.join(os.path.abspath(home), "offcam", "objects")


def folder_of(place: ObjectPlace, cache: str) -> str:
    """The folder for what was read from a place."""
    return os.path.join(cache, place.scheme, *filter(None, (place.bucket, *place.prefix.split("/"))))


def place_of(folder: str, cache: str) -> ObjectPlace | None:
    """The place of which a folder is the copy; None for a folder that is anywhere but in the cache."""
    parts = os.path.relpath(os.path.abspath(folder), cache).split(os.sep)
    if parts[0] not in SCHEMES or len(parts) < 2:
        return None
    return ObjectPlace.parse(f"{parts[0]}://{'/' if parts[0] == 'file' else ''}{'/'.join(parts[1:])}")
