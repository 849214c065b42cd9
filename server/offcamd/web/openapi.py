"""The API's OpenAPI 3.1 document. The tests compare it with the routes and with real answers."""

from __future__ import annotations

from offcam_runs.analysis import STAGES
from offcamd import __version__
from offcamd.web import (
    animations,
    clip_filters,
    curves,
    queries,
    runlist,
    stages,
    statistics,
    traces,
)
from offcamd.web.params import MOST_TEXT
from offcamd.web.schemas import (
    FLAG,
    INTEGER,
    NUMBER,
    SHOWN_STATES,
    TEXT,
    Schema,
    answers,
    list_of,
    object_of,
    one_of,
    or_null,
    reference,
)


def _query(name: str, schema: Schema, text: str, **more: object) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": text, **more}


def _between(low: int, high: int, default: int | None = None) -> Schema:
    found: Schema = {"type": "integer", "minimum": low, "maximum": high}
    return found if default is None else {**found, "default": default}


_PAGE = [
    _query("offset", _between(0, queries.MOST_OFFSET, 0), "Rows to pass over."),
    _query("limit", _between(1, queries.MOST_ROWS, 100), "Most rows."),
]
_VALUE_PARAMS = [
    _query("value", TEXT, "What `min_value` and `max_value` are of, a name in `info`; default is_success."),
    _query("min_value", NUMBER, "Only those with at least this value."),
    _query("max_value", NUMBER, "Only those with at most this value."),
]
_CURVE_PARAMS = [
    _query(
        "x", one_of("episode", "step", "time"), "The axis: number of arrival, steps, or seconds since the run began."
    ),
    _query("y", TEXT, "What is drawn: return (the default), length, duration, or a value by its name in `info`."),
    _query("window", _between(1, curves.MOST_WINDOW, 100), "Episodes of the moving average."),
]
_RUN_PATH = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": TEXT,
    "description": "A run's id, see /api/runs; `ID@1` or `ID@all` is of a session.",
}
_CLIP_PATH = {"name": "key", "in": "path", "required": True, "schema": TEXT, "description": "A clip's key in its run."}
_SESSION = _query(
    "session", {"type": "string", "pattern": "^([0-9]+|all)$"}, "Which training of several; else the newest."
)
_HURRY = _query(
    "hurry",
    FLAG,
    "Somebody looks and wants to see what it shows now: as long as it is read, encoding does not give way to other "
    "programs, and its first picture is waited for. Without this, on a machine with no idle core, it may lag behind.",
)
_POINTS = _query("points", _between(traces.FEWEST_POINTS, traces.MOST_POINTS, traces.USUAL_POINTS), "Most points.")
_SEARCH = {"type": "string", "maxLength": MOST_TEXT}
_CLIP_PARAMS = [
    _query("sort", one_of("newest", "oldest", "return", "length", "episode"), "The order."),
    _query("order", one_of("desc", "asc"), "The direction, where `sort` is return, length or episode."),
    _query("state", one_of(*SHOWN_STATES), "Only those in a state."),
    _query("q", _SEARCH, "Only those whose name has this text in it."),
    _query("min_return", NUMBER, "Only those with at least this return."),
    _query("max_return", NUMBER, "Only those with at most this return."),
    _query("min_length", NUMBER, "Only those of at least so many steps."),
    _query("max_length", NUMBER, "Only those of at most so many steps."),
    _query(
        "end",
        one_of(*filter(None, clip_filters.ENDS)),
        "How the episode ended with which the clip begins; `unfinished`: it came to none, and its `unended` says why.",
    ),
    _query("keep", _SEARCH, "Only those whose `keep_reason` has this text in it."),
    _query("env_index", _between(0, 2**31), "Only those that show a sub-environment."),
    _query("seed", _SEARCH, "Only those whose episode was given this seed."),
    _query("pinned", FLAG, "Only those that somebody has pinned, or has not."),
    *_VALUE_PARAMS,
]


def _path(
    text: str, content: str, schema: Schema, parameters: list[Schema] | None = None, *codes: str, method: str = "get"
) -> Schema:
    found = [dict(parameter) for parameter in parameters or []]
    failures = {code: {"$ref": f"#/components/responses/{code}"} for code in codes}
    answer = {"description": text, "content": {content: {"schema": schema}}}
    return {method: {"summary": text, "parameters": found, "responses": {"200": answer, **failures}}}


def _json(
    text: str, schema: Schema, parameters: list[Schema] | None = None, *codes: str, method: str = "get"
) -> Schema:
    return _path(text, "application/json", schema, parameters, *codes, method=method)


