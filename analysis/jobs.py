"""What can be asked for: a spec in, a summary and a file out. Runs in a worker, or in the command line's own process.

A job is one row of `JOBS`. torch is imported inside the jobs, so that the screen's process can read this table.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import calibration
from analysis import trajectory as trajectories
from analysis.context import Context
from analysis.errors import UserError
from analysis.models.checkpoint import find, fingerprint
from analysis.models.registry import entry
from analysis.resident import free_memory, release_resident, resident_model
from analysis.specs import (
    AblateSpec,
    AttentionMapSpec,
    LoadSpec,
    NoiseSpec,
    RecordSpec,
    ReferenceSpec,
    Replay,
    Spec,
    UnloadSpec,
)
from cache.keys import code_version, content_key

if TYPE_CHECKING:
    from analysis.models.load import LoadedModel


@dataclass(frozen=True)
class Outcome:
    """What a job returns. summary: JSON. file: arrays as safetensors, for the store to take in, or None.
    key: the name of the result by content; None for a job without a lasting result."""

    summary: dict[str, Any]
    file: Path | None = None
    key: str | None = None


# --- the jobs ---------------------------------------------------------------------------------------------------


def load_model(spec: LoadSpec, context: Context) -> Outcome:
    """Loads a model and describes it."""
    model = resident_model(spec.model, context)
    geometry = model.geometry
    summary = {
        "source": spec.model.source,
        "architecture": model.architecture.name,
        "sampler": model.architecture.sampler,
        "layers": geometry.layers,
        "heads": geometry.heads,
        "kv_heads": geometry.kv_heads,
        "max_length": geometry.max_length,
        "mask_token": model.mask_token,
        "dtype": model.dtype,
        "device": str(model.device),
        "bytes": model.bytes,
        "parameters": model.network.num_parameters(),
        "fingerprint": model.fingerprint,
    }
    return Outcome(summary)


def unload_model(spec: UnloadSpec, context: Context) -> Outcome:
    """Frees the model held."""
    release_resident()
    return Outcome({})


def record(spec: RecordSpec, context: Context) -> Outcome:
    """Denoises a prompt and saves its trajectory."""
    model = resident_model(spec.model, context)
    import torch

    from analysis.denoising import denoise, steps_of
    from analysis.models.tokenizer import token_strings

    ids, chat = model.encode(spec.prompt, spec.chat_template)
    prompt = torch.tensor([ids], dtype=torch.long)
    planned = steps_of(spec.sampling)
    geometry, positions = model.geometry, len(ids) + spec.sampling.gen_length
    shape = (planned, geometry.layers, geometry.heads, geometry.kv_heads, positions)
    need = trajectories.recording_bytes(*shape, spec.mass_dtype)
    there = free_memory()
    if need > there:
        raise UserError(
            f"Not enough memory for this recording: it takes {need / 1e9:.1f} GB and there are {there / 1e9:.1f} GB. "
            "Take fewer steps or tokens, or store float16."
        )
    names: dict[int, str] = {}

    def on_step(step: int, tokens: np.ndarray, confidence: np.ndarray) -> None:
        new = set(tokens.tolist()) - set(names)
        names.update(token_strings(model.tokenizer, new))
        sure = [None if np.isnan(value) else round(float(value), 4) for value in confidence]
        context.progress(
            "denoising", step + 1, planned, tokens=[names[token] for token in tokens.tolist()], confidence=sure,
            masked=(tokens == model.mask_token).tolist(), prompt_length=len(ids),
        )  # fmt: skip

    context.progress("denoising", 0, planned)
    started = time.perf_counter()
    steps = denoise(model, prompt, spec.sampling, spec.seed)
    arrays = trajectories.record(steps, planned, positions, spec.mass_dtype, on_step)
    seconds = time.perf_counter() - started

    unknown = getattr(model.tokenizer, "unk_token_id", None)
    recording = _recording(
        model,
        arrays,
        seconds,
        prompt=spec.prompt,
        prompt_length=len(ids),
        chat_template=chat,
        sampling=spec.sampling,
        seed=spec.seed,
        unknown_tokens=0 if unknown is None else ids.count(unknown),
    )
    info = recording.info
    context.progress("saving", planned, planned)
    key = result_key("record", spec, model.fingerprint)
    path = context.folder / f"{key}-{time.time_ns()}.safetensors"
    trajectories.save(recording, path)
    summary = {
        "source": spec.model.source,
        "text": info.final_text,
        "steps": recording.steps,
        "layers": recording.layers,
        "heads": recording.heads,
        "positions": recording.positions,
        "seconds": round(seconds, 3),
        "bytes": path.stat().st_size,
        "seed": spec.seed,
        "unknown_tokens": info.unknown_tokens,
        "mass_dtype": info.mass_dtype,
        "mass_error": info.mass_error,
        "fingerprint": model.fingerprint,
    }
    return Outcome(summary, path, key)


def _recording(
    model: "LoadedModel", arrays: dict[str, Any], seconds: float, *, prompt_length: int, **facts: Any
) -> trajectories.Trajectory:
    """Arrays of `trajectory.record` with everything about the model they came from."""
    from analysis.denoising import stop_tokens
    from analysis.models.tokenizer import token_strings
    from analysis.provenance import environment

    occurring = np.unique(np.concatenate([arrays["tokens"].ravel(), arrays["final"]])).tolist()
    ends = stop_tokens(model)
    info = trajectories.Info(
        model=trajectories.RecordedModel(
            source=model.spec.source,
            architecture=model.architecture.name,
            fingerprint=model.fingerprint,
            dtype=model.dtype,
            device=str(model.device),
            bidirectional=model.architecture.bidirectional,
            kv_heads=model.geometry.kv_heads,
            mask_token=model.mask_token,
            end_tokens=tuple(sorted(ends)),
        ),
        prompt_length=prompt_length,
        final_text=_written(model, arrays["final"][prompt_length:].tolist(), ends),
        tokens=token_strings(model.tokenizer, [token for token in occurring if token != trajectories.PADDING]),
        mass_dtype=arrays.pop("mass_dtype"),
        mass_error=arrays.pop("mass_error"),
        seconds=seconds,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(),
        **facts,
    )
    return trajectories.Trajectory(info, **arrays)


def _written(model: "LoadedModel", tokens: list[int], ends: set[int]) -> str:
    """What the model wrote, up to the first end-of-text token."""
    stop = next((index for index, token in enumerate(tokens) if token in ends), len(tokens))
    return "" if model.tokenizer is None else model.tokenizer.decode(tokens[:stop], skip_special_tokens=True)


def attention_map(spec: AttentionMapSpec, context: Context) -> Outcome:
    """One forward over given tokens, keeping the full attention map of one head."""
    model = resident_model(spec.model, context)
    import torch
    from safetensors.numpy import save_file

    from analysis.attention import MapObserver

    geometry = model.geometry
    if spec.layer >= geometry.layers or spec.head >= geometry.heads:
        raise UserError(
            f"There is no layer {spec.layer}, head {spec.head}: this model has {geometry.layers} layers of "
            f"{geometry.heads} heads, counted from 0."
        )
    if not all(0 <= token < geometry.vocabulary for token in spec.tokens):
        raise UserError(f"A token lies outside this model's vocabulary of {geometry.vocabulary} tokens.")
    context.progress("one forward", 0, 1)
    observer = MapObserver(spec.layer, spec.head)
    model.predict(torch.tensor([spec.tokens], dtype=torch.long), observer)
    assert observer.map is not None
    key = result_key("attention_map", spec, model.fingerprint)
    path = context.folder / f"{key}-{time.time_ns()}.safetensors"
    save_file({"map": observer.map.numpy()}, path)
    return Outcome({"positions": len(spec.tokens), "fingerprint": model.fingerprint}, path, key)


def reference(spec: ReferenceSpec, context: Context) -> Outcome:
    """Observes a model of the same shape with random weights on the same inputs."""
    model = resident_model(spec.model, context)
    from analysis.models.load import random_like

    context.progress("drawing random weights")
    drawn = random_like(model, spec.seed)
    inputs = [np.array(row, np.int64) for row in spec.inputs]
    return _replay(
        "reference", spec, model, drawn, inputs, inputs[-1], Replay(inputs="recording", weights="random"), context
    )


def noise(spec: NoiseSpec, context: Context) -> Outcome:
    """Observes the model on finished text noised forward, from the noisiest level down."""
    model = resident_model(spec.model, context)
    if model.mask_token is None:
        raise UserError(f"{model.architecture.name} has no mask token, so there is no forward noise to compare with.")
    rng = np.random.default_rng(spec.seed)
    tokens = np.array(spec.tokens, np.int64)
    inputs = [
        calibration.noised(
            tokens,
            calibration.mask_probability(step, spec.diffusion_steps, spec.noise_eps),
            model.mask_token,
            rng,
        )
        for step in calibration.noise_levels(spec.diffusion_steps, spec.step_interval)
    ]
    return _replay("noise", spec, model, model, inputs, tokens, Replay(inputs="noised", weights="own"), context)


def _replay(
    kind: str,
    spec: Any,
    model: "LoadedModel",
    network: "LoadedModel",
    inputs: list[np.ndarray],
    final: np.ndarray,
    replay: Replay,
    context: Context,
) -> Outcome:
    """One observed forward of `network` over each input, as a recording."""
    import torch

    from analysis.attention import MassObserver
    from analysis.denoising import Choice, Step

    observer = MassObserver()

    def steps() -> Iterator[Step]:
        for index, row in enumerate(inputs):
            context.progress("observing", index, len(inputs))
            tokens = torch.from_numpy(row)[None]
            network.predict(tokens, observer)
            nothing = torch.zeros_like(tokens, dtype=torch.bool)
            masked = nothing if network.mask_token is None else tokens == network.mask_token
            output = torch.from_numpy(final)[None] if index == len(inputs) - 1 else tokens
            yield Step(Choice(tokens, masked, nothing, torch.full(tokens.shape, torch.nan), output), *observer.take())

    started = time.perf_counter()
    arrays = trajectories.record(steps(), len(inputs), max(len(row) for row in inputs))
    recording = _recording(
        network,
        arrays,
        time.perf_counter() - started,
        prompt="",
        prompt_length=min(spec.prompt_length, len(final)),
        chat_template=False,
        sampling=replay,
        seed=spec.seed,
        unknown_tokens=0,
    )
    key = result_key(kind, spec, model.fingerprint)
    path = context.folder / f"{key}-{time.time_ns()}.safetensors"
    trajectories.save(recording, path)
    return Outcome({"steps": recording.steps, "fingerprint": model.fingerprint, "seed": spec.seed}, path, key)


def ablate(spec: AblateSpec, context: Context) -> Outcome:
    """Denoises untouched and with each target's positions blocked, and compares."""
    model = resident_model(spec.model, context)
    import torch

    from analysis import ablation
    from analysis.denoising import denoise, stop_tokens

    prompt = torch.tensor([spec.prompt], dtype=torch.long)
    total = len(ablation.TARGETS) + 1
    context.progress("denoising untouched", 0, total)
    untouched = list(denoise(model, prompt, spec.sampling, spec.seed))
    ends = stop_tokens(model)
    rows = [
        {
            "target": "untouched",
            "title": "nothing (untouched run)",
            **ablation.compare(untouched, untouched, len(spec.prompt)),
        }
    ]
    for index, (name, target) in enumerate(ablation.TARGETS.items(), start=1):
        context.progress(f"blocking {target.title}", index, total)
        steps = ablation.ablated_steps(model, prompt, spec.sampling, spec.seed, name, spec.count, spec.sinks)
        rows.append({"target": name, "title": target.title, **ablation.compare(steps, untouched, len(spec.prompt))})
    for row in rows:
        row["text"] = _written(model, row.pop("tokens"), ends)
    context.progress("done", total, total)
    summary = {"rows": rows, "architecture": model.architecture.name, "fingerprint": model.fingerprint}
    return Outcome(summary, None, result_key("ablate", spec, model.fingerprint))


