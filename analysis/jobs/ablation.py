"""Ablating sinks over a set of prompts, beside matched controls."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.errors import NotEnoughMemory, UserError
from analysis.evaluation.ablation_effects import effects
from analysis.job_context import Context
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.summaries import AblateSetPartial, AblateSetSummary
from analysis.models.resident import resident_model
from analysis.sinks.definitions import attention_share, mean_mass
from analysis.sinks.metrics import position_variance
from analysis.specs import CONTROLS, AblateSetSpec

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel
    from analysis.recording.steps import Step

LOGITS_LIMIT = 10**9  # bytes that the logits of the rows of a batch may take, three times over
LEAST = 2  # prompts that are finished before it ends early: an interval is over prompts
_CONDITION = ("intervention", "target", "control")
_TEXT = ("words", "untouched")  # of the first prompt


class _Stopped(Exception):
    """Raised inside a prompt that is left unfinished."""


def ablate_set(spec: AblateSetSpec, context: Context) -> Outcome[AblateSetSummary]:
    """Denoises each prompt untouched and under every condition. What is done of a prompt is kept, so that a study that
    was cut off goes on. Where the context says so it ends early, with two prompts or more.
    """

    def check(opened: "OpenedModel") -> None:
        _layers(spec, opened)
        for prompt in spec.prompts:
            _encoded(prompt, spec, opened)

    model = resident_model(spec.model, context, check)
    from analysis.machine.provenance import environment

    layers = _layers(spec, model)
    prompts = [_encoded(prompt, spec, model) for prompt in spec.prompts]
    started = time.perf_counter()
    done: list[list[dict[str, Any]]] = []
    for index, ids in enumerate(prompts):
        try:
            done.append(_kept(f"prompt-{index}", spec, model, ids, layers, context, index))
        except _Stopped:
            break
        _tell(context, done, spec, layers)
    rows, cut = _joined_all(done, spec.keys), len(done) < len(prompts)
    beside = _untrained(spec, model, prompts, layers, context) if spec.random_model and not cut else []
    stopped = cut or (spec.random_model and beside is None)
    summary: AblateSetSummary = {
        "rows": rows,
        "effects": _untested(rows) if cut else effects(rows),
        "untouched": done[0][0]["untouched"],
        "texts": [{name: row[name] for name in (*_CONDITION, "words")} for row in done[0]],
        "untrained": beside or [],
        "prompts": len(done),
        "planned": len(prompts),
        "layers": [layers.start, layers.stop - 1],
        "seconds": round(time.perf_counter() - started, 3),
        "seed": spec.seed,
        "architecture": model.architecture.name,
        "fingerprint": model.fingerprint,
        "environment": environment(),
    }
    key = result_key(ablate_set, spec, model.fingerprint)
    return Outcome(summary, None, f"{key}-{len(done)}" if stopped else key, stopped=stopped)


def _kept(
    name: str, spec: AblateSetSpec, model: "LoadedModel", ids: list[int], layers: range, context: Context, index: int
) -> list[dict[str, Any]]:
    """The rows of a prompt, written once under this name, so that a job that was cut off goes on."""
    path = context.scratch / f"{name}.json"
    if not path.is_file():
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(_one_prompt(spec, model, ids, layers, context, index)))
        partial.replace(path)
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def _untrained(
    spec: AblateSetSpec, model: "LoadedModel", prompts: list[list[int]], layers: range, context: Context
) -> list[dict[str, Any]] | None:
    """The effects in a model of the same shape with random weights, on the same prompts; none where memory does not
    do, None where it was stopped.
    """
    from analysis.models.load import random_like

    try:
        drawn = random_like(model, spec.seed + 1)
    except NotEnoughMemory as error:
        context.log(str(error))
        return []
    done = []
    for index, ids in enumerate(prompts):
        try:
            done.append(_kept(f"untrained-{index}", spec, drawn, ids, layers, context, len(prompts) + index))
        except _Stopped:
            return None
    return effects(_joined_all(done, spec.keys))


def _tell(context: Context, done: list[list[dict[str, Any]]], spec: AblateSetSpec, layers: range) -> None:
    """Says what the prompts that are done show; between the first and the last not after every one, as with many of
    them the effects take longer to tell.
    """
    count, total = len(done), _in_all(spec)
    if count < len(spec.prompts) and (count < 2 or count % (1 + count // 20)):
        context.progress("ablating", count, total)
        return
    rows = _joined_all(done, spec.keys)
    means = [
        {
            name: [float(np.mean(value))] if isinstance(value, list) else value
            for name, value in row.items()
            if name != "keys"
        }
        for row in rows
    ]
    partial: AblateSetPartial = {
        "rows": means,
        "effects": _untested(rows),
        "prompts": count,
        "layers": [layers.start, layers.stop - 1],
    }
    context.progress("ablating", count, total, **partial)


def _in_all(spec: AblateSetSpec) -> int:
    """Prompts to denoise, those of the random-weight model included."""
    return len(spec.prompts) * (1 + spec.random_model)


def _untested(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The effects of the prompts that are done. Tests are of the number planned: who stops by what is seen would find
    effects by chance."""
    return [effect | {"p": None, "p_holm": None} for effect in effects(rows)]


