"""`python -m analysis models`: the models offered by name, and their requirements here."""

import argparse
from typing import Any

from analysis.command_line.flags import Fields, as_json, show
from analysis.models.checkpoint import find
from analysis.models.registry import MODELS
from analysis.recording.fits import Fit, fit_of, minutes_of
from analysis.specs import ModelSpec
from cache.environment import gigabytes

ASKED = Fields(ModelSpec, without=("source", "paradigm", "offload"))
FLAGS = (as_json("the models"), ASKED)


def run(options: argparse.Namespace) -> int:
    """List the models, each with its requirements and whether they are met."""
    rows: list[dict[str, Any]] = []
    asked = ASKED.build(options)
    fits = {name: fit_of(model, asked.device, asked.dtype) for name, model in MODELS.items()}
    for name, model in MODELS.items():
        fit, minutes = fits[name], minutes_of(model, fits[name])
        row: dict[str, Any] = {
            "name": name,
            "source": model.source,
            "here": find(name) is not None,
            "summary": model.summary,
        }
        if fit is not None:
            row["fit"] = {
                "verdict": fit.verdict,
                "memory_bytes": fit.memory,
                "device_bytes": fit.room.total,
                "device": fit.room.device,
                "dtype": fit.dtype,
                "download_bytes": fit.disk,
                "disk_free_bytes": fit.free_disk,
                "counted": fit.counted,
                "recording_seconds": None if minutes is None else round(60 * minutes, 1),
                "sentence": fit.sentence,
            }
        rows.append(row)
    lines: list[str] = []
    known = next((fit for fit in fits.values() if fit is not None), None)
    if known is not None:
        where = {"cpu": "memory", "mps": "memory", "cuda": "GPU memory"}[known.room.device]
        lines.append(
            f"This machine: {gigabytes(known.room.total)} of {where}, {gigabytes(known.free_disk)} of disk free. Needs "
            f"are those of {known.dtype}.\n"
        )
    width = max(map(len, fits))
    for row in rows:
        fit = fits[row["name"]]
        lines.append(f"{row['name']:<{width}}  {'' if fit is None else _need(row, fit)}".rstrip())
        lines.append(f"    {row['summary']}{f' {fit.advice}' if fit is not None and fit.advice else ''}")
    return show(options, rows, lines)


def _need(row: dict[str, Any], fit: Fit) -> str:
    """Verdict, memory, download and time of a model, in columns."""
    about = "" if fit.counted else "~"
    there = "on this disk" if row["here"] else f"{about}{gigabytes(fit.disk)} to download"
    seconds = row["fit"]["recording_seconds"]
    takes = "" if seconds is None or fit.verdict == "does not fit" else f"a recording: {_time(seconds)}"
    return f"{fit.verdict:<12}  {about + gigabytes(fit.memory):>9} of memory  {there:<20}  {takes}"


def _time(seconds: float) -> str:
    return "seconds" if seconds < 10 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
