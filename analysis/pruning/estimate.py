"""What a pruning will take, measured on one step of each of its phases before anything long starts."""

import math
import time
from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import TOKENS_A_FORWARD, input_features
from analysis.calibration.noise import noise_levels, shared_levels
from analysis.calibration.runners import noised_layout
from analysis.job_context import Context
from analysis.models.blocks import first_input, run_block
from analysis.models.checkpoint import weight_bytes
from analysis.models.devices import free_bytes
from analysis.models.loaded import LoadedModel
from analysis.pruning import dense, layer_by_layer, pipeline
from analysis.pruning.algorithm import Calibration, Prepared
from analysis.pruning.run import DENSE, OUTLIERS, PRUNING, QUOTA, TAILS, PruningRun
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
    _measured(run, probe, prepared, noised_passes if run.method.weighs_steps else batches, seconds)
    context.progress("timing one block")
    blocks = layer_by_layer.blocks(run, probe, prepared)
    reached, (layer, block, statistics) = _timed(lambda: next(blocks))
    blocks.close()
    passes, tokens, rows, layout = batches * 1.0, spec.calibration.samples * length, probe.clean, None
    if run.method.weighs_steps:
        assert probe.noised is not None
        rows, layout = probe.noised[:, 0], noised_layout(model)
        passes, tokens = noised_passes, (full * spec.calibration.samples + len(levels) - full) * rows.shape[1]
    memory = _memory(run, tokens, block, prepared)
    reading = feeding = 0.0
    given = first_input(model, torch.from_numpy(rows), layout) if run.gathers else None
    if given is not None:
        reading, _ = _timed(lambda: run_block(block, given))
    solving, _ = _timed(lambda: pipeline.prune_block(run, layer, block, statistics, prepared))
    if given is not None:
        feeding, _ = _timed(lambda: run_block(block, given))
    # By the dense model's ranking a block has fed the next one before it is pruned.
    fed_before = 0.0 if spec.layerwise else feeding
    layers = model.geometry.layers
    # What the last block gives is nobody's input.
    through_blocks = passes * (layers * reading + (layers - 1) * feeding)
    seconds[PRUNING] = through_blocks + layers * (max(0.0, reached - reading - fed_before) + solving)
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
    """Adds the seconds of what an allocation and a quota ask of the dense model, and shares the sparsity out."""
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
    return Calibration(tokens, noised[:, None] if run.method.noised else None)


def _memory(run: PruningRun, tokens: int, block: torch.nn.Module, prepared: Prepared) -> int:
    """Bytes beside the model: kept inputs while the dense model is read; later a private block with a flag of every
    weight and the scores of its largest matrix in float32, the states of all `tokens` between blocks, statistics of a
    block's inputs, and what waits to be written.
    """
    model = run.model
    weights = list(block.parameters())
    private = sum(weight.numel() * (weight.element_size() + 1) for weight in weights)
    private += _SCORE_BYTES * max(weight.numel() for weight in weights)
    unwritten = min(weight_bytes(model.checkpoint, None), SHARD_BYTES)
    states = gathered = 0
    if run.statistic is not None and run.gathers:
        states = tokens * model.geometry.hidden * model.network.dtype.itemsize
        layer = max(range(model.geometry.layers), key=lambda layer: len(run.runner.groups[layer]))
        modules = model.projections(model.blocks[layer])
        features = [input_features(modules[name]) for name in run.runner.groups[layer]]
        gathered = sum(map(run.statistic.bytes_for, features))
        gathered += max(map(run.statistic.bytes_to_finish, features))
    kept = (prepared.facts or {}).get("kept_bytes", 0)
    return max(kept, private + states + gathered + unwritten)
