"""Which combinations the models never see in training: about one in seven, chosen by a hash of the key."""

import zlib

ONE_IN = 7


def held_out(key: str) -> bool:
    """Whether a combination is kept for the benchmark tasks. The same on every machine and in every run."""
    return zlib.crc32(key.encode()) % ONE_IN == 0
