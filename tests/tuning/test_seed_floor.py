"""The floor of masks from stored statistics is that of two prunings."""

import numpy as np

from analysis.jobs import JOBS
from analysis.pruned import masks_file
from analysis.pruned.compare import compare
from analysis.pruned.report_file import read_report
from analysis.specs import CalibrateSpec, CalibrationParams, ModelSpec, PruneSpec
from analysis.tuning.statistics_file import seed_floor, serves
from tests.conftest import GOLDEN
from tests.helpers import QuietContext
from tests.tuning.exact import calibrated, token_file


def test_two_seeds_of_stored_statistics_are_two_prunings(tmp_path):
    model = ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu")
    data = token_file(tmp_path / "text.jsonl", 16, 32)
    calibration = CalibrationParams(data=data, samples=3, seq_len=32, step_interval=10)
    statistics = calibrated(CalibrateSpec(model=model, calibration=calibration, heldout=2), tmp_path)
    folders = []
    for seed in (calibration.seed, statistics.info.other_seed):
        of_seed = calibration.model_copy(update={"seed": seed})
        spec = PruneSpec(model=model, method="wanda-noised", calibration=of_seed, out=str(tmp_path / f"seed-{seed}"))
        JOBS["prune"].run(spec, QuietContext(tmp_path))
        folders.append(masks_file.open_masks(spec.out))
    run, size = read_report(folders[0].folder), folders[0].geometry
    assert serves(statistics.info, run)
    written = compare(masks_file.pairs(*folders), size.layers, folders[0].names, size.heads, size.kv_heads)
    floor = seed_floor(statistics, run, size.heads, size.kv_heads)
    assert floor is not None and floor.names == written.names
    assert np.array_equal(floor.projections, written.projections)
    assert all(np.array_equal(floor.heads[name], counts) for name, counts in written.heads.items())
    weights, first, _, both = floor.total()
    assert 0 < first - both < weights / 10, "the seeds do differ"
    for change in (
        {"sparsity": 0.6, "pattern": "2:4"},
        {"method": "wanda"},
        {"calibration": {}},
        {"ranking": "layerwise"},
    ):
        other = type(run)(run.settings | change, run.seed, run.model, run.precision, run.device)
        assert not serves(statistics.info, other), change
    assert not serves(statistics.info, type(run)(run.settings, run.seed, "another model", run.precision))
