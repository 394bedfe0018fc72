"""Change of a pruned model's masks by another calibration seed, from stored statistics, without a pruning.

Statistics hold the undiscounted scores of their own text and of another seed's, and the weights: so both masks of the
control without a discount, as prunings on noised text of the dense model write them. NumPy only.
"""

from analysis.pruned.compare import Comparison, compare
from analysis.pruned.report_file import PrunedRun
from analysis.specs import METHODS, DiscountParams, StepParams
from analysis.tuning.effects import seed_masks
from analysis.tuning.statistics_file import StatisticsInfo, StoredStatistics
from analysis.tuning.stored_effects import steps_of

_AS_PUBLISHED = {
    "pattern": "unstructured",
    "allocation": "uniform",
    "quota_scope": "published",
    "ranking": "published",
    "norm": "published",
}
_EMPTY = ("skip_layers", "skip_projections")


def serves(info: StatisticsInfo, run: PrunedRun) -> bool:
    """Return True if statistics hold both seeds of a run's own pruning but for its discount: of one model and
    precision, one calibration but for its seed, and masks as the statistics' are made.
    """
    settings = run.settings
    method = METHODS.get(str(settings.get("method")))
    calibration = info.spec.calibration.model_dump(mode="json", exclude={"seed"})
    return (
        method is not None
        and method.weighs_steps
        and (run.model, run.precision) == (info.fingerprint, info.dtype)
        and settings.get("calibration") == calibration
        and all(settings.get(name, value) == value for name, value in _AS_PUBLISHED.items())
        and not any(settings.get(name) for name in _EMPTY)
    )


def seed_floor(statistics: StoredStatistics, run: PrunedRun, heads: int, kv_heads: int) -> Comparison | None:
    """Compare the masks of two calibration seeds without a discount, at the steps and sparsity of a run that the
    statistics serve; None where only some rows of the weights are stored. heads, kv_heads: of a layer.
    """
    if statistics.sampled:
        return None
    info = statistics.info
    steps = steps_of(statistics, StepParams.model_validate(run.settings.get("steps") or {}))
    sparsity, short = float(run.settings["sparsity"]), {name: name.split(".")[-1] for name in info.inputs}
    pairs = (
        (layer, short[name], *masks)
        for layer in range(info.layers)
        for name, masks in seed_masks(statistics.layer(layer, DiscountParams()), steps, sparsity)
    )
    return compare(pairs, info.layers, list(short.values()), heads, kv_heads)
