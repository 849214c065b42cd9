"""A training in a container with nothing beside it: its first wrapper starts the recorder daemon in there.

A Dockerfile::

    FROM python:3.12-slim
    RUN pip install --no-cache-dir "offcam[server]" "gymnasium[classic-control]"
    COPY docker_training.py /
    ENV OFFCAM_DIR=/runs OFFCAM_RUN=cartpole
    ENTRYPOINT ["python", "/docker_training.py"]

Run it as the user who is to own the videos. ``docker stop`` gives it a minute to make them final, and started again it
goes on::

    docker build -t training .
    mkdir -p runs
    docker run --init --stop-timeout 60 --user $(id -u):$(id -g) -v $PWD/runs:/runs --name training training
    docker stop training
    docker start --attach training

One daemon for many containers is in ``offcam files docker compose -o deploy``.
"""

import gymnasium as gym

import offcam

offcam.flush_on_signal()  # SIGTERM, which `docker stop` sends, waits until what was recorded is final
env = gym.make("CartPole-v1", render_mode="rgb_array")
env = offcam.record(env, every=50, resume=True)  # into /runs/cartpole, where it has come to
played = len(offcam.load(env.run_folder).episodes)  # as a checkpoint of yours would say
print(f"{played} episodes were there", flush=True)
for episode in range(played, 200):
    obs, info = env.reset()
    over = False
    while not over:
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        over = terminated or truncated
env.close()
