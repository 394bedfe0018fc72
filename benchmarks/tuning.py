"""Time to answer a setting of the discount from stored statistics of the bundled model.

`python -m benchmarks.tuning [--rounds 5] [--samples 32]` stores statistics as the tuning page does by default, then
times the setting's masks, errors and shifts, for one layer and for the whole model, beside one pass of the exact path.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from analysis.job_context import SilentContext
from benchmarks.ratios import Ratio
from cache.stores import Stores


def main(arguments: list[str] | None = None) -> list[Ratio]:
    """Print the figures, and return how many settings take as long as the exact scores of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="settings tried (default 5)")
    parser.add_argument("--samples", type=int, default=32, help="calibration sequences of 64 tokens (default 32)")
    options = parser.parse_args(arguments)
    from analysis.calibration.activations import feature_scores
    from analysis.calibration.runners import Resident
    from analysis.jobs.calibration import calibrate, heldout, seed_floor
    from analysis.models.load import load
    from analysis.specs import CalibrateSpec, CalibrationParams, DiscountParams, HeldoutSpec, ModelSpec, SeedFloorSpec
    from analysis.tuning import effects
    from analysis.tuning.statistics_file import joined, open_statistics

    with tempfile.TemporaryDirectory() as folder:
        spec = CalibrateSpec(
            model=ModelSpec(device="cpu"), calibration=CalibrationParams(samples=options.samples, seq_len=64)
        )
        started = time.perf_counter()
        context = SilentContext(Path(folder), Stores(Path(folder) / "home"))
        outcome = calibrate(spec, context)
        print(f"storing: {time.perf_counter() - started:.1f} s, {outcome.summary['bytes'] / 1e6:,.0f} MB")
        assert outcome.file is not None
        stored = open_statistics(outcome.file)
        started = time.perf_counter()
        for part in (seed_floor(SeedFloorSpec(**dict(spec)), context), heldout(HeldoutSpec(**dict(spec)), context)):
            assert part.file is not None
            stored = joined(stored, part.file)
        print(f"… and its floor and held-out text: {time.perf_counter() - started:.1f} s")
        info, steps = stored.info, np.ones(len(stored.info.levels))
        wall: list[float] = []
        cpu: list[float] = []
        layer_seconds: list[float] = []
        plain = [effects.plain_layer(stored.layer(n, DiscountParams()), steps, 0.5) for n in range(info.layers)]
        for turn in range(options.rounds + 1):
            discount = DiscountParams(sink_std=1 + 0.1 * turn)
            started, busy = time.perf_counter(), time.process_time()
            weights = stored.group_weights(discount)[:, :, 0]
            for layer in range(info.layers):
                began = time.perf_counter()
                effects.layer_effect(stored.layer(layer, discount), plain[layer], weights, steps, 0.5)
                layer_seconds.append(time.perf_counter() - began)
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - busy)
        # The first turn reads the file from the disk.
        wall, cpu, layer_seconds = wall[1:], cpu[1:], layer_seconds[info.layers :]
        noised = stored.arrays["noised"].astype(np.int64)
        started = time.perf_counter()
        feature_scores(Resident(load(spec.model)), noised, DiscountParams(), 2**31)
        exact = time.perf_counter() - started
        layer_median, layer_most = 1e3 * statistics.median(layer_seconds), 1e3 * max(layer_seconds)
        print(f"one layer:   median {layer_median:.0f} ms, most {layer_most:.0f} ms")
        print(
            f"whole model: median {statistics.median(wall):.2f} s, most {max(wall):.2f} s; "
            f"of the processor {statistics.median(cpu):.2f} s"
        )
        print(f"scores alone by the exact path, with the model: {exact:.2f} s")
    what = "a setting of the discount, all layers"
    return [Ratio(what, "scores by the model / all effects from statistics", exact / statistics.median(wall))]


if __name__ == "__main__":
    main()
