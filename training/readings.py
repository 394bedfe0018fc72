"""Numbers kept of trained pairs: where they are, and how a card writes them.

The pair that ships has its numbers beside its weights. Pairs trained from other seeds, whose weights do not ship, have
theirs in `READINGS`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from analysis.models.registry import BUNDLED

KINDS = ("diffusion", "autoregressive")
FOLDERS = {kind: BUNDLED / kind for kind in KINDS}
READINGS = Path(__file__).parent / "readings"
MEASUREMENTS, TRAINING, WEIGHTS = "measurements.json", "training.json", "model.safetensors"

Numbers = dict[str, Any]


def digest(path: Path) -> str:
    """Return the SHA-256 of a weight file, which ties the numbers to these very weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(kind: str, name: str, pair: Path = BUNDLED) -> Numbers | None:
    """Return the numbers kept of a model of a pair, or None where there are none."""
    path = pair / kind / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def trainings() -> dict[int, Path]:
    """Return the folders that hold the numbers of all measured pairs, by seed; the pair that ships first."""
    found = [BUNDLED, *sorted(READINGS.glob("seed-*"))]
    whole = [pair for pair in found if all(read(kind, MEASUREMENTS, pair) for kind in KINDS)]
    return {training["seed"]: pair for pair in whole if (training := read("diffusion", TRAINING, pair))}


def percent(values: list[float]) -> str:
    """[share, low, high] as '92.1 (89.4–94.2)'."""
    share, low, high = (100 * value for value in values)
    return f"{share:.1f} ({low:.1f}–{high:.1f})"


def points(values: list[float]) -> str:
    """A signed difference of shares with its interval, in points."""
    share, low, high = (100 * value for value in values)
    return f"{share:+.1f} ({low:+.1f} to {high:+.1f})"


def number(values: list[float] | None, digits: int = 2) -> str:
    """[mean, low, high] as '2.31 (2.10–2.52)'; a dash where nothing could be measured."""
    if values is None:
        return "–"
    mean, low, high = values
    return f"{mean:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
