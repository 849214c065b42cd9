"""What is said to whoever trains: as it is, where they look for it, and in their colours."""

from __future__ import annotations

import inspect
import warnings

import gymnasium as gym
import pytest

import offcam
from envs import Barcode, play
from offcam import logger

TEXT = "the disk of /runs/100%d done%, {x} is full"


def warned(text: str = TEXT) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logger.warn(text)
    return caught


@pytest.mark.parametrize("value", ["", "1"])
def test_a_text_is_taken_as_it_is(monkeypatch, value):
    monkeypatch.setenv("NO_COLOR", value)
    (warning,) = warned()
    assert str(warning.message) == (f"WARN: {TEXT}" if value else gym.utils.colorize(f"WARN: {TEXT}", "yellow"))
    assert warning.category is UserWarning


@pytest.mark.parametrize("value", ["", "1"])
def test_gymnasiums_level_holds(monkeypatch, value):
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr("gymnasium.logger.min_level", 40)
    assert warned() == []


@pytest.mark.usefixtures("embedded")
def test_a_folder_with_a_percent_sign_ends_no_training(tmp_path):
    folder = tmp_path / "lr=10%d of 100%"
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            line = inspect.currentframe().f_lineno + 1
            env = offcam.RecordVideo(Barcode(3), folder, episode_trigger=lambda _: True)
        play(env)
        env.close()
    assert {str(folder) in str(warning.message) for warning in caught} == {True}
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, line)}
