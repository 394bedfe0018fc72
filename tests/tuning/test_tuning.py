"""Stored statistics and what is computed from them, against the exact path of pruning."""

import dataclasses
import gc
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from transformers import LlamaConfig, LlamaModel

from analysis.calibration.activations import feature_scores
from analysis.calibration.runners import Resident
from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.models.load import load
from analysis.pruning.selection import lowest
from analysis.sinks.discount import step_weights, token_weights
from analysis.specs import (
    CalibrateSpec,
    CalibrationParams,
    DiscountParams,
    HeldoutSpec,
    ModelSpec,
    PruneSpec,
    SeedFloorSpec,
    StepParams,
    TuneParams,
)
from analysis.tuning import collect, effects
from analysis.tuning.bin_error import GENTLE, PROBES, random_settings, shares
from analysis.tuning.collect import chosen_rows, plan
from analysis.tuning.statistics_file import create, finish, joined, open_statistics
from tests.conftest import GOLDEN
from tests.helpers import QuietContext
from tests.tuning.exact import DISCOUNTS, SPARSITY, calibrated, changes, check_changes, token_file

# --- the bar: bits that change ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "grouping"), [("llada-mha", "bins"), ("llada-gqa", "tokens"), ("dream-gqa", "bins")])
def test_changed_bits_of_golden_checkpoints(name, grouping, tmp_path):
    data = token_file(tmp_path / "text.jsonl", 24, 48)
    source = ModelSpec(source=str(GOLDEN / name), device="cpu")
    spec = CalibrateSpec(
        model=source,
        calibration=CalibrationParams(data=data, samples=4, seq_len=48, step_interval=10),
        grouping=grouping,
        layer_scope=True,
        heldout=2,
    )
    named = [
        TuneParams(discount=discount)
        for name, discount in DISCOUNTS.items()
        if grouping == "tokens" or name != "mean over steps"
    ]
    statistics = calibrated(spec, tmp_path)
    drawn = random_settings(2, 99, ("model", "layer"), statistics.info.levels, spec.calibration)
    check_changes(load(source), statistics, named + drawn)


def test_changed_bits_of_the_bundled_model(bundled, tmp_path):
    spec = CalibrateSpec(
        model=bundled.spec,
        calibration=CalibrationParams(samples=2, seq_len=160, step_interval=25),
        grouping="bins",
        heldout=1,
    )
    statistics = calibrated(spec, tmp_path)
    hardest = [
        TuneParams(discount=DiscountParams(alpha_unit="std", sink_alpha=1.0, sink_std=threshold))
        for threshold in (0.0, 6.0)
    ]
    beyond = TuneParams(discount=DiscountParams(sink_score="hard", sink_std=5.5))
    drawn = random_settings(1, 99, ("model",), statistics.info.levels, spec.calibration)
    check_changes(bundled, statistics, [TuneParams(), *hardest, beyond, *drawn])


COARSE = tuple(step / 10 for step in range(63))
"""Edges of bins of which one holds all z below 0."""


def test_the_error_of_bins_is_measured_on_the_stored_text(bundled, tmp_path):
    """What is shown is what the path of pruning gives for those very settings; it would show bins that are worse."""
    spec = CalibrateSpec(
        model=bundled.spec,
        calibration=CalibrationParams(samples=2, seq_len=160, step_interval=25),
        grouping="bins",
        layer_scope=True,
        heldout=1,
    )
    statistics = calibrated(spec, tmp_path)
    errors = statistics.info.bin_errors
    assert len(errors) == PROBES
    assert {error.setting.discount.sink_scope for error in errors} == {"model", "layer"}
    assert errors[0].setting == GENTLE[0]
    for error in (errors[0], errors[-1]):
        counts = changes(bundled, statistics, error.setting)
        # The scores are summed in another order, which can turn a bit or two of millions.
        assert np.abs(counts - (error.changed, error.missed, error.false)).max() <= 4
    found = shares(errors)
    assert found.missed < 0.05 and found.false < 0.05 and found.settings == PROBES
    with pytest.MonkeyPatch.context() as patch:
        for module in ("analysis.tuning.collect", "analysis.jobs.calibration"):
            patch.setattr(f"{module}.EDGES", COARSE)
        patch.setattr("analysis.tuning.collect.bins_of", lambda z: effects.bins_of(z, COARSE))
        patch.setattr("analysis.tuning.collect.BINS", len(COARSE) + 1)
        worse = shares(calibrated(spec, tmp_path).info.bin_errors)
    assert worse.missed > 3 * found.missed


