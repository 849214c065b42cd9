"""The scripts of client/examples: each is run, README shows what is in the files, and names them all."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import test_guide
from scipy.stats import trim_mean
from test_guide import PATIENT, run

import commandline
import films
from made import make_video
from object_runs import grow
from offcam_runs.format import INDEX_NAME
from waiting import HANG_SECONDS, wait_until

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.name: path for path in (ROOT / "client" / "examples").glob("*.py")}
README = (ROOT / "README.md").read_text("utf-8")
SHOWN = re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def printed(name: str, daemon, folder: Path) -> str:
    return run(EXAMPLES[name].read_text("utf-8"), daemon, folder).stdout


def test_a_training_and_what_is_read_of_it(tmp_path, daemon):
    assert printed("record_training.py", daemon, tmp_path) == ""
    folder = tmp_path / "runs" / "cartpole"
    films.check(folder)
    assert films.videos(folder) == sorted(f"rl-video-episode-{episode}.mp4" for episode in range(0, 1000, 100))
    returns = [episode.return_ for episode in films.episodes(folder)]
    assert len(returns) == 1000
    mean, iqm = map(float, printed("read_runs.py", daemon, tmp_path).split())
    assert mean == pytest.approx(sum(returns[-100:]) / 100)
    assert iqm == pytest.approx(trim_mean(returns[-100:], 0.25))


def test_vector_envs(tmp_path, daemon):
    said = printed("vector_envs.py", daemon, tmp_path)
    folder = tmp_path / "runs" / "vector"
    films.check(folder)
    assert films.videos(folder)
    episodes = films.episodes(folder)
    assert {episode.env_index for episode in episodes} == {0, 1, 2, 3}
    assert said == f"{len(episodes)} episodes\n"


def test_an_env_of_ones_own(tmp_path, daemon):
    said = printed("custom_env.py", daemon, tmp_path)
    folder = tmp_path / "runs" / "walk"
    films.check(folder)
    assert films.videos(folder) == sorted(f"rl-video-episode-{episode}.mp4" for episode in range(0, 40, 10))
    arrived = sum(episode.terminated for episode in films.episodes(folder))
    assert 0 < arrived < 40
    assert said == f"{arrived} of 40 arrived\n"


def test_a_simulator_of_many_envs(tmp_path, daemon):
    said = printed("vector_simulator.py", daemon, tmp_path)
    folder = tmp_path / "runs" / "balls"
    films.check(folder)
    assert all(clip.envs == (0, 1, 2, 3) for clip in films.clips(folder).values())
    assert len(films.videos(folder)) > 1
    episodes = films.episodes(folder)
    assert {episode.env_index for episode in episodes} == set(range(256))
    assert all(episode.return_ == episode.length for episode in episodes)
    assert said == f"{len(episodes)} episodes of 256 balls\n"


def test_rules_and_replay(tmp_path, daemon):
    said = printed("replay_and_keep.py", daemon, tmp_path)
    kept, replayable = tmp_path / "runs" / "kept", tmp_path / "runs" / "replayable"
    films.check(kept)
    returns = sorted(episode.return_ for episode in films.episodes(kept))
    assert sorted(clip.return_ for clip in films.clips(kept).values()) == [returns[0], *returns[-2:]]
    assert said.count("kept by best(2)") == 2
    assert said.count("kept by worst(1)") == 1
    assert films.videos(replayable) == []
    done = commandline.run("render", str(replayable), "--best", "1", env=daemon.environment)
    assert done.returncode == 0, done.stderr
    films.check(replayable)
    (clip,) = films.clips(replayable).values()
    assert clip.return_ == max(episode.return_ for episode in films.episodes(replayable))


def install(name: str, folder: Path) -> None:
    """Make a folder with an example as a package that its docstring's lines of ``pyproject.toml`` describe."""
    text = EXAMPLES[name].read_text("utf-8")
    (described,) = re.findall(r"^    (\[project\.entry-points.*\n    .*)$", text, re.MULTILINE)
    info = folder / "own-1.dist-info"
    info.mkdir(parents=True)
    (folder / name).write_text(text, "utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    groups = tomllib.loads("\n".join(map(str.strip, described.splitlines())))["project"]["entry-points"]
    lines = [f"[{group}]\n{point} = {place}\n" for group, points in groups.items() for point, place in points.items()]
    (info / "entry_points.txt").write_text("".join(lines))


def test_a_tracker_of_ones_own(tmp_path, daemon):
    """What a process that was killed had written behind its last batch is not there twice."""
    assert printed("own_tracker.py", daemon, tmp_path) == ""
    install("own_tracker.py", tmp_path / "package")
    paths = os.pathsep.join([str(tmp_path / "package"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    there, video = tmp_path / "sent", make_video(tmp_path / "video.mp4")
    for first, count in ((0, 3), (3, 2)):
        run = grow(tmp_path / "run", first, count, video, over=False)
        done = commandline.run(
            "sync", str(run), "--to", "csv:folder=sent", env={**daemon.environment, "PYTHONPATH": paths}, cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{there}: {first + count} episodes and {first + count} videos\n"
        episodes = [(episode.episode, episode.return_, episode.length) for episode in films.episodes(run)]
        with (there / "episodes.csv").open("r+", newline="") as file:
            rows = [(int(number), float(return_), int(length)) for number, return_, length in csv.reader(file)]
            file.write("7,half of a l")
        assert rows == episodes
        assert films.videos(there) == films.videos(run)
        assert len(films.videos(there)) == first + count


def stop_in_the_midst(name: str, environment: dict[str, str], tmp_path: Path) -> int:
    """Tell an example's training to leave, as schedulers do; returns how many episodes its run has then."""
    folder = tmp_path / "runs" / "job"
    script = EXAMPLES[name].read_text("utf-8")
    slow = "import time\n" + script.replace("    over = False\n", "    over = time.sleep(0.02)\n")
    with subprocess.Popen([sys.executable, "-c", PATIENT + slow], env=environment, cwd=tmp_path) as process:
        wait_until(lambda: (folder / INDEX_NAME).exists() and len(films.episodes(folder)) > 5, "a few episodes")
        process.terminate()
        assert process.wait(HANG_SECONDS) == -signal.SIGTERM
    before = len(films.episodes(folder))
    assert 5 < before < 200
    return before


def test_a_job_that_is_preempted(tmp_path, daemon):
    """It is told to leave in mid-training, as Slurm does, and started again."""
    environment = {**daemon.environment, "OFFCAM_DIR": str(tmp_path / "runs"), "OFFCAM_RUN": "job"}
    before = stop_in_the_midst("slurm_training.py", environment, tmp_path)
    said = printed("slurm_training.py", replace(daemon, environment=environment), tmp_path)
    assert said == f"{before} episodes were there\n"
    films.check(tmp_path / "runs" / "job")
    assert len(films.episodes(tmp_path / "runs" / "job")) == 200


def test_a_container_that_is_stopped(tmp_path, daemon):
    """As `docker stop` does, and started again: with no home and no user's directories, as in an image of Python's."""
    environment = {name: daemon.environment[name] for name in ("PATH", "OFFCAM_ADDR")}
    environment |= {"OFFCAM_DIR": str(tmp_path / "runs"), "OFFCAM_RUN": "job"}
    before = stop_in_the_midst("docker_training.py", environment, tmp_path)
    said = printed("docker_training.py", replace(daemon, environment=environment), tmp_path)
    assert said == f"{before} episodes were there\n"
    films.check(tmp_path / "runs" / "job")
    assert len(films.episodes(tmp_path / "runs" / "job")) == 200


def test_what_is_said_of_the_container_is_right(tmp_path):
    text = " ".join(EXAMPLES["docker_training.py"].read_text("utf-8").split('"""')[1].split())
    (variables,) = re.findall(r"ENV OFFCAM_DIR=(\S+) OFFCAM_RUN=(\w+)", text)
    assert f"into {'/'.join(variables)}," in EXAMPLES["docker_training.py"].read_text("utf-8")
    assert f"-v $PWD/runs:{variables[0]} " in text
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r'"offcam\[(\w+)\]"', text)) <= set(extras)
    names = re.search(r"offcam files ([\w ]+) -o deploy``", text)[1].split()
    done = commandline.run("files", *names, "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "compose.yaml").exists()


def test_these_are_all_examples():
    here, guide = (Path(path).read_text("utf-8") for path in (__file__, test_guide.__file__))
    tested = set(re.findall(r'printed\("(\w+\.py)"', here)) | set(re.findall(r'"(\w+\.py)"', guide))
    others = (ROOT / "tests" / "integrations").glob("test_*.py")  # with the packages that they are for
    tested |= {
        name for path in others for name in re.findall(r'^EXAMPLE = "(\w+\.py)"', path.read_text("utf-8"), re.MULTILINE)
    }
    assert tested == set(EXAMPLES)


@pytest.mark.parametrize(("file", "text"), SHOWN, ids=[file for file, _ in SHOWN])
def test_readme_shows_what_the_file_says(file, text):
    docstring, _, code = (ROOT / file).read_text("utf-8").partition('"""\n\n')
    assert docstring.startswith('"""')
    assert text == code


def test_readme_names_each_example_and_has_no_other_script():
    assert [name for name in EXAMPLES if f"client/examples/{name}" not in README] == []
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(SHOWN) >= 2
    assert max(text.count("\n") for text in blocks if text not in dict(SHOWN).values()) == 1
