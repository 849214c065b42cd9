"""Processes that encode: nothing of a video library runs in the daemon's own, which answers clients."""
