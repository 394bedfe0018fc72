"""Recording: a denoised prompt, or one observed forward over each of given inputs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.calibration import noise as forward_noise
from analysis.errors import UserError
from analysis.job_context import Context, environment, now
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.summaries import RecordSummary, ReplaySummary
from analysis.models.before_loading import need_of
from analysis.models.checkpoint import checkpoint_of
from analysis.models.resident import free_memory, resident_model
from analysis.recording import trajectory as trajectories
from analysis.recording.trajectory_file import save
from analysis.sinks.step_inputs import mask_states
from analysis.specs import NoiseSpec, RecordSpec, ReferenceSpec, Replay, Sampling
from cache.environment import gigabytes

if TYPE_CHECKING:
    import torch

    from analysis.attention import Observer
    from analysis.models.layout import Layout
    from analysis.models.loaded import LoadedModel, OpenedModel
    from analysis.recording.steps import Step


SHORT_BYTES = 2**29  # weights of a model that is loaded in a second or two
SHORT_WORK = 1e12  # bytes of weights times tokens: about ten seconds of one CPU in float32


def is_short(spec: RecordSpec) -> bool:
    """Return True if a recording takes seconds on any device, by the weights on this disk and the tokens of its
    forwards.

    Each character counts as a token, which tends to overestimate the prompt.
    """
    try:
        checkpoint = checkpoint_of(spec.model)
        weights = 0 if checkpoint is None else checkpoint.file_bytes
    except (UserError, OSError):  # reported when the job is submitted
        return False
    tokens = spec.sampling.forwards() * spec.sampling.length(len(spec.prompt))
    return 0 < weights <= SHORT_BYTES and weights * tokens <= SHORT_WORK


def record(spec: RecordSpec, context: Context) -> Outcome[RecordSummary]:
    """Denoise a prompt and save its trajectory."""

    def check(opened: "OpenedModel") -> None:
        from analysis.recording.denoising import own_sampling

        ids, _ = opened.encode(spec.prompt, spec.chat_template)
        own_sampling(opened, spec.sampling, [ids])

    model = resident_model(spec.model, context, check)
    import torch

    from analysis.recording.denoising import own_sampling

    sampling = own_sampling(model, spec.sampling)
    ids, chat = model.encode(spec.prompt, spec.chat_template)
    prompt = torch.tensor([ids], dtype=torch.long)
    masks = 0 if model.mask_token is None else ids.count(model.mask_token)
    planned, positions = sampling.forwards(masks), sampling.length(len(ids))
    _require_observable(spec, model, sampling)
    _require_memory(spec, model, sampling, len(ids), masks)
    on_step = _reporter(model, sampling, len(ids), planned, positions, context)
    context.progress("denoising", 0, planned)
    started = time.perf_counter()
    with _observed(spec, model, prompt, sampling) as steps:
        arrays = trajectories.record(steps, planned, positions, spec.mass_dtype, on_step, model.geometry.experts)
    seconds = time.perf_counter() - started

    unknown = getattr(model.tokenizer, "unk_token_id", None)
    recording = _recording(
        model,
        arrays,
        seconds,
        prompt=spec.prompt,
        prompt_length=len(ids),
        chat_template=chat,
        sampling=sampling,
        block_length=getattr(sampling, "block_length", None),
        reads=spec.observe == "reader",
        seed=spec.seed,
        branch=spec.branch,
        unknown_tokens=0 if unknown is None else ids.count(unknown),
    )
    context.progress("saving", planned, planned)
    key = result_key(record, spec, model.fingerprint)
    path = context.new_file(key)
    save(recording, path)
    return Outcome(_summary(model, sampling, recording, path), path, key)


def _require_observable(spec: RecordSpec, model: "LoadedModel", sampling: Sampling) -> None:
    """Raise UserError if this model's forwards, or this sampler's, do not show what is to be recorded."""
    canvas = model.architecture.noise == "uniform"
    if (spec.channels or spec.drift) and (canvas or sampling.keeps_keys):
        raise UserError(
            "Residual channels and drift are kept where every forward runs over the whole text: not from kept keys, "
            "nor of a model that writes on a canvas. Record it without one of them."
        )
    if spec.by_query and canvas:
        raise UserError(
            f"Every query of {model.architecture.name} is of its canvas, so its mass is not told apart by query state. "
            "Record it without --by-query."
        )


def _require_memory(spec: RecordSpec, model: "LoadedModel", sampling: Sampling, prompt: int, masks: int) -> None:
    """Raise UserError if the arrays, or a forward's memory besides the weights, do not fit into free memory.

    prompt, masks: tokens of the prompt, and number of mask tokens among them.
    """
    need = trajectories.planned_bytes(
        *(sampling, model.geometry, prompt, masks, spec.mass_dtype), spec.by_query, spec.drift
    )
    there = free_memory()
    if need > there:
        raise UserError(
            f"Not enough memory for this recording: it takes {gigabytes(need)} and there are {gigabytes(there)}. "
            "Take fewer steps or tokens, or store float16."
        )
    positions = sampling.length(prompt)
    beside = need_of(model.checkpoint, spec.model, positions).beside
    if not beside:
        return
    from analysis.models.loaded import free_bytes

    room = free_bytes(model.device.type)
    if beside > room:
        raise UserError(
            f"Not enough memory for this text: by their shapes, the cache of {positions:,} tokens and the logits "
            f"of a canvas take {gigabytes(beside)} on {model.device.type}, and there are {gigabytes(room)}. "
            "Write fewer tokens."
        )


@contextmanager
def _observed(
    spec: RecordSpec, model: "LoadedModel", prompt: "torch.Tensor", sampling: Sampling
) -> Iterator[Iterator["Step"]]:
    """Yield the steps of a denoised prompt (1, P), with everything the spec asks to observe."""
    from analysis.recording.denoising import denoise, read_steps
    from analysis.recording.observers import DriftObserver, LargestChannels

    if spec.observe == "reader":
        steps = read_steps(model, prompt, sampling, spec.seed)
    else:
        moving = DriftObserver() if spec.drift else None
        steps = denoise(model, prompt, sampling, spec.seed, None, spec.branch, spec.by_query, moving)
        steps = steps if moving is None else moving.beside(steps)
    with LargestChannels(model, spec.channels) if spec.channels else nullcontext() as watched:
        yield steps if watched is None else watched.beside(steps)


def _reporter(
    model: "LoadedModel", sampling: Sampling, prompt: int, planned: int, positions: int, context: Context
) -> Callable[[int, "Step", np.ndarray, np.ndarray], None]:
    """Return the callback that reports every step: its tokens, their confidence, and the undecided ones after it."""
    from analysis.models.tokenizer import token_strings

    family, names = model.architecture, dict[int, str]()
    # Texts that end by themselves, and blocks written by confidence, may take fewer steps.
    steps_known = family.noise is not None and not family.by_blocks and not sampling.open_ended

    def on_step(number: int, step: "Step", tokens: np.ndarray, confidence: np.ndarray) -> None:
        new = set(tokens.tolist()) - set(names)
        names.update(token_strings(model.tokenizer, new))
        sure = [None if np.isnan(value) else round(float(value), 4) for value in confidence]
        choice = step.choice
        undecided = np.zeros(len(tokens), bool)
        left = (choice.undecided & ~choice.chosen[:, : choice.tokens.shape[1]])[0].cpu().numpy()
        undecided[: len(left)] = left[: len(tokens)]
        undecided |= tokens == model.mask_token
        if family.noise == "uniform":  # tokens that a step does not keep become random again
            undecided[slice(*choice.open_block)] = ~choice.chosen[0, slice(*choice.open_block)].cpu().numpy()
        decided = float((len(tokens) - prompt - undecided.sum()) / (positions - prompt))
        context.progress(
            "denoising" if choice.blocks == 1 else f"denoising block {choice.block} of {choice.blocks}",
            number + 1,
            planned,
            tokens=[names[token] for token in tokens.tolist()],
            confidence=sure,
            undecided=undecided.tolist(),
            prompt_length=prompt,
            open_block=list(choice.open_block) if choice.blocks > 1 else None,
            **({} if steps_known else {"share_decided": decided}),
        )

    return on_step


def _summary(model: "LoadedModel", sampling: Sampling, recording: trajectories.Trajectory, path: Path) -> RecordSummary:
    """Return the summary of a saved recording, for lists and pages."""
    info = recording.info
    # A sampler that writes by confidence has no number of tokens per step.
    as_many_as_it_takes = model.architecture.by_blocks or sampling.open_ended
    summary: RecordSummary = {
        "source": info.model.source,
        "text": info.final_text,
        "steps": recording.steps,
        "steps_asked": recording.steps if as_many_as_it_takes else getattr(sampling, "steps", sampling.gen_length),
        "written": trajectories.tokens_written(recording).tolist(),
        "layers": recording.layers,
        "heads": recording.heads,
        "experts": info.model.expert_count,
        "positions": recording.positions,
        "seconds": round(info.seconds, 3),
        "bytes": path.stat().st_size,
        "seed": info.seed,
        "unknown_tokens": info.unknown_tokens,
        "mass_dtype": info.mass_dtype,
        "mass_error": info.mass_error,
        "fingerprint": model.fingerprint,
    }
    if model.architecture.caveat:
        summary["caveat"] = model.architecture.caveat
    return summary


def _recording(
    model: "LoadedModel",
    arrays: dict[str, Any],
    seconds: float,
    *,
    prompt_length: int,
    block_length: int | None,
    reads: bool = False,
    **facts: Any,
) -> trajectories.Trajectory:
    """Return the arrays of `record` with all facts on their model. reads: they are of its causal encoder."""
    from analysis.models.experts import expert_layers
    from analysis.models.layout import layout_of
    from analysis.models.tokenizer import token_strings
    from analysis.recording.denoising import stop_tokens

    occurring = np.unique(np.concatenate([arrays["tokens"].ravel(), arrays["final"]])).tolist()
    ends = stop_tokens(model)
    told: dict[str, Any] = {"attention": "causal"} if reads else {}
    if arrays["experts"] is not None:
        told |= {"expert_layers": expert_layers(model.blocks), "expert_count": model.geometry.experts}
    info = trajectories.RecordingInfo(
        model=recorded_model(model).model_copy(update=told),
        prompt_length=prompt_length,
        block_starts=layout_of(model.architecture, prompt_length, block_length).starts(len(arrays["final"]))
        if model.architecture.attention == "block-causal"
        else (),
        final_text=written(model, arrays["final"][prompt_length:].tolist(), ends),
        tokens=token_strings(model.tokenizer, [token for token in occurring if token != trajectories.PADDING]),
        mass_dtype=arrays.pop("mass_dtype"),
        mass_error=arrays.pop("mass_error"),
        seconds=seconds,
        created=now(),
        environment=environment(),
        **facts,
    )
    return trajectories.Trajectory(info, **arrays)


def recorded_model(model: "LoadedModel") -> trajectories.RecordedModel:
    """Return a file's description of the recorded model."""
    from analysis.recording.denoising import stop_tokens

    return trajectories.RecordedModel(
        source=model.spec.source,
        architecture=model.architecture.name,
        fingerprint=model.fingerprint,
        dtype=model.dtype,
        device=str(model.device),
        attention=model.architecture.attention,
        windows=model.windows,
        noise=model.architecture.noise,
        value_norms=model.architecture.noise != "uniform",
        kv_heads=model.geometry.kv_heads,
        mask_token=model.mask_token,
        end_tokens=tuple(sorted(stop_tokens(model))),
    )


