"""Read a run in Python, with nothing but the thin client (and pandas, for its frames)."""

import offcam

run = offcam.load("runs/cartpole")  # while it is recorded, too
print(run.episodes.return_[-100:].mean())  # numpy arrays: return_, length, duration, seed, terminated, ...
print(run.episodes[-100:].summary().iqm)  # with mean, median, std and bootstrap intervals; also success_rate(RULE)
frame = run.to_pandas()  # or to_polars(); offcam.load(["runs/ppo/*"]) for several seeds
run.clips[-1]  # in a notebook: the video and its numbers
