"""Savings of a sweep that asks the dense model once: for statistics, which all sparsities of a text, a seed and a
discount share, and for attention mass, which all discounts share.

    python -m benchmarks.sweep [--samples 64 --seq-len 128 --method sink-wanda --sparsities 0.6,0.7 --thresholds 1,2,4]

Prints processor seconds of prunings that gather their own statistics beside those that read stored ones, and of storing
them; and of prunings with another discount that find the mass themselves beside those that read it. All in turns in one
process, so that what else the machine does weighs on both alike.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from analysis.job_context import SilentContext
from analysis.specs import CalibrationParams, DenseStatisticsSpec, DiscountParams, ModelSpec, PruneSpec
from benchmarks.ratios import Ratio, paired
from cache.stores import Stores


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Measure, print, and return how many times as fast both make a sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--method", default="sink-wanda")
    parser.add_argument("--sparsities", default="0.6,0.7")
    parser.add_argument("--thresholds", default="1,2,4", help="of sinks, other than the default")
    options = parser.parse_args(arguments)
    from analysis.jobs.models import load_model
    from analysis.jobs.pruning import dense_statistics, prune
    from analysis.specs import LoadSpec

    model = ModelSpec(device="cpu")
    calibration = CalibrationParams(samples=options.samples, seq_len=options.seq_len)
    with tempfile.TemporaryDirectory() as root:

        def context(name: str, home: str) -> SilentContext:
            folder = Path(root) / name
            folder.mkdir()
            return SilentContext(folder, Stores(Path(root) / home))

        load_model(LoadSpec(model=model), context("load", "apart"))
        apart = reading = 0.0
        for number, sparsity in enumerate(map(float, options.sparsities.split(","))):
            spec = PruneSpec(model=model, method=options.method, sparsity=sparsity, calibration=calibration, out="")
            if not number:
                statistics_spec = DenseStatisticsSpec.of(spec)
                assert statistics_spec is not None
                stored, storing = _timed(partial(dense_statistics, statistics_spec, context("store", "together")))
                store = Stores(Path(root) / "together").results
                store.add_result(stored.key, dict(stored.summary), stored.file)
                store.close()
            apart += _timed(partial(prune, spec, context(f"apart {number}", f"apart {number}")))[1]
            reading += _timed(partial(prune, spec, context(f"read {number}", "together")))[1]
        anew, known = [], []
        for number, threshold in enumerate(map(float, options.thresholds.split(","))):
            other = spec.model_copy(update={"discount": DiscountParams(sink_std=threshold)})
            anew.append(_timed(partial(prune, other, context(f"anew {number}", f"anew {number}")))[1])
            known.append(_timed(partial(prune, other, context(f"known {number}", "apart 0")))[1])
    print(f"each its own: {apart:.2f} s; stored once: {storing:.2f} s + {reading:.2f} s")
    print(f"other discounts: {sum(anew):.2f} s; with known attention mass {sum(known):.2f} s")
    what = f"pruning by {options.method} at {options.sparsities}, of the processor"
    shared = Ratio(what, "statistics gathered each time / once", apart / (storing + reading))
    what = f"pruning by {options.method} with another threshold of sinks, of the processor"
    ratios = [shared, paired(what, "attention mass found anew / known", anew, known)]
    for ratio in ratios:
        print(ratio)
    return ratios


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the processor seconds of a call."""
    started = time.process_time()
    return call(), time.process_time() - started


if __name__ == "__main__":
    main()
