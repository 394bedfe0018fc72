"""A run as a row of a table: the same columns on every page."""

from datetime import datetime
from pathlib import Path

import streamlit as st

from analysis.engine.runs import Run, Score, latency, score, size
from analysis.pruned.naming import quantization_title
from analysis.specs import METHODS, kept_of
from pages.parts.session import engine

_DENSE = "dense"
MOST_RUNS = 8  # compared at once
RUNS_ASKED = "run"  # in the address: ids of runs that are open
COLUMNS = {
    "★": st.column_config.TextColumn(width=30),
    "run": st.column_config.TextColumn(width=230),
    "method": st.column_config.TextColumn(width=165),
    "accuracy, %": st.column_config.NumberColumn(format="%.1f"),
    "dense, %": st.column_config.NumberColumn(format="%.1f", help="Accuracy of the dense model on the same items."),
    "chance, %": st.column_config.NumberColumn(format="%.1f", help="Accuracy of choosing at random."),
    "items": st.column_config.NumberColumn(format="%d"),
    "sparsity, %": st.column_config.NumberColumn(format="%.1f"),
    "weights in theory, MB": st.column_config.NumberColumn(
        format="%.1f", help="By arithmetic: codes, scales and zero points, or a bit mask and the values left."
    ),
    "size, MB": st.column_config.NumberColumn(format="%.1f"),
    "one forward, ms": st.column_config.NumberColumn(format="%.1f"),
    "made": st.column_config.DatetimeColumn(format="D MMM HH:mm"),
}
"""How the columns of `row` are written."""


def method_title(run: Run) -> str:
    """How a run was pruned, for people."""
    if run.kind == "imported":
        return run.kind
    if run.kept:
        return f"keeping {kept_of(run.kept).keeping.title}"
    name = str(run.parameters.get("method", _DENSE))
    return METHODS[name].title if name in METHODS else name


def _short(source: str) -> str:
    """Return a model's source; of a folder its name."""
    return Path(source).name if Path(source).is_absolute() else source


def accuracy_cells(accuracy: Score | None) -> dict[str, object]:
    """Return an accuracy with the dense model's, chance and the items, as cells of a row."""
    if accuracy is None:
        return {"accuracy, %": None, "95 % interval": "", "dense, %": None, "chance, %": None, "items": None}
    return {
        "accuracy, %": 100 * accuracy.value,
        "95 % interval": f"{100 * accuracy.low:.1f} – {100 * accuracy.high:.1f}",
        "dense, %": None if accuracy.dense is None else 100 * accuracy.dense,
        "chance, %": None if accuracy.chance is None else 100 * accuracy.chance,
        "items": accuracy.items,
    }


def row(run: Run) -> dict[str, object]:
    """A run as a row of a table."""
    accuracy, speed = score(run), latency(engine(), run)
    sparsity = run.sparsity.get("overall")
    return {
        "★": "★" if run.label.star else "",
        "run": run.name,
        **accuracy_cells(accuracy),
        "method": method_title(run),
        "sparsity, %": None if sparsity is None else 100 * sparsity,
        "model": _short(run.model),
        "bits": quantization_title(run.parameters),
        "weights in theory, MB": None if run.bytes is None else run.bytes[1] / 1e6,
        "size, MB": None if run.folder is None else size(run) / 1e6,
        "one forward, ms": None if speed is None else 1000 * speed["pruned_seconds"],
        "accuracy on": "" if accuracy is None else accuracy.tasks,
        "tags": ", ".join(run.label.tags),
        "made": datetime.fromtimestamp(run.created),
    }
