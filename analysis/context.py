"""What a job is given beside its spec: where to leave its file, and whom to tell how far it is."""

from pathlib import Path
from typing import Any, Protocol


class Cancelled(Exception):
    """Raised inside a job when someone asked it to stop."""


class Context(Protocol):
    """What a job is given beside its spec."""

    folder: Path  # where it leaves its file
    workers: int  # how many workers share this machine's cores

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Tells how far the job is. Raises Cancelled when it should stop; so every step calls it."""
