"""The daemon's loop: open streams, credit, liveness."""