def _paths() -> dict[str, Schema]:
    run, clip = "/api/runs/{id}", "/api/runs/{id}/clips/{key}"
    one, of_run, of_clip = ("404", "409"), [_RUN_PATH, _SESSION], [_RUN_PATH, _CLIP_PATH]
    asked, changing = ("400", *one), ("401", "403")
    of_episode = [*of_run, _query("number", _between(0, queries.MOST_OFFSET), "Its order of arrival.", required=True)]
    paths = {
        "/": _path("The page.", "text/html", TEXT),
        "/r/{id}": _path("The page, at a run.", "text/html", TEXT, [_RUN_PATH]),
        "/r/{id}/e/{number}": _path(
            "The page, at an episode by its order of arrival; `?t=` is a time in its video, in seconds.",
            "text/html",
            TEXT,
            [_RUN_PATH, {**_CLIP_PATH, "name": "number", "description": "The episode's number."}],
        ),
        "/r/{id}/c/{key}": _path("The page, at a clip; `?t=` as above.", "text/html", TEXT, of_clip),
        "/healthz": _path(
            "The server answers, and the daemon can record; where not, what is down.", "text/plain", TEXT, None, "503"
        ),
        "/readyz": _path("The daemon takes in what clients send.", "text/plain", TEXT, None, "503"),
        "/metrics": _path("Prometheus text, or OpenMetrics for who accepts it.", "text/plain", TEXT),
        "/openapi.json": _json("This description.", {"type": "object"}),
        "/api/stats": _json(
            "The daemon's statistics: frames, clips and episodes since it started, of all runs together; of each of "
            "`runs` its newest session.",
            reference("Stats"),
            None,
            "404",
        ),
        "/api/events": _path(
            "Server-sent events: `stats` each second (as /api/stats without runs), `run` (a Run) whenever one changed.",
            "text/event-stream",
            TEXT,
            None,
            "503",
        ),
        "/api/group": _json(
            "Several runs as one: interquartile mean with its bootstrap interval over runs.",
            reference("Group"),
            [
                _query("ids", TEXT, f"Up to {curves.MOST_RUNS} ids (or `ID@1`) with commas between.", required=True),
                *_CURVE_PARAMS,
                _query("points", _between(1, curves.MOST_GROUP_POINTS, 500), "Most points."),
            ],
            *asked,
        ),
        "/api/statistics": _json(
            "Groups of runs against each other, as `offcam compare` has them (Agarwal et al., NeurIPS 2021).",
            reference("Statistics"),
            [
                _query(
                    "group",
                    {"type": "array", "items": TEXT, "maxItems": statistics.MOST_GROUPS},
                    f"`NAME:ID,ID,...`, {statistics.FEWEST_GROUPS} times or more; at most {statistics.MOST_RUNS} runs.",
                    required=True,
                ),
                _query("threshold", NUMBER, "The score that is enough, for the optimality gap."),
                _query("last", _between(1, statistics.MOST_LAST, 100), "Episodes behind the score of a run."),
            ],
            *asked,
            "429",
        ),
        "/api/runs": _json(
            "The runs, or those that are asked for.",
            object_of(daemon=FLAG, total=INTEGER, offset=INTEGER, runs=list_of(reference("Run"))),
            [
                _query("query", _SEARCH, "Only runs that match, such as `env:cartpole return>100 -crashed`."),
                _query("sort", one_of(*runlist.SORTS), "The order; what has no such number comes last."),
                _query("order", one_of("asc", "desc"), "Its direction."),
                _query("offset", _between(0, queries.MOST_OFFSET, 0), "Runs to pass over."),
                _query("limit", _between(1, queries.MOST_ROWS, queries.MOST_ROWS), "Most runs."),
            ],
            "400",
        ),
        run: _json("One run, and its streams.", reference("RunDetail"), of_run, *asked),
        f"{run}/episodes": _json(
            "A page of a run's episodes.",
            object_of(total=INTEGER, offset=INTEGER, episodes=list_of(reference("Episode"))),
            [
                *of_run,
                *_PAGE,
                _query("sort", one_of("arrival", "episode", "return", "length", "duration"), "The order."),
                _query("order", one_of("asc", "desc"), "Its direction."),
                _query("stream", TEXT, "Only those of a stream, by its id."),
                _query("env_index", _between(0, 2**31), "Only those of a sub-environment."),
                _query("seed", _SEARCH, "Only those whose reset was given this seed."),
                _query("min_return", NUMBER, "Only those with at least this return."),
                _query("max_return", NUMBER, "Only those with at most this return."),
                *_VALUE_PARAMS,
                _query("terminated", FLAG, "Only those that were terminated, or with false those that were not."),
                _query("truncated", FLAG, "Only those that were truncated, or with false those that were not."),
            ],
            *asked,
        ),
        f"{run}/episodes.csv": _path("All of a run's episodes.", "text/csv", TEXT, of_run, *asked),
        f"{run}/episodes/steps": _json(
            "The steps of an episode as columns, each point the least and the most of `bucket` rows; where its video "
            "shows it, by the second.",
            reference("Steps"),
            [*of_episode, _POINTS],
            *asked,
        ),
        f"{run}/episodes/render": {
            **_json("What there is of an episode's video.", reference("Rendering"), of_episode, *asked),
            **_json(
                "Have an episode of a run that is `replayable` rendered where it has no video, one at a time; "
                "GET says how far it is, and what became of it. By the page itself, opened on this host, or with "
                "the http_token.",
                reference("Rendering"),
                of_episode,
                *asked,
                *changing,
                "429",
                method="post",
            ),
        },
        f"{run}/episodes/animation": _path(
            "An episode's video as an animated picture, made by `offcam gif`, one at a time: of at most "
            f"{animations.MOST_SECONDS:g} s, {animations.MOST_WIDTH} pixels wide. By the page itself, likewise.",
            "image/*",
            TEXT,
            [
                *of_episode,
                _query("kind", one_of(*animations.KINDS), "The format."),
                _query("overlay", FLAG, "Whether step, reward and return are written over the pictures."),
            ],
            *asked,
            *changing,
            "429",
            method="post",
        ),
        f"{run}/curve": _json(
            "A run's learning curve: points of `count` episodes from `first` on, and those with a clip.",
            reference("Curve"),
            [
                *of_run,
                *_CURVE_PARAMS,
                _query("points", _between(1, curves.MOST_POINTS, 2000), "Most points."),
                _query("from", NUMBER, "Only from here on, in units of x."),
                _query("to", NUMBER, "Only up to here, in units of x."),
            ],
            *asked,
        ),
        f"{run}/nearest": _json(
            "An episode, and the clip that shows it, or else that of the nearest episode which has one.",
            reference("Nearest"),
            of_episode,
            *asked,
        ),
        f"{run}/stages": _json(
            "A run in parts of as many episodes each (`begin` up to `end`, by their order in it; with the numbers "
            "`first` to `last`), and of each part the best, the median and the worst episode of those with a clip, by "
            "their returns.",
            reference("Stages"),
            [*of_run, _query("count", _between(1, stages.MOST_STAGES, STAGES), "How many, if there are as many.")],
            *asked,
        ),
        f"{run}/clips": _json(
            "A page of a run's clips.",
            object_of(total=INTEGER, offset=INTEGER, clips=list_of(reference("Clip"))),
            [*of_run, *_PAGE, *_CLIP_PARAMS],
            *asked,
        ),
        clip: _json("A clip, and the episodes it shows.", reference("ClipDetail"), of_clip, *one),
        f"{clip}/pin": {
            **_json(
                "Pin a clip, or change its note. By the page itself, opened on this host, or with the http_token.",
                reference("ClipDetail"),
                [*of_clip, _query("note", _SEARCH, "What there is to say of it.")],
                *asked,
                *changing,
                method="put",
            ),
            **_json("Unpin it; likewise.", reference("ClipDetail"), of_clip, *one, *changing, method="delete"),
        },
        f"{clip}/neighbours": _json(
            "The keys of the clips before and after a clip in a list as of `/clips`, of those that can be watched, and "
            "its place there.",
            object_of(before=or_null(TEXT), after=or_null(TEXT), place=or_null(INTEGER), total=INTEGER),
            [*of_clip, _SESSION, *_CLIP_PARAMS],
            *asked,
        ),
        f"{clip}/steps": _json(
            "The steps that a clip's frames show, as columns like those of an episode; of its first sub-environment.",
            reference("Steps"),
            [*of_clip, _POINTS, _query("env_index", _between(0, 2**31), "Of this sub-environment instead.")],
            *asked,
        ),
        f"{clip}/video": _path(
            "A clip's file.", "video/mp4", TEXT, [*of_clip, _query("download", FLAG, "To be saved, not shown.")], *asked
        ),
        f"{clip}/live": _path(
            "A clip while it is recorded: its file from the start on, and what is written of it as it comes, until it "
            "is over. A fragmented MP4, whose type names the codec, as the Media Source Extensions of browsers take "
            "it.",
            "video/mp4",
            TEXT,
            [*of_clip, _HURRY],
            *one,
            "503",
        ),
        f"{clip}/poster": _path("A picture out of the middle of a clip.", "image/jpeg", TEXT, of_clip, *one),
    }
    part = {"description": "The range that was asked for.", "content": {"video/mp4": {"schema": TEXT}}}
    none = {"description": "The file is shorter than that."}
    paths[f"{clip}/live"]["get"]["responses"]["204"] = {"description": "It has no picture yet, or is over."}
    paths[f"{clip}/video"]["get"]["responses"] |= {"206": part, "416": none}
    return paths


def description() -> Schema:
    """The whole document, made anew for each caller."""
    error = {"application/json": {"schema": reference("Error")}}
    failures = {
        "400": "A value makes no sense; the text says which would.",
        "404": "There is no such thing; the text says what there is.",
        "401": "The http_token is missing or wrong.",
        "403": "Whoever asks may not change anything.",
        "409": "The run's folder cannot be read or written, or the video not be made; the text says why, and the fix.",
        "429": "Too many wait, or another is being made.",
    }
    responses: Schema = {code: {"description": text, "content": error} for code, text in failures.items()}
    responses["503"] = {"description": "Not now."}
    token = {"type": "http", "scheme": "bearer", "description": "Where the daemon has an http_token."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "offcam",
            "version": __version__,
            "description": "What a recorder daemon records.",
        },
        "paths": _paths(),
        "components": {"schemas": answers(), "responses": responses, "securitySchemes": {"token": token}},
        "security": [{}, {"token": []}],
    }
