"""Pruning a checkpoint: text, statistics of the dense model, one block after the other, and a finished folder.

The model is only read. Blocks are pruned on private copies, so that nothing else that uses the model is disturbed.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from analysis.calibration.activations import rows_of, turned, unreached_note
from analysis.calibration.known_mass import KnownMass
from analysis.calibration.noised_text import noised_text, refuse_text
from analysis.calibration.norms import UNREACHED
from analysis.calibration.runners import Resident, Runner, Streamed
from analysis.calibration.text import calibration_text
from analysis.errors import UserError
from analysis.job_context import Context
from analysis.models.canvas import canvas_start
from analysis.models.checkpoint import weight_bytes
from analysis.models.files import block_prefix, joined, require, stored_tensors
from analysis.models.load import require_opens
from analysis.models.loaded import LoadedModel
from analysis.models.weight_files import words_of
from analysis.pruned.masks_file import MaskWriter
from analysis.pruned.report_file import CARD_FILE, FAKE, Report, write_report
from analysis.pruning.algorithm import Calibration, Flags, Prepared
from analysis.pruning.card import licence_in, model_card
from analysis.pruning.dense import (
    allocate,
    prepare,
    prepare_once,
    prepares,
    save_prepared,
    survey,
    with_quantizer_weights,
)
from analysis.pruning.expert_removal import reads_text, refuse
from analysis.pruning.layer_by_layer import Gathered, blocks, gatherings
from analysis.pruning.quantization import Quantization
from analysis.pruning.removal import removal_for, require_finite
from analysis.pruning.run import ALGORITHMS, PRUNING, PruningRun, Tally, budget, build
from analysis.pruning.saving import CheckpointWriter, Quantized, Sizes, check_target, copy_companions, finished_folder
from analysis.specs import ALLOCATIONS, METHODS, NOISES, PATTERNS, PruneSpec

_MASS_READ = "The dense model's attention mass on this text was read from the store, where an earlier job left it."


def prune(
    model: LoadedModel,
    spec: PruneSpec,
    context: Context,
    text: Calibration | None = None,
    out: Path | None = None,
    stored: Path | None = None,
) -> dict[str, Any]:
    """Write the pruned checkpoint to `spec.out` and return its report. Raises UserError for what cannot be done.

    model: whole, or the skeleton of one that does not fit its device. text: given token ids in place of those that
    `spec.calibration` describes. out: folder to write if the spec names none; the report does not name it.
    stored: the file of `store_statistics` for this model and text.
    """
    out = Path(spec.out) if spec.out else out
    if out is None:
        raise UserError("No folder was given to write the pruned checkpoint to. Set --out.")
    check_target(out, model.checkpoint.folder, spec.overwrite, weight_bytes(model.checkpoint, None))
    known = KnownMass(context.stores)
    run = start(model, spec, context, known)
    text = text or _text(run)
    prepared = with_quantizer_weights(run, text, prepare_once(run, text, stored))
    if known.read:
        run.notes.append(_MASS_READ)
    sparsities = allocate(run, text, prepared)
    run.removal.share_out(sparsities)
    survey(run, prepared)
    with finished_folder(out, spec.overwrite, context.log) as folder:
        report = _prune_blocks(run, text, prepared, sparsities, folder)
        write_report(report, folder)
        card = model_card(cast(Report, report), licence_in(model.checkpoint.folder))
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    return report


def store_statistics(model: LoadedModel, spec: PruneSpec, context: Context, path: Path) -> dict[str, Any]:
    """Write the dense model's statistics for a method to `path`, for prunings that differ in later steps alone.

    Returns phases and facts. Raises UserError as `prune` does, and where the method asks the dense model nothing.
    """
    known = KnownMass(context.stores)
    run = start(model, spec, context, known)
    if not prepares(run):
        raise UserError(f"{run.method.title} asks the dense model nothing, so there is nothing to store.")
    prepared = prepare(run, _text(run))
    if known.read:
        run.notes.append(_MASS_READ)
    save_prepared(prepared, path)
    return {"phases": run.phases, "dense_model": prepared.facts, "notes": run.notes, **run.facts}


def start(model: LoadedModel, spec: PruneSpec, context: Context, known: KnownMass | None = None) -> PruningRun:
    """Check everything that can be checked before any work. known: where attention mass is looked for and kept."""
    method, algorithm = METHODS[spec.method], ALGORITHMS[spec.method]
    if model.architecture.mixture and PATTERNS[spec.pattern].cuts_units and not PATTERNS[spec.pattern].cuts_experts:
        raise UserError(
            f"{model.architecture.name} models are mixtures of experts, and the pattern {spec.pattern} cuts channels "
            "of one MLP a block. Choose another pattern."
        )
    refuse(model, spec)
    refuse_text(model, spec)
    layers = model.geometry.layers
    beyond = [layer for layer in spec.skip_layers if not 0 <= layer < layers]
    if beyond:
        raise UserError(f"There is no layer {beyond[0]} to leave dense: the model has {layers}, counted from 0.")
    names = {word for name in model.projection_names for word in words_of(name)}
    unknown = sorted(set(spec.skip_projections) - names)
    if unknown:
        raise UserError(f"There is no projection '{unknown[0]}' to leave dense. Known: {', '.join(sorted(names))}.")
    removal = removal_for(model, spec, algorithm)
    if not any(removal.targets(layer) for layer in range(layers)):
        raise UserError("Every layer or projection is left dense, so there is nothing to prune.")
    removal.check()
    stored = stored_tensors(model)
    # With uniform noise, pairs of layers are run one after the other.
    together = not model.streamed and model.architecture.noise != "uniform"
    runner: Runner = Resident(model, known) if together else Streamed(model, budget(spec, model), known)
    prefix = block_prefix(model)
    require(stored, (f"{prefix}.{layer}.{name}.weight" for layer in range(layers) for name in removal.targets(layer)))
    return PruningRun(spec, model, method, algorithm, runner, removal, stored, context)


def reads_calibration(spec: PruneSpec) -> bool:
    """Return True if a pruning reads its calibration text."""
    reads = reads_text(spec) if PATTERNS[spec.pattern].cuts_experts else spec.calibrated
    return reads or ALLOCATIONS[spec.allocation].needs_outliers


def _text(run: PruningRun) -> Calibration | None:
    """The calibration sequences, noised where the method asks for it; None where nothing reads text."""
    spec, model = run.spec, run.model
    if not reads_calibration(spec):
        return None
    with run.phase("calibration text"):
        run.tell("calibration text")
        geometry = model.geometry
        text = calibration_text(spec.calibration, model.tokenizer, geometry.max_length, geometry.vocabulary)
        noised = None
        if run.noised:
            noised = noised_text(model, text.tokens, spec.calibration)
    if text.note:
        run.notes.append(text.note)
    if noised is not None and spec.calibration.noise != model.architecture.calibration_noise:
        run.notes.append(
            f"The text was noised {NOISES[spec.calibration.noise].title}; the authors' script for "
            f"{model.architecture.name} noises it {NOISES[model.architecture.calibration_noise].title}."
        )
    if noised is not None and model.architecture.noise == "uniform":
        run.notes.append(
            f"The canvas was noised {NOISES[spec.calibration.noise].title}, {model.architecture.name}'s own noise."
        )
    run.facts["calibration"] = {
        "sequences": len(text.tokens),
        "tokens": int(text.tokens.size),
        "noise_levels": 0 if noised is None else noised.shape[1],
        "noise": None if noised is None else spec.calibration.noise,
        "beside_clean": noised is not None and model.architecture.beside_clean,
        **_changed(model, text.tokens, noised),
    }
    return Calibration(text.tokens, noised)


def _changed(model: LoadedModel, clean: np.ndarray, noised: np.ndarray | None) -> dict[str, Any]:
    """For the report, by noise step: the share of tokens that are masked; of a model whose noise is random tokens where
    the canvas begins and the share of its tokens that differ. clean (N, S), noised (N, T, S).
    """
    if model.architecture.noise != "uniform":
        masked = None if noised is None else noised[..., : clean.shape[1]] == model.mask_token
        return {"masked": None if masked is None else _shares(masked)}
    start = canvas_start(model.architecture, clean.shape[1])
    differs = None if noised is None else _shares(noised[..., start:] != clean[:, None, start:])
    return {"masked": None, "canvas_start": start, "replaced": differs}


def _shares(flags: np.ndarray) -> list[float]:
    """Return the share of the flags (N, T, S) that is set at each step."""
    return [round(float(share), 6) for share in flags.mean(axis=(0, 2))]


def _prune_blocks(
    run: PruningRun, text: Calibration | None, prepared: Prepared, sparsities: np.ndarray, folder: Path
) -> dict[str, Any]:
    """Prune and write block by block; return the report."""
    model, spec = run.model, run.spec
    writer, masks, tally, size = CheckpointWriter(folder), MaskWriter(folder), Tally(model), Sizes(spec.quantization)
    prefix, layers = block_prefix(model), model.geometry.layers
    inside = {name for name in run.stored if name.startswith(f"{prefix}.")}
    streams = {kind.stream: len(kind.batches) for kind in gatherings(run, text, prepared) if kind is not None}
    steps = sum(streams.values()) or 1  # a block
    with run.phase(PRUNING):
        for name, stored in run.stored.items():
            if name not in inside and stored.made is None:
                tensor = stored.read()
                writer.add(stored.name, tensor)
                size.add(tensor, tensor)
        for layer, block, gathered in blocks(run, text, prepared):
            here, targets = f"{prefix}.{layer}.", run.removal.targets(layer)
            for name, gone in prune_block(run, layer, block, gathered, prepared).items():
                masks.add(run.stored[f"{here}{name}.weight"].own_name, ~turned(targets[name], gone).cpu().numpy())
                tally.add(layer, name, gone)
            parts: dict[str, dict[tuple[int | None, int], torch.Tensor]] = {}  # of tensors that the files hold as one
            for name in sorted(name for name in inside if name.startswith(here)):
                stored, inner = run.stored[name], name.removeprefix(here)
                if stored.made is not None:
                    continue
                original, written_as = stored.read(), run.removal.written_as(layer, inner, stored.name)
                if written_as is None:
                    size.add(original, None)
                    continue
                tensor = run.removal.stored(layer, block, inner, original)
                size.add(original, tensor, run.quantized.get(inner))
                if run.updates and inner.removesuffix(".weight") in targets:
                    tensor = stored.as_stored(tensor)
                if stored.rows is None:
                    writer.add(written_as, tensor)
                else:
                    parts.setdefault(stored.name, {})[stored.expert, stored.rows[0]] = tensor
            for whole, by_place in parts.items():
                writer.add(whole, joined(by_place))
            run.tell(PRUNING, (layer + 1) * steps, layers * steps, layers=tally.grid(), projections=tally.names)
            del block, gathered  # before the next is read
    with run.phase("saving"):
        run.tell("saving", layers, layers)
        writer.finish()
        masks.save()
        copy_companions(model.checkpoint, folder, run.removal.config_changes())
        _open_again(folder)
    notes, facts = [*run.notes, *run.removal.notes()], run.facts | run.removal.facts()
    unreached = facts.get(UNREACHED) or prepared.facts.get(UNREACHED)
    if unreached:
        facts[UNREACHED] = unreached
        notes.append(unreached_note(unreached, model.geometry.experts, PATTERNS[spec.pattern].cuts_experts))
    if run.quantizer is not None:
        notes.append(FAKE)
    return build(run, tally, size.reported(), sparsities, notes, facts)


def _open_again(folder: Path) -> None:
    try:
        require_opens(folder)
    except UserError as error:
        raise UserError(f"The pruned checkpoint does not open again, so it was not kept. {error}") from error


@torch.no_grad()
def prune_block(run: PruningRun, layer: int, block: nn.Module, gathered: Gathered, prepared: Prepared) -> Flags:
    """Prune and quantize a private block in place."""
    gone = run.removal.prune(layer, block, gathered.method if prepared.scores is None else prepared.scores[layer])
    if run.quantization is not None:
        run.quantized = _quantize_block(run, run.quantization, layer, block, gathered.quantizer)
    return gone


def _quantize_block(
    run: PruningRun, quantization: Quantization, layer: int, block: nn.Module, statistics: dict[str, Any]
) -> dict[str, Quantized]:
    """Quantize the projections of a private block in place; return each by its parameter's name."""
    modules, done = run.model.projections(block), {}
    for name in run.removal.targets(layer):
        weight = rows_of(modules[name])
        rows, columns = weight.shape
        done[f"{name}.weight"] = Quantized((rows, columns), int(weight.count_nonzero()))
        require_finite(weight, layer, name)
        levels = quantization.quantize(weight.float(), statistics.get(name), run.spec.quantization).weight
        require_finite(levels, layer, name)
        weight.copy_(levels)
    return done