@pytest.mark.parametrize(
    ("discount", "steps"),
    [
        ("published", TuneParams(step_weighting="noisy")),
        ("mean over steps", TuneParams(first_step=20, last_step=30)),
        (None, TuneParams(step_weighting="noisy")),
        (None, TuneParams(first_step=20, last_step=30)),
    ],
)
def test_a_pruning_weighs_steps_as_the_tuning_does(stored, discount, steps, tmp_path):
    statistics = stored[0]
    spec = statistics.info.spec
    params = DISCOUNTS.get(discount, DiscountParams(discount_strength=0.0))
    asked = PruneSpec(
        model=spec.model,
        method="wanda-noised" if discount is None else "sink-wanda",
        calibration=spec.calibration,
        discount=params,
        steps=StepParams(**steps.model_dump(exclude={"discount", "sparsity"})),
        out=str(tmp_path / "pruned"),
    )
    JOBS["prune"].run(asked, QuietContext(tmp_path))
    pruned = load(ModelSpec(source=asked.out, device="cpu"))
    info = statistics.info
    levels = step_weights(info.levels, spec.calibration.diffusion_steps, steps)
    weights = statistics.group_weights(params)[:, :, 0]
    alike = np.ones_like(levels)
    wrong = moved = 0
    for index in range(info.layers):
        layer = statistics.layer(index, params)
        for name, given_to in layer.inputs.items():
            sums = effects.scores_by_step(layer.squares[given_to], weights, alike)
            ours, even = (effects.pruned_mask(layer.weights[name], c @ sums, SPARSITY) for c in (levels, alike))
            theirs = pruned.projections(pruned.blocks[index])[name].weight.detach().numpy() == 0
            wrong += (ours != theirs).sum()
            moved += (ours != even).sum()
    assert moved > 100 and wrong <= 0.01 * moved


def test_steps_without_any_of_the_calibration_are_refused_in_a_sentence(stored, tmp_path):
    spec = stored[0].info.spec
    asked = PruneSpec(
        model=spec.model,
        calibration=spec.calibration,
        steps=StepParams(first_step=1, last_step=4),
        out=str(tmp_path / "pruned"),
    )
    with pytest.raises(UserError, match="Widen it"):
        JOBS["prune"].run(asked, QuietContext(tmp_path))


# --- the file ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Statistics of a golden checkpoint by token, and its model."""
    folder = tmp_path_factory.mktemp("stored")
    source = ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu")
    data = token_file(folder / "text.jsonl", 16, 32)
    calibration = CalibrationParams(data=data, samples=3, seq_len=32, step_interval=10)
    return calibrated(CalibrateSpec(model=source, calibration=calibration, heldout=2), folder), load(source)


def test_a_file_says_what_it_holds_and_holds_what_a_pruning_reads(stored):
    from analysis.calibration.noise import noised_sequences

    statistics, model = stored
    info, arrays = statistics.info, statistics.arrays
    assert info.grouping == "tokens" and info.levels == (10, 20, 30, 40, 50)
    assert info.fingerprint == model.fingerprint and info.environment["versions"]["torch"]
    assert {info.spec.calibration.seed, info.other_seed, info.heldout_seed} == {0, 1, 2}
    again = noised_sequences(arrays["tokens"].astype(np.int64), info.spec.calibration, model.mask_token)
    assert np.array_equal(arrays["noised"], again)
    assert set(np.unique(arrays["noised"]).tolist()) <= set(info.tokens)
    for name, module in model.projections(model.blocks[1]).items():
        assert np.array_equal(arrays[f"weight.1.{name}"], module.weight.detach().float().numpy())


