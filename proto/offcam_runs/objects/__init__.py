"""Runs in object storage: what lies there (``layout``, ``segments``), how it is reached, and how it is read."""
