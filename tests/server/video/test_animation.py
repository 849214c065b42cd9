from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from offcam_proto.errors import EncodeError
from offcamd.video.animation import animate
from offcamd.video.probe import DecodedPicture
from waiting import HANG_SECONDS


def coloured(times):
    """Pictures of two flat colours each, of which there are few enough for a GIF."""
    for at in times:
        rgb = np.zeros((40, 60, 3), np.uint8)
        rgb[:, :30], rgb[:, 30:] = (250, at, 30), (20, 200, 2 * at)
        yield DecodedPicture(at, rgb)


def played(path):
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append((np.asarray(image.convert("RGB")), image.info["duration"]))
    return found


@pytest.mark.parametrize(("kind", "levels"), [(".gif", 4), (".webp", 12)])
def test_colours_and_times_are_kept(tmp_path, kind, levels):
    times, path = [0, 12, 50, 63, 80, 120], tmp_path / f"a{kind}"
    animate(lambda: coloured(times), path, Fraction(25), width=60, height=40, frames=130)
    shown = played(path)
    for (rgb, _), given in zip(shown, coloured(times), strict=True):
        assert np.abs(rgb.astype(int) - given.rgb).mean() <= levels
    assert [ms for _, ms in shown][:5] == [480, 1520, 520, 680, 1600]
    if kind == ".gif":  # of a WebP the last is shown as long as its encoder has it
        assert shown[-1][1] == 400


def test_of_no_picture_there_is_no_animation(tmp_path):
    with pytest.raises(EncodeError, match=r"a\.gif"):
        animate(lambda: iter(()), tmp_path / "a.gif", Fraction(25), width=60, height=40, frames=1)


MEMORY = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from offcamd.video.animation import animate
from offcamd.video.probe import DecodedPicture

def pictures(count):
    rgb = np.zeros((480, 640, 3), np.uint8)
    for at in range(count):
        rgb[:, at] = 255
        yield DecodedPicture(at, rgb)

def most(count):
    animate(lambda: pictures(count), Path(sys.argv[1]), Fraction(25), width=640, height=480, frames=count)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

few = most(10)
print(most(200) - few)
"""


@pytest.mark.parametrize("kind", [".gif", ".webp"])
def test_few_pictures_are_in_memory_at_a_time(tmp_path, kind):
    """Of 200 pictures of 0.9 MB; what is allowed is a fifteenth of them."""
    command = [sys.executable, "-c", MEMORY, str(tmp_path / f"a{kind}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANG_SECONDS)
    assert int(done.stdout) < 12_000