def test_the_other_seed_is_a_calibration_of_its_own(stored):
    from analysis.calibration.noise import noised_sequences
    from analysis.calibration.text import calibration_text

    statistics, model = stored
    params = statistics.info.spec.calibration.model_copy(update={"seed": 1})
    geometry = model.geometry
    text = calibration_text(params, None, geometry.max_length, geometry.vocabulary).tokens
    scores = feature_scores(Resident(model), noised_sequences(text, params, model.mask_token), None, 0).scores
    for layer in range(geometry.layers):
        one = statistics.layer(layer, DiscountParams())
        for name, given_to in one.inputs.items():
            assert one.other_seed[given_to].sum(axis=0) == pytest.approx(scores[layer][name].numpy(), rel=1e-5)


def test_a_model_read_block_by_block_leaves_the_same(stored, tmp_path):
    statistics, _ = stored
    again = calibrated(statistics.info.spec.model_copy(update={"streaming": "always"}), tmp_path)
    for name, array in statistics.arrays.items():
        assert np.allclose(array, again.arrays[name], rtol=1e-4, atol=1e-5), name


def test_squares_by_token_take_one_forward_a_batch_however_little_memory_there_is(stored, tmp_path, monkeypatch):
    statistics, _ = stored
    monkeypatch.setattr(collect, "kept_bytes", lambda *_: 2**60)
    context = QuietContext(tmp_path)
    again = open_statistics(JOBS["calibrate"].run(statistics.info.spec, context).file)
    said = [phase for phase, *_ in context.said]
    assert "activations" in said and "attention mass" not in said
    assert all(np.array_equal(array, statistics.arrays[name]) for name, array in again.arrays.items())


def test_the_output_error_is_that_of_the_outputs(stored, tmp_path):
    statistics, model = stored
    layer = statistics.layer(0, DiscountParams())
    spec = statistics.info.spec
    heldout = _heldout(model, spec)
    name = next(iter(layer.inputs))
    seen = []
    Resident(model).inputs(
        [torch.from_numpy(heldout[:, level]) for level in range(heldout.shape[1])],
        lambda batch, index, first, given_to, routed: seen.append(given_to) if (index, first) == (0, name) else None,
        lambda: None,
    )
    inputs = torch.cat([given_to.flatten(0, 1) for given_to in seen]).double().numpy()
    weight = layer.weights[name].astype(np.float64)
    pruned = effects.pruned_mask(layer.weights[name], layer.plain[name].sum(axis=0), SPARSITY)
    direct = np.linalg.norm(inputs @ np.where(pruned, weight, 0).T) / np.linalg.norm(inputs @ weight.T)
    energy = effects.output_energy(layer.weights[name], layer.grams[name])
    assert energy == pytest.approx(np.linalg.norm(inputs @ weight.T) ** 2, rel=1e-4)
    error = effects.output_error(layer.weights[name], pruned, layer.grams[name], energy)
    assert error == pytest.approx(direct, rel=1e-4)


def _heldout(model, spec):
    from analysis.jobs.calibration import _texts

    texts, _ = _texts(model, model.mask_token, spec)
    rows = {row.tobytes() for row in texts.noised[:, 0]} | {row.tobytes() for row in texts.other[:, 0]}
    assert not rows & {row.tobytes() for row in texts.heldout[:, 0]}
    return texts.heldout


@pytest.mark.parametrize("damage", ["cut", "text", "swapped"])
def test_a_damaged_file_is_refused_with_a_sentence(stored, damage, tmp_path):
    statistics, _ = stored
    path = tmp_path / "damaged.safetensors"
    whole = next(iter(statistics.arrays.values()))
    while not isinstance(whole, np.memmap) or whole.filename is None:
        whole = whole.base
    content = Path(whole.filename).read_bytes()
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "text":
        content = b"not a safetensors file at all"
    else:
        content = content.replace(b'"plain.0', b'"plaim.0', 1)
    path.write_bytes(content)
    with pytest.raises(UserError, match="Calibrate again"):
        open_statistics(path)


def test_a_file_of_an_earlier_version_holds_its_parts_itself(stored, tmp_path):
    statistics, path = stored[0], tmp_path / "earlier.safetensors"
    shapes = {name: (array.shape, array.dtype.type) for name, array in statistics.arrays.items()}
    for name, array in create(path, shapes, 2**16).items():
        array[...] = statistics.arrays[name]
    told = statistics.info.model_dump(mode="json", exclude={"apart"})
    finish(path, type(statistics.info).model_validate(told), 2**16)
    earlier = open_statistics(path)
    assert earlier.missing == () and earlier.has_floor and earlier.has_grams
    ours, theirs = (effect(each, 1, TuneParams()) for each in (statistics, earlier))
    assert np.array_equal(ours.floor, theirs.floor) and np.array_equal(ours.error, theirs.error)


