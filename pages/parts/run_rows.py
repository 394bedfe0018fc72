"""Runs as rows of a table, with the same columns on every page, and the form in which a visitor names, tags, notes and
stars something.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.column_config import DatetimeColumn, NumberColumn, TextColumn

from analysis.engine.job_store import Label
from analysis.engine.runs import Run, Score, latency, score, size
from analysis.evaluation import conditions
from analysis.exhibits.scored_runs import EXPLAINED
from analysis.pruned.report_file import plain_title, quantization_title, seed_of, settings_title
from analysis.specs import METHODS, kept_of
from analysis.statistics.decisions import POINTS
from analysis.statistics.differences import Difference
from analysis.words import MODEL_TITLES, model_title
from pages.parts.charts import table
from pages.parts.plain import plain
from pages.parts.session import engine, model_name, told

_DENSE = "Dense"
MOST_RUNS = 8  # compared at once
RUNS_ASKED = "run"  # in the address: ids of runs that are open
COLUMNS = {
    "★": TextColumn(width=30),
    "run": TextColumn(width=230),
    "method": TextColumn(width=165, help=EXPLAINED),
    "seed": NumberColumn(format="%d", help="Of the calibration text.", width=60),
    "settings": TextColumn(help="Of the sink discount, and what is not as usual."),
    "accuracy, %": NumberColumn(format="%.1f", width=83),
    "95 % interval": TextColumn("95 % interval (items)", width=140, help="Another calibration seed adds noise."),
    "to dense, points": NumberColumn(
        "minus unpruned, points", width=150, help="Accuracy minus the unpruned model's, same items."
    ),
    "interval to dense": TextColumn(
        "95 % interval (items)",
        width=140,
        help="Of the difference, over the items both answered; another seed adds noise.",
    ),
    "dense, %": NumberColumn(format="%.1f", help="Accuracy of the dense model on the same items."),
    "chance, %": NumberColumn(format="%.1f", help="Accuracy of choosing at random."),
    "items": NumberColumn(format="%d", width=60, help="Answered, of all tasks."),
    "sparsity, %": NumberColumn(
        "removed, %", format="%.0f", width=74, help="Sparsity: of the prunable weights, as counted in the checkpoint."
    ),
    "weights in theory, MB": NumberColumn(
        format="%.1f", help="By arithmetic: codes, scales and zero points, or a bit mask and the values left."
    ),
    "size, MB": NumberColumn(format="%.1f"),
    "one forward, ms": NumberColumn(format="%.1f"),
    "made": DatetimeColumn(format="D MMM HH:mm"),
}
"""Format of each column of `row`."""
_ALWAYS = ("method", "sparsity, %", "seed", "accuracy, %", "to dense, points", "95 % interval", "interval to dense")
_TELLING = ("★", "settings", "model", "bits", "tags", "dense, %", "chance, %", "items")
ROWS = 5
"""Rows of a table, so that the comparison beneath stays in view."""
_ROW = 33  # pixels of a row, and of the head


def method_title(run: Run) -> str:
    """Return the title of a run's method."""
    if run.kind == "imported":
        return run.kind
    if run.kept:
        return f"keeping {kept_of(run.kept).title}"
    return plain_title(str(run.parameters["method"])) if "method" in run.parameters else _DENSE


def _short(source: str) -> str:
    """Return the name of a model: of one that ships its title, of a folder its name, else its source."""
    return Path(source).name if Path(source).is_absolute() else MODEL_TITLES.get(source, source)


def accuracy_cells(accuracy: Score | None) -> dict[str, object]:
    """Return an accuracy with the dense model's, chance and the items, as cells of a row."""
    if accuracy is None:
        return {"accuracy, %": None, "95 % interval": None, "dense, %": None, "chance, %": None, "items": None}
    return {
        "accuracy, %": 100 * accuracy.value,
        "95 % interval": f"{100 * accuracy.low:.1f} – {100 * accuracy.high:.1f}",
        "dense, %": None if accuracy.dense is None else 100 * accuracy.dense,
        "chance, %": None if accuracy.chance is None else 100 * accuracy.chance,
        "items": accuracy.items,
    }


