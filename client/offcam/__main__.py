"""``python -m offcam``: the command line, which is the server's and comes with the same distribution."""

import runpy

runpy.run_module("offcamd", run_name="__main__", alter_sys=True)