def test_masks_need_no_part_and_floor_and_error_are_none_without(stored, tmp_path):
    whole = stored[0]
    alone = open_statistics(JOBS["calibrate"].run(whole.info.spec, QuietContext(tmp_path)).file)
    assert alone.missing == ("seed_floor", "heldout") and not alone.has_floor and not alone.has_grams
    ours, theirs = (effect(each, 1, TuneParams()) for each in (whole, alone))
    assert np.array_equal(ours.changed, theirs.changed) and theirs.changed.any()
    assert np.isnan(theirs.floor).all() and np.isnan(theirs.error).all() and not np.isnan(ours.floor).any()


def test_a_part_of_other_statistics_or_a_damaged_one_is_refused(stored, tmp_path):
    spec = stored[0].info.spec
    alone = open_statistics(JOBS["calibrate"].run(spec, QuietContext(tmp_path)).file)
    part = JOBS["heldout"].run(HeldoutSpec(**dict(spec)), QuietContext(tmp_path)).file
    assert joined(alone, part).has_grams
    other = spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"seed": 5})})
    unlike = JOBS["seed_floor"].run(SeedFloorSpec(**dict(other)), QuietContext(tmp_path)).file
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(part.read_bytes()[:-5])
    misnamed = tmp_path / "misnamed.safetensors"
    misnamed.write_bytes(part.read_bytes().replace(b'"gram.1', b'"grum.1'))
    for path in (unlike, cut, misnamed):
        with pytest.raises(UserError, match="no part of these statistics"):
            joined(alone, path)


