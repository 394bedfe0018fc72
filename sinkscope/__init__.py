"""SinkScope for notebooks and scripts: record, find sinks, draw, prune, compare. See docs/notebook.ipynb.

In a checkout the folders beside this one are imported; installed, they are in `sinkscope/_installed`. Either way they
are imported as `analysis`, `cache` and `pages`, so this package puts their folder first on Python's path.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).resolve().parent
ROOT = _HERE / "_installed" if (_HERE / "_installed").is_dir() else _HERE.parent
"""The folder that holds app.py, pages, analysis and cache."""
_FOLDERS = ("analysis", "cache", "pages")


def _make_importable() -> None:
    """Have SinkScope's own folders found first. Raises ImportError where others of their names are loaded already."""
    for name in _FOLDERS:
        loaded = sys.modules.get(name)
        if loaded is not None and Path(getattr(loaded, "__file__", None) or "").parent != ROOT / name:
            raise ImportError(
                f"SinkScope has a package '{name}', and this process has loaded another of that name, from "
                f"{getattr(loaded, '__file__', 'elsewhere')}. Import sinkscope first, or rename the other."
            )
    found = find_spec("analysis")
    if found is None or Path(found.origin or "").parent != ROOT / "analysis":
        sys.path.insert(0, str(ROOT))


_make_importable()

from sinkscope.face import (  # noqa: E402, I001  the folders must be importable first
    compare,
    evaluate,
    explore,
    figure,
    figures,
    job,
    models,
    prune,
    read,
    record,
    run,
    sinks,
)

__all__ = [
    "compare",
    "evaluate",
    "explore",
    "figure",
    "figures",
    "job",
    "models",
    "prune",
    "read",
    "record",
    "run",
    "sinks",
]
