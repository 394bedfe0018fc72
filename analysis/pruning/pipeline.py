"""Pruning a checkpoint: text, statistics of the dense model, one block after the other, and a finished folder.

The model is only read. Blocks are pruned on private copies, so that nothing else that uses the model is disturbed.
"""

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from analysis.calibration.activations import Scores
from analysis.calibration.noise import noised_sequences
from analysis.calibration.runners import Resident, Runner, Streamed, hooked
from analysis.calibration.text import calibration_text
from analysis.errors import UserError
from analysis.job_context import Context
from analysis.models.blocks import first_input, private_block, run_block
from analysis.models.checkpoint import weight_bytes
from analysis.models.files import StoredTensor, block_prefix, require, stored_tensors
from analysis.models.load import LoadedModel, free_bytes, require_opens
from analysis.phases import Phases
from analysis.pruned.masks_file import MaskWriter
from analysis.pruned.report_file import write_report
from analysis.pruning.algorithm import Algorithm, Calibration, Prepared
from analysis.pruning.allocation import layer_sparsities, outlier_ratio
from analysis.pruning.methods import ALGORITHMS
from analysis.pruning.removal import Removal, removal_for, require_finite, rows_of
from analysis.pruning.report import Tally, build
from analysis.pruning.saving import CheckpointWriter, check_target, copy_companions, finished_folder
from analysis.pruning.scratch import load_prepared, save_prepared
from analysis.pruning.wanda import InputNorms, wanda_score
from analysis.specs import ALLOCATIONS, METHODS, NOISES, Method, PruneSpec, either
from cache.keys import content_key

DENSE, OUTLIERS, PRUNING = "activations of the dense model", "outliers of the dense model", "pruning"
"""The phases that take long, as reports and estimates name them."""


@dataclass
class Run:
    """One pruning: what it reads, and what it learns on the way for its report.

    method: what the method can do. algorithm: how it does it.
    """

    spec: PruneSpec
    model: LoadedModel
    method: Method
    algorithm: Algorithm
    runner: Runner
    removal: Removal
    stored: dict[str, StoredTensor]
    context: Context
    phases: Phases = field(default_factory=Phases)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measures a phase and logs what it took."""
        with self.phases.phase(name):
            yield
        row = self.phases.rows[-1]
        self.context.log(f"{name}: {row['seconds']:.1f} s, peak memory {row['peak_bytes'] / 1e6:,.0f} MB")

    def tell(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Progress, with the phases that are finished."""
        self.context.progress(phase, done, total, phases=list(self.phases.rows), **details)

    def sizes(self) -> np.ndarray:
        """How many weights of each layer may go, (L,)."""
        layers = range(self.model.geometry.layers)
        return np.array([sum(module.weight.numel() for module in self.removal.targets(i).values()) for i in layers])


