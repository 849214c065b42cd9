"""A daemon of another protocol version: refuses whoever comes, as the specification asks of it."""

from __future__ import annotations

import os

import zmq

from offcam_proto import codec
from offcam_proto.limits import PROTOCOL_VERSION
from offcam_proto.messages import Refused


def main() -> None:
    address = os.environ["OFFCAM_ADDR"]
    version = PROTOCOL_VERSION + 1
    refused = Refused("version", version, str(codec.version_mismatch(version, PROTOCOL_VERSION)))
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(address)
        print("offcam ready", flush=True)
        while True:
            identity, *_ = router.recv_multipart()
            router.send_multipart([identity, *codec.encode(refused)])


if __name__ == "__main__":
    main()
