"""Sending a run to a tracker: how far it came, and the process that sends."""
