"""The shapes of what this API answers, as JSON schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offcam_runs.filmed import PICKS
from offcam_runs.format import CLIP_STATES, DROP_REASONS, HIDDEN_STATES, STEP_DROP_REASONS, STREAM_STATES
from offcam_runs.run_state import RUN_STATES
from offcamd.process.health import PARTS, SELF_TEST_STATES
from offcamd.web import renders, sparklines, thinning

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, Any]

INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}


def or_null(schema: Schema) -> Schema:
    """The schema of a value that has this schema, or is null."""
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(**properties: Schema) -> Schema:
    """The schema of an object that always has all of these properties, and no others."""
    names = {name.rstrip("_"): schema for name, schema in properties.items()}
    return {"type": "object", "properties": names, "required": list(names), "additionalProperties": False}


def list_of(items: Schema) -> Schema:
    """The schema of a list of such items."""
    return {"type": "array", "items": items}


def reference(name: str) -> Schema:
    """A reference to one of `answers` by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*values: str) -> Schema:
    """The schema of a text that is one of these."""
    return {"type": "string", "enum": list(values)}


def _by(names: Iterable[str], schema: Schema) -> Schema:
    """The schema of an object with some of these names, each with such a value."""
    return {"type": "object", "propertyNames": {"enum": list(names)}, "additionalProperties": schema}


_MAYBE = or_null(NUMBER)
ID = {"type": "string", "pattern": "^[0-9a-f]{12}(@([0-9]+|all))?$"}
_NUMBERS = object_of(mean=_MAYBE, std=_MAYBE, min=_MAYBE, max=_MAYBE, last100_mean=_MAYBE)
_INFO: Schema = {"type": "object", "additionalProperties": _MAYBE}
SHOWN_STATES = tuple(state for state in CLIP_STATES if state not in HIDDEN_STATES)
_DROPPED = _by(DROP_REASONS, INTEGER)
_DROPPED_STEPS = _by(STEP_DROP_REASONS, INTEGER)

