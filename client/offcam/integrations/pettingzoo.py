"""PettingZoo: videos of episodes, and the returns of all agents.

`record` takes a parallel env or an AEC env, and returns one of the same kind::

    from offcam.integrations import pettingzoo as recording

    env = recording.record(pistonball_v6.parallel_env(render_mode="rgb_array"), "runs/pistons", every=10)

A vector env that SuperSuit makes of agents is one of Gymnasium's: `offcam.record` takes it as it is.

It needs the package: ``pip install "offcam[pettingzoo]"``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from offcam import logger
from offcam.integrations.missing import needs
from offcam.integrations.recorded import Recorded, parted, sent
from offcam.recorder import readings
from offcam.wrappers import arguments, shared_stream
from offcam.wrappers.episode_values import MOST_KEYWORDS
from offcam.wrappers.statistics import RecordEpisodeStatistics
from offcam.wrappers.video import RecordVideo
from offcam_proto.errors import ConfigError
from offcam_proto.limits import MAX_VALUE_NAME_BYTES

with needs("pettingzoo", "PettingZoo", "pettingzoo"):
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils.wrappers import BaseParallelWrapper, BaseWrapper

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RecordedAECEnv", "RecordedParallelEnv", "record"]

FOR_ONE_AGENT = ("info_keywords", "steps", "steps_limit")
"""Options of `offcam.record` that have no meaning for envs with many agents."""


def record(
    env: AECEnv | ParallelEnv,
    folder: arguments.Folder | None = None,
    **options: Any,  # noqa: ANN401 - as documented
) -> RecordedAECEnv | RecordedParallelEnv:
    """Record the videos and statistics of an env with many agents into a folder, as `offcam.record` does for one agent.

    An episode is one of the whole env: it ends when all agents have ended, and has one video. Its return is the sum of
    all agents' returns (0 in a zero-sum game). Each of the first 16 agents has its own return as a value
    ``return/AGENT``. The episode's flags are those of the agents that ended last.

    In a parallel env a step is one of all agents. In an AEC env a step is one agent's, and a video has a frame for
    each: where the picture changes only once a round, pass ``every_nth_frame``.

    Args:
        env: a parallel or an AEC env, whose ``render_mode`` must be ``"rgb_array"``.
        folder: as in `offcam.record`.
        options: all others of `offcam.record` for a single env: ``every``, ``keep``, ``sync``... except
            ``info_keywords``, ``steps``, and a ``source`` other than ``"render"``.

    Raises:
        ConfigError: ``env`` is not one of PettingZoo's, or an argument is wrong.
        OffcamError, ValueError: as `offcam.RecordVideo`.
    """
    if not isinstance(env, (AECEnv, ParallelEnv)):
        raise ConfigError(
            f"this is for envs of PettingZoo, got {type(env)}. Use `offcam.record` for one of Gymnasium's."
        )
    given = [name for name in FOR_ONE_AGENT if options.get(name)]
    given += ["source"] * (arguments.shown(options.get("source", "render")) != "render")
    if given:
        raise ConfigError(f"{' and '.join(given)}: for envs with one agent alone. Leave it out for this one.")
    videos, statistics, to = parted(options)
    team = Team(env)
    where = shared_stream.new_folder(team) if folder is None else folder
    recorder = RecordEpisodeStatistics(RecordVideo(team, where, **videos), info_keywords=team.names(), **statistics)
    kind = RecordedAECEnv if isinstance(env, AECEnv) else RecordedParallelEnv
    return sent(kind(recorder, team), to)


class RecordedParallelEnv(Recorded, BaseParallelWrapper):
    """A recorded parallel env, made by `record`.

    Thread: that of the env.

    Attributes:
        env: the env.
        recorder: the `offcam.RecordEpisodeStatistics`, whose ``env`` is the `offcam.RecordVideo`.
    """

    recorder: RecordEpisodeStatistics[Any, Any]

    def __init__(self, recorder: RecordEpisodeStatistics[Any, Any], team: Team) -> None:
        BaseParallelWrapper.__init__(self, team.team)
        self.recorder = recorder
        self._team = team

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - the env's
        """Reset the env, and start a video if this episode is to have one."""
        self.recorder.reset(seed=seed, options=options)
        return self._team.result

    def step(self, actions: Any) -> Any:  # noqa: ANN401 - the env's
        """Step all agents, and record the step."""
        self.recorder.step(actions)
        return self._team.result

    def close(self) -> None:
        """Close the env, end the video, and return when all files are final.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        self.recorder.close()


