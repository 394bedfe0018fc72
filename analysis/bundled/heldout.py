"""Combinations that the models never see in training: about one in seven, chosen by a hash of the key, and all
of those in sentences that are only asked.
"""

import zlib

ONE_IN = 7
ASKED_ONLY = "asked"
"""The first word of the key of a combination in a sentence that no document has."""


def held_out(key: str) -> bool:
    """Return True if a combination is kept for the benchmark tasks. The same on every machine and in every run."""
    return key.split()[0] == ASKED_ONLY or zlib.crc32(key.encode()) % ONE_IN == 0