def _layers(spec: AblateSetSpec, model: "OpenedModel") -> range:
    last = model.geometry.layers - 1
    for name, layer in (("From layer", spec.first_layer), ("To layer", spec.last_layer)):
        if layer is not None and layer > last:
            raise UserError(f"{name} is {layer}; this model's layers are 0 to {last}.")
    return range(spec.first_layer, (last if spec.last_layer is None else spec.last_layer) + 1)


def _encoded(prompt: str | tuple[int, ...], spec: AblateSetSpec, model: "OpenedModel") -> list[int]:
    if isinstance(prompt, str):
        return model.encode(prompt, spec.chat_template)[0]
    if not all(0 <= token < model.geometry.vocabulary for token in prompt):
        raise UserError(f"A token lies outside this model's vocabulary of {model.geometry.vocabulary} tokens.")
    return list(prompt)


def _one_prompt(
    spec: AblateSetSpec, model: "LoadedModel", ids: list[int], layers: range, context: Context, index: int
) -> list[dict[str, Any]]:
    """A row for every intervention and condition with the measures of this prompt; with its text of the first one."""
    import torch

    from analysis.models.tokenizer import token_strings
    from analysis.recording.ablation import Ablation, Condition, Drawn, compare
    from analysis.recording.denoising import denoise

    def told(steps: "Iterator[Step]") -> "list[Step]":
        kept = []
        for step in steps:
            kept.append(step)
            if context.stopping and index >= LEAST:
                raise _Stopped
            context.progress("ablating", index, _in_all(spec))
        return kept

    def written(tokens: list[int]) -> list[str]:
        names = token_strings(model.tokenizer, tokens)
        return [names[token] for token in tokens]

    prompt = torch.tensor([ids], dtype=torch.long)
    untouched = told(denoise(model, prompt, spec.sampling, spec.seed, growing=True))
    variance = _variance([step.mass[:1, layers.start : layers.stop].numpy() for step in untouched])
    plain = untouched[-1].choice.output[0, len(ids) :].tolist()
    drawn = [name for name, control in CONTROLS.items() if control.drawn]
    conditions = [Condition(target, control) for target in spec.targets for control in ("", *drawn)]
    before = compare(untouched, untouched, len(ids))["confidence"]
    at_once = _rows_at_once(spec, model, len(untouched[-1].choice.output[0]))
    rows = []
    for intervention in spec.interventions:
        shared: dict[str, list[Drawn]] = {}
        for first in range(0, len(conditions), at_once):
            batch = conditions[first : first + at_once]
            ablation = Ablation(
                *(model, len(ids), batch, spec.count, spec.sinks, spec.seed, intervention),
                *(layers, spec.window, variance, shared),
            )
            rows_of_prompt = prompt.expand(len(batch), -1)
            steps = told(denoise(model, rows_of_prompt, spec.sampling, spec.seed, ablation, growing=True))
            for row, condition in enumerate(batch):
                changed = compare(steps[: len(ablation.told[row].share)], untouched, len(ids), row)
                measured = {name: changed[name] for name in ("aligned", "agreement", "confidence")} | ablation.told[
                    row
                ].means()
                named = {"intervention": intervention, "target": condition.target, "control": condition.control}
                text = {} if index else {"words": written(changed["tokens"]), "untouched": written(plain)}
                rows.append(named | measured | {"confidence_before": before} | text)
    return rows


def _variance(masses: list[np.ndarray]) -> np.ndarray:
    """Var_t of each position's share in the untouched run, (S,), over the steps that hold it."""
    length = max(mass.shape[-1] for mass in masses)
    share = np.full((len(masses), length), np.nan, np.float32)
    for step, mass in enumerate(masses):
        share[step, : mass.shape[-1]] = attention_share(mean_mass(mass))[0]
    return position_variance(share)


def _rows_at_once(spec: AblateSetSpec, model: "LoadedModel", length: int) -> int:
    """Return how many conditions are denoised in one batch: one where rows would share random draws, or where rows end
    on their own in a model that is not causal throughout.
    """
    from analysis.models.growing_text import can_grow

    if not spec.sampling.same_alone or (model.architecture.noise is None and not can_grow(model)):
        return 1
    return max(1, LOGITS_LIMIT // (3 * 4 * length * model.geometry.vocabulary))


def _joined_all(done: list[list[dict[str, Any]]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of every prompt as one row a condition. keys: of all prompts, or none."""
    alike: dict[str, Any] = {"keys": list(keys[: len(done)])} if keys else {}
    return [_joined([rows[number] for rows in done]) | alike for number in range(len(done[0]))]


def _joined(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of one condition, a prompt each, as one row with lists."""
    named = {name: rows[0][name] for name in _CONDITION}
    measures = [name for name in rows[0] if name not in (*_CONDITION, *_TEXT)]
    return named | {name: [round(row[name], 6) for row in rows] for name in measures}
