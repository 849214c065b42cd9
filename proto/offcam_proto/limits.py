"""Every bound of the protocol, named, with its unit. Both sides enforce them; `proto/SPEC.md` quotes them."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

PROTOCOL_VERSION = 1
"""The version of the wire protocol; a peer with another one is refused."""

MAX_HEADER_BYTES = 256 * KIB
"""Largest msgpack header, in bytes. Checked before it is unpacked: nested empty maps expand 80-fold."""

MAX_PIXEL_PARTS = 4096
"""Most pixel buffers in one frame message: one for each sub-environment of a vector env."""

MAX_FRAME_BYTES = 1024 * MIB
"""Largest frame message, all its pixel buffers together, in bytes."""

MAX_ARENA_BYTES = 256 * MIB
"""Largest arena of shared memory, in bytes. Only slots that are in use take any."""

MAX_ARENA_SLOTS = 1024
"""Most slots of an arena."""

MAX_SLOT_FRAMES = 64
"""Most frames in one SLOT_FRAMES message."""

MAX_FRAME_SIDE = 16_384
"""Largest height or width of one frame, in pixels (H.264 stops there)."""

MAX_CRF = 51
"""Worst quality that a video can be asked for, by x264's constant rate factor; 0 is lossless."""

MAX_RING_SECONDS = 3600
"""Longest ring of a stream's last frames, in seconds of its video."""

PRESETS = (
    "flat",
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
"""What an encoder can be told of how much work to put into a small file: offcam's own preset, and x264's."""

MAX_NAME_BYTES = 200
"""Longest name prefix or video name, in UTF-8 bytes: leaves room for a suffix within NAME_MAX (255)."""

MAX_FILE_BYTES = 255
"""Longest name of a file that another host has, in UTF-8 bytes: NAME_MAX."""

MAX_PATH_BYTES = 4096
"""Longest run-folder path, in UTF-8 bytes."""

MAX_TEXT_BYTES = 4096
"""Longest other text field (env id, host, error text), in UTF-8 bytes."""

MAX_SEED_BYTES = 1024
"""Longest seed that travels as text, in UTF-8 bytes."""

MAX_STRETCHES = 512
"""Most stretches of numbers of clips that are gone, in one message."""

MAX_COUNTS = 32
"""Most entries of a map of counts."""

MAX_COUNT_NAME_BYTES = 64
"""Longest name of a count, in UTF-8 bytes."""

MAX_RECORDS_PER_MESSAGE = 1024
"""Most bodies in one RECORDS message, each of one record or of many episodes as columns."""

MAX_RECORDS_IN_FLIGHT = 16 * MAX_RECORDS_PER_MESSAGE
"""Most records of a stream that a client has sent and that are not acked; the others follow as they are acked."""

MAX_EPISODES_PER_BODY = 1024
"""Most episodes in one body of columns."""

MAX_EPISODE_VALUES = 18
"""Most values of an episode: 16 that are asked for, and two that are taken by themselves."""

MAX_VALUE_NAME_BYTES = 64
"""Longest name of an episode's value, in UTF-8 bytes."""

MAX_RECORD_BYTES = 64 * KIB
"""Largest body of records once packed, in bytes; no valid one comes near it."""

MAX_UNACKED_RECORDS = 200_000
"""Most records of a stream that a client keeps in memory, where no journal has room; later ones are counted lost."""

MAX_UNACKED_BYTES = 64 * MIB
"""Most bytes of these records in memory."""

MAX_BYTES_IN_FLIGHT = 8 * MIB
"""About how many bytes of a stream's records may be sent and not acked: a client may exceed it by one message."""

MAX_STREAMS_PER_SESSION = 4096
"""Most open streams of one session."""

MAX_CLIPS_PER_STREAM = 256
"""Most clips of one stream that are open at the same time; a wrapper has one, or one for each sub-environment."""

MAX_STATS_BYTES = 8 * MIB
"""Largest JSON text of the statistics, in bytes."""

MAX_EPISODES_BYTES = 8 * MIB
"""Most bytes of the last episodes of a run's sub-environments, 16 for each."""

MAX_INT = 2**63 - 1
"""Largest integer on the wire: what SQLite stores. Larger ones travel as text."""
