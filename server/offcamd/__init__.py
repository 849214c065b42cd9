"""The recorder daemon: receives frames and records, encodes video, keeps the index, answers questions."""

from offcam_proto import __version__ as __version__