def test_writing_and_opening_a_file_leaves_no_handle_open(stored, tmp_path):
    statistics = stored[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        unraisable, sys.unraisablehook = sys.unraisablehook, lambda found: leaks.append(found.exc_value)
        leaks: list[BaseException | None] = []
        try:
            path = tmp_path / "again.safetensors"
            shapes = {name: (array.shape, array.dtype.type) for name, array in statistics.arrays.items()}
            for name, array in create(path, shapes, 2**16).items():
                array[...] = statistics.arrays[name]
            finish(path, statistics.info, 2**16)
            open_statistics(path)
            gc.collect()
        finally:
            sys.unraisablehook = unraisable
    assert not leaks


def test_a_budget_stores_fewer_sequences_and_says_so(bundled, tmp_path):
    calibration = CalibrationParams(samples=3, seq_len=32, step_interval=25)
    each = 4 * 2 * 32 * 9216  # bytes: two levels of 32 tokens with the bundled model's features
    spec = CalibrateSpec(model=bundled.spec, calibration=calibration, byte_budget=2 * each + 1, heldout=1)
    statistics = calibrated(spec, tmp_path)
    assert len(statistics.mass) == 2
    assert any("2 of the 3 sequences" in note for note in statistics.info.notes)
    too_long = spec.model_copy(
        update={"byte_budget": 2**20, "calibration": calibration.model_copy(update={"step_interval": 5})}
    )
    with pytest.raises(UserError, match="one sequence"):
        calibrated(too_long, tmp_path)


class OfSizes:
    """As much of a runner as a plan reads: Llama's blocks of the given sizes, without any weights."""

    def __init__(self, like, layers, hidden, mlp):
        with torch.device("meta"):
            config = LlamaConfig(
                hidden_size=hidden,
                intermediate_size=mlp,
                num_hidden_layers=1,
                num_attention_heads=hidden // 128,
                vocab_size=8,
            )
            block = LlamaModel(config).layers[0]
        self.model = SimpleNamespace(
            blocks=[block] * layers, projections=like.projections, architecture=like.architecture
        )
        self.groups = Resident(like).groups[:1] * layers


def test_the_defaults_fit_a_model_of_eight_billion_weights(bundled):
    llada = OfSizes(bundled, 32, 4096, 12288)
    spec = CalibrateSpec()
    found = plan(llada, spec, 10, spec.calibration.seq_len)
    assert found.sequences == 4 and found.grouping == "tokens"
    assert any("4 of the 32 sequences fit 8.1 GB" in note for note in found.notes)
    assert plan(OfSizes(bundled, 4, 256, 1024), spec, 10, 64).sequences == 32


@pytest.mark.parametrize("grouping", ["auto", "tokens", "bins"])
@pytest.mark.parametrize("length", [48, 200, 1024])
def test_every_advice_of_what_does_not_fit_makes_it_fit(bundled, grouping, length):
    llada = OfSizes(bundled, 32, 4096, 12288)
    text = CalibrationParams(samples=4, seq_len=length)
    spec = CalibrateSpec(calibration=text, byte_budget=2**30, grouping=grouping)
    spec = spec if length > 48 or grouping == "bins" else spec.model_copy(update={"byte_budget": 2**29})
    with pytest.raises(UserError, match="squares of one sequence take") as caught:
        plan(llada, spec, 10, length)
    advice = dict(re.findall(r"--([a-z-]+) (\w+)", str(caught.value)))
    assert len(advice) >= 2 and ("seq-len" in advice) == (grouping != "bins")
    for flag, value in advice.items():
        tried = spec.model_copy(update={"byte_budget": int(value)}) if flag == "byte-budget" else spec
        levels = 50 // int(value) if flag == "step-interval" else 10
        tokens = int(value) if flag == "seq-len" else length
        assert plan(llada, tried, levels, tokens).sequences >= 1, flag


def test_bins_are_advised_where_they_fit(bundled):
    spec = CalibrateSpec(calibration=CalibrationParams(samples=1), byte_budget=2**22, grouping="tokens")
    small = OfSizes(bundled, 1, 128, 256)
    with pytest.raises(UserError, match="--grouping bins"):
        plan(small, spec, 10, 512)
    assert plan(small, spec.model_copy(update={"grouping": "bins"}), 10, 512).sequences == 1


def test_a_model_without_a_mask_token_is_refused(tmp_path):
    with pytest.raises(UserError, match="no mask token"):
        calibrated(CalibrateSpec(model=ModelSpec(source="bundled-ar", device="cpu")), tmp_path)


# --- formulas ---------------------------------------------------------------------------------------------------


def effect(statistics, index, params):
    info = statistics.info
    weights = statistics.group_weights(params.discount)
    steps = step_weights(info.levels, info.spec.calibration.diffusion_steps, params)
    layer = statistics.layer(index, params.discount)
    plain = effects.plain_layer(layer, steps, params.sparsity)
    return effects.layer_effect(layer, plain, weights[:, :, 0], steps, params.sparsity)


def test_no_discount_changes_nothing_and_the_floor_stands_beside_it(stored):
    found = effect(stored[0], 0, TuneParams(discount=DiscountParams(discount_strength=0)))
    assert not found.changed.any() and not any(shift.any() for shift in found.shifts.values())
    assert (found.floor > 0).all() and (found.spread == 0).all()
    assert np.array_equal(found.error, found.plain_error)
    discounted = effect(stored[0], 0, TuneParams())
    assert (discounted.changed > 0).all() and not np.array_equal(discounted.error, found.error)


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_the_interval_of_sampled_rows_holds_the_share_of_all_rows_as_often_as_it_says(stored, share):
    """Rows are drawn again and again from a model whose rows are all stored, so that the share is known."""
    params = TuneParams(discount=DISCOUNTS["weak and low"])
    statistics = stored[0]
    steps = step_weights(statistics.info.levels, statistics.info.spec.calibration.diffusion_steps, params)
    groups = statistics.group_weights(params.discount)[:, :, 0]
    held = []
    for index in range(statistics.info.layers):
        layer = statistics.layer(index, params.discount)
        truth = effect(statistics, index, params).changed
        for seed in range(150):
            weights = {
                name: weight[chosen_rows(len(weight), round(share * len(weight)), (seed, index, place))]
                for place, (name, weight) in enumerate(layer.weights.items())
            }
            drawn = dataclasses.replace(layer, weights=weights, grams={})
            found = effects.layer_effect(
                drawn, effects.plain_layer(drawn, steps, params.sparsity), groups, steps, params.sparsity
            )
            held.append(np.abs(found.changed - truth) <= found.spread)
    assert 0.93 <= np.mean(held) <= 0.97


def test_a_large_model_stores_some_rows_and_says_how_far_its_shares_may_be_off(stored, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.tuning.collect.ALL_ROWS", 0)
    monkeypatch.setattr("analysis.tuning.collect.SAMPLED_ROWS", 24)
    params = TuneParams(discount=DISCOUNTS["weak and low"])
    statistics = calibrated(stored[0].info.spec, tmp_path)
    assert statistics.sampled and not stored[0].sampled
    near = []
    for index in range(statistics.info.layers):
        found, truth = effect(statistics, index, params), effect(stored[0], index, params)
        whole = np.array(list(statistics.info.outputs[index].values()))
        assert ((found.spread > 0) == (whole > 24)).all()
        near.append(np.abs(found.changed - truth.changed) <= 2 * found.spread + 1e-12)
    assert np.mean(near) > 0.9


def test_steps_left_out_do_not_count(stored):
    one = effect(stored[0], 0, TuneParams(first_step=20, last_step=20))
    levels = stored[0].info.levels
    assert step_weights(levels, 50, TuneParams(first_step=20, last_step=30)).tolist() == [0, 1, 1, 0, 0]
    noisy = step_weights(levels, 50, TuneParams(step_weighting="noisy"))
    clean = step_weights(levels, 50, TuneParams(step_weighting="clean"))
    assert noisy.tolist() == [0.2, 0.4, 0.6, 0.8, 1.0] and (np.diff(clean) < 0).all() and clean[-1] > 0
    assert not np.array_equal(one.floor, effect(stored[0], 0, TuneParams()).floor)


def test_what_bins_cannot_serve_says_that_it_needs_a_run():
    for discount in (DISCOUNTS["mean over steps"], DISCOUNTS["own sinks a layer"]):
        assert "needs a run" in effects.why_needs_a_run("bins", ("model",), discount)
        assert effects.why_needs_a_run("tokens", ("model",), discount) == ""
    assert effects.why_needs_a_run("bins", ("model", "layer"), DISCOUNTS["own sinks a layer"]) == ""


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, (3, 12), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])), st.integers(0, 12))
def test_the_lowest_of_rows_are_those_pruning_takes(score, count):
    assert np.array_equal(effects.lowest(score, count), lowest(torch.from_numpy(score), count).numpy())


