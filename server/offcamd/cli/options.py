"""Options that several verbs share. The options for settings are made from `config.SPECS`."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.text import printable, say
from offcamd.config.settings import HUB_TCP, SPECS, Spec, load

if TYPE_CHECKING:
    from offcamd.process.atomic_file import Destination

# Optional[...], as typer evaluates the annotations at run time, and Python 3.10 takes no `|` with a string in it.
EndpointOption = Annotated[
    Optional[str],
    typer.Option(
        "--endpoint", help="The daemon's endpoint, ipc:///path or tcp://HOST:PORT.", metavar="<url>", show_default=False
    ),
]
ConfigOption = Annotated[
    Optional[Path],
    typer.Option("--config", help="Config file instead of ./offcam.toml.", show_default=False),
]
EmbeddedOption = Annotated[bool, typer.Option("--embedded", help="As a wrapper starts it: leaves when it was idle.")]
SessionOption = Annotated[
    str,
    typer.Option(
        "--session",
        help="Which training of a folder that several were recorded into: its number, or all. Default: the newest.",
        metavar="<int|all>",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs, errors too.")]


def file_to_write(path: Path, *, as_json: bool) -> Destination:
    """Where to write a file that the user named.

    Raises:
        ConfigError: the file is stdout, which ``--json`` needs for itself.
    """
    from offcamd.process.atomic_file import destination

    to = destination(path)
    if to.is_stdout and as_json:
        raise ConfigError(f"--json prints on stdout, where -o {path} would write too: give one of them")
    return to


def say_written(to: Destination, text: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """Report that a file was written and what is in it; on stderr if the file is stdout."""
    name = "stdout" if to.is_stdout else printable(str(to.path))
    say(f"{name}: {text}", facts, as_json=as_json, err=to.is_stdout)


def require(module: str, *, extra: str, verb: str) -> None:
    """Check that a library is installed which the ``server`` extra does not bring, without importing it.

    Raises:
        ConfigError: it is not installed; the message has the command that installs it.
    """
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"`offcam {verb}` needs {module}, which is not installed in {sys.prefix}. "
            f'Run: {sys.executable} -m pip install "offcam[{extra}]"'
        )


def with_settings(verb: Callable[..., None], *, hub: bool = False) -> Callable[..., None]:
    """Give a verb, whose first parameter is ``settings``, the option ``--config`` and one for each setting.

    Args:
        verb: the verb.
        hub: whether its settings are a hub's, which no wrapper starts.
    """

    def command(*, config: Path | None, embedded: bool = False, **given: Any) -> None:  # noqa: ANN401 - what typer parsed
        flags = {spec.key: given.pop(spec.key) for spec in SPECS}
        verb(load(flags, config=config, embedded=embedded, hub=hub), **given)

    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]
    shared = [
        *(_parameter(spec.key, None, _option(spec, hub=hub)) for spec in SPECS),
        _parameter("config", None, ConfigOption),
        *([] if hub else [_parameter("embedded", False, EmbeddedOption)]),  # noqa: FBT003 - its default
        *(_parameter(item.name, item.default, item.annotation) for item in own),
    ]
    command.__signature__ = inspect.Signature(shared)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {}
    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    return command


def _parameter(name: str, default: object, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(spec: Spec, *, hub: bool) -> object:
    value = HUB_TCP if hub and spec.key == "tcp" else spec.default
    default = "" if callable(value) or value is None else f"Default {value}. "
    text = f"{spec.help} {default}(${spec.variable})"
    option = typer.Option(spec.flag, help=text, metavar=spec.metavar, show_default=False)
    return Annotated[Optional[str], option]
