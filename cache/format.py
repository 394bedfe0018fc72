"""Format of a store, stamped beside its databases. An older store is migrated; one that a newer version wrote is left
untouched.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cache.opening import StoreError

STAMP = "format.json"
FOLDER_ROW = "folder:"  # rows that hold the place of a kept folder


def _relative_places(name: str, text: str, shared: Path) -> str:
    """Migrate 0 to 1: store folders in `kept` relative to `shared`, so that the store can be moved. A folder of a store
    that was moved since is found by its key.
    """
    if not name.startswith(FOLDER_ROW):
        return text
    row = json.loads(text)
    place = Path(row["folder"])
    if not place.is_absolute():
        return text
    kept = shared.resolve() / "kept"
    if not place.resolve().is_relative_to(kept):
        moved = kept / name.removeprefix(FOLDER_ROW) / place.name
        if place.is_dir() or not moved.is_dir():
            return text
        place = moved
    return json.dumps({**row, "folder": place.resolve().relative_to(shared.resolve()).as_posix()})


STEPS: tuple[Callable[[str, str, Path], str], ...] = (_relative_places,)
"""(row name, row text, folder shared with workers) -> text in the next format, from format 0 on. Each leaves a row that
is already in the next format unchanged, so that an interrupted migration can be repeated.
"""
FORMAT = len(STEPS)


def format_of(root: Path) -> int:
    """Return the format of the store in `root`; 0 without a readable stamp, since the first stores had none.

    Raises StoreError for a format newer than this version's and for a stamp that cannot be read.
    """
    try:
        stamped = json.loads((root / STAMP).read_text(encoding="utf-8"))["format"]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"SinkScope cannot read '{root / STAMP}': {error.strerror}.") from error
    except (ValueError, KeyError, TypeError):
        return 0
    if not isinstance(stamped, int) or isinstance(stamped, bool) or stamped < 0:
        return 0
    if stamped > FORMAT:
        raise StoreError(
            f"The store '{root}' was written by a newer SinkScope (format {stamped}; this version writes {FORMAT}) and "
            "is left as it is. Update SinkScope, or give this one a store of its own with SINKSCOPE_HOME."
        )
    return stamped


def brought_up(rows: Mapping[str, str], stamped: int, shared: Path) -> dict[str, str]:
    """Return the rows that differ in this version's format, migrated. Rows that cannot be read stay as they are."""
    changed = {}
    for name, text in rows.items():
        now = text
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            for step in STEPS[stamped:]:
                now = step(name, now, shared)
        if now != text:
            changed[name] = now
    return changed


def stamp(root: Path) -> None:
    """Mark a store as being in this version's format. If the stamp cannot be written, the next opening tries again."""
    new = root / f".{STAMP}.{os.getpid()}"
    with contextlib.suppress(OSError):
        new.write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
        new.replace(root / STAMP)
