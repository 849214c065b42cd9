"""SIGKILL of the daemon in the midst of videos: what was in the muxer's hands is in the file, but for one frame.

How many frames that were is counted by the daemon's own process in shared memory, which outlives it; see
`peers/counting_daemon.py`.
"""

from __future__ import annotations

import itertools
import random
import struct
import time
from typing import TYPE_CHECKING

import av
import pytest
from actors import COUNTING_DAEMON

import films
from envs import decode
from offcam_runs.folder_lock import writer_of
from offcam_runs.format import PART_EXTENSION, RECOVERED
from offcam_runs.run import read_run
from offcamd.reports.verify import verify
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

LONG, SHORT = 4000, 25
"""Steps of the agents' episodes, fewer than pictures can number: a video that stays open, and some about to end."""


def counts(folder: Path) -> dict[str, int]:
    """Frames that each video's muxer has taken, by the name of the file that it wrote."""
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        found[path.name] = struct.unpack("<Q", data)[0] if len(data) == 8 else 0
    return found


def strictly_decoded(path: Path) -> list[int]:
    """The numbers in a video's frames, as a decoder finds them that stops at the first damage."""
    found = []
    with av.open(f"file:{path}", options={"err_detect": "explode"}) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode"}
        for frame in container.decode(stream):
            assert not frame.is_corrupt
            found.append(decode(frame.to_ndarray(format="rgb24"), 84, 84))
    return found


def as_it_lies(path: Path) -> list[int]:
    """The numbers in a file that was being written, as a player finds them: up to where it ends, without an error."""
    with av.open(f"file:{path}") as container:
        return [decode(frame.to_ndarray(format="rgb24"), 84, 84) for frame in container.decode(video=0)]


def gaps(numbers: list[int]) -> int:
    """How many numbers are missing between the first and the last; each has to come behind the one before it.

    That may be many: a machine that is slow to start the next daemon takes most of a long episode for it.
    """
    places = [place for place, (before, number) in enumerate(itertools.pairwise([-1, *numbers])) if number <= before]
    assert not places, {place: numbers[max(place - 3, 0) : place + 3] for place in places}
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0


@pytest.mark.parametrize("kills", [pytest.param(2, id="short"), pytest.param(50, id="long", marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_it_costs_at_most_one_frame_that_the_muxer_had(kills, daemons, agents, tmp_path, offcam_command, capsys):
    rng = random.Random(kills)
    folder, taken = tmp_path / "run", tmp_path / "counts"
    taken.mkdir()
    daemons.start(COUNTING_DAEMON, str(taken))
    # Slow agents: what they record while the test looks at one kill's videos is looked at after the next kill.
    agents.start(folder, "--length", str(LONG), "--pause", "0.01", "--overflow", "block")
    agents.start(folder, "--length", str(SHORT), "--pause", "0.04", "--overflow", "block")
    costs, frames, skipped = [], 0, {}
    for kill in range(kills):
        before = sum(counts(taken).values())
        some = rng.randrange(1, 120)
        wait_until(lambda before=before, some=some: sum(counts(taken).values()) >= before + some, "frames are encoded")
        time.sleep(rng.random() / 50)  # a moment that has nothing to do with a frame's end
        daemons.kill()
        handed = counts(taken)
        parts = {folder / name for name in handed if (folder / name).exists()}
        for part in parts:
            if handed[part.name] > 1:  # else there may be none in the file yet
                numbers = as_it_lies(part)
                gaps(numbers)
                assert handed[part.name] - 1 <= len(numbers) <= handed[part.name] + 1
        if kill == kills - 1:
            for process in agents.processes:
                process.kill()
                process.wait()
            done = offcam_command("recover", str(folder))
            assert done.returncode in (0, 3), done
            assert offcam_command("recover", str(folder)).returncode == 1
        else:
            daemons.start(COUNTING_DAEMON, str(taken))
            wait_until(lambda: writer_of(folder), "an agent came back")
            for part in parts:
                wait_until(lambda part=part: not part.exists(), "the video is recovered")
        for name in handed:
            final = folder / name.removesuffix(PART_EXTENSION)
            if final.exists() and not (folder / name).exists():
                numbers = strictly_decoded(final)
                skipped[final.name] = gaps(numbers)
                cost = handed[name] - len(numbers)
                assert cost <= (1 if folder / name in parts else 0), f"{name}: {cost} frames are missing"
                costs += [max(cost, 0)] if folder / name in parts else []
                frames += handed[name]
                (taken / name).unlink()  # or what is looked at grew with every kill
    listing = read_run(folder, "all")
    for name in {clip.name for clip in listing.clips}:  # what found no room, or was lost, is missing in between
        parts = [clip for clip in listing.clips if clip.name == name]
        dropped = sum(sum(clip.dropped.values()) for clip in parts)
        assert sum(skipped.get(str(clip.file), 0) for clip in parts) <= dropped, parts
    assert sum(clip.state == RECOVERED for clip in listing.clips) >= len(costs)
    assert sorted(path.name for path in folder.glob("*.part")) == []
    verdict = verify(folder)
    assert verdict.ok, verdict.problems
    assert not (folder / "offcam.lock").exists()
    films.check(folder)
    with capsys.disabled():
        print(
            f"\n{kills} kills cut {len(costs)} videos short of {sum(costs)} of {frames} "
            f"frames that muxers had taken, at most {max(costs)} each"
        )
