"""Who computes in a worker: one job at a time, and a long one lets short ones go first between its steps."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np

_CHECK = 0.1  # seconds between a waiting guest's looks at whether it was cancelled


class TurnTaking:
    """One turn for all threads of a process. A host holds it for the length of its job, a guest between its steps."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._guests = 0

    @contextlib.contextmanager
    def host(self) -> Iterator[None]:
        """Holds the turn, once it is free."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._taken = True
        try:
            yield
        finally:
            self._leave()

    @contextlib.contextmanager
    def guest(self, check: Callable[[], None]) -> Iterator[None]:
        """Holds the turn from the host's next step on. `check` may raise meanwhile. Random states stay the host's."""
        with self._changed:
            self._guests += 1
            try:
                while self._taken:
                    self._changed.wait(_CHECK)
                    check()
                self._taken = True
            except BaseException:
                self._guests -= 1
                self._changed.notify_all()
                raise
        try:
            with _random_states_kept():
                yield
        finally:
            with self._changed:
                self._guests -= 1
            self._leave()

    def give_way(self) -> None:
        """Called by the host between two steps: guests that wait go first."""
        with self._changed:
            if not self._guests:
                return
            self._taken = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._taken and not self._guests)
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