def written(model: "LoadedModel", tokens: list[int], ends: set[int]) -> str:
    """Return the model's text, up to the first end-of-text token."""
    stop = next((index for index, token in enumerate(tokens) if token in ends), len(tokens))
    return "" if model.tokenizer is None else str(model.tokenizer.decode(tokens[:stop], skip_special_tokens=True))


def reference(spec: ReferenceSpec, context: Context) -> Outcome[ReplaySummary]:
    """Observe a model of the same shape with random weights and equally sharp attention on the same inputs."""
    model = resident_model(spec.model, context)
    import torch

    from analysis.recording import weight_nulls

    inputs = [np.array(row, np.int64) for row in spec.inputs]

    given = min(spec.prompt_length, len(inputs[-1]))

    def show(network: "LoadedModel", observer: "Observer") -> None:
        for step in sorted({0, len(inputs) // 2, len(inputs) - 1}):
            open_from = spec.open_blocks[step][0] if spec.open_blocks else given
            layout = layout_at(network, given, spec.block_length, open_from)
            network.predict(torch.from_numpy(inputs[step])[None], observer, layout=layout)

    context.progress("drawing random weights")
    drawn = weight_nulls.DRAWS["matched"](model, spec.seed, show)
    states = [np.array(row, np.int8) for row in spec.states] or _mask_states(inputs, model, spec.prompt_length)
    return _replay(
        reference,
        spec,
        model,
        drawn,
        inputs,
        states,
        list(spec.open_blocks),
        inputs[-1],
        Replay(inputs="recording", weights="matched"),
        context,
    )


def noise(spec: NoiseSpec, context: Context) -> Outcome[ReplaySummary]:
    """Observe the model on finished text noised forward, from the noisiest level down."""
    model = resident_model(spec.model, context)
    if model.mask_token is None:
        raise UserError(f"{model.architecture.name} has no mask token, so there is no forward noise to compare with.")
    if model.architecture.by_blocks:
        raise UserError(
            f"{model.architecture.name} was trained on noise inside a block over clean text, which its recordings show "
            "already; noise over a whole text is nothing it knows."
        )
    rng = np.random.default_rng(spec.seed)
    tokens = np.array(spec.tokens, np.int64)
    inputs = [
        forward_noise.noised(
            tokens, forward_noise.mask_probability(step, spec.diffusion_steps, spec.noise_eps), model.mask_token, rng
        )
        for step in forward_noise.noise_levels(spec.diffusion_steps, spec.step_interval)
    ]
    states = _mask_states(inputs, model, spec.prompt_length)
    replay = Replay(inputs="noised", weights="own")
    return _replay(noise, spec, model, model, inputs, states, [], tokens, replay, context)


def _mask_states(inputs: list[np.ndarray], model: "LoadedModel", prompt_length: int) -> list[np.ndarray]:
    """The state of every token of the inputs, by where the mask token is."""
    lengths = np.array([len(row) for row in inputs])
    present = np.arange(lengths.max()) < lengths[:, None]
    undecided = np.zeros_like(present)
    undecided[present] = np.concatenate(inputs) == model.mask_token
    states = mask_states(undecided, present, prompt_length)
    return [row[:length] for row, length in zip(states, lengths, strict=True)]


def layout_at(
    model: "LoadedModel", prompt_length: int, block_length: int | None, open_from: int | None
) -> "Layout | None":
    """Return the block layout of an input, for a model that attends by blocks. open_from: the open block's start."""
    from analysis.models.layout import layout_of

    if not model.architecture.by_blocks:
        return None
    return replace(layout_of(model.architecture, prompt_length, block_length), open_from=open_from)


def _replay(
    run: Callable[..., object],
    spec: ReferenceSpec | NoiseSpec,
    model: "LoadedModel",
    network: "LoadedModel",
    inputs: list[np.ndarray],
    states: list[np.ndarray],
    open_blocks: list[tuple[int, int]],
    final: np.ndarray,
    replay: Replay,
    context: Context,
) -> Outcome[ReplaySummary]:
    """One observed forward of `network` over each input, as a recording.

    states: of the tokens of each input. open_blocks: where each step writes; all after the prompt where none are given.
    """
    import torch

    from analysis.attention import MassObserver
    from analysis.models.kept_keys import KeptKeys
    from analysis.recording.steps import Choice, Step

    observer = MassObserver()
    family, given = network.architecture, min(spec.prompt_length, len(final))
    # Noised text is read whole.
    block_length, firsts, ends = None, (0,) * len(inputs), tuple(map(len, inputs))
    if isinstance(spec, ReferenceSpec):
        block_length, firsts, ends = spec.block_length, spec.first_queries or firsts, spec.query_ends or ends
    queries = list(zip(firsts, ends, strict=True))
    partly = any(query != (0, len(row)) for query, row in zip(queries, inputs, strict=True))
    # A model that sees all of its text went on from keys that were kept, and so does this one.
    kept = KeptKeys(network) if partly and family.bidirectional else None
    open_blocks = open_blocks or [(given, len(final))] * len(inputs)

    def steps() -> Iterator[Step]:
        for index, row in enumerate(inputs):
            context.progress("observing", index, len(inputs))
            tokens = torch.from_numpy(row)[None]
            if kept is not None:
                kept.predict(tokens, queries[index], observer)
            else:
                observer.first = queries[index][0]
                network.predict(tokens, observer, layout=layout_at(network, given, block_length, open_blocks[index][0]))
            nothing = torch.zeros_like(tokens, dtype=torch.bool)
            output = torch.from_numpy(final)[None] if index == len(inputs) - 1 else tokens
            choice = Choice(
                tokens,
                torch.from_numpy(states[index])[None],
                nothing,
                torch.full(tokens.shape, torch.nan),
                output,
                (min(open_blocks[index][0], len(final)), min(open_blocks[index][1], len(final))),
                queries=queries[index],
            )
            seen = observer.take()
            yield Step(choice, seen.mass, seen.value_norm)

    started = time.perf_counter()
    arrays = trajectories.record(steps(), len(inputs), max(len(row) for row in inputs))
    recording = _recording(
        network,
        arrays,
        time.perf_counter() - started,
        prompt="",
        prompt_length=given,
        block_length=block_length,
        chat_template=False,
        sampling=replay,
        seed=spec.seed,
        unknown_tokens=0,
    )
    key = result_key(run, spec, model.fingerprint)
    path = context.new_file(key)
    save(recording, path)
    return Outcome({"steps": recording.steps, "fingerprint": model.fingerprint, "seed": spec.seed}, path, key)
