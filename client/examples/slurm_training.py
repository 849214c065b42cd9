"""Go on after a preemption.

As a Slurm job that may be stopped and queued again::

    #!/bin/bash
    #SBATCH --array=0-3
    #SBATCH --requeue
    #SBATCH --signal=B:TERM@60
    export OFFCAM_DIR=$HOME/runs OFFCAM_RUN=ppo-$SLURM_ARRAY_TASK_ID
    exec python slurm_training.py

Any other scheduler will do that sends SIGTERM some time before it kills.
"""

import gymnasium as gym

import offcam

offcam.flush_on_signal()  # SIGTERM, which comes before the kill, waits until what was recorded is final
env = gym.make("CartPole-v1", render_mode="rgb_array")
env = offcam.record(env, every=50, resume=True)  # into $OFFCAM_DIR/$OFFCAM_RUN, where it has come to
played = len(offcam.load(env.run_folder).episodes)  # as a checkpoint of yours would say
print(f"{played} episodes were there")
for episode in range(played, 200):
    obs, info = env.reset()
    over = False
    while not over:
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        over = terminated or truncated
env.close()
