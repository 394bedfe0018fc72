"""Tables of rows by their names, to which a program or a test can add."""

from collections import UserDict
from typing import Protocol, TypeVar


class Named(Protocol):
    """A row says its own name."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


class Registry(UserDict[str, Row]):
    """Rows by their names, in the order in which they came. Raises ValueError where a name is taken already, so that
    no row hides another, and for a key that is not the row's name.
    """

    def __init__(self, *rows: Row) -> None:
        super().__init__()
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Adds a row under its name."""
        self[row.name] = row

    def __setitem__(self, name: str, row: Row) -> None:
        if name != row.name:
            raise ValueError(f"The row named '{row.name}' cannot stand under '{name}'.")
        if name in self.data:
            raise ValueError(f"There is a row named '{name}' already. Give the new one another name.")
        super().__setitem__(name, row)
