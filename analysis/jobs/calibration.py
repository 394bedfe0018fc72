"""Storing the statistics from which every setting of the discount is computed.

The squares come first, as masks need nothing else; the floor and the held-out text, which take as long again, are
separate jobs.
"""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.calibration.noise import noise_levels, noised_sequences
from analysis.errors import UserError
from analysis.job_context import Context, environment, now
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.pruning import model_to_prune
from analysis.jobs.summaries import CalibrateSummary, StatisticsPartSummary
from analysis.specs import CalibrateSpec, CalibrationParams, HeldoutSpec, SeedFloorSpec
from analysis.tuning import statistics_file as stored
from analysis.tuning.bin_error import Probes, probe_settings
from analysis.tuning.effects import EDGES

if TYPE_CHECKING:
    from analysis.calibration.runners import Runner
    from analysis.models.loaded import LoadedModel
    from analysis.tuning.collect import CollectionPlan, Texts


@dataclass(frozen=True)
class _Prepared:
    """A model and the texts it is to read. memory: bytes that one batch's inputs may take. note: on the text."""

    model: "LoadedModel"
    mask_token: int
    runner: "Runner"
    memory: int
    texts: "Texts"
    collection: "CollectionPlan"
    note: str


def calibrate(spec: CalibrateSpec, context: Context) -> Outcome[CalibrateSummary]:
    """Run the dense model over noised text and store one file of statistics, without its parts. Raises UserError
    without a mask token, and if not even one sequence fits the byte budget.
    """
    started = time.perf_counter()
    prepared = _prepared(spec, context)
    from analysis.models.tokenizer import token_strings
    from analysis.tuning.collect import fill

    model, texts, collection = prepared.model, prepared.texts, prepared.collection
    names = token_strings(model.tokenizer, np.unique([*np.unique(texts.noised), *np.unique(texts.clean)]).tolist())
    params = spec.calibration
    info = stored.StatisticsInfo(
        spec=spec,
        architecture=model.architecture.name,
        fingerprint=model.fingerprint,
        dtype=model.dtype,
        device=str(model.device),
        mask_token=prepared.mask_token,
        layers=model.geometry.layers,
        levels=tuple(noise_levels(params.diffusion_steps, params.step_interval)[::-1]),
        grouping=collection.grouping,
        scopes=collection.scopes,
        beside_clean=model.architecture.by_blocks,
        apart=("seed_floor", "heldout") if collection.grams else ("seed_floor",),
        edges=EDGES,
        inputs=collection.inputs,
        outputs=collection.outputs,
        other_seed=_other(params, 1).seed,
        heldout_seed=_other(params, 2).seed,
        tokens=names,
        notes=(*([prepared.note] if prepared.note else []), *collection.notes),
        seconds=0.0,
        created=now(),
        environment=environment(),
    )
    key = result_key(calibrate, spec, model.fingerprint)
    path = context.new_file(key)
    probes = None
    if collection.grouping == "bins":
        settings = probe_settings(params.seed, collection.scopes, info.levels, params)
        probes = Probes(settings, info.levels, params.diffusion_steps)
    # The JSON is escaped once more in the file's header.
    room = 2 * len(info.model_dump_json()) + 1024 + 1024 * (len(probes.settings) if probes else 0)
    try:
        runner, memory = prepared.runner, prepared.memory
        errors = fill(path, runner, collection, texts, room, params.seed, memory, probes, context.progress)
        done = {"bin_errors": tuple(errors), "seconds": time.perf_counter() - started}
        stored.finish(path, info.model_copy(update=done), room)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    summary: CalibrateSummary = {
        "sequences": collection.sequences,
        "levels": len(info.levels),
        "positions": texts.clean.shape[1],
        "grouping": collection.grouping,
        "bytes": path.stat().st_size,
        "seconds": round(time.perf_counter() - started, 3),
        "notes": list(info.notes),
        "fingerprint": model.fingerprint,
    }
    return Outcome(summary, path, key)


def seed_floor(spec: SeedFloorSpec, context: Context) -> Outcome[StatisticsPartSummary]:
    """Run the dense model over noised text of another seed, as much as `calibrate` stores, and leave the part of the
    statistics from which the floor is computed.
    """
    return _part("seed_floor", spec, context)


def heldout(spec: HeldoutSpec, context: Context) -> Outcome[StatisticsPartSummary]:
    """Run the dense model over held-out noised text and leave the part of the statistics from which output errors are
    computed. Raises UserError if that exceeds the byte budget.
    """
    return _part("heldout", spec, context)


