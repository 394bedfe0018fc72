"""Control of Python's garbage collector during large imports.

It runs after a number of new objects, and torch and transformers create a million that all stay: scanning them takes a
fifth of their import time, recurs with every later collection, and once more when the process exits.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(library: str) -> Iterator[None]:
    """Suspend garbage collection while a large library is imported, and exempt all existing objects from later
    collections, also at exit. Does nothing if the library is already imported.
    """
    if library in sys.modules:
        yield
        return
    looked = gc.isenabled()
    gc.collect()  # or existing garbage would stay for good
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked:
            gc.enable()
