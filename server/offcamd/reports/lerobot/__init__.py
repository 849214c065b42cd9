"""LeRobot: a dataset, in the third version of its format, of a run's videos and steps."""
