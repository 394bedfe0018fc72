"""Cost estimate of a pruning, measured on one step of each of its phases before anything long starts."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import TOKENS_A_FORWARD, rows_of
from analysis.calibration.noise import noise_levels, shared_levels
from analysis.calibration.runners import noised_layout
from analysis.job_context import Context
from analysis.models.blocks import first_input, run_block
from analysis.models.checkpoint import weight_bytes
from analysis.models.loaded import LoadedModel, free_bytes
from analysis.pruning import dense, layer_by_layer, pipeline
from analysis.pruning.algorithm import Calibration, Prepared
from analysis.pruning.run import DENSE, OUTLIERS, PRUNING, QUOTA, TAILS, TOKENS, PruningRun
from analysis.pruning.saving import SHARD_BYTES
from analysis.specs import ALLOCATIONS, PruneSpec

_SCORE_BYTES = 4


@torch.no_grad()
def estimate(model: LoadedModel, spec: PruneSpec, context: Context) -> dict[str, Any]:
    """Seconds a phase, bytes of memory beside the model, and bytes of disk. Raises UserError as `prune` would.

    The probe reads random tokens: what text says does not matter to how long it takes.
    """
    run = pipeline.start(model, spec, context)
    length = min(spec.calibration.seq_len, model.geometry.max_length)
    size = min(max(1, TOKENS_A_FORWARD // length), spec.calibration.samples)
    batches = math.ceil(spec.calibration.samples / size)
    probe = _probe(run, size, length)
    seconds: dict[str, float] = {}
    levels = noise_levels(spec.calibration.diffusion_steps, spec.calibration.step_interval)
    # The level that masks every token is one row for all sequences.
    full = len(levels) - (0 if model.architecture.beside_clean else shared_levels(spec.calibration))
    noised_passes = full * batches + (len(levels) - full) / size
    prepared = Prepared()
    if dense.prepares(run):
        context.progress("timing one step")
        step_seconds, prepared = _timed(lambda: dense.prepare(run, probe))
        seconds[DENSE] = step_seconds * (noised_passes if run.method.noised else batches)
    quantizer = run.quantizer
    if quantizer is not None and quantizer.noised:
        weighing, prepared = _timed(lambda: dense.with_quantizer_weights(run, probe, prepared))
        known = any(row.discounted for row in run.spec.readers if row is not quantizer)  # the mass, from the method
        seconds[TOKENS] = 0.0 if known else weighing * noised_passes
    _measured(run, probe, prepared, noised_passes if run.method.weighs_steps else batches, seconds)
    context.progress("timing one block")
    blocks = layer_by_layer.blocks(run, probe, prepared)
    reached, (layer, block, gathered) = _timed(lambda: next(blocks))
    blocks.close()
    kinds = [kind for kind in layer_by_layer.gatherings(run, probe, prepared) if kind is not None]
    layers, tokens = model.geometry.layers, 0
    through_blocks = once = 0.0
    for noised, layerwise in {kind.stream for kind in kinds}:
        rows, passes, layout = probe.clean, float(batches), None
        counted = spec.calibration.samples
        if noised:
            assert probe.noised is not None
            rows, passes, layout = probe.noised[:, 0], noised_passes, noised_layout(model)
            counted = full * spec.calibration.samples + len(levels) - full
        tokens += counted * rows.shape[1]
        given = first_input(model, torch.from_numpy(rows), layout)
        forward, _ = _timed(lambda: run_block(block, given))  # noqa: B023 - called within this turn of the loop
        # Each block is run once to read its inputs and once to feed the next; the last one's output goes nowhere.
        through_blocks += passes * (2 * layers - 1) * forward
        # By the dense model's ranking a block has fed the next one before it is pruned.
        once += forward if layerwise else 2 * forward
    memory = _memory(run, tokens, block, prepared, kinds)
    solving, _ = _timed(lambda: pipeline.prune_block(run, layer, block, gathered, prepared))
    seconds[PRUNING] = through_blocks + layers * (max(0.0, reached - once) + solving)
    dense_bytes = weight_bytes(model.checkpoint, None)
    lost_bytes = run.removal.lost_weights() * dense_bytes // weight_bytes(model.checkpoint, 1)
    return {
        "seconds": {phase: round(value, 2) for phase, value in seconds.items()},
        "total_seconds": round(sum(seconds.values()), 2),
        "memory_bytes": memory,
        "free_bytes": free_bytes(model.device.type),
        "disk_bytes": dense_bytes - lost_bytes + int(run.sizes().sum()) // 8,
        "sequences": spec.calibration.samples,
        "length": length,
        "device": str(model.device),
    }


def _measured(
    run: PruningRun, probe: Calibration, prepared: Prepared, passes: float, seconds: dict[str, float]
) -> None:
    """Add the seconds that an allocation and a quota take on the dense model, and share the sparsity out."""
    row = ALLOCATIONS[run.spec.allocation]
    measured = None
    if row.needs_outliers:
        run.context.progress("timing the outliers")
        forward, scores = 0.0, prepared.scores
        if scores is None:
            forward, scores = _timed(lambda: dense.dense_scores(run, probe, prepared))
        counting, measured = _timed(lambda: dense.outlier_ratios(run, scores))
        seconds[OUTLIERS] = passes * forward + counting
    if row.needs_tails:
        run.context.progress("timing the spectra")
        seconds[TAILS], measured = _timed(lambda: dense.tail_exponents(run))
    run.removal.share_out(dense.shares(run, measured))
    seconds_of_survey, _ = _timed(lambda: dense.survey(run, prepared))
    if dense.surveys(run):
        seconds[QUOTA] = seconds_of_survey


def _timed(call: Any) -> tuple[float, Any]:
    """Seconds and result of a call."""
    started = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, result


def _probe(run: PruningRun, rows: int, length: int) -> Calibration:
    rng = np.random.default_rng(run.spec.calibration.seed)
    tokens = rng.integers(0, run.model.geometry.vocabulary, (rows, length))
    noised = np.tile(tokens, 2) if run.model.architecture.beside_clean else tokens
    return Calibration(tokens, noised[:, None] if run.noised else None)


def _quantizing(run: PruningRun) -> int:
    """Bytes per weight that quantizing a matrix holds, with its float32 copy where the model's own are others."""
    if run.quantization is None:
        return 0
    copied = run.model.network.dtype != torch.float32
    return run.quantization.bytes_per_weight + (4 if copied else 0)


