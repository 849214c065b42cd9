"""``offcam hub``: one page for what many hosts record."""

from __future__ import annotations

from functools import partial

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.options import JsonOption, with_settings
from offcamd.config.settings import Settings


@partial(with_settings, hub=True)
def hub(settings: Settings, as_json: JsonOption = False) -> None:
    """Take in what other hosts push (`offcam sync RUN --to tcp://HOST:PORT`), with one page for all, until Ctrl-C.

    It listens at tcp://0.0.0.0:8721 by default, and has a socket of its own beside that of this host's recorder. Runs
    are kept in --root, a folder for each run of each host, until you remove them; the page shows all that are there.
    Videos stay where they are. Who may push needs a key: `offcam keys new NAME`.
    """
    from offcamd import serving

    if settings.tcp is None:
        raise ConfigError("a hub listens for other hosts, and tcp is off: give --tcp tcp://HOST:PORT")
    if code := serving.serve(settings, as_json=as_json, beside=settings.root):
        raise typer.Exit(code)
