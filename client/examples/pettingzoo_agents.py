"""Record a PettingZoo env, whose agents all have a part in one video: a game is its episode."""

from pettingzoo.classic import tictactoe_v3

import offcam
from offcam.integrations import pettingzoo as recording

env = recording.record(tictactoe_v3.env(render_mode="rgb_array"), "runs/tictactoe", every=5)
for seed, agent in enumerate(env.possible_agents):
    env.action_space(agent).seed(seed)  # the same games each time
for game in range(20):
    env.reset(seed=game)
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        over = terminated or truncated
        env.step(None if over else env.action_space(agent).sample(observation["action_mask"]))
env.close()

returns = offcam.load("runs/tictactoe").episodes.info  # by agent
won = {name.removeprefix("return/"): int((values > 0).sum()) for name, values in returns.items()}
print(", ".join(f"{agent} won {games} of 20" for agent, games in sorted(won.items())))
