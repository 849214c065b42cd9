"""What the daemon shows is what was rendered, whatever way the pixels took; `quality` has the figures of real envs."""

import numpy as np
import pytest
import quality

from offcamd.video.h264 import DEFAULT_PRESET


def scene(count: int = 12) -> list[np.ndarray]:
    """A ball and a bar on flat ground, drawn with edges on odd pixels."""
    frames = []
    for place in range(count):
        frame = np.full((97, 151, 3), (245, 245, 250), np.uint8)
        frame[70:] = (90, 160, 70)
        frame[20:33, 5 + 7 * place : 18 + 7 * place] = (200, 30, 60)
        frame[71 - 3 * place : 75 - 3 * place, 30:121] = (20, 40, 160)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("preset", quality.PRESETS)
def test_each_preset_shows_each_frame_and_its_colours(tmp_path, preset) -> None:
    quality.record(scene(), tmp_path / "a.mp4", preset)
    seen = quality.judged(preset, scene(), tmp_path / "a.mp4")
    assert (seen["frames"], seen["in_place"]) == (12, 1.0)
    assert seen["psnr_db"] > 32
    assert seen["ssim"] > 0.98
    assert seen["flat_worst"] <= (3 if preset == DEFAULT_PRESET else 4)  # the others are as x264 has them


def test_each_layout_gives_the_same_video(tmp_path) -> None:
    films = quality.layouts(scene())
    for name, film in films.items():
        assert all(np.array_equal(a[..., :3], b) for a, b in zip(film, scene(), strict=True))
        quality.record(film, tmp_path / name)
    contents = {name: (tmp_path / name).read_bytes() for name in films}
    assert len(set(contents.values())) == 1, {name: len(content) for name, content in contents.items()}


def test_what_changes_by_a_level_a_frame_is_followed(tmp_path) -> None:
    film = [np.full((64, 64, 3), 20 + place, np.uint8) for place in range(60)]
    quality.record(film, tmp_path / "a.mp4")
    shown = [int(frame[30, 30, 1]) for frame in quality.iter_frames(tmp_path / "a.mp4")]
    assert max(abs(level - 20 - place) for place, level in enumerate(shown)) <= 4


def test_a_video_that_shows_something_else_is_found_out(tmp_path) -> None:
    quality.record(scene(), tmp_path / "a.mp4", DEFAULT_PRESET)
    late = quality.judged("late", [*scene()[1:], scene()[-1]], tmp_path / "a.mp4")
    assert late["in_place"] < 0.2
    brighter = quality.judged("brighter", [np.minimum(frame, 240) + 8 for frame in scene()], tmp_path / "a.mp4")
    assert brighter["flat_worst"] > 4


def test_the_report_has_a_line_for_each_case() -> None:
    rows = list(quality.measure_all(5, ["CartPole-v1"]))
    assert all(row["frames"] == row["expected"] for row in rows)
    lines = quality.text(rows)
    assert all(any(line.startswith(row["case"]) for line in lines) for row in rows)
