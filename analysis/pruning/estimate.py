"""What a pruning will take, measured on one step of each of its phases before anything long starts."""

import math
import time
from typing import Any

import numpy as np
import torch

from analysis.calibration.activations import TOKENS_A_FORWARD, input_features, kept_bytes
from analysis.calibration.noise import noise_levels, shared_levels
from analysis.job_context import Context
from analysis.models.checkpoint import weight_bytes
from analysis.models.load import LoadedModel, free_bytes
from analysis.pruning import pipeline
from analysis.pruning.algorithm import Calibration
from analysis.pruning.allocation import layer_sparsities
from analysis.specs import PruneSpec


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
        one, prepared = _timed(lambda: pipeline.prepare(run, probe))
        seconds["activations of the dense model"] = one * (full * batches + (len(levels) - full) / size)
    if prepared is None:
        prepared = pipeline.Prepared()
    context.progress("timing one block")
    blocks = pipeline.blocks(run, probe, prepared)
    reached, (layer, block, statistics) = _timed(lambda: next(blocks))
    blocks.close()
    memory = _memory(run, size * length, batches, block)
    reading = feeding = 0.0
    given = pipeline.first_input(model, torch.from_numpy(probe.clean)) if run.algorithm.statistic is not None else None
    if given is not None:
        reading, _ = _timed(lambda: pipeline.run_block(block, given))
    run.removal.share_out(layer_sparsities("uniform", spec.sparsity, run.sizes()))
    solving, _ = _timed(lambda: pipeline.prune_block(run, layer, block, statistics, prepared))
    if given is not None:
        feeding, _ = _timed(lambda: pipeline.run_block(block, given))
    layers = model.geometry.layers
    seconds["pruning"] = layers * (batches * (reading + feeding) + max(0.0, reached - reading) + solving)
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


def _memory(run: pipeline.Run, tokens: int, batches: int, block: torch.nn.Module) -> int:
    """Bytes beside the model: kept inputs or states between blocks, one private block, statistics."""
    model = run.model
    width = model.network.dtype.itemsize
    private = sum(weight.numel() * weight.element_size() for weight in block.parameters())
    states = tokens * batches * model.geometry.hidden * width if run.algorithm.statistic is not None else 0
    kept = 0
    if run.algorithm.prepare is not None and run.method.discounted and run.algorithm.statistic is None:
        need = kept_bytes(run.runner, tokens)
        kept = need if need <= pipeline.budget(run.spec, model) else 0
    statistics = 0
    if run.algorithm.statistic is not None:
        modules = model.projections(block)
        statistics = sum(
            run.algorithm.statistic.bytes_for(input_features(modules[name])) for name in run.runner.groups[0]
        )
    return private + max(states + statistics, kept)
