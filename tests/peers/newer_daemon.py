"""A daemon of another protocol version: refuses whoever comes, as the specification asks of it."""

from __future__ import annotations

import os
from pathlib import Path

import zmq

from offcam_proto import codec
from offcam_proto.endpoints import endpoint_from
from offcam_proto.limits import PROTOCOL_VERSION
from offcam_proto.messages import Refused


def main() -> None:
    endpoint = endpoint_from(os.environ, os.getuid())[0]
    assert endpoint.path is not None
    Path(endpoint.path).parent.mkdir(mode=0o700, exist_ok=True)
    version = PROTOCOL_VERSION + 1
    refused = Refused("version", version, f"the daemon speaks version {version}, the client 1: pip install -U offcam")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(endpoint.url)
        print("offcam ready", flush=True)
        while True:
            identity, *_ = router.recv_multipart()
            router.send_multipart([identity, *codec.encode(refused)])


if __name__ == "__main__":
    main()
