"""The tables of sets of recordings: where the sinks are by layer and kind, how many by other ways of counting, how they
move beside their nulls, and every prompt; and their layers, kinds of token and numbers as sentences write them. NumPy
and pandas only.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis import words
from analysis.recording import set_measures
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import KIND_MEASURES, MOVES, count_by_variant
from analysis.sinks.intervals import Estimates
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from analysis.words import runs

Sets = Mapping[str, RecordingSet]
"""Sets by name, one row of a figure each."""

ENDS = ("value", "low", "high")
ALL_KINDS, OBSERVED, AS_SET, COUNT = "all kinds", "observed", "as set", "sinks per step"


def prompts_of(sets: Sets) -> dict[str, int]:
    """Return the number of prompts of each set."""
    return {name: recordings.prompts for name, recordings in sets.items()}


def kind_table(sets: Sets) -> pd.DataFrame:
    """Every row of `KIND_MEASURES` by model, layer and kind, with intervals, of the trained and of other weights; count
    and share also of all kinds together.
    """
    tables = []
    for name, recordings in sets.items():
        kinds = list(recordings.kinds)
        for which in ("trained", *recordings.weight_nulls):
            for row in KIND_MEASURES.values():
                estimates, of = set_measures.by_kind(recordings, row.name, which), kinds
                if row.name in ("count", "corrected-share"):
                    together = set_measures.of_all_kinds(recordings, row.name, which)
                    estimates, of = _beside(estimates, together), [*kinds, ALL_KINDS]
                labels = {
                    "model": name,
                    "weights": which,
                    "layer": np.repeat(recordings.scopes, len(of)),
                    "kind": of * len(recordings.scopes),
                    "measure": row.title,
                }
                tables.append(_table(labels, estimates))
    return pd.concat(tables).dropna(subset="value").reset_index(drop=True)


def movement_table(sets: Sets) -> pd.DataFrame:
    """Every row of `MOVES` and how long a sink lives, by model and layer, with intervals, and the same of the nulls."""
    tables = []
    for name, recordings in sets.items():
        weights = recordings.weight_nulls
        for row in (*MOVES.values(), KIND_MEASURES["life"]):
            estimated = set_measures.moves if row.name in MOVES else set_measures.of_all_kinds
            for which in ("trained", *MOVEMENT_NULLS):
                if which not in weights and (which in WEIGHT_NULLS or (which != "trained" and row.name not in MOVES)):
                    continue
                of = OBSERVED if which == "trained" else MOVEMENT_NULLS[which].title
                labels = {"model": name, "layer": recordings.scopes, "measure": row.title, "of": of}
                tables.append(_table(labels, estimated(recordings, row.name, which)))
    return pd.concat(tables).reset_index(drop=True)


def count_table(sets: Sets) -> pd.DataFrame:
    """Sinks per step by model, layer and way of counting, with intervals; no rows of sets without other ways."""
    tables = []
    for name, recordings in sets.items():
        counted = count_by_variant(recordings)
        if counted:
            counted = {AS_SET: set_measures.of_all_kinds(recordings, "count"), **counted}
        for how, estimates in counted.items():
            labels = {"model": name, "layer": recordings.scopes, "counted": how}
            tables.append(_table(labels, estimates).rename(columns={"value": COUNT}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _table(labels: Mapping[str, object], estimates: Estimates) -> pd.DataFrame:
    return pd.DataFrame({**labels, **{end: getattr(estimates, end).ravel() for end in ENDS}})


def _beside(by_kind: Estimates, together: Estimates) -> Estimates:
    """Values by scope and kind (G, K) with one more column."""
    return Estimates(*(np.column_stack([getattr(by_kind, end), getattr(together, end)]) for end in ENDS))


def prompt_table(recordings: RecordingSet) -> pd.DataFrame:
    """Every prompt, what the model wrote, and its own numbers over all layers together."""
    arrays = set_measures.arrays_of(recordings, "trained")
    sinks = arrays["sinks"].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = arrays["share"][:, :-1].sum(axis=(1, 2)) / sinks[:, :-1].sum(axis=1)
    return pd.DataFrame(
        {
            "prompt": [prompt.text for prompt in recordings.info.prompts],
            "written": [prompt.written for prompt in recordings.info.prompts],
            "tokens": [prompt.tokens for prompt in recordings.info.prompts],
            "steps": [prompt.steps for prompt in recordings.info.prompts],
            "sinks per step and layer": sinks[:, :-1].mean(axis=1) / arrays["steps"],
            "attention of a sink, × even split": share,
        }
    )


_LEAST = 0.0001  # smaller numbers are not written out
KIND_LABELS = {"[MASK]": "masked", "first": "first token", "last": "last token"}
"""The kinds as legends name them."""
SINGULAR = ("first", "last", "punctuation")
"""The kinds whose title takes a verb in the singular."""


def layers_in_words(layers: np.ndarray, count: int) -> str:
    """'Layer 3', 'Layers 0–2 and 5', 'All 8 layers'."""
    numbers = sorted(int(layer) for layer in layers)
    if len(numbers) == count > 1:
        return f"All {count} layers"
    parts = [
        f"{first}" if first == last else f"{first}{'–' if last - first > 1 else ', '}{last}"
        for first, last in runs(numbers)
    ]
    *others, last = [part for piece in parts for part in piece.split(", ")]
    return f"Layer{'s' if len(numbers) > 1 else ''} {', '.join(others) + ' and ' if others else ''}{last}"


def spread(values: np.ndarray, percent: bool) -> str:
    """The least and the largest of values as sentences write them: '0.1 to 0.2'."""
    low, high = np.nanmin(values), np.nanmax(values)
    lowest, highest = (number(value, percent) for value in (low, high))
    return lowest if lowest == highest else f"{lowest} to {highest}"


def number(value: float, percent: bool) -> str:
    """A value as sentences write it: two significant digits, and all before the point."""
    if percent:
        return words.percent(value, 0)
    if 0 < value < _LEAST:
        return f"less than {_LEAST}"
    return f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"
