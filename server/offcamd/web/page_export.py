"""The page as a folder of files: the same page, with answers that were written down, and the clips themselves.

The folder works from any static host and from ``file://``. Browsers load neither modules nor JSON from ``file://``: so
the page's modules are in its HTML, as ``data:`` URLs under the names of an import map, and the answers for a run are a
script. ``static/exported.js`` answers the page's requests from these as the daemon would.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import quote

from starlette.datastructures import QueryParams

from offcam_proto.errors import ConfigError, OffcamError
from offcam_runs.analysis.curves import default_window
from offcam_runs.episodes import Quantity
from offcam_runs.format import PAGE_NAME
from offcam_runs.json_text import dumps
from offcamd.web import curves, queries, traces
from offcamd.web.app import STATIC_FOLDER
from offcamd.web.episode_cache import EpisodeCache
from offcamd.web.media import Posters, open_clip
from offcamd.web.params import BadQuery, Query
from offcamd.web.reading import AskedRun, NotHere, asked_for
from offcamd.web.runs import RunDescriptions
from offcamd.web.source import FolderSource
from offcamd.web.stages import stages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POINTS: Final = 500
"""Points of a curve."""

MOST_EPISODES: Final = 5000
"""Episodes of a run that are written one by one, besides those that clips show: the last ones."""

MOST_TOGETHER: Final = 8
"""Up to so many runs also get the windows of the moving average that are the others' defaults."""

MOST_ENVS: Final = 16
"""Sub-environments of a clip whose steps are written: the first ones."""

WINDOWS: Final = (1, 5, 10, 30, 100, 300, 1000)
"""Windows of the moving average: those that the page offers."""

_AS_IT_STANDS: Final = {"live": False, "replayable": False, "sync": []}
_IMPORT: Final = re.compile(r'(\bfrom\s+|\bimport\s+)"\./([\w.]+\.js)"')
_STYLE: Final = re.compile(r'<link rel="stylesheet" href="/static/([\w.]+)">\n')
_SCRIPT: Final = re.compile(r'<script src="/static/([\w.]+)"([^>]*)></script>\n')
_PRELOAD: Final = re.compile(r'<link rel="modulepreload"[^>]*>\n')
_POLICY: Final = re.compile(r'(?<=http-equiv="Content-Security-Policy" content=")[^"]*')

# The exported page connects to nobody. A file:// page has no origin, so 'self' needs the scheme file: beside it.
_OWN_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' data: 'self' file:; style-src 'unsafe-inline'; "
    "img-src 'self' file: data: blob:; media-src 'self' file: blob:; connect-src 'none'; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True)
class ExportedPage:
    """What `export_page` wrote.

    Attributes:
        runs: how many runs are in it.
        clips: how many clips are in it.
        bytes: size of all files.
    """

    runs: int
    clips: int
    bytes: int


