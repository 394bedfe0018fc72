"""Monotonic timers for dask, which run on when the machine's clock is put back. Workers import this as a preload.

tornado's timers, used for dask's heartbeats, and dask's message batches are scheduled by the wall clock: after a change
by an hour, workers would be silent for an hour. Here they use the monotonic clock, offset to the wall clock at import,
so that times computed earlier stay valid.
"""

import time

from distributed import batched
from tornado.ioloop import IOLoop

_began = time.time() - time.monotonic()


def steady() -> float:
    """Return seconds since the epoch by the clock at import; they never decrease."""
    return _began + time.monotonic()


def _time(self: IOLoop) -> float:
    return steady()


IOLoop.time = _time  # type: ignore[method-assign]  # tornado lets other clocks be set
batched.time = steady
