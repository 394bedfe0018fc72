"""A folder with all that a study found: numbers as CSV and JSON, every figure as Plotly's JSON, and one page."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.command_line.flags import show
from analysis.table_files import csv_of_table, write_csv

if TYPE_CHECKING:
    import pandas as pd

    from analysis.figures.export import Exhibit

STUDY, PAGE = "study.json", "study.html"
NUMBERS = "claims.json"  # every number behind the verdicts of a run of the claims
_WRITTEN = re.compile(r"study\.(json|html)|claims\.json|[\w.-]+\.(csv|safetensors)|figure-[\w.-]+\.json")


def write(
    folder: Path, title: str, study: Mapping[str, Any], shown: Sequence["Exhibit"], tables: Mapping[str, "pd.DataFrame"]
) -> None:
    """Write into an empty folder. study: settings, and findings in words under 'shown'. shown: contents of the page, in
    order; its figures are also written by name. tables: CSV files by name.
    """
    from pandas import DataFrame

    from analysis.figures.export import page_html

    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", csv_of_table(table))
    for exhibit in shown:
        if exhibit.name:
            (folder / f"figure-{exhibit.name}.json").write_text(exhibit.figure.to_json(), encoding="utf-8")
    # The numbers of a figure are in its CSV file.
    exhibits = [replace(exhibit, table=DataFrame()) if exhibit.name else exhibit for exhibit in shown]
    outputs.write_json(folder / STUDY, study)
    settings = {name: value for name, value in study.items() if name not in ("shown", "noise")}
    (folder / PAGE).write_text(page_html(title, settings, exhibits), encoding="utf-8")


def finish(
    options: argparse.Namespace,
    scratch: Path,
    write_into: Callable[[Path], dict[str, Any]],
    lines: Callable[[dict[str, Any]], Iterable[str]],
) -> int:
    """Put a study in place and print it. Returns the exit code.

    scratch: a folder beside that place. write_into: fills an empty folder and returns the findings. lines: their text,
    unless they are printed as JSON.
    """
    folder = scratch / "study"
    folder.mkdir()
    study = write_into(folder)
    note = outputs.place(folder, options.out, options.overwrite, refusal)
    told = [*lines(study), f"{options.out / PAGE} shows all of it. {note}".strip()]
    return show(options, {"out": str(options.out), **study}, told)


def in_words(shown: Mapping[str, Sequence[str]], title: str, nothing: str) -> list["Exhibit"]:
    """Return the findings of each part of a study, as pieces of the page. title: with {name}. nothing: text for a part
    without any.
    """
    from analysis.figures.export import Exhibit

    return [Exhibit(title.format(name=name), " ".join(sentences) or nothing) for name, sentences in shown.items()]


refusal = outputs.folder_refusal(
    lambda folder: "shown" in outputs.json_object(folder / STUDY), lambda name: bool(_WRITTEN.fullmatch(name))
)
"""Why a study may not replace a path, as the end of a sentence; "" if it may."""


def file_name(text: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "model"
