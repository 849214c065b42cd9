"""The scripts of client/examples: each is run, README shows what is in the files, and names them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scipy.stats import trim_mean
from test_guide import run

import films

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


def test_an_evaluation(tmp_path, daemon):
    said = printed("evaluate_agent.py", daemon, tmp_path)
    folder = tmp_path / "runs" / "evaluation"
    films.check(folder)
    assert films.videos(folder) == sorted(f"eval-episode-{episode}.mp4" for episode in range(10))
    episodes = films.episodes(folder)
    assert [episode.seed for episode in episodes] == list(range(10))
    mean = sum(episode.length for episode in episodes) / 10
    assert said == f"return {mean:.1f}, length {mean:.1f}\n"


def test_vector_envs(tmp_path, daemon):
    said = printed("vector_envs.py", daemon, tmp_path)
    folder = tmp_path / "runs" / "vector"
    films.check(folder)
    assert films.videos(folder)
    episodes = films.episodes(folder)
    assert {episode.env_index for episode in episodes} == {0, 1, 2, 3}
    assert said == f"{len(episodes)} episodes\n"


def test_these_are_all_examples():
    tested = set(re.findall(r'printed\("(\w+\.py)"', Path(__file__).read_text("utf-8")))
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
