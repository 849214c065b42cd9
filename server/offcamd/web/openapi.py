"""What this API is, as OpenAPI 3.1. The tests hold it against the routes and against real answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offcam_runs.analysis import STAGES
from offcam_runs.format import CLIP_STATES, DROP_REASONS, HIDDEN_STATES, STEP_DROP_REASONS, STREAM_STATES
from offcam_runs.run_state import RUN_STATES
from offcamd import __version__
from offcamd.process.health import PARTS, SELF_TEST_STATES
from offcamd.web import (
    clip_filters,
    curves,
    queries,
    renders,
    runlist,
    sparklines,
    stages,
    statistics,
    thinning,
    traces,
)
from offcamd.web.params import MOST_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, Any]

INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(**properties: Schema) -> Schema:
    """All properties are always there."""
    names = {name.rstrip("_"): schema for name, schema in properties.items()}
    return {"type": "object", "properties": names, "required": list(names), "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _by(names: Iterable[str], schema: Schema) -> Schema:
    """Some of these names, each with such a value."""
    return {"type": "object", "propertyNames": {"enum": list(names)}, "additionalProperties": schema}


_MAYBE = _or_null(NUMBER)
_ID = {"type": "string", "pattern": "^[0-9a-f]{12}(@([0-9]+|all))?$"}
_NUMBERS = _object(mean=_MAYBE, std=_MAYBE, min=_MAYBE, max=_MAYBE, last100_mean=_MAYBE)
_INFO: Schema = {"type": "object", "additionalProperties": _MAYBE}
_SHOWN = tuple(state for state in CLIP_STATES if state not in HIDDEN_STATES)
_DROPPED = _by(DROP_REASONS, INTEGER)
_DROPPED_STEPS = _by(STEP_DROP_REASONS, INTEGER)

_RUN = _object(
    id=_ID, folder=TEXT, name=TEXT, title=TEXT, live=FLAG, plain=FLAG, problem=_or_null(TEXT), env_id=_or_null(TEXT),
    num_envs=INTEGER, streams=INTEGER, session=_or_null(INTEGER), sessions=_list(INTEGER),
    episodes=INTEGER, steps=INTEGER, steps_per_second=_MAYBE, started=_MAYBE,
    updated=_MAYBE, return_=_ref("Numbers"), length=_ref("Numbers"), values=_list(TEXT), success_rate=_MAYBE,
    success_rule=_or_null(TEXT), success_why=_or_null(TEXT),
    clips=_object(**dict.fromkeys(_SHOWN, INTEGER)), dropped=_DROPPED, dropped_steps=_DROPPED_STEPS, replayable=FLAG,
    state=_one_of(*RUN_STATES), sparkline={**_list(_MAYBE), "maxItems": sparklines.MOST_POINTS},
    newest_clip=_or_null(_object(key=TEXT, episode=INTEGER, return_=_MAYBE)), sync=_list(_ref("Sync")),
)  # fmt: skip
_SYNC = _object(
    tracker=TEXT, where=TEXT, session=INTEGER, sent_episodes=INTEGER, sent_clips=INTEGER, behind_episodes=INTEGER,
    behind_clips=INTEGER, lag_seconds=NUMBER, failures=INTEGER, error=TEXT, error_at=_MAYBE, over=FLAG, working=FLAG,
)  # fmt: skip
_STREAM = _object(
    stream=TEXT, session=INTEGER, env_id=TEXT, num_envs=INTEGER, prefix=TEXT, pid=INTEGER, host=TEXT, client=TEXT,
    started=_MAYBE, ended=_MAYBE, state=_one_of(*STREAM_STATES), episodes=INTEGER, steps=INTEGER,
)  # fmt: skip
_EPISODE = _object(
    number=INTEGER, stream=TEXT, session=INTEGER, env_index=INTEGER, episode=INTEGER, return_=_MAYBE, length=INTEGER,
    duration_seconds=_MAYBE, started=_MAYBE, terminated=FLAG, truncated=FLAG,
    seed=_or_null({"type": ["integer", "string"]}), info=_INFO,
    num_envs=INTEGER, clip=_or_null(TEXT), whole=FLAG,
)  # fmt: skip
_CLIP = _object(
    key=TEXT, stream=TEXT, name=TEXT, part=INTEGER, file=_or_null(TEXT), state=_one_of(*_SHOWN), frames=INTEGER,
    fps=_MAYBE, width=_or_null(INTEGER), height=_or_null(INTEGER), duration_seconds=_MAYBE,
    number=_or_null(INTEGER), terminated=_or_null(FLAG), truncated=_or_null(FLAG), unfinished=FLAG,
    seed=_or_null({"type": ["integer", "string"]}), num_envs=INTEGER, env_index=INTEGER, episode=INTEGER,
    envs=_list(INTEGER), grid=_or_null(_list(INTEGER)), step=INTEGER, return_=_MAYBE, length=_or_null(INTEGER),
    dropped=_DROPPED,
    partial=FLAG, keep_reason=_or_null(TEXT), verified=_or_null(FLAG), diverged_at=_or_null(INTEGER),
    diverged_why=_or_null(TEXT), info=_INFO, started=_MAYBE, file_bytes=_or_null(INTEGER), error=_or_null(TEXT),
    video=_or_null(TEXT), poster=_or_null(TEXT),
)  # fmt: skip
_RENDERING = _object(
    number=INTEGER, episode=INTEGER, env_index=INTEGER, stream=TEXT, state=_one_of(*renders.STATES), ahead=INTEGER,
    clip=_or_null(TEXT), why=_or_null(TEXT), diverged_at=_or_null(INTEGER), replayable=FLAG, command=TEXT,
)  # fmt: skip
_CURVE = _object(
    x=TEXT, y=TEXT, window=INTEGER, total=INTEGER, decimated=FLAG, first=_list(INTEGER), count=_list(INTEGER),
    xs=_list(NUMBER), **dict.fromkeys(("mean", "min", "max", "average"), _list(_MAYBE)),
    recorded=_object(
        keys=_list(TEXT), reasons=_list(_or_null(TEXT)), numbers=_list(INTEGER), xs=_list(NUMBER), ys=_list(_MAYBE),
    ),
)  # fmt: skip
_GROUP = _object(
    x=TEXT, y=TEXT, window=INTEGER, interval=NUMBER, runs=INTEGER, xs=_list(NUMBER),
    **dict.fromkeys(("mean", "iqm", "low", "high"), _list(_MAYBE)),
)  # fmt: skip
_STAGE = _object(
    begin=INTEGER, end=INTEGER, first=INTEGER, last=INTEGER, **dict.fromkeys(stages.PICKS, _or_null(_object(
        clip=TEXT, number=INTEGER, num_envs=INTEGER, env_index=INTEGER, episode=INTEGER, return_=_MAYBE, length=INTEGER,
    ))),
)  # fmt: skip
_ESTIMATE = _object(value=NUMBER, low=_MAYBE, high=_MAYBE)
_BAND = _object(**dict.fromkeys(("center", "low", "high"), _list(_MAYBE)))
_COMPARED = _object(
    label=TEXT, runs=INTEGER, iqm=_ref("Estimate"), gap=_or_null(_ref("Estimate")), profile=_ref("Band"),
    efficiency=_ref("Band"),
)  # fmt: skip
_STATISTICS = _object(
    score=TEXT, groups=_list(_COMPARED), pairs=_list(_object(better=TEXT, than=TEXT, probability=_ref("Estimate"))),
    tasks=_list(TEXT), threshold=_MAYBE, thresholds=_list(NUMBER), fractions=_list(NUMBER), confidence=NUMBER,
    warnings=_list(TEXT),
)  # fmt: skip
_FILM = _object(
    clip=TEXT, fps=NUMBER, first_row=INTEGER, frames=INTEGER,
    gaps=_or_null(_list({"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 2})),
)  # fmt: skip
_STEPS = _object(
    stream=TEXT, env_id=TEXT, env_index=INTEGER, envs=_list(INTEGER), film=_or_null(_FILM), rows=INTEGER, found=INTEGER,
    complete=FLAG, why=_or_null(TEXT), bucket=INTEGER, row=_list(INTEGER), time=_list(_MAYBE),
    **dict.fromkeys(("episode", "step", "flags"), _list(_or_null(INTEGER))),
    columns=_list(_object(
        kind=_one_of(*thinning.KINDS), name=TEXT, whole=FLAG, min=_list(_MAYBE), max=_or_null(_list(_MAYBE)),
    )),
    left_out=_list(TEXT),
)  # fmt: skip
_HISTOGRAM = _object(count=INTEGER, sum=NUMBER, buckets=_list(_list(NUMBER)))
_STATS = {**_object(
    pid=INTEGER, version=TEXT, versions={"type": "object", "additionalProperties": TEXT}, started=NUMBER, endpoint=TEXT,
    tcp=_or_null(TEXT), http=_or_null(TEXT), uptime_seconds=NUMBER, clients=INTEGER, streams=INTEGER,
    queue_bytes=INTEGER, queue_limit_bytes=INTEGER, shared_memory_bytes=INTEGER, spool_bytes=INTEGER,
    spool_limit_bytes=INTEGER,
    encode_lag_seconds=NUMBER, encode_seconds=_ref("Histogram"), queue_wait_seconds=_ref("Histogram"),
    frames=_object(offered=INTEGER, encoded=INTEGER, dropped=_DROPPED), episodes=INTEGER,
    steps=_object(dropped=_DROPPED_STEPS), lost=_object(frames=INTEGER, records=INTEGER),
    clips=_object(**dict.fromkeys(_SHOWN, INTEGER)), breaches={"type": "object", "additionalProperties": INTEGER},
    problems=_by(PARTS, TEXT), self_test=_one_of(*SELF_TEST_STATES), unexpected_errors=_by(PARTS, INTEGER),
    recent_errors=_list(TEXT), runs=_list({"type": "object"}),
    sync=_list(_object(folder=TEXT, **_SYNC["properties"])),
    memory=_object(
        daemon_rss_bytes=_or_null(INTEGER),
        clients=_list(_object(pid=INTEGER, host=TEXT, streams=INTEGER, rss_bytes=_or_null(INTEGER))),
    ),
), "additionalProperties": True}  # fmt: skip


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
        "x", _one_of("episode", "step", "time"), "The axis: number of arrival, steps, or seconds since the run began."
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
_POINTS = _query("points", _between(traces.FEWEST_POINTS, traces.MOST_POINTS, traces.USUAL_POINTS), "Most points.")
_SEARCH = {"type": "string", "maxLength": MOST_TEXT}
_CLIP_PARAMS = [
    _query("sort", _one_of("newest", "oldest", "return", "length", "episode"), "The order."),
    _query("order", _one_of("desc", "asc"), "Its direction, for the last three."),
    _query("state", _one_of(*_SHOWN), "Only those in a state."),
    _query("q", _SEARCH, "Only those whose name has this text in it."),
    _query("min_return", NUMBER, "Only those with at least this return."),
    _query("max_return", NUMBER, "Only those with at most this return."),
    _query("min_length", NUMBER, "Only those of at least so many steps."),
    _query("max_length", NUMBER, "Only those of at most so many steps."),
    _query(
        "end",
        _one_of(*filter(None, clip_filters.ENDS)),
        "How the episode ended with which they begin; `unfinished`: it came to no end, as where the env raises.",
    ),
    _query("keep", _SEARCH, "Only those whose `keep_reason` has this text in it."),
    _query("env_index", _between(0, 2**31), "Only those that show a sub-environment."),
    _query("seed", _SEARCH, "Only those whose episode was given this seed."),
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
    asked = ("400", *one)
    of_episode = [*of_run, _query("number", _between(0, queries.MOST_OFFSET), "Its order of arrival.", required=True)]
    paths = {
        "/": _path("The page.", "text/html", TEXT),
        "/r/{id}": _path("The page, at a run.", "text/html", TEXT, [_RUN_PATH]),
        "/r/{id}/e/{number}": _path(
            "The page, at an episode by its order of arrival; `?t=` is a time in its video, in seconds.", "text/html",
            TEXT, [_RUN_PATH, {**_CLIP_PATH, "name": "number", "description": "The episode's number."}],
        ),
        "/r/{id}/c/{key}": _path("The page, at a clip; likewise.", "text/html", TEXT, of_clip),
        "/healthz": _path(
            "The server answers, and the daemon can record; where not, what is down.", "text/plain", TEXT, None, "503"
        ),
        "/readyz": _path("The daemon takes in what clients send.", "text/plain", TEXT, None, "503"),
        "/metrics": _path("Prometheus text, or OpenMetrics for who accepts it.", "text/plain", TEXT),
        "/openapi.json": _json("This description.", {"type": "object"}),
        "/api/stats": _json(
            "The daemon's statistics: frames, clips and episodes since it started, of all runs together; of each of "
            "`runs` its newest session.", _ref("Stats"), None, "404",
        ),
        "/api/events": _path(
            "Server-sent events: `stats` each second (as /api/stats without runs), `run` (a Run) whenever one changed.",
            "text/event-stream", TEXT, None, "503",
        ),
        "/api/group": _json(
            "Several runs as one: interquartile mean with its bootstrap interval over runs.", _ref("Group"),
            [
                _query("ids", TEXT, f"Up to {curves.MOST_RUNS} ids (or `ID@1`) with commas between.", required=True),
                *_CURVE_PARAMS,
                _query("points", _between(1, curves.MOST_GROUP_POINTS, 500), "Most points."),
            ],
            *asked,
        ),
        "/api/statistics": _json(
            "Groups of runs against each other, as `offcam compare` has them (Agarwal et al., NeurIPS 2021).",
            _ref("Statistics"),
            [
                _query(
                    "group", {"type": "array", "items": TEXT, "maxItems": statistics.MOST_GROUPS},
                    f"`NAME:ID,ID,...`, {statistics.FEWEST_GROUPS} times or more; at most {statistics.MOST_RUNS} runs.",
                    required=True,
                ),
                _query("threshold", NUMBER, "The score that is enough, for the optimality gap."),
                _query("last", _between(1, statistics.MOST_LAST, 100), "Episodes behind the score of a run."),
            ],
            *asked, "429",
        ),
        "/api/runs": _json(
            "The runs, or those that are asked for.",
            _object(daemon=FLAG, total=INTEGER, offset=INTEGER, runs=_list(_ref("Run"))),
            [
                _query("query", _SEARCH, "Only those meant by it, such as `env:cartpole return>100 -crashed`."),
                _query("sort", _one_of(*runlist.SORTS), "The order; what has no such number comes last."),
                _query("order", _one_of("asc", "desc"), "Its direction."),
                _query("offset", _between(0, queries.MOST_OFFSET, 0), "Runs to pass over."),
                _query("limit", _between(1, queries.MOST_ROWS, queries.MOST_ROWS), "Most runs."),
            ],
            "400",
        ),
        run: _json("One run, and its streams.", _ref("RunDetail"), of_run, *asked),
        f"{run}/episodes": _json(
            "A page of a run's episodes.", _object(total=INTEGER, offset=INTEGER, episodes=_list(_ref("Episode"))),
            [
                *of_run, *_PAGE,
                _query("sort", _one_of("arrival", "episode", "return", "length", "duration"), "The order."),
                _query("order", _one_of("asc", "desc"), "Its direction."),
                _query("stream", TEXT, "Only those of a stream, by its id."),
                _query("env_index", _between(0, 2**31), "Only those of a sub-environment."),
                _query("seed", _SEARCH, "Only those whose reset was given this seed."),
                _query("min_return", NUMBER, "Only those with at least this return."),
                _query("max_return", NUMBER, "Only those with at most this return."),
                *_VALUE_PARAMS,
                _query("terminated", FLAG, "Only those that did, or did not."),
                _query("truncated", FLAG, "Likewise."),
            ],
            *asked,
        ),
        f"{run}/episodes.csv": _path("All of a run's episodes.", "text/csv", TEXT, of_run, *asked),
        f"{run}/episodes/steps": _json(
            "The steps of an episode as columns, each point the least and the most of `bucket` rows; where its video "
            "shows it, by the second.", _ref("Steps"), [*of_episode, _POINTS], *asked,
        ),
        f"{run}/episodes/render": {
            **_json("What there is of an episode's video.", _ref("Rendering"), of_episode, *asked),
            **_json(
                "Have an episode of a run that is `replayable` rendered where it has no video, one at a time; "
                "GET says what became of it. By the page itself, opened on this host, or with the http_token.",
                _ref("Rendering"), of_episode, *asked, "401", "403", "429", method="post",
            ),
        },
        f"{run}/curve": _json(
            "A run's learning curve: points of `count` episodes from `first` on, and those with a clip.", _ref("Curve"),
            [
                *of_run, *_CURVE_PARAMS,
                _query("points", _between(1, curves.MOST_POINTS, 2000), "Most points."),
                _query("from", NUMBER, "Only from here on, in units of x."),
                _query("to", NUMBER, "Only up to here."),
            ],
            *asked,
        ),
        f"{run}/nearest": _json(
            "An episode, and the clip that shows it or is the nearest to it.", _ref("Nearest"),
            of_episode, *asked,
        ),
        f"{run}/stages": _json(
            "A run in parts of as many episodes each (`begin` up to `end`, by their order in it; with the numbers "
            "`first` to `last`), and of each part the best, the median and the worst episode of those with a clip, by "
            "their returns.", _ref("Stages"),
            [*of_run, _query("count", _between(1, stages.MOST_STAGES, STAGES), "How many, if there are as many.")],
            *asked,
        ),
        f"{run}/clips": _json(
            "A page of a run's clips.", _object(total=INTEGER, offset=INTEGER, clips=_list(_ref("Clip"))),
            [*of_run, *_PAGE, *_CLIP_PARAMS],
            *asked,
        ),
        clip: _json("A clip, and the episodes it shows.", _ref("ClipDetail"), of_clip, *one),
        f"{clip}/neighbours": _json(
            "The keys of the clips before and after one in such a list, of those that can be watched, and its place.",
            _object(before=_or_null(TEXT), after=_or_null(TEXT), place=_or_null(INTEGER), total=INTEGER),
            [*of_clip, _SESSION, *_CLIP_PARAMS],
            *asked,
        ),
        f"{clip}/steps": _json(
            "The steps that a clip's frames show, likewise; of the first sub-environment that it shows.", _ref("Steps"),
            [*of_clip, _POINTS, _query("env_index", _between(0, 2**31), "Of another sub-environment.")], *asked,
        ),
        f"{clip}/video": _path(
            "A clip's file.", "video/mp4", TEXT, [*of_clip, _query("download", FLAG, "To be saved, not shown.")], *asked
        ),
        f"{clip}/poster": _path("A picture out of the middle of a clip.", "image/jpeg", TEXT, of_clip, *one),
    }  # fmt: skip
    part = {"description": "The range that was asked for.", "content": {"video/mp4": {"schema": TEXT}}}
    none = {"description": "The file is shorter than that."}
    paths[f"{clip}/video"]["get"]["responses"] |= {"206": part, "416": none}
    return paths


def description() -> Schema:
    """The whole document. The caller's own."""
    error = {"application/json": {"schema": _ref("Error")}}
    failures = {
        "400": "A value makes no sense; the text says which would.",
        "404": "There is no such thing; the text says what there is.",
        "401": "The http_token is missing, or is another.",
        "403": "Whoever asks may not change anything.",
        "409": "The run's folder cannot be read, or the episode not be rendered; the text says why, and the fix.",
        "429": "Too many wait.",
    }
    responses: Schema = {code: {"description": text, "content": error} for code, text in failures.items()}
    responses["503"] = {"description": "Not now."}
    schemas = {
        "Error": _object(error=TEXT),
        "Numbers": _NUMBERS,
        "Run": _RUN,
        "RunDetail": _object(**_RUN["properties"], stream_list=_list(_ref("Stream"))),
        "Stream": _STREAM,
        "Sync": _SYNC,
        "Episode": _EPISODE,
        "Clip": _CLIP,
        "ClipDetail": _object(**_CLIP["properties"], episodes=_list(_ref("Episode"))),
        "Rendering": _RENDERING,
        "Steps": _STEPS,
        "Curve": _CURVE,
        "Group": _GROUP,
        "Stages": _object(episodes=INTEGER, stages=_list(_STAGE)),
        "Statistics": _STATISTICS,
        "Estimate": _ESTIMATE,
        "Band": _BAND,
        "Nearest": _object(
            episode=_ref("Episode"), clip=_or_null(_ref("Clip")), exact=FLAG, distance=_or_null(INTEGER)
        ),
        "Histogram": _HISTOGRAM,
        "Stats": _STATS,
    }
    token = {"type": "http", "scheme": "bearer", "description": "Where the daemon has an http_token."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "offcam",
            "version": __version__,
            "description": "What a recorder daemon records.",
        },
        "paths": _paths(),
        "components": {"schemas": schemas, "responses": responses, "securitySchemes": {"token": token}},
        "security": [{}, {"token": []}],
    }
