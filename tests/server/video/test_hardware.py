"""Encoders in hardware: the trial and what is done where it fails, with the real libraries."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

from offcam_proto.errors import EncodeError
from offcamd.video import h264, hardware
from offcamd.video.mp4 import VideoWriter
from offcamd.video.probe import probe


@pytest.fixture
def tried(monkeypatch):
    """No trial is remembered."""
    h264.failure_of.cache_clear()
    yield
    h264.failure_of.cache_clear()


def test_what_works_passes_its_trial(tried) -> None:
    assert h264.failure_of(h264.X264) is None


def test_an_encoder_that_is_not_there_fails_it_and_the_reason_is_told(tried) -> None:
    assert "h264_missing" in (h264.failure_of("h264_missing") or "")


@pytest.mark.parametrize("encoder", h264.HARDWARE)
def test_each_encoder_in_hardware_either_works_or_says_why_not(tried, encoder) -> None:
    failure = h264.failure_of(encoder)
    assert failure is None or encoder in failure


@pytest.mark.parametrize(
    ("program", "seconds", "reason"),
    [("import os; os.abort()", 1e6, "ended the process"), ("import time; time.sleep(1e6)", 0.5, "hung")],
    ids=["crashes", "hangs"],
)
def test_a_driver_that_crashes_or_hangs_takes_down_the_trial_alone(
    tried, monkeypatch, tmp_path, program, seconds, reason
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!{sys.executable}\n{program}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setattr(h264, "TRIAL_SECONDS", seconds)
    assert reason in (h264.failure_of("h264_nvenc") or "")


def test_a_file_that_shows_other_pictures_fails_the_trial(tmp_path, monkeypatch) -> None:
    real = VideoWriter.write
    monkeypatch.setattr(VideoWriter, "write", lambda self, planes, pts: real(self, np.full_like(planes, 60), pts))
    with pytest.raises(EncodeError, match="its file shows"):
        hardware.trial(h264.X264, tmp_path)


@pytest.mark.parametrize("asked", [h264.AUTO, "h264_vaapi"])
def test_x264_takes_over_where_no_hardware_works_and_the_log_says_so(monkeypatch, caplog, asked) -> None:
    monkeypatch.setattr(hardware, "failure_of", lambda encoder: f"no driver for {encoder}")
    with caplog.at_level("INFO"):
        assert hardware.writer_factory(asked).func is VideoWriter
    assert "no driver for h264_vaapi" in caplog.text
    assert "videos are encoded by x264" in caplog.text


def test_nothing_is_tried_unasked(monkeypatch) -> None:
    monkeypatch.setattr(hardware, "failure_of", lambda encoder: pytest.fail(f"{encoder} was tried"))
    assert hardware.writer_factory(h264.X264).func is VideoWriter


def test_a_video_that_the_hardware_does_not_take_is_made_by_x264(monkeypatch, tmp_path, caplog) -> None:
    monkeypatch.setattr(hardware, "HARDWARE", ("h264_missing",))
    monkeypatch.setattr(hardware, "failure_of", lambda encoder: None)  # it worked when it was tried
    make = hardware.writer_factory(h264.AUTO)
    for name in ("a.mp4", "b.mp4"):
        writer = make(tmp_path / name, width=64, height=48, fps=Fraction(30), preset="flat", crf=23)
        writer.write(np.full((72, 64), 128, np.uint8), 0)
        writer.close()
        assert probe(tmp_path / name).frames == 1
    assert caplog.text.count("x264 encodes") == 1


@pytest.mark.parametrize("encoder", h264.HARDWARE)
@pytest.mark.parametrize("crf", [0, 23, 51])
def test_options_are_text_and_within_their_scales(encoder, crf) -> None:
    told = h264.options(encoder, "flat", crf)
    assert all(isinstance(value, str) for value in told.values())
    assert "preset" not in told or told["preset"] == "p4"
    assert 118 <= int(told.get("global_quality", 118)) <= 11_800
