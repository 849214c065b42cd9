"""Replay: an episode is played again in another process, checked step by step, and rendered only there.

For an env with state that neither its seed nor its generator restores, `register` says how to save and restore that.
"""

from offcam.replay.hooks import register

__all__ = ["register"]
