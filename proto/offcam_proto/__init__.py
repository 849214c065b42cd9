"""What offcam's client and daemon say to each other, and what a run folder holds.

Sans-I/O: no sockets, threads, clocks or numpy. The wire is described in ``proto/SPEC.md``, the folder
in ``proto/FORMAT.md``.
"""

__version__ = "0.1.0"
"""Version of the distribution, stated here alone: to ask for its metadata takes as long as to import the rest."""