class RecordedAECEnv(Recorded, BaseWrapper):
    """A recorded AEC env, made by `record`. Attributes and thread are those of `RecordedParallelEnv`."""

    recorder: RecordEpisodeStatistics[Any, Any]

    def __init__(self, recorder: RecordEpisodeStatistics[Any, Any], team: Team) -> None:
        BaseWrapper.__init__(self, team.team)
        self.recorder = recorder
        self._team = team

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Reset the env, and start a video if this episode is to have one."""
        self.recorder.reset(seed=seed, options=options)

    def step(self, action: Any) -> None:  # noqa: ANN401 - the env's
        """Step the agent whose turn it is, and record the step, unless that agent has ended."""
        if self._team.over or self._team.has_ended(self._team.team.agent_selection):
            self._team.team.step(action)
        else:
            self.recorder.step(action)

    def close(self) -> None:
        """See `RecordedParallelEnv.close`."""
        self.recorder.close()


class Team(gym.Env[Any, Any]):
    """All agents of an env as one agent, for offcam's own wrappers: its reward is the sum of theirs.

    Args:
        team: the parallel or AEC env.

    Attributes:
        team: the parallel or AEC env.
        result: what its last reset or step returned.
        over: whether all agents have ended.
    """

    def __init__(self, team: Any) -> None:  # noqa: ANN401 - see above
        self.team = team
        self.render_mode = getattr(team, "render_mode", None)
        self.metadata = dict(team.metadata)
        self.spec = SimpleNamespace(id=str(team.unwrapped))  # type: ignore[assignment]  # no more of a spec is used
        self.observation_space = self.action_space = gym.spaces.Discrete(1)  # not used
        self.result: Any = None
        self.over = False
        self._in_turns = isinstance(team, AECEnv)
        self._returns: dict[str, float] = {}

    def names(self) -> tuple[str, ...]:
        """The names of the agents' returns, for as many agents as an episode can have values."""
        names = [_name(agent) for agent in getattr(self.team, "possible_agents", ())]
        if len(names) > MOST_KEYWORDS:
            logger.warn(
                f"the returns of {MOST_KEYWORDS} of the {len(names)} agents are recorded: {names[0]} and so on."
            )
        return tuple(names[:MOST_KEYWORDS])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[None, dict[str, Any]]:
        """Reset the env."""
        self.result = self.team.reset(seed=seed, options=options)
        self.over = False
        self._returns = {_name(agent): 0.0 for agent in self.team.agents}
        return None, {}

    def step(self, action: Any) -> tuple[None, float, bool, bool, dict[str, Any]]:  # noqa: ANN401 - the env's
        """Step the env: returns the sum of rewards, and at an episode's end each agent's return in ``info``."""
        self.result = self.team.step(action)
        if self._in_turns:
            rewards, terminated, truncated = self.team.rewards, self.team.terminations, self.team.truncations
            self.over = all(map(self.has_ended, self.team.agents))
        else:
            _, rewards, terminated, truncated, _ = self.result
            self.over = not self.team.agents
        reward = self._add(rewards)
        if not self.over:
            return None, reward, False, False, {}
        cut = any(truncated.values())
        return None, reward, any(terminated.values()) or not cut, cut, dict(self._returns)

    def has_ended(self, agent: object) -> bool:
        """Whether an agent of an AEC env has ended: its next step only removes it."""
        return bool(self.team.terminations.get(agent) or self.team.truncations.get(agent))

    def _add(self, rewards: Mapping[Any, Any]) -> float:
        total = 0.0
        for agent, reward in rewards.items():
            name, number = _name(agent), readings.as_float(reward)
            self._returns[name] = self._returns.get(name, 0.0) + number
            total += number
        return total

    def render(self) -> Any:  # noqa: ANN401 - whatever the env renders
        """What the env renders."""
        return self.team.render()

    def close(self) -> None:
        """Close the env."""
        self.team.close()


def _name(agent: object) -> str:
    """The name of an agent's return, cut to the longest that a name may be."""
    printable = "".join(char if char.isprintable() else "?" for char in f"return/{agent}")
    return printable.encode()[:MAX_VALUE_NAME_BYTES].decode(errors="ignore")