_RUN = object_of(
    id=ID,
    folder=TEXT,
    name=TEXT,
    title=TEXT,
    live=FLAG,
    plain=FLAG,
    problem=or_null(TEXT),
    env_id=or_null(TEXT),
    num_envs=INTEGER,
    streams=INTEGER,
    session=or_null(INTEGER),
    sessions=list_of(INTEGER),
    episodes=INTEGER,
    steps=INTEGER,
    steps_per_second=_MAYBE,
    started=_MAYBE,
    updated=_MAYBE,
    return_=reference("Numbers"),
    length=reference("Numbers"),
    values=list_of(TEXT),
    success_rate=_MAYBE,
    success_rule=or_null(TEXT),
    success_why=or_null(TEXT),
    clips=object_of(**dict.fromkeys(SHOWN_STATES, INTEGER)),
    dropped=_DROPPED,
    dropped_steps=_DROPPED_STEPS,
    replayable=FLAG,
    state=one_of(*RUN_STATES),
    sparkline={**list_of(_MAYBE), "maxItems": sparklines.MOST_POINTS},
    newest_clip=or_null(object_of(key=TEXT, episode=INTEGER, return_=_MAYBE)),
    recording_clip=or_null(TEXT),
    sync=list_of(reference("Sync")),
)
_SYNC = object_of(
    tracker=TEXT,
    where=TEXT,
    session=INTEGER,
    sent_episodes=INTEGER,
    sent_clips=INTEGER,
    behind_episodes=INTEGER,
    behind_clips=INTEGER,
    lag_seconds=NUMBER,
    failures=INTEGER,
    error=TEXT,
    error_at=_MAYBE,
    folder_bytes=INTEGER,
    folder_limit=INTEGER,
    evicted_clips=INTEGER,
    evicted_bytes=INTEGER,
    evicted_steps=INTEGER,
    over=FLAG,
    working=FLAG,
)
_STREAM = object_of(
    stream=TEXT,
    session=INTEGER,
    env_id=TEXT,
    num_envs=INTEGER,
    prefix=TEXT,
    pid=INTEGER,
    host=TEXT,
    client=TEXT,
    started=_MAYBE,
    ended=_MAYBE,
    state=one_of(*STREAM_STATES),
    episodes=INTEGER,
    steps=INTEGER,
)
_EPISODE = object_of(
    number=INTEGER,
    stream=TEXT,
    session=INTEGER,
    env_index=INTEGER,
    episode=INTEGER,
    return_=_MAYBE,
    length=INTEGER,
    duration_seconds=_MAYBE,
    started=_MAYBE,
    terminated=FLAG,
    truncated=FLAG,
    seed=or_null({"type": ["integer", "string"]}),
    info=_INFO,
    num_envs=INTEGER,
    clip=or_null(TEXT),
    whole=FLAG,
)
_CLIP = object_of(
    key=TEXT,
    stream=TEXT,
    name=TEXT,
    part=INTEGER,
    file=or_null(TEXT),
    place=or_null(TEXT),
    state=one_of(*SHOWN_STATES),
    frames=INTEGER,
    fps=_MAYBE,
    width=or_null(INTEGER),
    height=or_null(INTEGER),
    duration_seconds=_MAYBE,
    number=or_null(INTEGER),
    terminated=or_null(FLAG),
    truncated=or_null(FLAG),
    unfinished=FLAG,
    seed=or_null({"type": ["integer", "string"]}),
    num_envs=INTEGER,
    env_index=INTEGER,
    episode=INTEGER,
    envs=list_of(INTEGER),
    grid=or_null(list_of(INTEGER)),
    step=INTEGER,
    return_=_MAYBE,
    length=or_null(INTEGER),
    dropped=_DROPPED,
    partial=FLAG,
    keep_reason=or_null(TEXT),
    verified=or_null(FLAG),
    diverged_at=or_null(INTEGER),
    diverged_why=or_null(TEXT),
    unended=TEXT,
    info=_INFO,
    started=_MAYBE,
    file_bytes=or_null(INTEGER),
    evicted=or_null(TEXT),
    error=or_null(TEXT),
    video=or_null(TEXT),
    poster=or_null(TEXT),
    live=or_null(TEXT),
    pin=or_null(object_of(note=TEXT, at=NUMBER)),
)
_RENDERING = object_of(
    number=INTEGER,
    episode=INTEGER,
    env_index=INTEGER,
    stream=TEXT,
    state=one_of(*renders.STATES),
    ahead=INTEGER,
    percent=or_null(INTEGER),
    clip=or_null(TEXT),
    why=or_null(TEXT),
    diverged_at=or_null(INTEGER),
    replayable=FLAG,
    command=TEXT,
)
_CURVE = object_of(
    x=TEXT,
    y=TEXT,
    window=INTEGER,
    total=INTEGER,
    decimated=FLAG,
    first=list_of(INTEGER),
    count=list_of(INTEGER),
    xs=list_of(NUMBER),
    **dict.fromkeys(("mean", "min", "max", "average"), list_of(_MAYBE)),
    recorded=object_of(
        keys=list_of(TEXT),
        reasons=list_of(or_null(TEXT)),
        pinned=list_of(FLAG),
        numbers=list_of(INTEGER),
        xs=list_of(NUMBER),
        ys=list_of(_MAYBE),
    ),
)
_GROUP = object_of(
    x=TEXT,
    y=TEXT,
    window=INTEGER,
    interval=NUMBER,
    runs=INTEGER,
    xs=list_of(NUMBER),
    **dict.fromkeys(("mean", "iqm", "low", "high"), list_of(_MAYBE)),
)
_STAGE = object_of(
    begin=INTEGER,
    end=INTEGER,
    first=INTEGER,
    last=INTEGER,
    **dict.fromkeys(
        PICKS,
        or_null(
            object_of(
                clip=TEXT,
                number=INTEGER,
                num_envs=INTEGER,
                env_index=INTEGER,
                episode=INTEGER,
                return_=_MAYBE,
                length=INTEGER,
            )
        ),
    ),
)
_ESTIMATE = object_of(value=NUMBER, low=_MAYBE, high=_MAYBE)
_BAND = object_of(**dict.fromkeys(("center", "low", "high"), list_of(_MAYBE)))
_COMPARED = object_of(
    label=TEXT,
    runs=INTEGER,
    iqm=reference("Estimate"),
    gap=or_null(reference("Estimate")),
    profile=reference("Band"),
    efficiency=reference("Band"),
)
_STATISTICS = object_of(
    score=TEXT,
    groups=list_of(_COMPARED),
    pairs=list_of(object_of(better=TEXT, than=TEXT, probability=reference("Estimate"))),
    tasks=list_of(TEXT),
    threshold=_MAYBE,
    thresholds=list_of(NUMBER),
    fractions=list_of(NUMBER),
    confidence=NUMBER,
    warnings=list_of(TEXT),
)
_FILM = object_of(
    clip=TEXT,
    fps=NUMBER,
    first_row=INTEGER,
    frames=INTEGER,
    gaps=or_null(list_of({"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 2})),
)
_STEPS = object_of(
    stream=TEXT,
    env_id=TEXT,
    env_index=INTEGER,
    envs=list_of(INTEGER),
    film=or_null(_FILM),
    rows=INTEGER,
    found=INTEGER,
    complete=FLAG,
    why=or_null(TEXT),
    bucket=INTEGER,
    row=list_of(INTEGER),
    time=list_of(_MAYBE),
    **dict.fromkeys(("episode", "step", "flags"), list_of(or_null(INTEGER))),
    columns=list_of(
        object_of(
            kind=one_of(*thinning.KINDS),
            name=TEXT,
            whole=FLAG,
            min=list_of(_MAYBE),
            max=or_null(list_of(_MAYBE)),
        )
    ),
    left_out=list_of(TEXT),
)
_HISTOGRAM = object_of(count=INTEGER, sum=NUMBER, buckets=list_of(list_of(NUMBER)))
_STATS = {
    **object_of(
        pid=INTEGER,
        version=TEXT,
        versions={"type": "object", "additionalProperties": TEXT},
        started=NUMBER,
        endpoint=TEXT,
        tcp=or_null(TEXT),
        http=or_null(TEXT),
        uptime_seconds=NUMBER,
        clients=INTEGER,
        streams=INTEGER,
        queue_bytes=INTEGER,
        queue_limit_bytes=INTEGER,
        shared_memory_bytes=INTEGER,
        spool_bytes=INTEGER,
        spool_limit_bytes=INTEGER,
        encode_lag_seconds=NUMBER,
        encoders=object_of(pids=list_of(INTEGER), give_way=FLAG),
        encode_seconds=reference("Histogram"),
        queue_wait_seconds=reference("Histogram"),
        frames=object_of(offered=INTEGER, encoded=INTEGER, dropped=_DROPPED),
        episodes=INTEGER,
        steps=object_of(dropped=_DROPPED_STEPS),
        lost=object_of(frames=INTEGER, records=INTEGER),
        clips=object_of(**dict.fromkeys(SHOWN_STATES, INTEGER)),
        breaches={"type": "object", "additionalProperties": INTEGER},
        problems=_by(PARTS, TEXT),
        self_test=one_of(*SELF_TEST_STATES),
        unexpected_errors=_by(PARTS, INTEGER),
        recent_errors=list_of(TEXT),
        runs=list_of({"type": "object"}),
        sync=list_of(object_of(folder=TEXT, **_SYNC["properties"])),
        memory=object_of(
            daemon_rss_bytes=or_null(INTEGER),
            clients=list_of(object_of(pid=INTEGER, host=TEXT, streams=INTEGER, rss_bytes=or_null(INTEGER))),
        ),
    ),
    "additionalProperties": True,
}


def answers() -> dict[str, Schema]:
    """The schemas of the API's answers by their names in the OpenAPI document, made anew for each caller."""
    return {
        "Error": object_of(error=TEXT),
        "Numbers": _NUMBERS,
        "Run": _RUN,
        "RunDetail": object_of(**_RUN["properties"], stream_list=list_of(reference("Stream"))),
        "Stream": _STREAM,
        "Sync": _SYNC,
        "Episode": _EPISODE,
        "Clip": _CLIP,
        "ClipDetail": object_of(**_CLIP["properties"], parts=list_of(TEXT), episodes=list_of(reference("Episode"))),
        "Rendering": _RENDERING,
        "Steps": _STEPS,
        "Curve": _CURVE,
        "Group": _GROUP,
        "Stages": object_of(episodes=INTEGER, stages=list_of(_STAGE)),
        "Statistics": _STATISTICS,
        "Estimate": _ESTIMATE,
        "Band": _BAND,
        "Nearest": object_of(
            episode=reference("Episode"), clip=or_null(reference("Clip")), exact=FLAG, distance=or_null(INTEGER)
        ),
        "Histogram": _HISTOGRAM,
        "Stats": _STATS,
    }
