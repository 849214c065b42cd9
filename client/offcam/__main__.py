"""``python -m offcam``: the command line, which is the server's and comes with the same distribution."""

import runpy

if __name__ == "__main__":
    runpy.run_module("offcamd", run_name="__main__", alter_sys=True)
