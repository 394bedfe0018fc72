"""How much freed memory a process keeps for what comes next.

glibc gives freed memory back to the system beyond a threshold that begins at 128 KiB, and rises with what was freed, up
to 64 MiB. A forward frees as many states as it makes, so the system clears the same pages again and again: a tenth and
more of the processor's time of statistics of a small model. Here the threshold begins where glibc's own rule ends.
"""

import ctypes
import os
import sys

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
MAPPED = 32 * 2**20  # bytes from which on a piece of memory is one of its own, given back as soon as it is freed
KEPT = 2 * MAPPED


def keep_freed_memory() -> bool:
    """Lets this process keep `KEPT` bytes of freed memory at the end of a heap. Returns whether it does: not without
    glibc, and not where the user has set its own variable, which wins.
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and all(set_option(option, size) for option, size in ((_TRIM, KEPT), (_MAP, MAPPED)))
