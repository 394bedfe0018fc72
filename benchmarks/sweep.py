"""What a sweep saves by gathering the statistics of the dense model once for all sparsities of a text and seed.

    python -m benchmarks.sweep [--samples 64 --seq-len 128 --method sink-wanda --sparsities 0.6,0.7]

Prints processor seconds of prunings that gather their own statistics beside those that read stored ones, and of storing
them, taken in turns in one process, so that what else the machine does weighs on both alike.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from analysis.job_context import SilentContext
from analysis.specs import CalibrationParams, DenseStatisticsSpec, ModelSpec, PruneSpec
from benchmarks.ratios import Ratio
from cache.stores import Stores


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Measures, prints, and returns how many times as fast the sweep is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--method", default="sink-wanda")
    parser.add_argument("--sparsities", default="0.6,0.7")
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
            apart += _timed(partial(prune, spec, context(f"apart {number}", "apart")))[1]
            reading += _timed(partial(prune, spec, context(f"read {number}", "together")))[1]
    print(f"each its own: {apart:.2f} s; stored once: {storing:.2f} s + {reading:.2f} s")
    what = f"pruning by {options.method} at {options.sparsities}, of the processor"
    ratio = Ratio(what, "statistics gathered each time / once", apart / (storing + reading))
    print(ratio)
    return [ratio]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the processor seconds of a call."""
    started = time.process_time()
    return call(), time.process_time() - started


if __name__ == "__main__":
    main()
