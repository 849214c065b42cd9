"""Which runs are compared, and by which scores."""

from __future__ import annotations

import math

import pytest

import offcam
import runs
from offcam_runs.analysis import interquartile_mean


def seeds(folder, scores, **more):
    for number, score in enumerate(scores):
        runs.write(folder / f"seed{number}", [0.0] * 10 + [score] * 10, lengths=[10] * 20, **more)
    return offcam.load([f"{folder}/seed*"])


def test_scores_are_those_of_show_and_steps_are_shares_of_what_all_have(tmp_path):
    ppo = seeds(tmp_path / "ppo", [1.0, 2, 3, 4, 50])
    seeds(tmp_path / "dqn", [2.0, 2, 2, 2, 2])
    runs.write(tmp_path / "dqn" / "seed0", [2.0] * 20, lengths=[10] * 20, stream=b"t" * 16, session=2)  # goes on
    found = offcam.compare({"ppo": ppo, "dqn": offcam.load([f"{tmp_path}/dqn/seed*"], session="all")}, episodes=10)
    group = found.groups[0]
    assert group.iqm.value == pytest.approx(interquartile_mean(ppo.scores(10)))
    assert group.iqm[1:] == pytest.approx(ppo.summary(episodes=10).iqm_interval)
    assert found.fractions == (0.1, 0.25, 0.5, 0.75, 1.0)
    assert group.efficiency.center == pytest.approx([0, 0, 0, 1.5, 3])  # 5 of the 10 episodes had the score
    assert found.warnings == ()
    assert found.pairs[0].probability.value == pytest.approx((0 * 5 + 0.5 * 5 + 1 * 15) / 25)


def test_envs_that_not_all_have_are_left_out_and_others_are_scaled(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    groups = {
        label: [
            *seeds(folder / "cart", scores, env_id="Cart-v0"),
            *seeds(folder / "pole", [10 * score for score in scores], env_id="Pole-v0"),
        ]
        for label, folder, scores in (("one", one, [1.0, 2, 3]), ("other", other, [2.0, 3, 4]))
    }
    groups["one"] += [*seeds(one / "more", [9.0], env_id="More-v0")]
    scales = {"Cart-v0": (0.0, 10.0), "Pole-v0": (0.0, 100.0)}
    found = offcam.compare(groups, episodes=10, scales=scales, threshold=1)
    assert sorted(found.tasks) == ["Cart-v0", "Pole-v0"]
    assert [group.runs for group in found.groups] == [6, 6]
    assert found.groups[0].iqm.value == pytest.approx(0.2)
    assert found.groups[1].gap.value == pytest.approx(0.7)
    assert found.groups[1].efficiency.center[-1] == pytest.approx(0.3)
    assert found.warnings == (f"{one / 'more' / 'seed0'} is left out: not every group has a run of its env",)
    assert offcam.compare(groups, episodes=10, scales={"Cart-v0": (0, 1)}).warnings[-1] == (
        "returns of Pole-v0 are taken as they are beside those of other envs: give each a scale"
    )


def test_a_scale_begins_anywhere_and_one_of_no_env_is_said(tmp_path):
    groups = {name: seeds(tmp_path / name, scores) for name, scores in (("a", [1.0, 2, 3]), ("b", [2.0, 3, 4]))}
    found = offcam.compare(groups, episodes=10, scales={"CartPole-v1": (1, 3), "CartPole-v0": (0, 1)})
    assert [group.iqm.value for group in found.groups] == [0.5, 1.0]
    assert found.warnings[-1] == "a scale is given of CartPole-v0, which is not compared: there are CartPole-v1"


def test_a_run_without_a_return_is_left_out(tmp_path):
    ppo = [*seeds(tmp_path / "ppo", [1.0, 2]), offcam.load(runs.write(tmp_path / "nan", [math.nan]))]
    found = offcam.compare({"ppo": ppo, "dqn": offcam.load(runs.write(tmp_path / "dqn", [3.0]))})
    assert [group.runs for group in found.groups] == [2, 1]
    assert f"{tmp_path / 'nan'} is left out: it has no return yet" in found.warnings


def test_what_cannot_be_compared(tmp_path):
    one, other = offcam.load(runs.write(tmp_path / "one", [1.0])), offcam.load(runs.write(tmp_path / "two", []))
    pole = offcam.load(runs.write(tmp_path / "pole", [1.0], env_id="Pole-v0"))
    for groups, why in (
        ({"one": one}, "at least two groups of runs, got 1"),
        ({"one": one, "two": other}, "no run of two has an episode"),
        ({"one": one, "pole": pole}, "one is of CartPole-v1; pole is of Pole-v0"),
    ):
        with pytest.raises(offcam.ConfigError, match=why):
            offcam.compare(groups)
    with pytest.raises(offcam.ConfigError, match="the scale of CartPole-v1"):
        offcam.compare({"one": one, "again": one}, scales={"CartPole-v1": (1, 1)})
