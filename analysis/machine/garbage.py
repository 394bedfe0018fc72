"""When Python looks for garbage, and among what.

It looks after every so many new objects, and torch and transformers make a million that all stay: looking through them
takes a fifth of the time of their imports, comes again with every later search, and once more as the process ends.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(library: str) -> Iterator[None]:
    """While a large library is imported: nobody looks for garbage, and what is there afterwards is never looked through
    again, at the exit neither. Does nothing where the library was imported before.
    """
    if library in sys.modules:
        yield
        return
    looked = gc.isenabled()
    gc.collect()  # or what is garbage by now would stay for good
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked:
            gc.enable()
