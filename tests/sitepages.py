"""The Python in the pages of the documentation site, as one script for each page."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parents[1] / "client" / "docs" / "pages"

PLAY = """
def play_what_was_made(env, envs):
    if env is not None:
        for episode in range(3):
            env.reset(seed=episode)
            while not any(env.step(env.action_space.sample())[2:4]):
                pass
        env.close()
    if envs is not None:
        envs.reset(seed=1)
        for _ in range(60):
            envs.step(envs.action_space.sample())
        envs.close()
"""
"""A block that shows how an env is made, and not what is done with it, is played for a few episodes."""


def script(page: Path) -> str:
    """All blocks of a page one behind the other, as its reader would run them; empty without any."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    parts = [PLAY] if blocks else []
    for block in blocks:
        parts.append(block)
        made = [name if re.search(rf"^{name} = ", block, re.MULTILINE) else "None" for name in ("env", "envs")]
        if ".close()" not in block and made != ["None", "None"]:
            parts.append(f"play_what_was_made({', '.join(made)})\n")
    return "\n".join(parts)


def packages(text: str) -> list[str]:
    """What a script imports that the default tests have not."""
    return sorted(set(re.findall(r"^(?:import|from) (stable_baselines3|wandb)", text, re.MULTILINE)))
