"""What a pruning will take, measured on one step of each of its phases before anything long starts."""

import math
import time
from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import TOKENS_A_FORWARD, input_features
from analysis.calibration.noise import noise_levels, shared_levels
from analysis.job_context import Context
from analysis.models.checkpoint import weight_bytes
from analysis.models.load import LoadedModel, free_bytes
from analysis.pruning import pipeline
from analysis.pruning.algorithm import Calibration, Prepared
from analysis.pruning.allocation import layer_sparsities
from analysis.pruning.saving import SHARD_BYTES
from analysis.specs import ALLOCATIONS, PruneSpec


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
    prepared = None
    if run.algorithm.prepare is not None:
        context.progress("timing one step")
        levels = noise_levels(spec.calibration.diffusion_steps, spec.calibration.step_interval)
        # The level that masks every token is one row for all sequences.
        full = len(levels) - shared_levels(spec.calibration)
        level_seconds, prepared = _timed(lambda: pipeline.prepare(run, probe))
        seconds[pipeline.DENSE] = level_seconds * (full * batches + (len(levels) - full) / size)
    if prepared is None:
        prepared = Prepared()
    if ALLOCATIONS[spec.allocation].needs_outliers:
        context.progress("timing the outliers")
        forward, scores = 0.0, prepared.scores
        if scores is None:
            forward, scores = _timed(lambda: pipeline.feature_scores(run, probe))
        counting, _ = _timed(lambda: pipeline.outlier_ratios(run, scores))
        seconds[pipeline.OUTLIERS] = batches * forward + counting
    context.progress("timing one block")
    blocks = pipeline.blocks(run, probe, prepared)
    reached, (layer, block, statistics) = _timed(lambda: next(blocks))
    blocks.close()
    memory = _memory(run, spec.calibration.samples * length, block, prepared)
    reading = feeding = 0.0
    given = pipeline.first_input(model, torch.from_numpy(probe.clean)) if run.algorithm.statistic is not None else None
    if given is not None:
        reading, _ = _timed(lambda: pipeline.run_block(block, given))
    run.removal.share_out(layer_sparsities("uniform", spec.sparsity, run.sizes()))
    solving, _ = _timed(lambda: pipeline.prune_block(run, layer, block, statistics, prepared))
    if given is not None:
        feeding, _ = _timed(lambda: pipeline.run_block(block, given))
    layers = model.geometry.layers
    # What the last block gives is nobody's input.
    through_blocks = batches * (layers * reading + (layers - 1) * feeding)
    seconds[pipeline.PRUNING] = through_blocks + layers * (max(0.0, reached - reading) + solving)
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


def _timed(call: Any) -> tuple[float, Any]:
    """Seconds and result of a call."""
    started = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, result


def _probe(run: pipeline.Run, rows: int, length: int) -> Calibration:
    rng = np.random.default_rng(run.spec.calibration.seed)
    tokens = rng.integers(0, run.model.geometry.vocabulary, (rows, length))
    return Calibration(tokens, tokens[:, None] if run.method.noised else None)


def _memory(run: pipeline.Run, tokens: int, block: torch.nn.Module, prepared: Prepared) -> int:
    """Bytes beside the model, of what is held for long: kept inputs while the dense model is read; later a private
    block, the states of all `tokens` between blocks, statistics of a block's inputs, and what waits to be written.
    """
    model = run.model
    private = sum(weight.numel() * weight.element_size() for weight in block.parameters())
    unwritten = min(weight_bytes(model.checkpoint, None), SHARD_BYTES)
    states = gathered = 0
    if run.algorithm.statistic is not None:
        states = tokens * model.geometry.hidden * model.network.dtype.itemsize
        modules = model.projections(block)
        features = [input_features(modules[name]) for name in run.runner.groups[0]]
        gathered = sum(map(run.algorithm.statistic.bytes_for, features))
        gathered += max(map(run.algorithm.statistic.bytes_to_finish, features))
    kept = (prepared.facts or {}).get("kept_bytes", 0)
    return max(kept, private + states + gathered + unwritten)
