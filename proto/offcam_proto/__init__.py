"""What offcam's client and daemon say to each other, and what a run folder holds.

Sans-I/O: no sockets, threads, clocks or numpy. The wire is described in ``proto/SPEC.md``, the folder
in ``proto/FORMAT.md``.
"""
