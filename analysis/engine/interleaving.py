"""Who computes in a worker: one job at a time, and a long one lets short ones go first between its steps."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np

_CHECK = 0.1  # seconds between a waiting short job's looks at whether it was cancelled


class TurnTaking:
    """One turn for all threads of a process. A long job holds it from start to end, a short job between its steps."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._waiting = 0

    @contextlib.contextmanager
    def long_job(self) -> Iterator[None]:
        """Holds the turn, once it is free."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._taken = True
        try:
            yield
        finally:
            self._leave()

    @contextlib.contextmanager
    def short_job(self, check: Callable[[], None]) -> Iterator[None]:
        """Hold the turn from the long job's next step on, whose random state is kept. `check` may raise meanwhile."""
        with self._changed:
            self._waiting += 1
            try:
                while self._taken:
                    self._changed.wait(_CHECK)
                    check()
                self._taken = True
            except BaseException:
                self._waiting -= 1
                self._changed.notify_all()
                raise
        try:
            with _random_states_kept():
                yield
        finally:
            with self._changed:
                self._waiting -= 1
            self._leave()

    def give_way(self) -> None:
        """Called by the long job between two steps: short jobs that wait go first."""
        with self._changed:
            if not self._waiting:
                return
            self._taken = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._taken and not self._waiting)
            self._taken = True

    def _leave(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()


@contextlib.contextmanager
def _random_states_kept() -> Iterator[None]:
    """Puts NumPy's and torch's global random states back. Python's own is dask's, too: no job can count on it."""
    numpy = np.random.get_state()
    torch = sys.modules.get("torch")
    cpu = torch.get_rng_state() if torch else None
    cuda = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        np.random.set_state(numpy)
        if torch and cpu is not None:
            torch.set_rng_state(cpu)
            if cuda:
                torch.cuda.set_rng_state_all(cuda)
