"""Frames on their way to a video: pool, queue, spool, budgets."""
