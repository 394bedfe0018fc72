"""`python -m analysis models`: the models offered by name."""

import argparse
import json
from typing import Any

from analysis.models.checkpoint import find
from analysis.models.registry import MODELS


def add(models: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    models.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Lists them."""
    rows: list[dict[str, Any]] = []
    for name, model in MODELS.items():
        there = find(name) is not None
        rows.append({"name": name, "source": model.source, "here": there, "summary": model.summary})
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:<{width}}  {'on this disk' if row['here'] else 'to download ':<12}  {row['summary']}")
    return 0
