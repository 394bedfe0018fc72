"""What can be asked for: a spec in, a summary and a file out. Runs in a worker, or in the command line's own process.

A job is one row of `JOBS`. torch is imported inside the jobs, so that the screen's process can read this table.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis import trajectory as trajectories
from analysis.errors import UserError
from analysis.models.checkpoint import find, fingerprint
from analysis.models.registry import entry
from analysis.specs import AttentionMapSpec, LoadSpec, ModelSpec, RecordSpec, Spec, UnloadSpec
from cache.keys import code_version, content_key

if TYPE_CHECKING:
    from analysis.models.load import LoadedModel


class Cancelled(Exception):
    """Raised inside a job when someone asked it to stop."""


class Context(Protocol):
    """What a job is given beside its spec."""

    folder: Path  # where it leaves its file
    workers: int  # how many workers share this machine's cores

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        """Tells how far the job is. Raises Cancelled when it should stop; so every step calls it."""


@dataclass(frozen=True)
class Outcome:
    """What a job returns. summary: JSON. file: arrays as safetensors, for the store to take in, or None.
    key: the name of the result by content; None for a job without a lasting result."""

    summary: dict[str, Any]
    file: Path | None = None
    key: str | None = None


# --- the resident model -----------------------------------------------------------------------------------------

_resident: "LoadedModel | None" = None


def resident_model(spec: ModelSpec, context: Context) -> "LoadedModel":
    """The model of `spec`: the one held if it is that, else loaded in its place. A failed load leaves the old one."""
    global _resident
    if _resident is not None and _resident.spec == spec and _unchanged(_resident):
        return _resident
    context.progress("starting torch")
    from analysis.models import load

    load.use_all_cores(context.workers)
    reclaimable = _resident.bytes if _resident is not None else 0
    model = load.load(spec, lambda phase: context.progress(phase), reclaimable, release_resident)
    _resident = model
    return model


def release_resident() -> None:
    """Frees the memory of the model held, if any."""
    global _resident
    _resident = None
    import gc

    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _unchanged(model: "LoadedModel") -> bool:
    found = find(model.spec.source)
    return found is not None and fingerprint(found) == model.fingerprint


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

    from analysis.denoising import denoise, steps_of, stop_tokens
    from analysis.models.tokenizer import token_strings
    from analysis.provenance import environment

    ids, chat = model.encode(spec.prompt, spec.chat_template)
    prompt = torch.tensor([ids], dtype=torch.long)
    planned = steps_of(spec.sampling)
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
    arrays = trajectories.record(steps, planned, len(ids) + spec.sampling.gen_length, spec.mass_dtype, on_step)
    seconds = time.perf_counter() - started

    occurring = np.unique(np.concatenate([arrays["tokens"].ravel(), arrays["final"]])).tolist()
    strings = token_strings(model.tokenizer, [token for token in occurring if token != trajectories.PADDING])
    ends = stop_tokens(model)
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    info = trajectories.Info(
        model=trajectories.RecordedModel(
            source=spec.model.source,
            architecture=model.architecture.name,
            fingerprint=model.fingerprint,
            dtype=model.dtype,
            device=str(model.device),
            bidirectional=model.architecture.bidirectional,
            kv_heads=model.geometry.kv_heads,
            mask_token=model.mask_token,
            end_tokens=tuple(sorted(ends)),
        ),
        prompt=spec.prompt,
        prompt_length=len(ids),
        chat_template=chat,
        sampling=spec.sampling,
        seed=spec.seed,
        final_text=_written(model, arrays["final"][len(ids) :].tolist(), ends),
        tokens=strings,
        unknown_tokens=0 if unknown is None else ids.count(unknown),
        mass_dtype=arrays.pop("mass_dtype"),
        mass_error=arrays.pop("mass_error"),
        seconds=seconds,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(),
    )
    recording = trajectories.Trajectory(info, **arrays)
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


def _written(model: "LoadedModel", tokens: list[int], ends: set[int]) -> str:
    """What the model wrote, up to the first end-of-text token."""
    stop = next((index for index, token in enumerate(tokens) if token in ends), len(tokens))
    return "" if model.tokenizer is None else model.tokenizer.decode(tokens[:stop])


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