def _memory(
    run: PruningRun, tokens: int, block: torch.nn.Module, prepared: Prepared, kinds: Sequence[layer_by_layer.Gathering]
) -> int:
    """Bytes beside the model: kept inputs while the dense model is read; later a private block with a flag of every
    weight and what its largest matrix is scored or quantized with, the states of all `tokens` between blocks,
    statistics of a block's inputs, and what waits to be written.
    """
    model = run.model
    weights = list(block.parameters())
    private = sum(weight.numel() * (weight.element_size() + 1) for weight in weights)
    private += max(_SCORE_BYTES, _quantizing(run)) * max(weight.numel() for weight in weights)
    unwritten = min(weight_bytes(model.checkpoint, None), SHARD_BYTES)
    states = gathered = 0
    if kinds:
        states = tokens * model.geometry.hidden * model.network.dtype.itemsize
        layer = max(range(model.geometry.layers), key=lambda layer: len(run.runner.groups[layer]))
        modules = model.projections(model.blocks[layer])
        features = [rows_of(modules[name]).shape[1] for name in run.runner.groups[layer]]
        statistics = [kind.statistic for kind in {id(kind): kind for kind in kinds}.values()]
        gathered = sum(sum(map(statistic.bytes_for, features)) for statistic in statistics)
        gathered += max(max(map(statistic.bytes_to_finish, features)) for statistic in statistics)
    return max(prepared.facts.get("kept_bytes", 0), private + states + gathered + unwritten)