def export_page(
    folders: Sequence[Path],
    output: Path,
    *,
    session: str = "",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportedPage:
    """Write the page of some runs into a folder, which appears whole or not at all.

    Args:
        folders: run folders, or folders of them.
        output: the folder to be made.
        session: which session of each run, as in the page's address; by default the newest.
        force: replace a page that was exported there before.
        progress: called after each clip with how many clips are written, and how many there are.

    Raises:
        ConfigError: the folder has something else in it, cannot be written, or there is no run.
    """
    _check(output, force=force)
    source = FolderSource(folders)
    runs = [f"{run}@{session}" if session else run for run in source.folders()]
    if not runs:
        raise ConfigError(f"no run is at or below {', '.join(map(str, folders))}: give folders with recordings")
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        page = _Writer(source, part).write(runs, progress)
        if output.exists():
            shutil.rmtree(output)
        part.rename(output)
    except OSError as error:
        raise ConfigError(
            f"the page cannot be written to {output} ({error.strerror or error}): choose another -o"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return page


def _check(output: Path, *, force: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / PAGE_NAME).is_file():
        raise ConfigError(f"{output} is there already and is no exported page: choose another -o")
    if not force:
        raise ConfigError(f"{output} is there already: replace it with --force, or choose another -o")


class _Writer:
    """Writes the page of some runs into an empty folder."""

    def __init__(self, source: FolderSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._cache = EpisodeCache()
        self._posters = Posters()
        self._clips = 0
        self._windows = set(WINDOWS)

    def write(self, runs: Sequence[str], progress: Callable[[int, int], None] | None) -> ExportedPage:
        asked = [asked_for(self._source, run, Query(QueryParams())) for run in runs]
        descriptions = RunDescriptions(self._source)
        listed = [{**descriptions.describe(each), **_AS_IT_STANDS} for each in asked]
        listed = [{**run, "sessions": run["sessions"][-1:]} for run in listed]  # only the session that is exported
        clips = sum(sum(run["clips"].values()) for run in listed)
        if len(listed) <= MOST_TOGETHER:  # runs that are drawn together have the default window of the shortest
            self._windows |= {default_window(run["episodes"]) for run in listed}
        for each, run in zip(asked, listed, strict=True):
            if not run["problem"]:
                (self._folder / _place(each.run)).mkdir(parents=True)
                told = self._run(each, run, lambda: progress and progress(self._clips, clips))
                name = json.dumps(each.run)
                self._put(f"{_place(each.run)}/run.js", f"offcamPage.of[{name}] = {_script(told)};\n")
        made = {"made": time.time(), "list": {"daemon": False, "total": len(listed), "runs": listed}, "of": {}}
        self._put("page.js", f"globalThis.offcamPage = {_script(made)};\n")
        self._put("index.html", page_html(STATIC_FOLDER))
        self._put(PAGE_NAME, dumps({"made": made["made"], "runs": [run["folder"] for run in listed]}))
        size = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        return ExportedPage(len(listed), self._clips, size)

    def _put(self, name: str, text: str) -> None:
        """Write a text file as the server sends it: in UTF-8 whatever the locale, invalid text replaced by a mark."""
        (self._folder / name).write_bytes(text.encode("utf-8", "replace"))

    def _run(self, asked: AskedRun, run: dict[str, Any], told: Callable[[], object]) -> dict[str, Any]:
        if not run["plain"]:
            with (self._folder / _place(asked.run) / "episodes.csv").open("w", encoding="utf-8") as file:
                file.writelines(queries.episodes_csv(asked))
        clips, steps = {}, {}
        for key in queries.listed_keys(asked):
            detail = queries.clip_detail(asked, key, self._cache)
            clips[key] = {**detail, **self._files(asked, detail)}
            steps.update(self._steps(asked, key))
            told()
        told_of = {"clips": clips, "steps": steps, "stages": stages(asked, _query(), self._cache)}
        if run["plain"]:
            return {**told_of, "curves": {}, "episodes": {}}
        last = max(0, run["episodes"] - MOST_EPISODES)
        rows = self._pages(lambda query: queries.episodes_page(asked, query, self._cache), "episodes", offset=last)
        episodes = {row["number"]: row for row in rows}
        return {**told_of, "curves": self._curves(asked, run), "episodes": episodes}

    def _steps(self, asked: AskedRun, key: str) -> dict[str, Any]:
        """The steps that a clip shows: of its first sub-environment under the clip's key, others under ``KEY ENV``."""
        with suppress(OffcamError, NotHere):
            first = traces.of_clip(asked, key, _query(points=traces.USUAL_POINTS))
            first["envs"] = envs = first["envs"][:MOST_ENVS]
            found = {key: first}
            for env in envs[1:] if first["found"] else ():
                query = _query(points=traces.USUAL_POINTS, env_index=env)
                found[f"{key} {env}"] = {**traces.of_clip(asked, key, query), "envs": envs}
            return found
        return {}

    def _curves(self, asked: AskedRun, run: dict[str, Any]) -> dict[str, Any]:
        """By axis and quantity, a curve, and its averages by window."""
        found: dict[str, Any] = {}
        for y in (*get_args(Quantity), *run["values"]):
            for x in curves.AXES:
                for window in sorted({*self._windows, default_window(run["episodes"])}):
                    query = _query(x=x, y=y, window=window, points=POINTS)
                    try:
                        told = curves.curve(asked, query, self._cache)
                    except BadQuery:  # no episode has this value
                        break
                    average = told.pop("average")
                    found.setdefault(f"{x} {y}", {**told, "averages": {}})["averages"][window] = average
        return found

    def _files(self, asked: AskedRun, clip: dict[str, Any]) -> dict[str, str | None]:
        """Write a clip's video and poster; returns their paths relative to the page."""
        key, place = clip["key"], _place(asked.run)
        found: dict[str, str | None] = {"video": None, "poster": None, "live": None, "evicted": None}
        if not clip["video"]:
            return found
        with suppress(NotHere, OffcamError):
            name = f"{place}/{key}.mp4"
            with (
                open_clip(asked.folder, key).source as source,
                (self._folder / name).open("wb") as target,
            ):
                shutil.copyfileobj(source, target, 1 << 20)
            found["video"] = quote(name)
            self._clips += 1
            picture, _ = self._posters.get(asked.folder, key)
            (self._folder / f"{place}/{key}.jpg").write_bytes(picture)
            found["poster"] = quote(f"{place}/{key}.jpg")
        return found

    def _pages(self, page: Callable[[Query], dict[str, Any]], what: str, offset: int = 0) -> Iterator[dict[str, Any]]:
        """All rows of something that the API returns in pages."""
        while rows := page(_query(offset=offset, limit=queries.MOST_ROWS))[what]:
            yield from rows
            offset += len(rows)


def _query(**values: object) -> Query:
    return Query(QueryParams({name: str(value) for name, value in values.items()}))


def _place(run: str) -> str:
    """The folder of a run below the page's."""
    return "runs/" + re.sub(r"[^\w-]", "_", run)


def _script(value: object) -> str:
    """A value as JavaScript that is safe within a script element."""
    return dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def page_html(static: Path) -> str:
    """The page as one HTML file, with its styles, its classic scripts, and its modules in an import map."""
    html = (static / "index.html").read_text("utf-8")
    modules = {path.name: path.read_text("utf-8") for path in sorted(static.glob("*.js"))}
    imports = {f"offcam/{name}": _module(_IMPORT.sub(r'\1"offcam/\2"', text)) for name, text in modules.items()}

    def script(match: re.Match[str]) -> str:
        name, attributes = match.groups()
        if 'type="module"' in attributes:
            return f'<script type="module">import "offcam/{name}";</script>\n'
        return f"<script>{modules[name]}</script>\n"

    html = _PRELOAD.sub("", html)
    html = _STYLE.sub(lambda match: f"<style>{(static / match[1]).read_text('utf-8')}</style>\n", html)
    html = _SCRIPT.sub(script, html)
    icon = base64.b64encode((static / "favicon.svg").read_bytes()).decode()
    html = html.replace("/static/favicon.svg", f"data:image/svg+xml;base64,{icon}").replace('href="/"', 'href="#/"')
    html = _POLICY.sub(_OWN_POLICY, html)
    head = f'<script src="page.js"></script>\n<script type="importmap">{json.dumps({"imports": imports})}</script>\n'
    return html.replace('<meta name="color-scheme"', f'{head}<meta name="color-scheme"', 1)


def _module(text: str) -> str:
    return "data:text/javascript;base64," + base64.b64encode(text.encode()).decode()
