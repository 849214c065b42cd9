"""The index's one writer, and recovery."""
