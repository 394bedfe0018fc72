"""Jobs that denoise prompts one by one under conditions: their shared parts, and the ablation of sinks beside matched
controls. Each prompt's rows are kept once done.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.errors import NotEnoughMemory, UserError
from analysis.evaluation.ablation_effects import MASS, effects
from analysis.job_context import Context, environment
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.summaries import AblateSetPartial, AblateSetSummary, Rows
from analysis.models.resident import resident_model
from analysis.sinks.agreement import unrelated_agreement
from analysis.sinks.definitions import attention_share, mean_mass
from analysis.sinks.metrics import position_variance
from analysis.specs import AblateSetSpec, Sampling, controls_drawn
from analysis.specs.ablation import PromptsSpec

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel
    from analysis.recording.steps import Step


LOGITS_LIMIT = 10**9  # bytes for the logits of a batch's rows, three times over
LEAST = 2  # prompts to finish before ending early: an interval is over prompts


class Stopped(Exception):
    """Raised inside a prompt that is left unfinished."""


def encoded(spec: PromptsSpec, model: "OpenedModel") -> list[list[int]]:
    """Return the token ids of each prompt. Raises UserError for one that the model cannot read."""
    prompts = []
    for prompt in spec.prompts:
        if isinstance(prompt, str):
            prompts.append(model.encode(prompt, spec.chat_template)[0])
        else:
            model.require_known(prompt)
            prompts.append(list(prompt))
    return prompts


def rows_by_prompt(
    name: str,
    count: int,
    context: Context,
    compute: Callable[[int], Rows],
    tell: Callable[[list[Rows]], None] = lambda done: None,
) -> list[Rows]:
    """Return the rows of each prompt, up to where `compute` raised Stopped. They are computed once and kept under this
    name, so that an interrupted job resumes. tell: called after each prompt with those so far.
    """
    done: list[Rows] = []
    for index in range(count):
        path = context.scratch / f"{name}-{index}.json"
        if not path.is_file():
            partial = path.with_suffix(".partial")
            try:
                partial.write_text(json.dumps(compute(index)))
            except Stopped:
                break
            partial.replace(path)
        done.append(json.loads(path.read_text()))
        tell(done)
    return done


def rows_at_once(sampling: Sampling, model: "LoadedModel", length: int) -> int:
    """Return the number of conditions per batch: one if rows would share random draws, or if rows end separately in a
    model that is not causal throughout.
    """
    from analysis.models.kept_keys import can_grow

    if not sampling.same_alone or (model.architecture.noise is None and not can_grow(model)):
        return 1
    return rows_that_fit(model, length)


def rows_that_fit(model: "LoadedModel", length: int) -> int:
    """Return the number of texts of this length whose logits fit in memory: at least one."""
    return max(1, LOGITS_LIMIT // (3 * 4 * length * model.geometry.vocabulary))


def told_now(count: int, planned: int) -> bool:
    """Return True if the results of the finished prompts should be reported now: in between not after every prompt, as
    with many of them the effects take longer to compute.
    """
    return count >= planned or (count >= LEAST and count % (1 + count // 20) == 0)


def untested(effects: Rows) -> Rows:
    """Return the effects on the finished prompts. Tests need the planned number: stopping by interim results would
    produce chance effects.
    """
    whole = [{name: value for name, value in effect.items() if name != "timing"} for effect in effects]
    return [effect | {"p": None, "p_holm": None} for effect in whole]


def joined_rows(done: list[Rows], named: Sequence[str], keys: Sequence[str]) -> Rows:
    """Return the rows of every prompt as one row per condition: lists of numbers, and its names once.

    named: fields that name the condition; texts of the first prompt are left out. keys: of all prompts, or none.
    """
    alike: dict[str, Any] = {"keys": list(keys[: len(done)])} if keys else {}
    return [_joined([rows[number] for rows in done], named) | alike for number in range(len(done[0]))]


def _joined(rows: Rows, named: Sequence[str]) -> dict[str, Any]:
    measures = [name for name, value in rows[0].items() if name not in named and not isinstance(value, list)]
    return {name: rows[0][name] for name in named} | {
        name: [None if row[name] is None else round(row[name], 6) for row in rows] for name in measures
    }


_CONDITION = ("intervention", "target", "control")


def ablate_set(spec: AblateSetSpec, context: Context) -> Outcome[AblateSetSummary]:
    """Denoise each prompt untouched and under every condition. Finished prompts are kept, so that an interrupted study
    resumes. When asked to stop it ends early, with two prompts or more.
    """

    def check(opened: "OpenedModel") -> None:
        _layers(spec, opened)
        encoded(spec, opened)

    model = resident_model(spec.model, context, check)

    layers, prompts = _layers(spec, model), encoded(spec, model)
    started = time.perf_counter()
    done = rows_by_prompt(
        "prompt",
        len(prompts),
        context,
        lambda index: _one_prompt(spec, model, prompts[index], layers, context, index),
        lambda done: _tell(context, done, spec, layers),
    )
    rows, cut = joined_rows(done, _CONDITION, spec.keys), len(done) < len(prompts)
    beside = _untrained(spec, model, prompts, layers, context) if spec.random_model and not cut else []
    stopped = cut or (spec.random_model and beside is None)
    summary: AblateSetSummary = {
        "rows": rows,
        "effects": untested(effects(rows)) if cut else effects(rows),
        "unrelated": unrelated_agreement([prompt[0]["untouched"] for prompt in done], spec.keys or range(len(done))),
        "shown": (shown := _typical(done)),
        "untouched": done[shown][0]["untouched"],
        "texts": [{name: row[name] for name in (*_CONDITION, "words")} for row in done[shown]],
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


def _typical(done: list[Rows]) -> int:
    """Return the prompt nearest the medians over prompts, in agreement, in nats per token and in where texts end as a
    share of the longest, with the sinks hidden and with random tokens of equal attention hidden, the first of those as
    near; by the first condition where sinks are not hidden.
    """
    named = [tuple(row[name] for name in _CONDITION) for row in done[0]]
    both = [named.index(wanted) for control in ("", MASS) if (wanted := ("attention", "sinks", control)) in named]
    measures = ("aligned", "nll", "tokens")
    told = np.array([[[rows[at][name] for name in measures] for at in both or [0]] for rows in done], float)
    told[..., -1] /= told[..., -1].max()
    told = told.reshape(len(done), -1)
    return int(np.argmin(np.abs(told - np.median(told, axis=0)).sum(axis=1).round(6)))


def _untrained(
    spec: AblateSetSpec, model: "LoadedModel", prompts: list[list[int]], layers: range, context: Context
) -> Rows | None:
    """The effects in a model of the same shape with random weights, on the same prompts; none where memory does not
    do, None where it was stopped.
    """
    from analysis.models.load import random_like

    try:
        drawn = random_like(model, spec.seed + 1)
    except NotEnoughMemory as error:
        context.log(str(error))
        return []
    done = rows_by_prompt(
        "untrained",
        len(prompts),
        context,
        lambda index: _one_prompt(spec, drawn, prompts[index], layers, context, len(prompts) + index),
    )
    return effects(joined_rows(done, _CONDITION, spec.keys)) if len(done) == len(prompts) else None


def _tell(context: Context, done: list[Rows], spec: AblateSetSpec, layers: range) -> None:
    """Report the results of the finished prompts."""
    count, partial = len(done), AblateSetPartial()
    if told_now(count, len(spec.prompts)):
        rows = joined_rows(done, _CONDITION, spec.keys)
        means = [
            {
                name: [float(np.mean(value))] if isinstance(value, list) else value
                for name, value in row.items()
                if name != "keys"
            }
            for row in rows
        ]
        partial = {
            "rows": means,
            "effects": untested(effects(rows)),
            "prompts": count,
            "layers": [layers.start, layers.stop - 1],
        }
    context.progress("ablating", count, _in_all(spec), **partial)


def _in_all(spec: AblateSetSpec) -> int:
    """Prompts to denoise, those of the random-weight model included."""
    return len(spec.prompts) * (1 + spec.random_model)


def _layers(spec: AblateSetSpec, model: "OpenedModel") -> range:
    last = model.geometry.layers - 1
    for name, layer in (("From layer", spec.first_layer), ("To layer", spec.last_layer)):
        if layer is not None and layer > last:
            raise UserError(f"{name} is {layer}; this model's layers are 0 to {last}.")
    return range(spec.first_layer, (last if spec.last_layer is None else spec.last_layer) + 1)


def _one_prompt(
    spec: AblateSetSpec, model: "LoadedModel", ids: list[int], layers: range, context: Context, index: int
) -> Rows:
    """A row for every intervention and condition with the measures and the text of this prompt."""
    import torch

    from analysis.evaluation.likelihood import text_scores
    from analysis.models.tokenizer import token_strings
    from analysis.recording.ablation import Ablation, Condition, Drawn, compare
    from analysis.recording.denoising import denoise

    def going() -> None:
        if context.stopping and index >= LEAST:
            raise Stopped
        context.progress("ablating", index, _in_all(spec))

    def told(steps: "Iterator[Step]") -> "list[Step]":
        kept = []
        for step in steps:
            kept.append(step)
            going()
        return kept

    def written(tokens: list[int]) -> list[str]:
        names = token_strings(model.tokenizer, tokens)
        return [names[token] for token in tokens]

    prompt = torch.tensor([ids], dtype=torch.long)
    untouched = told(denoise(model, prompt, spec.sampling, spec.seed, growing=True))
    variance = _variance([step.mass[:1, layers.start : layers.stop].numpy() for step in untouched])
    plain = untouched[-1].choice.output[0, len(ids) :].tolist()
    masks = model.mask_token is not None
    conditions = [Condition(name, control) for name in spec.targets for control in ("", *controls_drawn(name, masks))]
    [score] = text_scores(model, ids, [plain], spec.seed, going)
    before = {f"{name}_before": value for name, value in score._asdict().items()}
    at_once = rows_at_once(spec.sampling, model, len(untouched[-1].choice.output[0]))
    rows: Rows = []
    texts: list[list[int]] = []
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
            found = [
                compare(steps[: len(told_of.share)], untouched, len(ids), row)
                for row, told_of in enumerate(ablation.told)
            ]
            texts += [changed["tokens"] for changed in found]
            scores = text_scores(model, ids, texts[-len(found) :], spec.seed, going)
            for row, (condition, changed) in enumerate(zip(batch, found, strict=True)):
                measured = {name: changed[name] for name in ("aligned", "agreement")}
                measured |= scores[row]._asdict() | ablation.told[row].means()
                named = {"intervention": intervention, "target": condition.target, "control": condition.control}
                text = {"words": written(changed["tokens"]), "untouched": written(plain)}
                rows.append(named | measured | before | text)
    alike = min(score.tokens, *(row["tokens"] for row in rows))
    begins = [one.nll for one in text_scores(model, ids, [text[:alike] for text in texts], spec.seed, going)]
    for changed, nll in zip(rows, begins, strict=True):
        changed |= {"nll_alike": nll, "tokens_alike": alike}
    return rows


def _variance(masses: list[np.ndarray]) -> np.ndarray:
    """Var_t of each position's share in the untouched run, (S,), over the steps that hold it."""
    length = max(mass.shape[-1] for mass in masses)
    share = np.full((len(masses), length), np.nan, np.float32)
    for step, mass in enumerate(masses):
        share[step, : mass.shape[-1]] = attention_share(mean_mass(mass))[0]
    return position_variance(share)
