"""The run folder: what lies on the disk, written down once."""
