"""Exports videos and steps of runs as a LeRobot dataset, in version 3.0 of that format."""