def prune(
    model: LoadedModel, spec: PruneSpec, context: Context, text: Calibration | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Writes the pruned checkpoint to `spec.out` and returns its report. Raises UserError for what cannot be done.

    model: whole, or the skeleton of one that does not fit its device. text: given token ids in place of those that
    `spec.calibration` describes. out: where it is written if the spec names no folder; the report does not say so.
    """
    out = Path(spec.out) if spec.out else out
    if out is None:
        raise UserError("No folder was given to write the pruned checkpoint to. Set --out.")
    check_target(out, model.checkpoint.folder, spec.overwrite, weight_bytes(model.checkpoint, None))
    run = start(model, spec, context)
    text = text or _text(run)
    prepared = _prepare_once(run, text)
    sparsities = _allocate(run, text, prepared)
    with finished_folder(out, spec.overwrite, context.log) as folder:
        report = _prune_blocks(run, text, prepared, sparsities, folder)
        write_report(report, folder)
    return report


def start(model: LoadedModel, spec: PruneSpec, context: Context) -> Run:
    """Checks everything that can be checked before any work."""
    method, algorithm = METHODS[spec.method], ALGORITHMS[spec.method]
    if method.noised and model.mask_token is None:
        raise UserError(
            f"{method.title} reads noised text, and this {model.architecture.name} model has no mask token. Choose "
            f"{either(name for name, row in METHODS.items() if not row.noised)}."
        )
    layers = model.geometry.layers
    beyond = [layer for layer in spec.skip_layers if not 0 <= layer < layers]
    if beyond:
        raise UserError(f"There is no layer {beyond[0]} to leave dense: the model has {layers}, counted from 0.")
    names = {name.split(".")[-1] for name in model.projections(model.blocks[0])}
    unknown = sorted(set(spec.skip_projections) - names)
    if unknown:
        raise UserError(f"There is no projection '{unknown[0]}' to leave dense. Known: {', '.join(sorted(names))}.")
    removal = removal_for(model, spec, algorithm)
    if not any(removal.targets(layer) for layer in range(layers)):
        raise UserError("Every layer or projection is left dense, so there is nothing to prune.")
    removal.check()
    stored = stored_tensors(model)
    whole = not any(weight.is_meta for weight in model.blocks[0].parameters())
    runner: Runner = Resident(model) if whole else Streamed(model, budget(spec, model))
    prefix = block_prefix(model)
    require(stored, (f"{prefix}.{layer}.{name}.weight" for layer in range(layers) for name in removal.targets(layer)))
    return Run(spec, model, method, algorithm, runner, removal, stored, context)


def budget(spec: PruneSpec, model: LoadedModel) -> int:
    return free_bytes(model.device.type) // 2 if spec.byte_budget is None else spec.byte_budget


def _text(run: Run) -> Calibration | None:
    """The calibration sequences, noised where the method asks for it; None where nothing reads text."""
    spec, model = run.spec, run.model
    if not run.method.calibrated and not ALLOCATIONS[spec.allocation].needs_outliers:
        return None
    with run.phase("calibration text"):
        run.tell("calibration text")
        geometry = model.geometry
        found = calibration_text(spec.calibration, model.tokenizer, geometry.max_length, geometry.vocabulary)
        noised = None
        if run.method.noised and model.mask_token is not None:
            noised = noised_sequences(found.tokens, spec.calibration, model.mask_token)
    if found.note:
        run.notes.append(found.note)
    if noised is not None and spec.calibration.noise != model.architecture.calibration_noise:
        run.notes.append(
            f"The text was noised {NOISES[spec.calibration.noise].title}; the authors' script for "
            f"{model.architecture.name} noises it {NOISES[model.architecture.calibration_noise].title}."
        )
    run.facts["calibration"] = {
        "sequences": len(found.tokens),
        "tokens": int(found.tokens.size),
        "noise_levels": 0 if noised is None else noised.shape[1],
        "noise": None if noised is None else spec.calibration.noise,
        "masked": None if noised is None else [round(float(share), 6) for share in _masked(noised, model.mask_token)],
    }
    return Calibration(found.tokens, noised)


def _masked(noised: np.ndarray, mask_token: int | None) -> np.ndarray:
    """The share of tokens that are masked at each noise step, (T,); noised (N, T, S)."""
    return (noised == mask_token).mean(axis=(0, 2))


def prepare(run: Run, text: Calibration | None) -> Prepared:
    """What the dense model tells the method."""
    if run.algorithm.prepare is None or text is None:
        return Prepared()
    with run.phase(DENSE):
        prepared = run.algorithm.prepare(
            run.runner, text, run.spec, budget(run.spec, run.model), lambda done, of: run.tell(DENSE, done, of)
        )
    for layer, scores in enumerate(prepared.scores or []):
        for name, score in scores.items():
            require_finite(score, layer, name)
    return prepared


def _prepare_once(run: Run, text: Calibration | None) -> Prepared:
    """`prepare`, or what it had told before the same job was cut off."""
    if run.algorithm.prepare is None:
        return Prepared()
    asked = run.spec.model_dump(mode="json", include={"method", "calibration", "discount", "steps"})
    kept = run.context.scratch / f"{content_key(model=run.model.fingerprint, **asked)}.safetensors"
    if kept.is_file():
        prepared = load_prepared(kept)
        run.notes.append("The activations of the dense model were read from the run that was cut off.")
    else:
        prepared = prepare(run, text)
        save_prepared(prepared, kept)
    run.facts["dense_model"] = prepared.facts
    return prepared


def _allocate(run: Run, text: Calibration | None, prepared: Prepared) -> np.ndarray:
    """The sparsity of every layer, (L,)."""
    spec = run.spec
    ratios = None
    if ALLOCATIONS[spec.allocation].needs_outliers:
        assert text is not None
        with run.phase(OUTLIERS):
            ratios = outlier_ratios(run, feature_scores(run, text) if prepared.scores is None else prepared.scores)
        run.facts["outlier_ratios"] = ratios.tolist()
    return layer_sparsities(spec.allocation, spec.sparsity, run.sizes(), ratios, spec.allocation_range)


def feature_scores(run: Run, text: Calibration) -> Scores:
    """Wanda's ‖X_j‖ of the dense model on clean text, by layer and projection."""
    batches = [batch.tokens for batch in text.batches()]
    groups = run.runner.groups
    norms = {(layer, first): InputNorms() for layer, group in enumerate(groups) for first in group}
    forwards = itertools.count(1)
    run.runner.inputs(
        batches,
        lambda batch, layer, name, inputs: norms[layer, name].add(inputs, None),
        lambda: run.tell(OUTLIERS, next(forwards), len(batches)),
    )
    return [
        {name: norms[layer, first].done() for first, together in group.items() for name in together}
        for layer, group in enumerate(groups)
    ]


def outlier_ratios(run: Run, scores: Scores) -> np.ndarray:
    """D of OWL of every layer (L,), from the feature scores of the dense model."""
    return np.array([_outliers(run, layer, by_name) for layer, by_name in enumerate(scores)])


def _outliers(run: Run, layer: int, scores: dict[str, torch.Tensor]) -> float:
    targets = run.removal.targets(layer)
    if not targets:
        return 0.0
    block = private_block(run.model, layer, run.stored)
    modules = run.model.projections(block)
    return outlier_ratio(
        (wanda_score(rows_of(modules[name]), scores[name]) for name in targets), run.spec.owl_threshold
    )


def _prune_blocks(
    run: Run, text: Calibration | None, prepared: Prepared, sparsities: np.ndarray, folder: Path
) -> dict[str, Any]:
    """Prunes and writes block by block; the report."""
    model, spec = run.model, run.spec
    run.removal.share_out(sparsities)
    writer, masks, tally = CheckpointWriter(folder), MaskWriter(), Tally(model)
    prefix, layers = block_prefix(model), model.geometry.layers
    inside = {name for name in run.stored if name.startswith(f"{prefix}.")}
    steps = len(text.batches()) if text is not None and run.algorithm.statistic is not None else 1  # a block
    with run.phase(PRUNING):
        for name, stored in run.stored.items():
            if name not in inside:
                writer.add(stored.name, stored.read())
        for layer, block, statistics in blocks(run, text, prepared):
            here = f"{prefix}.{layer}."
            for name, gone in prune_block(run, layer, block, statistics, prepared).items():
                turned = isinstance(block.get_submodule(name), Conv1D)
                masks.add(run.stored[f"{here}{name}.weight"].name, ~(gone.T if turned else gone).cpu().numpy())
                tally.add(layer, name, gone)
            for name in sorted(name for name in inside if name.startswith(here)):
                stored = run.stored[name]
                tensor = run.removal.stored(layer, block, name.removeprefix(here), stored.read())
                writer.add(stored.name, tensor)
            run.tell(PRUNING, (layer + 1) * steps, layers * steps, layers=tally.grid(), projections=tally.names)
    with run.phase("saving"):
        run.tell("saving", layers, layers)
        writer.finish()
        masks.save(folder)
        copy_companions(model.checkpoint, folder, run.removal.config_changes())
        _open_again(folder)
    notes, facts = [*run.notes, *run.removal.notes()], run.facts | run.removal.facts()
    where = "in memory" if isinstance(run.runner, Resident) else "block by block from the files"
    return build(model, spec, tally, sparsities, where, run.phases.rows, notes, facts)


def _open_again(folder: Path) -> None:
    try:
        require_opens(folder)
    except UserError as error:
        raise UserError(f"The pruned checkpoint does not open again, so it was not kept. {error}") from error


@torch.no_grad()
def prune_block(
    run: Run, layer: int, block: nn.Module, statistics: dict[str, Any], prepared: Prepared
) -> dict[str, torch.Tensor]:
    """Prunes a private block in place; which weights of the dense one went, bool (out, in), by projection."""
    return run.removal.prune(layer, block, statistics if prepared.scores is None else prepared.scores[layer])


def blocks(
    run: Run, text: Calibration | None, prepared: Prepared
) -> Generator[tuple[int, nn.Module, dict[str, Any]], None, None]:
    """Each block as a private copy, with the statistics of its inputs where the method gathers any.

    The caller prunes the copy; the next block's inputs then come from the pruned one.
    """
    model, layers = run.model, run.model.geometry.layers
    if run.algorithm.statistic is None:
        for layer in range(layers):
            yield layer, private_block(model, layer, run.stored), {}
        return
    assert text is not None
    batches = text.batches()
    given = [first_input(model, batch.tokens) for batch in batches]
    for layer in range(layers):
        block = private_block(model, layer, run.stored)
        gathered = {name: run.algorithm.statistic() for name in run.runner.groups[layer]}
        for number, (batch, inputs) in enumerate(zip(batches, given, strict=True)):
            run.tell(PRUNING, layer * len(batches) + number, layers * len(batches))
            weights = _batch_weights(prepared, batch.rows, layer, model.device)

            def take(_: int, name: str, states: torch.Tensor, weights: torch.Tensor | None = weights) -> None:
                gathered[name].add(states, weights)  # noqa: B023 - called within this turn of the loop

            with torch.no_grad(), hooked(model.projections, [(layer, block)], run.runner.groups, take):
                run_block(block, inputs)
        statistics: dict[str, Any] = {}
        for first, together in run.runner.groups[layer].items():
            statistic = gathered[first].done()
            statistics |= dict.fromkeys(together, statistic)
            for fact, value in gathered[first].facts.items():
                run.facts.setdefault(fact, []).append({"layer": layer, "input": first, fact: value})
        yield layer, block, statistics
        if layer + 1 < layers:
            for inputs in given:
                inputs.states = run_block(block, inputs)


def _batch_weights(prepared: Prepared, rows: slice, layer: int, device: torch.device) -> torch.Tensor | None:
    if prepared.token_weights is None:
        return None
    weights = prepared.token_weights[rows]
    return torch.from_numpy(weights[:, layer if weights.shape[1] > 1 else 0]).to(device)
