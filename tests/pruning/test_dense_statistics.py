"""Statistics of the dense model are gathered once: prunings of any sparsity read them and come out as without."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from analysis.errors import UserError
from analysis.jobs import JOBS, known_key
from analysis.pruned.report_file import REPORT_FILE
from analysis.specs import CalibrationParams, DenseStatisticsSpec, DiscountParams, ModelSpec, PruneSpec, StepParams
from cache.store import Store
from tests.helpers import QuietContext

CPU = ModelSpec(device="cpu")
LITTLE = CalibrationParams(samples=2, seq_len=32, step_interval=25)


def made(folder: Path, home: Path | None = None) -> QuietContext:
    folder.mkdir(exist_ok=True)
    return QuietContext(folder, home)


def spec(**changes) -> PruneSpec:
    return PruneSpec(**{"model": CPU, "calibration": LITTLE, "sparsity": 0.6, **changes})


@pytest.mark.parametrize("method", ["sink-wanda", "sink-sparsegpt"])
def test_prunings_read_what_was_stored_and_come_out_the_same(tmp_path, small, method):
    asked = DenseStatisticsSpec.of(spec(model=small.spec, method=method))
    home = tmp_path / "home"
    context = made(tmp_path / "stored", home)
    stored = JOBS["dense_statistics"].run(asked, context)
    assert stored.key == known_key("dense_statistics", asked)
    store = Store(home)
    store.add_result(stored.key, dict(stored.summary), stored.file)
    store.close()
    for sparsity in (0.5, 0.7):
        pruning = spec(model=small.spec, method=method, sparsity=sparsity)
        assert DenseStatisticsSpec.of(pruning) == asked
        alone = JOBS["prune"].run(pruning, made(tmp_path / f"alone {sparsity}", tmp_path / "elsewhere"))
        reading = JOBS["prune"].run(pruning, made(tmp_path / f"reading {sparsity}", home))
        assert "The statistics of the dense model were read from the store." in reading.summary["report"]["notes"]
        phases = [row["phase"] for row in reading.summary["report"]["phases"]]
        assert "activations of the dense model" not in phases
        first, second = (load_file(outcome.folder / "model.safetensors") for outcome in (alone, reading))
        assert first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)
        assert (reading.folder / REPORT_FILE).is_file()


def test_what_is_asked_of_the_dense_model_is_the_same_for_what_does_not_matter_to_it():
    asked = DenseStatisticsSpec.of(spec())
    for changes in ({"sparsity": 0.3}, {"pattern": "2:4", "sparsity": 0.5}, {"quota_scope": "projection"}):
        assert DenseStatisticsSpec.of(spec(**changes)) == asked
    assert DenseStatisticsSpec.of(spec(discount=DiscountParams(sink_std=3))) != asked
    control = DenseStatisticsSpec.of(spec(method="wanda-noised"))
    assert DenseStatisticsSpec.of(spec(method="wanda-noised", discount=DiscountParams(sink_std=3))) == control
    assert DenseStatisticsSpec.of(spec(method="wanda-noised", steps=StepParams(last_step=25))) != control


def test_a_method_that_is_fed_layer_by_layer_asks_the_dense_model_nothing(tmp_path, bundled):
    for method in ("magnitude", "wanda", "sparsegpt"):
        assert DenseStatisticsSpec.of(spec(method=method)) is None
    assert DenseStatisticsSpec.of(spec(method="wanda", ranking="dense")) is not None
    wanda = DenseStatisticsSpec(model=CPU, method="wanda", calibration=LITTLE)
    with pytest.raises(UserError, match="asks the dense model nothing"):
        JOBS["dense_statistics"].run(wanda, made(tmp_path))
