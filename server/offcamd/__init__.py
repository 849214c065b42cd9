"""The recorder daemon: receives frames and records, encodes video, keeps the index, answers questions."""

from importlib.metadata import version

__version__ = version("offcam")
