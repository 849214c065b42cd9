"""What the pages take from the code, as Markdown, so that none of them says what is no longer so.

A line ``<!-- from the code: NAME WORDS -->`` of a page is where ``MADE[NAME](*WORDS)`` goes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from offcam.sync import sinks
from offcam_proto import errors, variables
from offcam_runs.sync.process import OBJECTS
from offcamd.cli import app
from offcamd.config.settings import SPECS, Spec
from offcamd.process import exit_codes
from offcamd.web import metrics, openapi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]

_PLACE = re.compile(r"^<!-- from the code: (.+) -->$", re.MULTILINE)


def filled(text: str) -> str:
    """A page with all that it takes from the code. Raises KeyError where it asks for what nobody makes."""

    def made(found: re.Match[str]) -> str:
        name, *words = found[1].split()
        return MADE[name](*words)

    return _PLACE.sub(made, text)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ("---",) * len(heads), *rows))


def _unwrapped(text: str | None) -> str:
    """Paragraphs without the line breaks of their source, with code as Markdown has it."""
    plain = inspect.cleandoc((text or "").partition("\f")[0]).replace("``", "`")
    plain = re.sub(r" +\[(required|default: [^]]*)\]", r" (\1)", plain)
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in plain.split("\n\n"))


# --- the command line -------------------------------------------------------------------------------------


def verbs() -> str:
    """Every verb with its arguments and options, as typer has them."""
    return "\n\n".join(part for words, command in every_verb() for part in _verb(words, command))


def every_verb() -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words of each verb, and typer's command."""

    def beneath(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - typer's
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from beneath(command, (*words, name))
            else:
                yield (*words, name), command

    return beneath(typer.main.get_command(app), ("offcam",))


def _verb(words: tuple[str, ...], command: Any) -> Iterator[str]:  # noqa: ANN401 - typer's
    context = command.context_class(command, info_name=words[-1])
    records = [param.get_help_record(context) for param in command.params]  # None of those that are hidden
    yield f"## {' '.join(words)}"
    yield _unwrapped(command.help)
    yield f"```\n{' '.join([*words, *command.collect_usage_pieces(context)])}\n```"
    yield "\n".join(f"- `{name}`: {_unwrapped(text)}" for name, text in filter(None, records))


def codes() -> str:
    """The exit codes."""
    return "\n".join(f"- `{code}`: {meaning}" for code, meaning in exit_codes.MEANINGS.items())


# --- settings ---------------------------------------------------------------------------------------------


def settings() -> str:
    """The daemon's settings, by key of the file, flag and variable."""
    heads = ("Key of the file", "Flag", "Variable", "Default", "What it is")
    return _table(
        heads, [(f"`{each.key}`", f"`{each.flag}`", f"`{each.variable}`", _default(each), each.help) for each in SPECS]
    )


def _default(spec: Spec) -> str:
    if callable(spec.default):
        return "found on the host"
    return "none" if spec.default is None else f"`{spec.default}`"


def of_the_training() -> str:
    """What the wrappers read of the environment, in README's words.

    Raises:
        LookupError: README lacks one.
    """
    text = (ROOT / "README.md").read_text("utf-8")
    said = re.findall(r"^\| `((OFFCAM\w*)(?:=\w+)?)` \| (.+) \|$", text, re.MULTILINE)
    if missing := set(variables.CLIENT) - {name for _, name, _ in said}:
        raise LookupError(f"README's table of variables lacks {', '.join(sorted(missing))}")
    return _table(("Variable", "What it does"), [(f"`{shown}`", what) for shown, _, what in said])


def file(path: str, language: str) -> str:
    """A file of the repository, as it is."""
    return f"```{language}\n{(ROOT / path).read_text('utf-8')}```"


def example(name: str) -> str:
    """A script of `client/examples`, as it is."""
    return file(f"client/examples/{name}", "python")


# --- errors -----------------------------------------------------------------------------------------------


def every_error() -> list[type[errors.OffcamError]]:
    """The tree, each class behind its parent."""

    def beneath(kind: type[errors.OffcamError]) -> Iterator[type[errors.OffcamError]]:
        yield kind
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from beneath(child)

    return list(beneath(errors.OffcamError))


def error(name: str) -> str:
    """What a class of errors says, and what it is besides."""
    kind = getattr(errors, name)
    parents = [f"`{base.__name__}`" for base in kind.__bases__ if base is not Exception]
    also = f" Is a {' and a '.join(parents)}." if parents else ""
    return f"{_unwrapped((inspect.getdoc(kind) or '').partition(chr(10))[0])}{also}"


# --- trackers and adapters ---------------------------------------------------------------------------------


def trackers() -> str:
    """Each tracker that is given by its name, with its options, read without its package."""
    rows = []
    for name, package in sinks.PACKAGES.items():
        if package and name != OBJECTS:  # that is given by a URL
            told = "<br>".join(f"`{option}`: {what}" for option, what in _options(name).items())
            rows.append((f"`{name}`", f"`{package}`", told))
    return _table(("Tracker", "Package", "Options"), rows)


def _options(tracker: str) -> dict[str, str]:
    source = (ROOT / "client/offcam/sync/sinks" / f"{tracker}.py").read_text("utf-8")
    return next(value for name, value in _assigned(source) if name == "options")


def _assigned(source: str) -> Iterator[tuple[str, Any]]:
    """The names to which a module, or a class of it, assigns what stands there in full."""
    for node in ast.walk(ast.parse(source)):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(target, ast.Name) and node.value:
            with suppress(ValueError):
                yield target.id, ast.literal_eval(node.value)


def adapters() -> str:
    """Each adapter's public names, for mkdocstrings, read without its package."""
    folder = ROOT / "client/offcam/integrations"
    parts = []
    for path in sorted([*folder.glob("[a-z]*.py"), *folder.glob("*/__init__.py")]):
        adapter = path.parent.name if path.name == "__init__.py" else path.stem
        public = dict(_assigned(path.read_text("utf-8"))).get("__all__", ())
        parts += [f"## offcam.integrations.{adapter}"] * bool(public)
        for name in public:
            options = {"heading": f"{adapter}.{name}", "toc_label": name, "heading_level": 3}
            lines = [f"      {option}: {json.dumps(value)}" for option, value in options.items()]
            parts.append("\n".join([f"::: offcam.integrations.{adapter}.{name}", "    options:", *lines]))
    return "\n\n".join(parts)


# --- metrics and HTTP -------------------------------------------------------------------------------------


class _Nothing(dict[str, Any]):
    """A snapshot of a daemon that has done nothing."""

    def __missing__(self, key: str) -> _Nothing:
        return _Nothing()


def every_metric() -> dict[str, Any]:
    """The families that the exporter has, by the names that Prometheus shows."""
    suffix = {"counter": "_total", "info": "_info"}
    found = metrics.Exporter(_Nothing).collect()
    return {family.name + suffix.get(family.type, ""): family for family in found}


def metric_table() -> str:
    """Each metric of ``/metrics``."""
    rows = [(f"`{name}`", each.type, each.documentation, _labels(each)) for name, each in every_metric().items()]
    return _table(("Metric", "Kind", "What it is", "Labels"), rows)


def _labels(family: Any) -> str:  # noqa: ANN401 - a family of prometheus_client
    values: dict[str, list[str]] = {}
    for sample in family.samples:
        for label in sample.labels:
            values.setdefault(label, []).append(f"`{sample.labels[label]}`")
    return "; ".join(f"{label}: {', '.join(of)}" for label, of in values.items() if label != "le")


def paths() -> str:
    """Each path of the HTTP interface, from its own description; with the method, where it is not GET."""
    rows = []
    for path, methods in openapi.description()["paths"].items():
        for method, what in methods.items():
            names = [f"`{each['name']}`" for each in what["parameters"]]
            words = path if method == "get" else f"{method.upper()} {path}"
            rows.append((f"`{words}`", what["summary"], ", ".join(names)))
    return _table(("Path", "What it is", "Parameters"), rows)


# --- names ------------------------------------------------------------------------------------------------


def names(module: str) -> str:
    """What a module has that is public, without its modules and its errors, for mkdocstrings."""
    found = importlib.import_module(module)
    public = [name for name in found.__all__ if not name.startswith("_") and _is_for_the_page(getattr(found, name))]
    return "\n\n".join(_of(getattr(found, name), f"{module}.{name}") for name in public)


def thing(path: str) -> str:
    """One class or function, by its module and name."""
    module, _, name = path.rpartition(".")
    return _of(getattr(importlib.import_module(module), name), name)


def _of(what: type | Callable[..., object], heading: str) -> str:
    options = {"heading": heading, "toc_label": heading.rpartition(".")[2], "inherited_members": _inherited(what)}
    lines = [f"      {name}: {json.dumps(value)}" for name, value in options.items()]
    return "\n".join([f"::: {what.__module__}.{what.__qualname__}", "    options:", *lines])


def _inherited(what: type | Callable[..., object]) -> list[str]:
    """What a class has of our own classes above it, and not of Gymnasium's."""
    bases = (
        [base for base in inspect.getmro(what)[1:] if base.__module__.startswith("offcam")]
        if inspect.isclass(what)
        else []
    )
    return sorted({name for base in bases for name in vars(base) if not name.startswith("_")})


def _is_for_the_page(what: ModuleType | type | Callable[..., object]) -> bool:
    return not inspect.ismodule(what) and not (inspect.isclass(what) and issubclass(what, Exception))


MADE: dict[str, Callable[..., str]] = {
    "verbs": verbs,
    "exit-codes": codes,
    "settings": settings,
    "variables": of_the_training,
    "file": file,
    "example": example,
    "error": error,
    "trackers": trackers,
    "adapters": adapters,
    "metrics": metric_table,
    "paths": paths,
    "names": names,
    "thing": thing,
}