@dataclass(frozen=True)
class Job:
    """One kind of job. stored: whether its result is kept, so that the same question is answered by reading."""

    title: str
    run: Callable[[Any, Context], Outcome]
    stored: bool


JOBS: dict[str, Job] = {
    "load": Job("Load a model", load_model, stored=False),
    "unload": Job("Unload the model", unload_model, stored=False),
    "record": Job("Record a trajectory", record, stored=True),
    "attention_map": Job("Fetch an attention map", attention_map, stored=True),
    "reference": Job("Observe random weights", reference, stored=True),
    "noise": Job("Observe noised text", noise, stored=True),
    "ablate": Job("Ablate sinks", ablate, stored=True),
}


def result_key(kind: str, spec: Spec, model_fingerprint: str) -> str:
    """The name of a job's result: everything it depends on. The model counts by its content, not by where it lies."""
    parameters = spec.model_dump(mode="json")
    model = parameters.pop("model")
    known = entry(model["source"])
    return content_key(
        kind=kind,
        fingerprint=model_fingerprint,
        device=model["device"],
        dtype=model["dtype"],
        instruct=known.instruct if known else None,
        parameters=parameters,
        code=code_version(),
    )


def known_key(kind: str, spec: Spec) -> str | None:
    """The result's name before running, where the model is on this disk. Raises UserError for a bad source."""
    if not JOBS[kind].stored:
        return None
    found = find(spec.model.source)
    return result_key(kind, spec, fingerprint(found)) if found else None
