"""The routes: which function answers which request, and on which thread. Disks are read off the event loop."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from offcam_proto.errors import RunFolderError
from offcam_runs.sync.state import of_runs
from offcamd.web import curves, queries, traces
from offcamd.web.access import AccessCheck, Headers, HostCheck
from offcamd.web.animations import Animations
from offcamd.web.answers import Answers
from offcamd.web.clip_texts import ClipTexts
from offcamd.web.encoding import encoded
from offcamd.web.episode_cache import EpisodeCache, ReadAhead
from offcamd.web.events import Broadcaster
from offcamd.web.group_answers import GroupAnswers
from offcamd.web.live import FIRST_PICTURE_SECONDS, LiveResponse, LiveVideo, LiveVideos
from offcamd.web.media import Posters, VideoResponse, open_clip
from offcamd.web.metrics import Exporter
from offcamd.web.openapi import description
from offcamd.web.page_files import PageFiles
from offcamd.web.params import BadQuery, Query
from offcamd.web.pins import Pins
from offcamd.web.reading import AskedRun, NotHere, NothingNow, asked_for
from offcamd.web.renders import CannotRender, Renders, TooMany
from offcamd.web.runlist import runs_page
from offcamd.web.runs import RunDescriptions
from offcamd.web.smooth_cache import SmoothCache
from offcamd.web.stages import stages
from offcamd.web.statistics import Statistics

if TYPE_CHECKING:
    from starlette.requests import Request

    from offcamd.web.source import RunSource

    Endpoint = Callable[[Request], Awaitable[Response]]

STATIC_FOLDER = Path(__file__).with_name("static")


def make_app(
    source: RunSource, host: str, token: str | None = None, *, stopping: Callable[[], bool] = lambda: False
) -> Starlette:
    """The ASGI application.

    Args:
        source: the runs and the statistics to serve; called on worker threads.
        host: the host that the server is bound to; requests may name it, and this machine's loopback names.
        token: what requests must carry; None to let everybody who can connect read, and the page on this host change.
        stopping: whether the server is about to stop: listeners of events are disconnected then.
    """
    api = Api(source, stopping)
    api.look_ahead()
    return Starlette(
        routes=[*api.routes(), Mount("/static", routes=[Route("/{name}", api.file)])],
        middleware=[Middleware(Headers), Middleware(HostCheck, host=host), Middleware(AccessCheck, token=token)],
        exception_handlers={
            BadQuery: functools.partial(_failed, 400),
            NotHere: functools.partial(_failed, 404),
            CannotRender: functools.partial(_failed, 409),
            TooMany: functools.partial(_failed, 429),
            RunFolderError: functools.partial(_failed, 409),
            HTTPException: _http_failed,
            Exception: _broke,
        },
    )


class Api:
    """The endpoints, and what they keep between requests.

    It has a method for each endpoint, which makes more of them than a class should have else.
    """

    def __init__(self, source: RunSource, stopping: Callable[[], bool]) -> None:
        self._files = PageFiles(STATIC_FOLDER)
        self._source = source
        self._episodes = EpisodeCache()
        self._texts = ClipTexts()
        self._groups = GroupAnswers()
        self._answers = Answers()
        self._smooth = SmoothCache()
        self._runs = RunDescriptions(source, ReadAhead(self._episodes).add)
        self._posters = Posters()
        self._live = LiveVideos(stopping)
        self._statistics = Statistics()
        self._exporter = Exporter(source.stats)
        self._events = Broadcaster(source, self._runs, stopping)
        self._renders = Renders(source, self._episodes, stopping)
        self._animations = Animations(source, self._episodes, stopping)
        self._pins = Pins(source, self._episodes)

    def look_ahead(self) -> None:
        """Begin to read all runs, on a thread of its own, so that the first request need not wait for that."""
        threading.Thread(target=self._runs.all, name="offcam-look", daemon=True).start()

    def routes(self) -> list[Route]:
        """All routes, except the page's own files."""
        run, clip = "/api/runs/{id}", "/api/runs/{id}/clips/{key}"
        told, again, kept = self._told, self._again, self._episodes
        endpoints: dict[str, Endpoint] = {
            "/": self.page,
            "/r/{id}": self.page,
            "/r/{id}/e/{number}": self.page,
            "/r/{id}/c/{key}": self.page,
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
            "/openapi.json": self.openapi,
            "/api/stats": self.stats,
            "/api/events": self.events,
            "/api/group": self.group,
            "/api/runs": self.runs,
            "/api/statistics": self.statistics,
            run: told(lambda asked, _: self._runs.detail(asked)),
            f"{run}/episodes": again(lambda asked, query: queries.episodes_page(asked, query, kept)),
            f"{run}/episodes.csv": self.episodes_csv,
            f"{run}/episodes/steps": told(lambda asked, query: traces.of_episode(asked, query, kept)),
            f"{run}/curve": again(lambda asked, query: curves.curve(asked, query, kept)),
            f"{run}/nearest": again(lambda asked, query: queries.nearest(asked, query, kept)),
            f"{run}/stages": again(lambda asked, query: stages(asked, query, kept)),
            f"{run}/clips": again(lambda asked, query: queries.clips_page(asked, query, self._texts)),
            clip: self.clip,
            f"{clip}/neighbours": self.neighbours,
            f"{clip}/steps": self.steps,
            f"{clip}/video": self.video,
            f"{clip}/live": self.live,
            f"{clip}/poster": self.poster,
        }
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()]
        pins = Route(f"{clip}/pin", self.pin, methods=["PUT", "DELETE"])
        animations = Route(f"{run}/episodes/animation", self.animation, methods=["POST"])
        return [*routes, pins, animations, Route(f"{run}/episodes/render", self.render, methods=["GET", "POST"])]

    # --- the daemon -------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page, at any of its addresses: it reads the address itself."""
        return self._files.answer("index.html", request)

    async def file(self, request: Request) -> Response:
        """One of the page's own files."""
        return self._files.answer(request.path_params["name"], request)

    async def healthz(self, _request: Request) -> Response:
        """Whether the server answers, and every part of the daemon works."""
        return _well_unless(self._source.unhealthy())

    async def readyz(self, _request: Request) -> Response:
        """Whether the daemon takes in what clients send."""
        return _well_unless(await run_in_threadpool(self._source.unready))

    async def metrics(self, request: Request) -> Response:
        """The statistics for Prometheus."""
        text, media_type = await run_in_threadpool(self._exporter.text, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": media_type})

    async def openapi(self, _request: Request) -> Response:
        """The description of this API."""
        return _json(description())

    async def stats(self, _request: Request) -> Response:
        """The daemon's statistics."""
        stats = await run_in_threadpool(self._source.stats)
        if stats is None:
            raise NotHere("there is no daemon: these are folders that `offcam view` shows")
        sync = await run_in_threadpool(of_runs, [run["folder"] for run in stats["runs"]])
        return _json({**stats, "sync": sync})

    async def events(self, request: Request) -> Response:
        """What changes, as server-sent events."""
        if self._events.full:
            raise HTTPException(503, "too many pages listen already: close some of them")
        events = self._events.listen() if request.method == "GET" else ()  # HEAD has no body, and no end
        return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    # --- runs -------------------------------------------------------------------------------------------------

    async def runs(self, request: Request) -> Response:
        """The requested page of the list of runs."""
        query = Query(request.query_params)
        page = await run_in_threadpool(lambda: runs_page(self._runs.all(), query))
        return _json({"daemon": self._source.daemon, **page})

    async def episodes_csv(self, request: Request) -> Response:
        """All of a run's episodes."""

        def begun(asked: AskedRun) -> Iterable[str]:
            pieces = queries.episodes_csv(asked)
            return itertools.chain([next(pieces)], pieces)  # an error shows in the first piece

        pieces = await self._of(request, begun)
        return StreamingResponse(
            pieces, media_type="text/csv", headers={"content-disposition": 'attachment; filename="episodes.csv"'}
        )

    async def render(self, request: Request) -> Response:
        """What is known of an episode's video; by POST it is rendered if there is none."""
        query, asks = Query(request.query_params), request.method == "POST"
        answer = self._renders.ask if asks else self._renders.look
        return _json(await self._of(request, lambda asked: answer(asked, query)))

    async def animation(self, request: Request) -> Response:
        """An episode's video as an animated picture, which is made."""
        query = Query(request.query_params)
        kind, data = await self._of(request, lambda asked: self._animations.make(asked, query))
        return Response(data, media_type=f"image/{kind}")

    async def group(self, request: Request) -> Response:
        """The learning curve of several runs."""
        query = Query(request.query_params)

        def answer() -> bytes:
            runs = [asked_for(self._source, run) for run in dict.fromkeys(query.list("ids", curves.MOST_RUNS))]
            make = functools.partial(curves.group, runs, query, self._smooth)
            return self._groups.get(request.url.query, runs, lambda: encoded(make()))

        return Response(await run_in_threadpool(answer), media_type="application/json")

    async def statistics(self, request: Request) -> Response:
        """Groups of runs, compared."""
        query = Query(request.query_params)
        return _json(await run_in_threadpool(self._statistics.compare, self._source, query))

    # --- clips ------------------------------------------------------------------------------------------------

    async def clip(self, request: Request) -> Response:
        """One clip, and the episodes it shows."""
        key = request.path_params["key"]
        return _json(await self._of(request, lambda asked: queries.clip_detail(asked, key, self._episodes)))

    async def pin(self, request: Request) -> Response:
        """Pin a clip or, by DELETE, do so no longer."""
        key, query = request.path_params["key"], Query(request.query_params)
        note = query.text("note") if request.method == "PUT" else None
        return _json(await self._of(request, lambda asked: self._pins.set(asked, key, note)))

    async def neighbours(self, request: Request) -> Response:
        """The clips before and after a clip."""
        key, query = request.path_params["key"], Query(request.query_params)
        return _json(await self._of(request, lambda asked: queries.neighbours(asked, key, query)))

    async def steps(self, request: Request) -> Response:
        """The steps that one clip shows."""
        key, query = request.path_params["key"], Query(request.query_params)
        return _json(await self._of(request, lambda asked: traces.of_clip(asked, key, query)))

    async def video(self, request: Request) -> Response:
        """A clip's file, or a range of it."""
        download = Query(request.query_params).boolean("download") or False
        file = await self._of(request, lambda asked: open_clip(asked.folder, request.path_params["key"]))
        return VideoResponse(file, request.headers, download=download)

    async def live(self, request: Request) -> Response:
        """A clip's file while it is recorded, as it grows."""
        hurry = Query(request.query_params).boolean("hurry")
        if self._live.full:
            raise HTTPException(503, "too many clips are watched already: close some of the pages")
        with ExitStack() as closing:
            if hurry:
                closing.enter_context(self._source.watched())
            key, patience = request.path_params["key"], FIRST_PICTURE_SECONDS if hurry else 0.0
            try:
                video = await self._live.begin(lambda: self._of(request, lambda asked: LiveVideo(asked, key)), patience)
            except NothingNow:  # no error: who looks at a run cannot know
                return Response(None, 204)
            closing.callback(video.close)
            return LiveResponse(video, self._live, closing.pop_all())

    async def poster(self, request: Request) -> Response:
        """A picture from a clip."""
        key = request.path_params["key"]
        picture, file = await self._of(request, lambda asked: self._posters.get(asked.folder, key))
        headers = {"etag": file.etag, "cache-control": file.cache_control}
        if request.headers.get("if-none-match") == file.etag:
            return Response(None, 304, headers)
        return Response(picture, media_type="image/jpeg", headers=headers)

    def _told(self, answer: Callable[[AskedRun, Query], dict[str, Any]]) -> Endpoint:
        """An endpoint that answers with what a function returns for the requested run and query."""

        async def endpoint(request: Request) -> Response:
            query = Query(request.query_params)
            return _json(await self._of(request, lambda asked: answer(asked, query)))

        return endpoint

    def _again(self, answer: Callable[[AskedRun, Query], dict[str, Any]]) -> Endpoint:
        """The same for a function that reads nothing but the run's index and its pins, see `Answers`."""

        async def endpoint(request: Request) -> Response:
            query, asks = Query(request.query_params), f"{request.url.path}?{request.url.query}"

            def known(asked: AskedRun) -> bytes:
                return self._answers.get(asked.folder, asks, lambda: encoded(answer(asked, query)))

            return Response(await self._of(request, known), media_type="application/json")

        return endpoint

    async def _of(self, request: Request, answer: Callable[[AskedRun], Any]) -> Any:  # noqa: ANN401 - what answer returns
        """What a function returns for the requested run, called on a worker thread."""
        run, query = request.path_params["id"], Query(request.query_params)
        return await run_in_threadpool(lambda: answer(asked_for(self._source, run, query)))


def _well_unless(reason: str | None) -> Response:
    return PlainTextResponse("ok" if reason is None else reason, 200 if reason is None else 503)


def _json(value: dict[str, Any]) -> Response:
    return Response(encoded(value), media_type="application/json")


async def _failed(status: int, _request: Request, error: Exception) -> Response:
    return Response(encoded({"error": str(error)}), status, media_type="application/json")


async def _broke(request: Request, _error: Exception) -> Response:
    """Answer with a plain 500: the error itself goes to the log."""
    return await _failed(500, request, Exception("a bug in offcam, please report it with what the log says"))


async def _http_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what the handler is registered for
    text = f"there is nothing at {request.url.path[:100]}: GET /openapi.json says what there is"
    response = await _failed(error.status_code, request, Exception(text if error.status_code == 404 else error.detail))
    response.headers.update(error.headers or {})
    return response
