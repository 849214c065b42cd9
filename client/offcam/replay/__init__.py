"""Replay: an episode that happens again in another process, checked step by step, and only there is rendered.

Of an env with a state of its own that neither its seed nor its generator makes again, `register` says how that state
is kept and given back.
"""

from offcam.replay.hooks import register

__all__ = ["register"]
