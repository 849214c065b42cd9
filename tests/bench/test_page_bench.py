"""The page shows a long run soon enough. In the long tests: what else runs on the machine counts here."""

import os
import shutil

import pytest
from page import measure

FIRST_PAINT_SECONDS = 2.0


@pytest.mark.slow
def test_a_run_of_200_000_episodes_and_2_000_clips_is_on_the_screen_soon(tmp_path):
    if not os.environ.get("CI"):
        pytest.importorskip("playwright.sync_api")
        if shutil.which("chromium") is None:
            pytest.skip("there is no Chromium here: apt-get install chromium")
    found = measure(tmp_path)
    print(found)
    assert found["curve"] < FIRST_PAINT_SECONDS * 1000
    assert found["poster"] < FIRST_PAINT_SECONDS * 1000
