"""Tables of rows by their names, to which a program or a test can add."""

from collections import UserDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
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
        """Add a row under its name."""
        self[row.name] = row

    def __setitem__(self, name: str, row: Row) -> None:
        if name != row.name:
            raise ValueError(f"The row named '{row.name}' cannot stand under '{name}'.")
        if name in self.data:
            raise ValueError(f"There is a row named '{name}' already. Give the new one another name.")
        super().__setitem__(name, row)


@dataclass(frozen=True)
class Implemented:
    """A row with an implementation: 'module:NAME', which is imported at first use, so that the table needs no torch, or
    the object itself; None for a row that needs none.
    """

    implementation: Any = field(default=None, kw_only=True, repr=False)


@dataclass(frozen=True)
class Choice(Implemented):
    """A row that people choose by its title, with its meaning."""

    name: str
    title: str
    help: str


@cache
def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


Implementation = TypeVar("Implementation")


class Implementations(Mapping[str, Implementation]):
    """Implementations of a registry's rows, by name; rows that need none have none.

    The module that makes this holds or imports the implementations that rows name, so that code which computes with it
    depends on all of them.
    """

    def __init__(self, rows: Registry[Any]) -> None:
        self.rows = rows

    def __getitem__(self, name: str) -> Implementation:
        target = self.rows[name].implementation
        if target is None:
            raise KeyError(name)
        found: Implementation = _named(target) if isinstance(target, str) else target
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name, row in self.rows.items() if row.implementation is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
