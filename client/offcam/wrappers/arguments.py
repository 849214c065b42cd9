"""Arguments of the wrappers: checked at construction and brought into one form. Each error names its fix.

What Gymnasium's wrappers can work with is accepted. What they would find wrong only during training is an error here: a
ConfigError unless another is named.
"""

from __future__ import annotations

import operator
import os
import re
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from offcam_proto.errors import ConfigError
from offcam_proto.limits import (
    MAX_CLIPS_PER_STREAM,
    MAX_CRF,
    MAX_FRAME_SIDE,
    MAX_INT,
    MAX_NAME_BYTES,
    MAX_RING_SECONDS,
    PRESETS,
)
from offcam_runs.keep.names import read
from offcam_runs.keep.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from offcam.recorder.resuming import IfExists

Folder: TypeAlias = "str | os.PathLike[str]"
Whole: TypeAlias = "int | np.integer[Any]"
Number: TypeAlias = "float | np.integer[Any] | np.floating[Any]"

Source: TypeAlias = Literal["render", "frames", "obs", "replay", "auto"]
"""What a video shows: what the env renders, what the agent observes, or what is rendered when the episode is replayed.

``"auto"`` begins with the first and goes over to the last once both were seen to be equal.
"""

Encode: TypeAlias = Literal["idle", "now"]
"""When videos are encoded: where other programs leave the cores, unless somebody waits for them; or always at once."""

NUMBER_BYTES = len("-episode-") + 19
"""Bytes that a prefix must leave free, so that no name becomes too long during a training."""


def check_single(env: object, wrapper: str) -> None:
    """Require an env for a single env's wrapper. Raises TypeError with Gymnasium's text, and what to use instead."""
    if not isinstance(env, gym.Env):
        fix = f"It is a vector env: use `offcam.vector.{wrapper}`." if isinstance(env, VectorEnv) else instead_of(env)
        raise TypeError(f"Expected env to be a `gymnasium.Env` but got {type(env)}. {fix}")


def check_vector(env: object, wrapper: str) -> None:
    """Require a vector env for a vector wrapper. Raises TypeError as `check_single` does."""
    if not isinstance(env, VectorEnv):
        fix = f"It is a single env: use `offcam.{wrapper}`." if isinstance(env, gym.Env) else instead_of(env)
        raise TypeError(f"Expected env to be a `gymnasium.vector.VectorEnv` but got {type(env)}. {fix}")


def instead_of(env: object) -> str:
    """What to use for something that is not an env of Gymnasium's; other libraries' envs are known by their methods."""
    if isinstance(env, str):
        return f'Make it first: `gymnasium.make({env!r}, render_mode="rgb_array")`.'
    if isinstance(env, type):
        return f'Make one first: `{env.__name__}(render_mode="rgb_array")`.'
    if hasattr(env, "step_async") and hasattr(env, "step_wait") and hasattr(env, "num_envs"):
        return (
            "It looks like a VecEnv of Stable-Baselines3: use "
            "`offcam.integrations.stable_baselines3.record(env, folder)`, or record the envs in it: "
            "`make_vec_env(env_id, wrapper_class=offcam.record, "
            'wrapper_kwargs={"folder": ...}, env_kwargs={"render_mode": "rgb_array"})`.'
        )
    if hasattr(env, "possible_agents"):
        return (
            "It looks like an env of PettingZoo: use `offcam.integrations.pettingzoo.record(env, folder)`, or make a "
            "vector env of a parallel one, as by `supersuit.pettingzoo_env_to_vec_env_v1(env)`, and record that."
        )
    if any(base.__module__.partition(".")[0] == "gym" for base in type(env).__mro__):
        return (
            "It is an env of the old `gym`. Make it through Gymnasium: "
            '`gymnasium.make("GymV26Environment-v0", env_id=...)` of the package shimmy.'
        )
    return 'Give it an env, as `gymnasium.make("CartPole-v1", render_mode="rgb_array")` returns one.'


def folder(given: Folder) -> str:
    """A folder's path as text. Raises TypeError for what is no path, as Gymnasium does."""
    wrong = f"a run's folder must be a path, got {given!r}. Pass `'runs/cartpole'`, say."
    try:
        path = os.fsdecode(given)
    except TypeError as error:  # as Gymnasium's
        raise TypeError(f"{wrong} ({error})") from None
    if "\0" in path:
        raise ConfigError(wrong)
    return path


