"""``offcam keys``: who may reach this host's daemon over ``tcp://``, and with which key this host reaches others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from offcam_proto import keys as form
from offcam_proto.errors import ConfigError
from offcamd.cli.options import JsonOption
from offcamd.cli.text import TextColumn, print_table, printable, say, say_json
from offcamd.process import exit_codes

if TYPE_CHECKING:
    from offcam_proto.keys import KeyFile
    from offcamd.security.key_store import KeyStore

app = typer.Typer(name="keys", help="Make, list and authorise the keys of tcp://.", invoke_without_command=True)

KeysOption = Annotated[
    Optional[Path],
    typer.Option("--keys", help="Directory of the keys. ($OFFCAM_KEYS)", show_default=False),
]
NameArgument = Annotated[str, typer.Argument(help="Name of a client: letters, digits, '.', '_' or '-'.")]


@app.callback()
def _options(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(exit_codes.CANNOT)


@app.command()
def new(
    name: NameArgument = "client",
    server: Annotated[
        Optional[Path],
        typer.Option(help="Public key of a daemon elsewhere, which is to authorise NAME.pub.", show_default=False),
    ] = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a client's key and authorise it; the daemon's own is made the first time."""
    from offcamd.security.key_store import write
    from offcamd.security.keys import new_pair

    store = _store(keys)
    store.make_directories()
    made = False
    if server is not None:
        daemon = store.public(server)
        path, key = store.make_client(name, new_pair, daemon)
        public = path.with_suffix(form.PUBLIC_ENDING)
        write(public, key.public_half, replace=True)
        steps = [f"Take {public} to the daemon's host and run there: offcam keys authorize {public.name}"]
    else:
        daemon, made = store.make_server(new_pair)
        path, key = store.make_client(name, new_pair, daemon)
        public = store.authorise(name, key.public)
        steps = [
            "Listen:  offcam serve --tcp tcp://0.0.0.0:8721",
            f"Record:  copy {path} to where agents train, keep it at mode 0600, and set there",
            f"         OFFCAM_KEYS=/path/to/{path.name} OFFCAM_ADDR=tcp://THIS-HOST:8721",
        ]
    if as_json:
        say_json({"file": str(path), "public_file": str(public), "new_server_key": made, **_shown(key)})
        return
    if made:
        typer.echo(f"The daemon's key is {store.server_file} ({daemon.fingerprint}).")
    typer.echo(f"The key of client {name!r} is {path} ({key.fingerprint}). It is secret.")
    for step in steps:
        typer.echo(step)


@app.command()
def authorize(
    file: Annotated[Path, typer.Argument(help="A public key file, NAME.pub, that was made elsewhere.")],
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a client in whose key was made on its own host."""
    store = _store(keys)
    key = store.public(file)
    store.make_directories()
    authorised = store.authorise(key.name, key.public)
    text = f"Authorised {key.name!r} ({key.fingerprint}): {authorised}"
    say(text, {"file": str(authorised), **_shown(key)}, as_json=as_json)


@app.command()
def revoke(name: NameArgument, keys: KeysOption = None, as_json: JsonOption = False) -> None:
    """Let a client in no more, from its next connection on."""
    removed = _store(keys).revoke(name)
    text = f"Removed {removed}. Restart the daemon to end the client's present connections."
    say(text, {"removed": str(removed), "name": name}, as_json=as_json)


@app.command("list")
def list_keys(keys: KeysOption = None, as_json: JsonOption = False) -> None:
    """List the keys with their fingerprints. Exits with 1 if one cannot be used, and says what to do."""
    store = _store(keys)
    found: list[dict[str, Any]] = []
    problems: list[str] = []
    try:
        names = {key.public: key.name for _, key in store.clients()}
    except ConfigError as error:
        names, problems = {}, [str(error)]
    for path in sorted(store.directory.glob(f"*{form.SECRET_ENDING}")):
        role = "server" if path == store.server_file else "client"
        try:
            key = store.secret(path)
        except ConfigError as error:
            problems += [str(error)] if str(error) not in problems else []
            continue
        found.append({"role": role, "file": str(path), "authorised": names.pop(key.public, None), **_shown(key)})
    for path, key in store.clients() if names else ():
        if key.public in names:
            found.append({"role": "client", "file": str(path), "authorised": key.name, **_shown(key)})
    if as_json:
        say_json({"directory": str(store.directory), "keys": found, "problems": problems})
    else:
        _print_table(store, found)
        for problem in problems:
            typer.echo(f"offcam: {problem}", err=True)
    if problems:
        raise typer.Exit(exit_codes.PROBLEM)


@app.command()
def path(keys: KeysOption = None, as_json: JsonOption = False) -> None:
    """Show where the keys are looked for."""
    store = _store(keys)
    paths = {
        "directory": store.directory,
        "server": store.server_file,
        "server_public": store.server_public_file,
        "clients": store.clients_directory,
        "client": Path(form.client_file(os.environ)) if keys is None else store.directory / form.CLIENT_FILE,
    }
    if as_json:
        say_json({name: str(where) for name, where in paths.items()})
        return
    for name, where in paths.items():
        typer.echo(f"{name:14} {printable(str(where))}{'' if where.exists() else '  (not there)'}")


def _store(given: Path | None) -> KeyStore:
    from offcamd.config.settings import load_keys
    from offcamd.security.key_store import KeyStore

    return KeyStore(load_keys(given))


def _shown(key: KeyFile) -> dict[str, str]:
    return {"name": key.name, "fingerprint": key.fingerprint, "public": key.public.hex()}


def _print_table(store: KeyStore, found: list[dict[str, Any]]) -> None:
    if not found:
        typer.echo(f"No keys in {store.directory}. Make some with `offcam keys new`.")
        return
    rows = []
    for key in found:
        state = "" if key["role"] == "server" else "may come in" if key["authorised"] else "not authorised here"
        rows.append((key["role"], key["name"], key["fingerprint"], key["file"], state))
    columns = [
        TextColumn("role"),
        TextColumn("name"),
        TextColumn("fingerprint"),
        TextColumn("file", "name"),
        TextColumn("state"),
    ]
    print_table(columns, rows, headings=False)
