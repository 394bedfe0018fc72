"""Timers of dask that go on when the machine's clock is put back. Workers import this as a preload.

tornado, by which dask's heartbeats go, and dask's batches of messages reckon by the wall clock when they are due next:
put back by an hour, workers would be silent for an hour. Here they go by the monotonic clock. It is told from the wall
clock's reading at the import on, so that what was reckoned before by that stays right.
"""

import time

from distributed import batched
from tornado.ioloop import IOLoop

_began = time.time() - time.monotonic()


def steady() -> float:
    """Seconds since the epoch as the clock had it at the import; it never goes back."""
    return _began + time.monotonic()


def _time(self: IOLoop) -> float:
    return steady()


IOLoop.time = _time  # type: ignore[method-assign]  # tornado lets other clocks be set
batched.time = steady
