"""The client's key for ``tcp://``, read from its file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from offcam_proto import keys
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile


def client_key(endpoint: Endpoint) -> KeyFile | None:
    """This process's key for an endpoint, from the file that ``OFFCAM_KEYS`` names; None for ``ipc://``.

    Raises:
        ConfigError: there is none, it is damaged, or it or its directory is open to others.
    """
    if endpoint.path is not None:
        return None
    path = os.path.abspath(os.path.expanduser(keys.client_file(os.environ)))
    try:
        with open(path, encoding="utf-8") as file:
            if os.path.basename(path) == keys.CLIENT_FILE:  # a directory of keys; a file alone may lie anywhere
                _check(os.path.dirname(path), os.stat(os.path.dirname(path)))
            _check(path, os.fstat(file.fileno()))
            text = file.read(keys.MAX_KEY_FILE_BYTES)
    except FileNotFoundError as error:
        raise keys.no_client_key(endpoint.url, path) from error
    except OSError as error:
        raise ConfigError(f"cannot read the key {path} for {endpoint.url} ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no key file of offcam. Copy it anew.") from error
    return keys.for_client(keys.parse(text, path), path)


def _check(path: str, status: os.stat_result) -> None:
    keys.check_private(path, status.st_mode, status.st_uid, os.geteuid())
