"""The stores that a job looks into, opened at the first use."""

from functools import cached_property
from pathlib import Path
from types import TracebackType

from cache.responses import Responses
from cache.shared import Shared
from cache.store import Store


class Stores:
    """What earlier jobs left below `root`; SINKSCOPE_HOME, or the user's cache folder, where none is given.

    Opening raises StoreError where a store cannot be used. Not shared between threads.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    @cached_property
    def results(self) -> Store:
        """Results by their keys. Jobs only read them: what they leave is taken in by whoever asked."""
        return Store(self.root)

    @cached_property
    def responses(self) -> Responses:
        """Answers to items, and trials of searches."""
        return Responses(self.root)

    @cached_property
    def shared(self) -> Shared:
        """What jobs of several kinds would compute of one model and one text."""
        return Shared(self.root)

    def close(self) -> None:
        """Closes what was opened; a later use opens it again."""
        for name in ("results", "responses", "shared"):
            store = self.__dict__.pop(name, None)
            if store is not None:
                store.close()

    def __enter__(self) -> "Stores":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
