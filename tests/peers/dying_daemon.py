"""What listens like a daemon, and is gone, or silent, at the moment that its first argument names.

``mute`` answers nothing; ``greeted`` dies of a greeting; ``welcomed`` dies once it has answered that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import zmq

from offcam_proto import codec, host
from offcam_proto.limits import MAX_FRAME_BYTES, PROTOCOL_VERSION
from offcam_proto.messages import Welcome


def main() -> None:
    endpoint, moment = host.find(os.environ, os.getuid()).endpoint, sys.argv[1]
    assert endpoint.path is not None
    Path(endpoint.path).parent.mkdir(mode=0o700, exist_ok=True)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(endpoint.url)
        print("offcam ready", flush=True)
        identity, *_ = router.recv_multipart()
        if moment == "welcomed":
            router.send_multipart(
                [identity, *codec.encode(Welcome(PROTOCOL_VERSION, os.urandom(16), os.getpid(), MAX_FRAME_BYTES))]
            )
            router.recv_multipart()  # it wants a stream opened
        elif moment == "mute":
            while True:
                router.recv_multipart()
        os._exit(1)


if __name__ == "__main__":
    main()
