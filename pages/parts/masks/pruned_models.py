"""Pruned models to look at: opening one by its name or path, and what its folder says about itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.engine.runs import known_runs
from analysis.pruned import masks_file
from analysis.pruned.masks_file import MaskFolder
from analysis.pruned.naming import run_names
from analysis.pruned.report_file import REPORT_FILE, PrunedRun, read_report
from pages.parts.plain import plain
from pages.parts.session import engine
from pages.parts.trouble import EXPECTED, why


@dataclass(frozen=True)
class Pruned:
    """A pruned model to look at. name: what it is called in addresses; a path where it was typed. label: as every page
    calls it, else its folder's name.
    """

    name: str
    label: str
    masks: MaskFolder
    run: PrunedRun

    @property
    def key(self) -> str:
        return self.masks.stamp


BY_STAMP: dict[str | type[Any], Callable[[Any], Any]] = {Pruned: lambda pruned: pruned.key}
"""How caches tell pruned models apart; see `Recording`."""


def open_pruned(name: str, known: dict[str, Path]) -> Pruned | None:
    """The pruned model of a name or path, or None after saying on the page why it cannot be read."""
    if engine().gate.demo and name not in known:  # a visitor is not to look around on this disk
        st.error("This demonstration opens only the runs in its store.")
        return None
    try:
        if name not in known:
            engine().gate.check_folder(name)
        folder = masks_file.open_masks(str(known.get(name, name)))
    except EXPECTED as error:
        st.error(plain(why(error)))
        return None
    label = titles_of(known).get(name) or Path(name).name
    return Pruned(name, label, folder, run_of(folder.folder))


def titles_of(known: dict[str, Path]) -> dict[str, str]:
    """What the runs are called on every page, by their names in addresses."""
    names = {run.folder.resolve(): run.name for run in known_runs(engine()) if run.folder is not None}
    return {name: names[path.resolve()] for name, path in known.items() if path.resolve() in names}


def short_labels(runs: Sequence[Pruned]) -> list[str]:
    """What each of a few runs is called among these alone: with what tells it from these, and not from all of the
    store. A name that somebody gave it stays.
    """
    short = run_names([run.run.parameters for run in runs], [run.key for run in runs])
    return [
        name if run.run.settings and run.label.startswith(run.run.title) else run.label
        for run, name in zip(runs, short, strict=True)
    ]


def run_of(folder: Path) -> PrunedRun:
    """What a folder says about itself."""
    path = folder / REPORT_FILE
    return _run(str(folder), path.stat().st_mtime_ns if path.is_file() else 0)


@st.cache_data(max_entries=256, show_spinner=False)
def _run(folder: str, changed: int) -> PrunedRun:
    return read_report(Path(folder))
