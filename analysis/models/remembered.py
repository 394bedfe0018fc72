"""Values that cost a computation, kept within a bound: those that were used last."""

from collections.abc import Hashable
from typing import Any

BYTES = 64 * 2**20


class Remembered:
    """Cache of values by a key that holds all they depend on, up to a number of bytes; the least recently used goes
    first.
    """

    def __init__(self, most: int = BYTES) -> None:
        self.most, self.bytes = most, 0
        self._held: dict[Hashable, tuple[Any, int]] = {}

    def get(self, key: Hashable) -> Any | None:
        """Return the value of a key, None where it is not held."""
        if key not in self._held:
            return None
        self._held[key] = held = self._held.pop(key)  # to the end
        return held[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of so many bytes, if it fits at all."""
        if size > self.most:
            return
        self.bytes += size - self._held.pop(key, (None, 0))[1]
        self._held[key] = value, size
        while self.bytes > self.most:
            self.bytes -= self._held.pop(next(iter(self._held)))[1]