@pytest.mark.parametrize("discount", [DiscountParams(), DISCOUNTS["α in std"], DISCOUNTS["hard"]], ids=str)
def test_the_curve_is_the_weight_of_the_tokens_on_it(stored, discount):
    mass = stored[0].mass[:1, :1]  # one row, so that the curve has no spread
    curve = effects.discount_curve(mass, discount, np.ones(1), 0)
    z = effects.standardised_mass(mass, "model").ravel()
    weights = np.sqrt(effects.group_weights(mass, "tokens", discount)).ravel()
    between = np.interp(z, curve.z, curve.median)
    near = np.abs(z - discount.sink_std) > 0.1  # not on the step of a hard score
    assert between[near] == pytest.approx(weights[near], abs=0.02)
    assert curve.counts.sum() == z.size and np.array_equal(curve.low, curve.high)


@pytest.mark.parametrize("discount", [*DISCOUNTS.values(), DiscountParams(discount_strength=0.3)], ids=str)
def test_the_curve_lies_among_the_weights_of_every_row(stored, discount):
    """Each step's tokens lie on a curve of their own; the curve shown is the middle of these."""
    if discount.sink_steps == "mean":
        discount = discount.model_copy(update={"sink_steps": "each"})  # the curve is of a step's own scores
    mass, layer = stored[0].mass, 1
    curve = effects.discount_curve(mass, discount, np.ones(mass.shape[1]), layer)
    shown = layer if discount.sink_scope == "layer" else 0
    z = effects.standardised_mass(mass, discount.sink_scope)[:, :, shown]
    weights = token_weights(mass, discount)[:, :, shown]
    near = np.abs(z - discount.sink_std) > 0.1
    low, high = (np.interp(z, curve.z, line) for line in (curve.low, curve.high))
    inside = (weights >= low - 0.01) & (weights <= high + 0.01)
    assert inside[near].mean() > 0.75, "the band holds the middle 80 % of steps"
    assert curve.counts.sum() == z.size
