"""What the page says of clips: of a vector env's, of short ones, and with how few keys the first is reached."""

from __future__ import annotations

import re

import pytest
from gymnasium.vector import SyncVectorEnv
from stage import SIDE, Painted, playwright

import offcam
from commandline import WAIT_SECONDS

expect = playwright().expect


@pytest.fixture(autouse=True)
def _patience():
    expect.set_options(timeout=WAIT_SECONDS * 1000)


def test_each_mark_of_a_vector_env_plays_with_the_return_that_was_hovered(daemon, view, visit, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", daemon.address)
    lengths = (9, 5, 7)  # an episode's return is its length
    envs = SyncVectorEnv([lambda length=length: Painted(length) for length in lengths])
    env = offcam.record(envs, str(tmp_path / "vector"), every=1)
    env.reset()
    for _ in range(30):
        env.step([0, 0, 0])
    env.close()

    seen = visit(view(tmp_path / "vector"))
    page = seen.page
    plot = page.locator(".plot")
    for place in range(1, 6):
        plot.focus()
        page.keyboard.press("Home")
        for _ in range(place):
            page.keyboard.press("ArrowRight")
        expect(page.locator(".readout .hint")).to_have_text(f"▶ video of #{place}")
        hovered = page.locator(".readout b").inner_text()
        page.keyboard.press("Enter")
        title = page.locator("#player h2")
        expect(title).to_have_text(re.compile(rf"^#{place} · env \d · episode \d · vector$"))
        env_index = int(re.search(r"env (\d)", title.inner_text())[1])
        assert hovered == str(lengths[env_index])
        expect(page.locator("#player dl")).to_contain_text(f"Return{hovered}Length{hovered} steps")
        page.locator("#player .outline").wait_for()
        outline, video = (page.locator(f"#player {name}").bounding_box() for name in (".outline", "video"))
        width, height = page.locator("#player video").evaluate("video => [video.videoWidth, video.videoHeight]")
        scale = min(video["width"] / width, video["height"] / height)
        left = outline["x"] - video["x"] - (video["width"] - width * scale) / 2
        top = outline["y"] - video["y"] - (video["height"] - height * scale) / 2
        tile = top / scale / SIDE * (width // (2 * SIDE)) + left / scale / (2 * SIDE)  # they stand row by row
        assert tile == pytest.approx(env_index, abs=0.05)
        seen.shot(f"vector-{place}")
        page.keyboard.press("Escape")
