"""The daemon as it is, but for the version of its protocol, which is the next one; or a client of that version."""

from __future__ import annotations

import sys

from offcam_proto import limits

limits.PROTOCOL_VERSION += 1


def main() -> None:
    if sys.argv[1:2] == ["record"]:
        import offcam  # noqa: PLC0415 - after the version has changed
        from envs import Barcode, play  # noqa: PLC0415 - as above

        env = offcam.record(Barcode(4), sys.argv[2], every=1, strict=True)
        play(env, 2)
        env.close()
    else:
        from likeserve import run  # noqa: PLC0415 - as above

        run()


if __name__ == "__main__":
    main()
