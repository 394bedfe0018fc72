"""Attention mass on a calibration text is found once: by tuning, a pruning or a sweep, for all that follow."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis.calibration.activations import feature_scores, mean_token_weights, step_token_weights
from analysis.calibration.known_mass import KnownMass
from analysis.calibration.runners import Resident, Streamed
from analysis.jobs import JOBS
from analysis.models.blocks import skeleton
from analysis.models.load import load
from analysis.specs import CalibrateSpec, CalibrationParams, DiscountParams, EstimateSpec, ModelSpec, PruneSpec
from cache import stores as shared
from cache.stores import Stores
from tests.conftest import GOLDEN, over_golden
from tests.helpers import QuietContext

NOTE = "The dense model's attention mass on this text was read from the store, where an earlier job left it."
CPU = ModelSpec(device="cpu")
LITTLE = CalibrationParams(samples=2, seq_len=32, step_interval=25)
STRONG = DiscountParams(sink_std=0.5, discount_strength=0.9)


@pytest.fixture
def stores(tmp_path):
    with Stores(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def rows(golden):
    return golden[1]["noisy_ids"].numpy().astype(np.int64)


def forwards(runner, monkeypatch):
    """Counts the forwards of a runner's model."""
    ran, hidden = [], runner.model.hidden

    def counted(self, *given, **named):
        ran.append(1)
        return hidden(*given, **named)

    monkeypatch.setattr(type(runner.model), "hidden", counted)
    return ran


@over_golden(budget=(2**40, 0))
def test_another_discount_takes_one_forward_a_batch_and_gives_the_same_bits(golden, rows, stores, budget, monkeypatch):
    model = golden[0]
    feature_scores(Resident(model, KnownMass(stores)), rows, DiscountParams(), budget)
    known = KnownMass(stores)
    runner = Resident(model, known)
    ran = forwards(runner, monkeypatch)
    reading = feature_scores(runner, rows, STRONG, budget)
    told = [reading.facts[name] for name in ("mode", "forwards", "kept_bytes")]
    assert known.read and (told, len(ran)) == (["one forward", 5, 0], 5)
    alone = feature_scores(Resident(model), rows, STRONG, budget)
    for layer, scores in enumerate(alone.scores):
        assert all(torch.equal(score, reading.scores[layer][name]) for name, score in scores.items())


def test_weights_of_tokens_take_no_forward_where_mass_is_known(golden, rows, stores, monkeypatch):
    model = golden[0]
    runner = Resident(model, KnownMass(stores))
    alone = (
        step_token_weights(runner, rows, STRONG, lambda *_: None),
        mean_token_weights(runner, rows, STRONG, lambda *_: None),
    )
    ran, told = forwards(runner, monkeypatch), []
    for weigh, expected in zip((step_token_weights, mean_token_weights), alone, strict=True):
        assert np.array_equal(weigh(runner, rows, STRONG, lambda *done: told.append(done)), expected)
    assert ran == [] and told == []


def test_mass_that_was_found_block_by_block_serves_a_model_in_memory(golden, rows, stores, monkeypatch):
    model = golden[0]
    streamed = Streamed(skeleton(model.spec), 2**30, KnownMass(stores))
    weights = mean_token_weights(streamed, rows, STRONG, lambda *_: None)
    runner = Resident(model, KnownMass(stores))
    ran = forwards(runner, monkeypatch)
    assert np.array_equal(mean_token_weights(runner, rows, STRONG, lambda *_: None), weights) and ran == []


def test_mass_is_that_of_one_model_one_precision_and_one_text(golden, rows, stores):
    model = golden[0]
    batches = [torch.from_numpy(level) for level in rows.transpose(1, 0, 2)]
    known = KnownMass(stores)
    masses = Resident(model, known).masses(batches, lambda: None)
    assert all(np.array_equal(*pair) for pair in zip(known.find(model, batches), masses, strict=True))
    other = [tokens.clone() for tokens in batches]
    other[-1][0, 0] ^= 1
    assert known.find(model, other) is None
    assert known.find(model, [torch.cat(batches)]) is None  # the same rows in other batches
    half = load(model.spec.model_copy(update={"dtype": "bfloat16"}))
    assert known.find(half, batches) is None
    elsewhere = load(
        ModelSpec(source=str(next(path for path in GOLDEN.iterdir() if path.name == "sdar")), device="cpu")
    )
    assert known.find(elsewhere, batches) is None


def test_what_is_damaged_or_not_finite_is_computed_anew(golden, rows, stores, monkeypatch):
    model = golden[0]
    batches = [torch.from_numpy(rows[:, 0])]
    known = KnownMass(stores)
    masses = Resident(model, known).masses(batches, lambda: None)
    contents = {}
    monkeypatch.setattr(stores.shared, "put", contents.__setitem__)
    known.keep(model, batches, [np.full_like(masses[0], np.nan)])
    assert contents == {}
    known.keep(model, batches, masses)
    (whole,) = contents.values()
    for damaged in (whole[:-5], whole[:40], b"", b"\x80\x04}."):
        monkeypatch.setattr(stores.shared, "get", lambda key, damaged=damaged: damaged)
        assert known.find(model, batches) is None
    monkeypatch.setattr(stores.shared, "get", lambda key: whole)
    assert np.array_equal(known.find(model, batches)[0], masses[0])


def test_what_is_too_large_to_share_is_not_kept(stores, monkeypatch):
    monkeypatch.setattr(shared, "LARGEST", 10)
    stores.shared.put("small", b"x" * 10)
    stores.shared.put("large", b"x" * 11)
    assert stores.shared.get("small") == b"x" * 10 and stores.shared.get("large") is None


def run(kind, spec, folder, home):
    folder.mkdir()
    return JOBS[kind].run(spec, QuietContext(folder, home))


def test_tuning_and_prunings_share_the_mass_of_one_text(tmp_path, small):
    """Whoever comes first: the prunings read what tuning found, and come out as those that found it themselves."""
    home = tmp_path / "home"
    tuned = CalibrateSpec(model=small.spec, calibration=LITTLE, heldout=2)
    run("calibrate", tuned, tmp_path / "tuned", home)
    for method in ("sink-wanda", "sink-sparsegpt"):
        pruning = PruneSpec(model=small.spec, method=method, calibration=LITTLE, sparsity=0.6, discount=STRONG)
        run("estimate", EstimateSpec.of(pruning), tmp_path / f"{method} estimate", home)
        reading = run("prune", pruning, tmp_path / f"{method} reading", home)
        alone = run("prune", pruning, tmp_path / f"{method} alone", tmp_path / f"{method} home")
        assert NOTE in reading.summary["report"]["notes"] and NOTE not in alone.summary["report"]["notes"]
        first, second = (load_file(outcome.folder / "model.safetensors") for outcome in (alone, reading))
        assert first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)
    again = run("calibrate", tuned, tmp_path / "again", tmp_path / "sink-wanda home")
    first, second = (
        load_file(path) for path in (again.file, run("calibrate", tuned, tmp_path / "third", tmp_path / "new").file)
    )
    assert first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)
