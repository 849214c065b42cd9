"""Adapters for RL libraries: each is imported by its name, and needs that library's package.

========================================  ====================================================================
`offcam.integrations.minari`              `create_dataset` from a run that was recorded for replay
`offcam.integrations.pettingzoo`          `record` for parallel and AEC envs
`offcam.integrations.rllib`               `OffcamCallback`, which adds what was recorded to the metrics
`offcam.integrations.stable_baselines3`   `VecRecordVideo`, `record`, `RecordEvaluations` for VecEnvs
`offcam.integrations.torchrl`             `OffcamLogger` for its VideoRecorder
`offcam.integrations.wandb`               `record` into the W&B run that you log into yourself
========================================  ====================================================================
"""