def _to_dense(accuracy: Score | None, difference: Difference | None) -> dict[str, object]:
    """Return the difference to the dense model as cells of a row. difference: on the same items, if these are known."""
    if difference is not None:
        ends = ", ".join(POINTS.number(end, 1) for end in (difference.low, difference.high))
        return {"to dense, points": 100 * difference.value, "interval to dense": f"[{ends}]"}
    if accuracy is None or accuracy.dense is None:
        return {"to dense, points": None, "interval to dense": None}
    return {"to dense, points": 100 * (accuracy.value - accuracy.dense), "interval to dense": None}


def row(run: Run, differences: Mapping[str, Difference] | None = None) -> dict[str, object]:
    """Return a run as a row of a table. differences: as of `table_of_runs`."""
    accuracy, speed = score(run), latency(engine(), run)
    sparsity = run.sparsity.get("overall")
    return {
        "★": "★" if run.label.star else "",
        "run": run.name,
        "method": method_title(run),
        "accuracy, %": None if accuracy is None else 100 * accuracy.value,  # seen on a phone
        "sparsity, %": None if sparsity is None else 100 * sparsity,
        "seed": seed_of(run.parameters) if run.parameters else None,
        **accuracy_cells(accuracy),
        **(
            {} if differences is None else _to_dense(None if run.kind == "dense" else accuracy, differences.get(run.id))
        ),
        "settings": settings_title(run.parameters) if run.parameters else "",
        "model": _short(run.model),
        "bits": quantization_title(run.parameters),
        "weights in theory, MB": None if run.bytes is None else run.bytes[1] / 1e6,
        "size, MB": None if run.folder is None else size(run) / 1e6,
        "one forward, ms": None if speed is None else 1000 * speed["pruned_seconds"],
        "accuracy on": "" if accuracy is None else accuracy.tasks,
        "tags": ", ".join(run.label.tags),
        "made": datetime.fromtimestamp(run.created),
    }


def in_pairs(runs: Sequence[Run]) -> list[Run]:
    """Return runs, newest first, so that those that differ in their method alone stand together: the methods in the
    order of their table, in which a control stands beside its discount.
    """
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        given = run.parameters
        same = (given.get("sparsity"), seed_of(given), quantization_title(given)) if given else (run.kind,)
        groups.setdefault((run.model, *same), []).append(run)
    for group in groups.values():
        group.sort(key=lambda run: _place_of_method(run, len(METHODS)))
    return [run for group in groups.values() for run in group]


_PLACES = {name: place for place, name in enumerate(METHODS)}


def _place_of_method(run: Run, without: int) -> int:
    """Return the place of a run's method in their table. without: of a run that has none."""
    return _PLACES.get(str(run.parameters.get("method")), without)


def by_sparsity(runs: Sequence[Run]) -> list[Run]:
    """Return runs from the dense models on to the most pruned ones, method by method and seed by seed."""

    def place(run: Run) -> tuple[Any, ...]:
        given = run.parameters
        sparsity = run.sparsity.get("overall")
        removed = round(float(sparsity), 2) if isinstance(sparsity, int | float) else 0.0
        bits = quantization_title(given) if given else ""
        return (run.model, removed, _place_of_method(run, -1), bits, seed_of(given) or 0 if given else 0)

    return sorted(runs, key=place)


def name_dense_models(rows: list[dict[str, str]], runs: Mapping[str, Run]) -> list[dict[str, str]]:
    """Return rows of settings with the name of each dense model before its fingerprint. runs: by their columns."""
    return [
        {
            column: f"{model_title(model_name(runs[column].model))} ({value})"
            if row["setting"] == conditions.title(conditions.DENSE) and column in runs and value
            else value
            for column, value in row.items()
        }
        for row in rows
    ]


