"""Tables of rows by their names, to which a program or a test can add."""

from collections import UserDict
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """A row says its own name."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


class Registry(UserDict[str, Row]):
    """Rows by their names, in the order in which they came. Raises ValueError where a name is taken already, so that
    no row hides another, and for a key that is not the row's name.

    beyond: which other names a kind of registry knows, as the end of a list of names; empty where the rows are all.
    """

    beyond = ""

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


Attachment = TypeVar("Attachment")


class Attached(UserDict[str, Attachment]):
    """What belongs to the rows of a registry and has to live elsewhere, as functions that need torch.

    Raises ValueError for a name without a row in `rows`, and for a second attachment of one name.
    """

    def __init__(self, rows: Registry[Any], attachments: Mapping[str, Attachment]) -> None:
        self.rows = rows
        super().__init__(attachments)

    def __setitem__(self, name: str, attachment: Attachment) -> None:
        if name not in self.rows:
            raise ValueError(f"There is no row named '{name}' to attach this to. Add the row first.")
        if name in self.data:
            raise ValueError(f"There is something attached to '{name}' already. Give the new one another name.")
        super().__setitem__(name, attachment)
