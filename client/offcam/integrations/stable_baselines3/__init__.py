"""Stable-Baselines3: videos and statistics of its VecEnvs, of trainings and of evaluations.

`VecRecordVideo` takes the place of its VecVideoRecorder, with the arguments and file names of that; `record` is
`offcam.record` for a VecEnv; `RecordEvaluations` is an EvalCallback whose evaluations are recorded::

    from offcam.integrations import stable_baselines3 as recording

    envs = make_vec_env("CartPole-v1", 4, env_kwargs={"render_mode": "rgb_array"})
    envs = recording.record(envs, "runs/ppo", every=10)
    model = PPO("MlpPolicy", envs)
    model.learn(100_000, callback=recording.RecordEvaluations(eval_env, "runs/ppo-eval"))
    envs.close()

Episodes are those of Monitor, or VecMonitor, where one lies beneath: returns and lengths are the numbers that
`load_results` reads. An env in its own process can be recorded there as well, by ``wrapper_class=offcam.record``.

It needs the package: ``pip install "offcam[sb3]"``.
"""

from offcam.integrations.missing import needs

with needs("stable_baselines3", "Stable-Baselines3", "sb3"):
    from offcam.integrations.stable_baselines3.evaluations import RecordEvaluations
    from offcam.integrations.stable_baselines3.recording import RecordedVecEnv, VecRecordVideo, record

__all__ = ["RecordEvaluations", "RecordedVecEnv", "VecRecordVideo", "record"]