def table_of_runs(
    title: str,
    sentence: str,
    runs: Sequence[Run],
    key: str,
    selected: Sequence[int],
    hint: str,
    rows: int = ROWS,
    left_out: Collection[str] = (),
    differences: Mapping[str, Difference] | None = None,
    **options: Any,
) -> None:
    """Draw runs as a table to choose rows from. Of its columns those are shown that tell the runs apart; its tool bar
    shows the others. selected: places of the rows that are chosen at first. rows: that are seen. left_out: columns that
    stand elsewhere, in `COLUMNS`. differences: to the dense model by run, to be shown with their intervals in place of
    the accuracy's, where there are any. hint, options: of `table`.
    """
    frame = pd.DataFrame(row(run, differences) for run in runs)
    left_out = [*left_out, "95 % interval" if differences else "interval to dense"]
    if differences is None:
        hint = " ".join(filter(None, (_in_common(frame.drop(columns=left_out, errors="ignore")), hint)))
    table(
        title,
        "",
        frame,
        key,
        sentence,
        hint=hint,
        column_order=[name for name in _shown(frame, runs) if name not in left_out],
        selection_default={"selection": {"rows": list(selected), "columns": [], "cells": []}},
        height=_ROW * (min(len(runs), rows) + 1) + 2,
        column_config=COLUMNS,
        signed=("to dense, points",),
        missing="–",
        **options,
    )


def _shown(frame: pd.DataFrame, runs: Sequence[Run]) -> list[str]:
    """Return the columns that are shown: some always, some where rows differ in them, and the name where a visitor
    gave one, or where nothing else tells two rows apart."""
    telling = [name for name in _TELLING if frame[name].nunique() > 1]
    if frame.groupby("method")["settings"].nunique().max() < 2:  # the same wherever a method reads them
        telling = [name for name in telling if name != "settings"]
    shown = [name for name in frame if name in _ALWAYS or name in telling]
    told = [name for name in ("method", "sparsity, %", "seed", *telling) if name not in ("★", "tags")]
    if any(run.name != run.automatic or run.kind == "imported" for run in runs) or frame[told].duplicated().any():
        shown.insert(int("★" in shown), "run")
    return [name for name in shown if frame[name].notna().any()] + ["made"]


def _in_common(frame: pd.DataFrame) -> str:
    """Return what all scored runs share and no column is shown for: the dense model's accuracy, chance, items."""
    words = {"dense, %": "dense model {:.1f} %", "chance, %": "chance {:.1f} %", "items": "{:,.0f} items each"}
    shared = {name: frame[name].dropna().iloc[0] for name in words if name in frame and frame[name].nunique() == 1}
    said = ", ".join(words[name].format(value) for name, value in shared.items())
    return f"{said[0].upper()}{said[1:]}." if said else ""


def label_form(subject: str, name: str, label: Label, save: Callable[[Label], None]) -> None:
    """Draw the form. subject: id of the labelled thing. name: its current name. save: stores what was entered; the form
    shows why it refuses.
    """
    with st.form(f"label_{subject}", border=False):
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        entered = left.text_input("Name", name, key=f"name_{subject}", help="Empty: the automatic one.")
        star = right.toggle("Starred", label.star, key=f"star_{subject}")
        tags = st.text_input("Tags", ", ".join(label.tags), key=f"tags_{subject}", help="With commas between.")
        note = st.text_area("Notes", label.note, key=f"note_{subject}")
        if st.form_submit_button("Save", icon=":material/save:"):
            with told():
                save(Label(name=entered, tags=tuple(tags.split(",")), note=note, star=star))
                st.rerun()


def label_said(label: Label) -> None:
    """Draw tags and notes, if any."""
    tags = " · ".join(plain(tag) for tag in label.tags)
    said = "  \n".join(part for part in (tags and f"Tags: {tags}", plain(label.note)) if part)
    if said:
        st.markdown(said)
