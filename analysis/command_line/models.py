"""`python -m analysis models`: the models offered by name, and what each needs here."""

import argparse
import json
from typing import Any, get_args

from analysis.models.checkpoint import find
from analysis.models.registry import MODELS
from analysis.recording.fits import fit_of
from analysis.specs import ModelSpec


def add(models: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    models.add_argument("--json", action="store_true", help="print JSON")
    for name in ("device", "dtype"):
        field = ModelSpec.model_fields[name]
        models.add_argument(
            f"--{name}", choices=get_args(field.annotation), default=field.default, help="what each model would run in"
        )


def run(options: argparse.Namespace) -> int:
    """Lists them, each with what it needs and whether that fits."""
    rows: list[dict[str, Any]] = []
    for name, model in MODELS.items():
        fit = fit_of(model, options.device, options.dtype)
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
                "sentence": fit.sentence,
            }
        rows.append(row)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        there = "on this disk" if row["here"] else "to download"
        said = row.get("fit", {}).get("sentence", "")
        print(f"{row['name']:<{width}}  {there:<12}  {row['summary']} {said}")
    return 0
