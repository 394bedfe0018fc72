"""Amount of freed memory that a process keeps for reuse.

glibc returns freed memory to the system beyond a threshold that begins at 128 KiB and rises with what is freed, up to
64 MiB. A forward frees as many states as it makes, so the system clears the same pages again and again: a tenth or more
of the processor time of a small model's statistics. Here the threshold begins where glibc's own rule ends.
"""

import ctypes
import os
import sys

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
MAPPED = 32 * 2**20  # bytes from which an allocation is mapped separately and returned as soon as it is freed
KEPT = 2 * MAPPED


def keep_freed_memory() -> bool:
    """Let this process keep `KEPT` bytes of freed memory at the end of a heap. Return whether it does: not without
    glibc, and not if the user has set glibc's variable, which wins.
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and all(set_option(option, size) for option, size in ((_TRIM, KEPT), (_MAP, MAPPED)))