def trigger(name: str, given: Callable[[int], bool] | Literal[False] | None) -> Callable[[int], bool] | None:
    """A trigger, or None for none; as in Gymnasium, False never records."""
    if given is False:
        return lambda _number: False
    text: object = given
    if isinstance(text, str) and re.fullmatch("every [1-9][0-9]*", text):  # from the JSON of a spec
        return EveryNth(text)
    if given is None or callable(given):
        return given
    of = "episode" if name in ("episode_trigger", "gc_trigger") else "step"
    every = int(given) if isinstance(given, Integral) and given > 1 else 1 if given is True or given == 1 else 100
    fix = f"`{name}=lambda {of}: {of} % {every} == 0`" if every > 1 else f"`{name}=lambda {of}: True`"
    shorter = f", or `offcam.record(env, folder, every={every})`" if name == "episode_trigger" else ""
    raise ConfigError(f"{name} must be a function of the {of}'s number, got {given!r}. Pass {fix}{shorter}.")


def on_video(given: Callable[[str], object] | None) -> Callable[[str], object] | None:
    """The function that is called with each video's path, or None."""
    if given is None or callable(given):
        return given
    raise ConfigError(f"on_video must be a function of a video's path, got {given!r}. Pass `on_video=print`, say.")


class EveryNth(str):
    """The trigger of each n-th episode, which is also the text ``every n``: JSON can hold it, unlike a function."""

    __slots__ = ()

    def __call__(self, episode: int) -> bool:
        """Whether to record an episode, by its number."""
        return episode % int(self.removeprefix("every ")) == 0


def which_episodes(every: Whole | None, given: Callable[[int], bool] | None) -> Callable[[int], bool] | None:
    """The trigger of the episodes to record: each ``every``-th, or the one that is given; None where neither is."""
    if every is None:
        return given
    if given is not None:
        raise ConfigError(
            f"every must be given without episode_trigger, got every={every!r} and {given!r}. Leave one of them out."
        )
    return every_nth(every)


def every_nth(every: Whole) -> Callable[[int], bool]:
    """The trigger of each ``every``-th episode, where ``every`` is a positive integer."""
    if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
        raise ConfigError(
            f"every must be a positive integer, got {every!r}. Pass `every=1` for each episode, `every=100` for each "
            "100th; for none, leave the recording away or set OFFCAM=off."
        )
    return EveryNth(f"every {every}")


def video_length(given: Number) -> float:
    """Most frames of a video, 0 for whole episodes."""
    if isinstance(given, Real) and given >= 0:
        return int(given) if isinstance(given, Integral) else float(given)
    raise ConfigError(
        f"video_length must be a number of frames, got {given!r}. Pass `video_length=300` for videos of 300 frames, "
        "or leave it out (0) for whole episodes."
    )


def fps(given: Number) -> float:
    """Frames per second, from 0.001 to 1000."""
    if isinstance(given, Real) and 0.001 <= given <= 1000:
        return int(given) if isinstance(given, Integral) else float(given)
    raise ConfigError(
        f"fps must be a number from 0.001 to 1000, got {given!r}. Pass `fps=30`, or set the env's "
        "`metadata['render_fps']`."
    )


def every_nth_frame(given: Whole) -> int:
    """Take each n-th frame of a video; 1 for all."""
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool) and given >= 1:
        return int(given)
    raise ConfigError(
        f"every_nth_frame must be a positive integer, got {given!r}. Pass `every_nth_frame=3` for each third frame, or "
        "leave it out (1) for all."
    )


def max_size(given: Sequence[Whole] | None) -> list[int] | None:
    """Largest width and height of a video in pixels, each from 2, as a list; None for no bound."""
    if given is None:
        return None
    try:
        width, height = map(operator.index, given)
        if min(width, height) >= 2 and max(width, height) <= MAX_FRAME_SIDE:
            return [width, height]
    except (TypeError, ValueError):
        pass
    raise ConfigError(
        f"max_size must be (width, height) in pixels, each from 2 to {MAX_FRAME_SIDE}, got {given!r}. Pass "
        "`max_size=(320, 240)`, say, or leave it out for videos as large as the frames."
    )


def crf(given: Whole | None) -> int | None:
    """A constant rate factor; None for the daemon's own."""
    if given is None:
        return None
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool) and 0 <= given <= MAX_CRF:
        return int(given)
    raise ConfigError(
        f"crf must be an integer from 0 (lossless) to {MAX_CRF} (worst), got {given!r}. Pass `crf=28` for smaller "
        "files than by 23, or leave it out for the daemon's."
    )


def preset(given: str | None) -> str | None:
    """An encoder's preset; None for the daemon's own."""
    if given is None or given in PRESETS:
        return given
    raise ConfigError(
        f"preset must be one of {', '.join(PRESETS)}, got {given!r}. Pass `preset='medium'` for smaller files and more "
        "CPU than by 'flat', or leave it out for the daemon's."
    )


def encode(given: Encode) -> Encode:
    """When videos are encoded."""
    if given in get_args(Encode):
        return given
    raise ConfigError(
        f"encode must be 'idle' or 'now', got {given!r}. Pass `encode='now'` for videos as fast as they can be had, or "
        "leave it out ('idle') for a training that has the cores first."
    )