def _part(part: stored.Part, spec: SeedFloorSpec | HeldoutSpec, context: Context) -> Outcome[StatisticsPartSummary]:
    started = time.perf_counter()
    prepared = _prepared(spec, context)
    from analysis.tuning.collect import fill_part, part_shapes

    collection = prepared.collection
    if part == "heldout" and not collection.grams:
        raise UserError(collection.notes[-1])
    noised = prepared.texts.heldout if part == "heldout" else prepared.texts.other
    info = stored.PartInfo(part=part, spec=CalibrateSpec(**dict(spec)), fingerprint=prepared.model.fingerprint)
    key = result_key(seed_floor if part == "seed_floor" else heldout, spec, prepared.model.fingerprint)
    path = context.new_file(key)
    room = 2 * len(info.model_dump_json()) + 1024  # the JSON is escaped once more in the file's header
    try:
        arrays = stored.create(path, part_shapes(part, collection, noised.shape[1]), room)
        fill_part(part, arrays, prepared.runner, noised, context.progress)
        stored.finish(path, info, room)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    summary: StatisticsPartSummary = {
        "sequences": len(noised),
        "bytes": path.stat().st_size,
        "seconds": round(time.perf_counter() - started, 3),
        "fingerprint": prepared.model.fingerprint,
    }
    return Outcome(summary, path, key)


def _prepared(spec: CalibrateSpec, context: Context) -> _Prepared:
    """Return the model, the texts and the amount to store: the same for statistics and their parts. Raises UserError
    for a model whose discount cannot be tuned, and if not even one sequence fits the byte budget.
    """
    model = model_to_prune(spec, context)
    if model.architecture.mixture:
        raise UserError(
            f"{model.architecture.name} models are mixtures of experts, for which no statistics are stored, so their "
            "discount is not tuned here. Prune with several discounts and compare, or choose another model."
        )
    if model.mask_token is None:
        raise UserError(
            f"Discounts are tuned on noised text, and this {model.architecture.name} model has no mask token. Choose a "
            "diffusion model."
        )
    from analysis.calibration.known_mass import KnownMass
    from analysis.calibration.noised_text import refuse_noise
    from analysis.calibration.runners import Resident, Runner, Streamed
    from analysis.models.loaded import free_bytes
    from analysis.tuning.collect import plan

    refuse_noise(model, spec.calibration)

    memory = free_bytes(model.device.type) // 2
    known = KnownMass(context.stores)
    runner: Runner = Streamed(model, memory, known) if model.streamed else Resident(model, known)
    context.progress("calibration text")
    texts, note = _texts(model, model.mask_token, spec)
    collection = plan(runner, spec, texts.noised.shape[1], texts.noised.shape[2])
    texts = replace(
        texts, **{name: getattr(texts, name)[: collection.sequences] for name in ("clean", "noised", "other")}
    )
    return _Prepared(model, model.mask_token, runner, memory, texts, collection, note)


def _other(params: CalibrationParams, number: int) -> CalibrationParams:
    """The same calibration with another seed."""
    return params.model_copy(update={"seed": (params.seed + number) % 2**31})


def _texts(model: "LoadedModel", mask_token: int, spec: CalibrateSpec) -> tuple["Texts", str]:
    """The text that a pruning with these parameters reads, that of another seed, and sequences that are in neither."""
    from analysis.calibration.text import calibration_text
    from analysis.tuning.collect import Texts

    def read(params: CalibrationParams, draw: int | None = None) -> tuple[np.ndarray, str]:
        geometry = model.geometry
        text = calibration_text(params, model.tokenizer, geometry.max_length, geometry.vocabulary, draw)
        return text.tokens, text.note

    params, other = spec.calibration, _other(spec.calibration, 1)
    clean, note = read(params)
    unlike, _ = read(other)
    seen = {row.tobytes() for row in np.concatenate([clean, unlike])}
    # Each seed draws windows of a file anew: drawing as many extra as were seen leaves enough unseen ones.
    apart = _other(params, 2)
    unseen = [row for row in read(apart, len(seen) + spec.heldout)[0] if row.tobytes() not in seen][: spec.heldout]
    if len(unseen) < spec.heldout:
        raise UserError(
            f"'{params.data}' is too short or repeats itself: beside the {params.samples} sequences and those of "
            f"another seed, {len(unseen)} of {spec.heldout} held-out sequences are left. Take fewer samples, a shorter "
            "sequence length, or more text."
        )
    rows = [
        noised_sequences(tokens, calibration, mask_token, beside_clean=model.architecture.by_blocks)
        for tokens, calibration in ((clean, params), (unlike, other), (np.stack(unseen), apart))
    ]
    return Texts(clean, *rows), note
