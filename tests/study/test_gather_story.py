"""Extra data of the story: masks against those of two calibration seeds, and texts of ablations."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from analysis.engine import JobRecord
from analysis.engine.sweeps import Point
from analysis.pruned.masks_file import MaskWriter
from analysis.specs import CalibrationParams, PruneSpec
from analysis.study.findings import MaskChange
from analysis.study.gather import MasksAsked, compare_masks, continuations_of, masks_asked
from pages.parts.study import choice as compared_masks
from tests.engine.helpers import until
from tests.helpers import tiny_llada

CHANGED, OWN = 0.1, 0.3  # shares of the weights that the discount prunes otherwise, and another seed


@dataclass(frozen=True)
class Left:
    """Result folder of a pruning."""

    folder: Path


class Results:
    """Folders of finished prunings, by job id."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders

    def result(self, record: JobRecord) -> Left | None:
        return Left(self.folders[record.id]) if record.id in self.folders else None


def job(name: str, **summary) -> JobRecord:
    return JobRecord(
        id=name, kind="prune", spec={"prompts": ["One day", "Two days"]}, state="done", created=0.0, summary=summary
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Write pruned models whose masks differ by known shares: a method against its control, and two seeds of each."""
    home = tmp_path_factory.mktemp("pruned")
    dense = Path(tiny_llada(home / "dense", 0))
    weights = load_file(dense / "model.safetensors")
    found = {}
    for method in ("wanda-noised", "sink-wanda"):
        for seed in (0, 1):
            folder = found[f"{method} {seed}"] = home / f"{method}-{seed}"
            shutil.copytree(dense, folder)
            masks, pruned = MaskWriter(folder), {}
            for number, (name, weight) in enumerate(sorted(weights.items())):
                if weight.ndim != 2 or ".blocks." not in name:
                    continue
                draws = np.random.default_rng(number).random((3, *weight.shape))
                kept = draws[0] < 0.5
                kept ^= (draws[1] < OWN) & (seed == 1)
                kept ^= (draws[2] < CHANGED) & (method == "sink-wanda")
                masks.add(name, kept)
                pruned[name] = np.where(kept, weight, 0).astype(weight.dtype)
            save_file(weights | pruned, folder / "model.safetensors", {"format": "pt"})
            masks.save()
    return found


def points(names: list[str], sparsity: float = 0.5) -> list[Point]:
    """Return finished prunings with these names, `method seed`."""
    made = []
    for name in names:
        method, seed = name.rsplit(" ", 1)
        pruning = PruneSpec(method=method, sparsity=sparsity, calibration=CalibrationParams(seed=int(seed)), out="")
        made.append(Point(pruning, None, job(name), None, None, "done"))
    return made


def test_masks_are_compared_with_the_control_and_between_seeds(folders):
    (asked,) = masks_asked(points(list(folders)), Results(folders))
    change = compare_masks(asked)
    assert (change.method, change.against, change.seeds) == ("sink-wanda", "wanda-noised", (0, 1))
    assert change.changed == pytest.approx((CHANGED, CHANGED), abs=0.02)
    assert change.floor == pytest.approx((OWN,), abs=0.02) and change.chance == pytest.approx(0.5, abs=0.01)


def test_nothing_is_said_where_a_mask_or_the_control_is_gone(folders):
    alone = {name: folder for name, folder in folders.items() if name.startswith("sink")}
    assert masks_asked(points(list(folders)), Results(alone)) == ()
    one_seed = [name for name in folders if name.endswith("0")]
    (asked,) = masks_asked(points(one_seed), Results(folders))
    change = compare_masks(asked)
    assert change.floor == () and len(change.changed) == 1


def test_a_page_waits_for_small_masks_alone(folders, monkeypatch):
    (asked,) = masks_asked(points(list(folders)), Results(folders))
    assert compared_masks.compared(asked) == compare_masks(asked), "small ones are compared at once"
    began, goes_on = Event(), Event()

    def slow(of: MasksAsked) -> MaskChange:
        began.set()
        assert goes_on.wait(60)
        return compare_masks(of)

    monkeypatch.setattr(compared_masks, "compare_masks", slow)
    monkeypatch.setattr(compared_masks, "AT_ONCE", 0)
    large = replace(asked, seeds=(1, 0), folders=asked.folders[::-1], control_folders=asked.control_folders[::-1])
    assert compared_masks.compared(large) is None and not compared_masks.is_there(large)
    assert began.wait(60), "it is under way"
    goes_on.set()
    until(lambda: compared_masks.is_there(large))
    change = compared_masks.compared(large)
    assert change is not None and change.changed == compare_masks(large).changed


def test_texts_are_those_of_hidden_sinks_and_of_the_matched_tokens():
    texts = [
        {"intervention": intervention, "target": "sinks", "control": control, "words": [intervention, control]}
        for intervention in ("value", "attention")
        for control in ("matched", "", "mass")
    ]
    before = {"nll_before": [0.0, 0.5], "tokens_before": [1, 8]}
    rows = [{**text, **before, "nll": [0.0, 1.0 + place], "tokens": [1, 4]} for place, text in enumerate(texts)]
    summary = {"texts": texts, "rows": rows, "untouched": ["as", "it", "was"], "shown": 1, "prompts": 2}
    (text,) = continuations_of({"bundled": job("a", **summary)})
    assert (text.hidden, text.matched) == (("attention", ""), ("attention", "matched"))
    assert text.others == {"mass": ("attention", "mass")} and text.untouched == ("as", "it", "was")
    scores = {"matched": (4.0, 4), "": (5.0, 4), "mass": (6.0, 4)}
    assert text.scores == ((0.5, 8), scores), "of the prompt that is shown"
    assert (text.prompt, text.number, text.median_of) == ("Two days", 2, 2)
    assert continuations_of({"bundled": job("a", **{**summary, "texts": texts[:3], "rows": rows[:3]})}) == (), (
        "values alone are hidden"
    )