def to_record_less(
    every_nth_frame_: Whole, max_size_: Sequence[Whole] | None, crf_: Whole | None, preset_: str | None
) -> dict[str, Any]:
    """The arguments that make videos cheaper, by their names in a wrapper's signature."""
    return {
        "every_nth_frame": every_nth_frame(every_nth_frame_),
        "max_size": max_size(max_size_),
        "crf": crf(crf_),
        "preset": preset(preset_),
    }


def to_keep(keep: Rule | str | None, keep_bytes: Whole | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by which videos are kept, by their names in a wrapper's signature; ``options`` are the others."""
    if keep is None:
        if keep_bytes is not None:
            raise ConfigError(f"keep_bytes must be given with a rule, got {keep_bytes!r}. Pass `keep=` too.")
        return {}
    if isinstance(keep, str):
        keep = read(keep)
    if not isinstance(keep, Rule):
        raise ConfigError(
            f"keep must be a rule of offcam.keep, got {keep!r}. Pass `keep=offcam.keep.best(3)`, say; a function of "
            "your own goes into `offcam.keep.when(function)`."
        )
    if options["video_length"] != 0 or options["step_trigger"] is not None:
        what = "step_trigger" if options["step_trigger"] is not None else "video_length"
        raise ConfigError(f"keep={keep} judges videos of whole episodes, got {what}={options[what]!r}. Leave that out.")
    if keep_bytes is not None and (
        isinstance(keep_bytes, bool) or not isinstance(keep_bytes, (int, np.integer)) or keep_bytes < 1
    ):
        raise ConfigError(
            f"keep_bytes must be a positive integer, got {keep_bytes!r}. Pass `keep_bytes=10 * 2**30` for 10 GiB, or "
            "leave it out for 4 GiB."
        )
    return {"keep": keep, "keep_bytes": None if keep_bytes is None else int(keep_bytes)}


def of_frames(keep: Rule | None, source: Source = "render") -> None:
    """Raise ConfigError for a rule that cannot judge videos of frames: it keeps some once they are gone."""
    if keep is not None and keep.admits_late:
        auto = " (source='auto' has frames alone until the env was seen to happen again)" if source == "auto" else ""
        raise ConfigError(
            f"keep={str(keep)!r} keeps episodes once a ranking has let them go, and their frames are gone by then"
            f"{auto}: record what any video can be made of later, source='replay', or turn the ranking round (worst "
            "for best), or say within `among=` which episodes it is of."
        )


def replays(source: Source, keep: Rule | None, last_seconds: Number | None) -> bool:
    """Whether videos are of replayed episodes, always or once the replays are seen to be equal."""
    if source != "replay":
        of_frames(keep, source)
    if source not in ("replay", "auto"):
        return False
    if last_seconds is not None:
        raise ConfigError(
            f"last_seconds={last_seconds!r} cannot be had with source={source!r}: nothing is rendered in the loop that "
            "could be held. Leave it out: `offcam render FOLDER --episode N` shows any episode afterwards, up to its "
            "last step. Or record frames: source='frames'."
        )
    return True


def flag(name: str, given: bool) -> bool:
    """A flag: only True or False, as any text would count as true."""
    if isinstance(given, (bool, np.bool_)):
        return bool(given)
    raise ConfigError(f"{name} must be True or False, got {given!r}. Pass `{name}=True`, or leave it out.")


def where_a_run_is(resume: bool, if_exists: IfExists) -> IfExists:
    """What to do if the folder has a run already; ``resume`` is another way to say it."""
    return "resume" if flag("resume", resume) else if_exists


def steps_limit(given: Whole | None, *, steps: bool) -> int | None:
    """Most bytes of a run's steps; None for the daemon's bound."""
    if given is None:
        return None
    if not steps:
        raise ConfigError(f"steps_limit must be given with steps, got {given!r}. Pass `steps=True` too.")
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or not 1 <= given <= MAX_INT:
        raise ConfigError(
            f"steps_limit must be a positive integer, got {given!r}. Pass `steps_limit=2**30` for 1 GiB, or leave it "
            "out for the daemon's bound."
        )
    return int(given)


def to_hold(last_seconds: Number | None, seconds_after: Number, *, per_env: bool = False) -> dict[str, Any]:
    """The arguments for holding the last seconds, by their names in a wrapper's signature."""
    if last_seconds is None:
        if seconds_after != 0:
            raise ConfigError(
                f"seconds_after must be given with last_seconds, got {seconds_after!r}. Pass `last_seconds=30` too."
            )
        return {}
    if not (_is_real(last_seconds) and 0 < last_seconds <= MAX_RING_SECONDS):
        raise ConfigError(
            f"last_seconds must be a number above 0, of at most {MAX_RING_SECONDS}, got {last_seconds!r}. Pass "
            "`last_seconds=30` to hold the last half minute, or leave it out to hold none."
        )
    if not (_is_real(seconds_after) and 0 <= seconds_after <= MAX_RING_SECONDS):
        raise ConfigError(
            f"seconds_after must be a number from 0 to {MAX_RING_SECONDS}, got {seconds_after!r}. Pass "
            "`seconds_after=5`, or leave it out (0) for a video that ends with what it is about."
        )
    if per_env:
        raise ConfigError(
            "last_seconds holds one picture of all sub-environments, got per_env=True. Leave one of them out; "
            "`record_envs=[0]` shows a single one."
        )
    return {"last_seconds": float(last_seconds), "seconds_after": float(seconds_after)}


def _is_real(given: object) -> bool:
    return isinstance(given, Real) and not isinstance(given, bool)


def name(what: str, given: str, *, room: int = 0) -> str:
    """A name that can be part of a file name (no separator, no NUL), and leaves ``room`` bytes for the rest of it."""
    if not isinstance(given, str) or not given:
        raise ConfigError(f"{what} must be text that file names can begin with, got {given!r}. Pass `{what}='eval'`.")
    try:
        size = len(given.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"{what} must be valid Unicode, got {given!r}.") from error
    most = MAX_NAME_BYTES - room
    if size > most or any(char in given for char in "/\\\0") or given in (".", ".."):
        raise ConfigError(
            f"{what} must be a plain file name without '/', '\\' or NUL, of at most {most} bytes, "
            f"got {given[:80]!r}. Put folders into `video_folder` instead."
        )
    return given


def record_envs(
    given: int | Sequence[int] | None, num_envs: int, *, first_only: bool, per_env: bool
) -> tuple[int, ...]:
    """The indices of the sub-environments that a vector env's videos show; empty for all in one picture."""
    if given is None:
        return (0,) if first_only else _of_each(tuple(range(num_envs))) if per_env else ()
    if first_only:
        raise ConfigError(
            f"record_envs must be given without record_first_only, got {given!r}. Leave one of them out: "
            "`record_envs=1` is the same."
        )
    try:
        single = operator.index(given) if isinstance(given, (int, np.integer)) else None
        chosen = tuple(map(operator.index, given)) if single is None else tuple(range(single))  # type: ignore[arg-type]
    except TypeError:
        chosen = ()
    if isinstance(given, bool) or not chosen or len(set(chosen)) < len(chosen) or set(chosen) - set(range(num_envs)):
        raise ConfigError(
            f"record_envs must be different indices of sub-environments, 0 to {num_envs - 1}, or how many of the "
            f"first, got {given!r}. Pass `record_envs=[0, {num_envs - 1}]`, say, or `record_envs={min(4, num_envs)}`."
        )
    return _of_each(chosen) if per_env else chosen


def _of_each(chosen: tuple[int, ...]) -> tuple[int, ...]:
    if len(chosen) > MAX_CLIPS_PER_STREAM:
        raise ConfigError(
            f"per_env makes a video of each sub-environment, at most {MAX_CLIPS_PER_STREAM} at a time, and these are "
            f"{len(chosen)}. Choose some: `record_envs=4`."
        )
    return chosen


def shown(source: Source) -> Source:
    """The source under one name: ``"frames"``, as against replay, are those that the env renders."""
    return "render" if source == "frames" else source


def source(given: Source, env: Any) -> Source:  # noqa: ANN401 - an Env or a VectorEnv
    """What a video shows; if that is the observations, they must be pictures."""
    if given not in get_args(Source):
        raise ConfigError(f"source must be one of {', '.join(map(repr, get_args(Source)))}, got {given!r}.")
    space = getattr(env, "single_observation_space", None) or env.observation_space
    if given == "obs" and not isinstance(space, gym.spaces.Dict) and len(getattr(space, "shape", None) or ()) < 2:
        raise ConfigError(
            f"source='obs' needs an env whose observations are pictures, (height, width) at least, but its space is "
            f'{space}. Leave it out, and make the env with `render_mode="rgb_array"`.'
        )
    return given


def aspect_ratio(given: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a grid, as a ratio; both are positive."""
    try:
        width, height = given
        if width > 0 and height > 0:
            return given
    except (TypeError, ValueError):
        pass
    raise ConfigError(f"video_aspect_ratio must be (width, height), got {given!r}. Pass `video_aspect_ratio=(16, 9)`.")


def buffer_length(given: Whole | None) -> int | None:
    """Length of the queues: None for no bound; as in Gymnasium, 0 keeps none."""
    if given is None:
        return None
    try:
        length = operator.index(given)
    except TypeError:
        length = -1
    if length < 0:
        raise ConfigError(
            f"buffer_length must be a number of episodes, got {given!r}. Pass `buffer_length=100`, or None for all."
        )
    return length
