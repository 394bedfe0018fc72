"""What runs are called beside each other on Masks."""

from types import SimpleNamespace
from typing import Any, cast

from pages.parts.masks.pruned_models import Pruned, short_labels, titles_apart
from tests.helpers import pruned_run

FAR = " · model llada2 · calibration text text.jsonl · sequence length 32"


def run(label_ends: str = FAR, name: str = "", **changes: Any) -> Pruned:
    """A run whose label also holds what tells it from others of the store. name: that somebody gave it."""
    report = pruned_run(**changes)
    label = name or report.title + label_ends
    return Pruned(label, label, cast(Any, SimpleNamespace(stamp=label)), report)


def test_runs_are_called_by_what_tells_them_from_those_beside_them():
    seeds = [run(method="wanda-noised", calibration={"seed": seed}) for seed in (0, 1)]
    assert short_labels(seeds) == ["Wanda noised seed 0 · 50 %", "Wanda noised seed 1 · 50 %"]
    alike = [run(method="wanda-noised", calibration={"samples": samples}) for samples in (16, 32)]
    assert short_labels(alike) == [f"Wanda noised seed 0 · 50 % · samples {samples}" for samples in (16, 32)]


def test_a_name_that_somebody_gave_stays():
    assert short_labels([run(name="my best"), run(method="wanda")])[0] == "my best"


def test_captions_tell_two_runs_of_one_method_and_sparsity_apart_whatever_they_are_called():
    alike = [
        run(name=name, method="sink-wanda", calibration={"samples": samples})
        for name, samples in (("a", 16), ("b", 32))
    ]
    assert titles_apart(alike) == [f"{alike[0].run.title} · samples {samples}" for samples in (16, 32)]
