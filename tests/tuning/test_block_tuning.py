"""Tuning of models trained block by block: what stored statistics say is what a pruning does, bit for bit."""

import numpy as np
import pytest

from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.models.load import load
from analysis.specs import (
    CalibrateSpec,
    CalibrationParams,
    ModelSpec,
    PruneSpec,
    StatisticsParams,
    SuggestSpec,
    TuneParams,
)
from analysis.tuning import effects
from analysis.tuning.bin_error import random_settings
from tests.conftest import GOLDEN
from tests.helpers import QuietContext
from tests.tuning.exact import DISCOUNTS, calibrated, check_changes, token_file

NAMES = ("sdar", "a2d-qwen3", "fast-dllm-v2", "nemotron")
LENGTH = 24


def asked(name: str, folder, length: int = LENGTH, **options) -> CalibrateSpec:
    data = token_file(folder / "text.jsonl", 24, length, vocabulary=90)
    return CalibrateSpec(
        model=ModelSpec(source=str(GOLDEN / name), device="cpu", paradigm="bd3lm"),
        calibration=CalibrationParams(data=data, samples=4, seq_len=length, step_interval=10),
        heldout=2,
        **options,
    )


@pytest.fixture(scope="module", params=NAMES)
def stored(request, tmp_path_factory):
    """Statistics by token of a golden checkpoint, and its model."""
    folder = tmp_path_factory.mktemp(request.param)
    spec = asked(request.param, folder, grouping="tokens", layer_scope=True)
    return calibrated(spec, folder), load(spec.model)


def test_noised_text_is_stored_beside_its_clean_copy(stored):
    statistics, model = stored
    arrays = statistics.arrays
    assert statistics.info.beside_clean
    assert arrays["tokens"].shape == (4, LENGTH) and arrays["noised"].shape == (4, 5, 2 * LENGTH)
    assert (arrays["noised"][:, :, LENGTH:] == arrays["tokens"][:, None]).all()
    assert (arrays["noised"][:, -1, :LENGTH] == model.mask_token).all()


def test_by_token_no_changed_bit_is_wrong(stored):
    statistics, model = stored
    named = [TuneParams(discount=discount) for discount in DISCOUNTS.values()]
    drawn = random_settings(1, 99, ("model", "layer"), statistics.info.levels, statistics.info.spec.calibration)
    check_changes(model, statistics, named + drawn)


def test_in_bins_few_changed_bits_are_wrong(tmp_path):
    spec = asked("sdar", tmp_path, grouping="bins", layer_scope=True)
    named = [TuneParams(discount=discount) for name, discount in DISCOUNTS.items() if name != "mean over steps"]
    check_changes(load(spec.model), calibrated(spec, tmp_path), named)


@pytest.mark.parametrize(
    ("stored", "name"),
    list(zip(NAMES, ("published", "mean over steps", "own sinks a layer", "published"), strict=True)),
    indirect=["stored"],
)
def test_the_folder_that_a_pruning_writes_has_the_masks_that_tuning_said(stored, name, tmp_path):
    statistics, _ = stored
    spec, discount = statistics.info.spec, DISCOUNTS[name]
    prune = PruneSpec(
        model=spec.model,
        method="sink-wanda",
        calibration=spec.calibration,
        discount=discount,
        sparsity=0.5,
        out=str(tmp_path / "pruned"),
    )
    JOBS["prune"].run(prune, QuietContext(tmp_path))
    pruned = load(ModelSpec(source=prune.out, device="cpu"))
    steps = np.ones(len(statistics.info.levels))
    weights = statistics.group_weights(discount)
    wrong = moved = 0
    for index in range(statistics.info.layers):
        layer = statistics.layer(index, discount)
        own = weights[:, :, index if weights.shape[2] > 1 else 0]
        for projection, given_to in layer.inputs.items():
            scores = effects.scores_by_step(layer.squares[given_to], own, steps), layer.plain[given_to]
            said, plain = (effects.pruned_mask(layer.weights[projection], steps @ one, 0.5) for one in scores)
            written = pruned.projections(pruned.blocks[index])[projection].weight.detach().numpy() == 0
            wrong += int((said != written).sum())
            moved += int((said != plain).sum())
    assert wrong == 0
    assert moved > 20


def test_a_model_read_block_by_block_leaves_the_same(stored, tmp_path):
    statistics, _ = stored
    again = calibrated(statistics.info.spec.model_copy(update={"streaming": "always"}), tmp_path)
    for name, array in statistics.arrays.items():
        assert np.allclose(array, again.arrays[name], rtol=1e-4, atol=1e-4), name


def test_what_would_fit_is_said_in_tokens_of_the_text(tmp_path):
    spec = asked("sdar", tmp_path, 200, grouping="tokens", byte_budget=2**20)
    with pytest.raises(UserError, match=r"--seq-len (\d+)") as refused:
        calibrated(spec, tmp_path)
    shorter = int(str(refused.value).split("--seq-len ")[1].split(")")[0])
    assert shorter < 200
    fits = spec.calibration.model_copy(update={"seq_len": shorter})
    assert calibrated(spec.model_copy(update={"calibration": fits}), tmp_path).info.beside_clean


@pytest.mark.parametrize("name", ["llada2", "lladamoe"])
def test_a_mixture_of_experts_is_refused_as_pruning_refuses_it(name, tmp_path):
    with pytest.raises(UserError, match="mixtures of experts"):
        calibrated(asked(name, tmp_path), tmp_path)


def test_a_discount_is_suggested(tmp_path):
    spec = asked("nemotron", tmp_path)
    statistics = StatisticsParams(**{name: getattr(spec, name) for name in StatisticsParams.model_fields})
    search = SuggestSpec(model=spec.model, statistics=statistics, objective="error", trials=4)
    summary = JOBS["suggest"].run(search, QuietContext(tmp_path)).summary
    assert len(summary["trials"]) == 4
