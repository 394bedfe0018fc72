"""Keeping a part of the keys and values over a set of prompts, by policies and their matched controls."""

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from analysis.evaluation.eviction_effects import NAMED, effects
from analysis.job_context import Context, environment
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.prompt_by_prompt import (
    LEAST,
    Stopped,
    encoded,
    joined_rows,
    rows_by_prompt,
    rows_that_fit,
    told_now,
    untested,
)
from analysis.jobs.summaries import EvictPartial, EvictSummary, Rows
from analysis.models.resident import resident_model
from analysis.specs import EvictSpec, Sampling, keepings

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel

_DOING = "evicting"
_SHOWN = ("aligned", "divergence", "bytes", "keys")  # columns that figures read before all prompts are done


def evict(spec: EvictSpec, context: Context) -> Outcome[EvictSummary]:
    """Denoise each prompt with everything kept and under every policy and control. Finished prompts are kept, so that
    an interrupted job resumes. When asked to stop it ends early, with two prompts or more.
    """

    def check(opened: "OpenedModel") -> None:
        from analysis.recording.denoising import own_sampling

        own_sampling(opened, spec.sampling, encoded(spec, opened))

    model = resident_model(spec.model, context, check)
    from analysis.recording.eviction import caches

    sampling, prompts = caches(model, spec.sampling), encoded(spec, model)
    started = time.perf_counter()
    done = rows_by_prompt(
        "prompt",
        len(prompts),
        context,
        lambda index: _one_prompt(spec, model, prompts[index], sampling, context, index),
        lambda done: _tell(context, done, spec),
    )
    rows, cut = joined_rows(done, NAMED, spec.keys), len(done) < len(spec.prompts)
    summary: EvictSummary = {
        "rows": rows,
        "effects": untested(effects(rows)) if cut else effects(rows),
        "prompts": len(done),
        "planned": len(spec.prompts),
        "gone": sampling.keeps_keys,
        "positions": float(np.mean([of_prompt[0]["positions"] for of_prompt in done])),
        "seconds": round(time.perf_counter() - started, 3),
        "seed": spec.seed,
        "architecture": model.architecture.name,
        "device": str(model.device),
        "dtype": model.dtype,
        "fingerprint": model.fingerprint,
        "environment": environment(),
    }
    key = result_key(evict, spec, model.fingerprint)
    return Outcome(summary, None, f"{key}-{len(done)}" if cut else key, stopped=cut)


def _tell(context: Context, done: list[Rows], spec: EvictSpec) -> None:
    """Report the results of the finished prompts."""
    count, total, so_far = len(done), len(spec.prompts), EvictPartial()
    if told_now(count, total):
        rows = joined_rows(done, NAMED, spec.keys)
        shown = [{name: row[name] for name in (*NAMED, *_SHOWN) if name in row} for row in rows]
        so_far = {"rows": shown, "effects": untested(effects(rows)), "prompts": count}
    context.progress(_DOING, count, total, **so_far)


def _one_prompt(
    spec: EvictSpec, model: "LoadedModel", ids: list[int], sampling: Sampling, context: Context, index: int
) -> Rows:
    """A row for everything, every policy and control at every budget with the measures of this prompt."""
    from analysis.recording.eviction import evicted
    from analysis.sinks.agreement import agreement

    def on_forward() -> None:
        if context.stopping and index >= LEAST:
            raise Stopped
        context.progress(_DOING, index, len(spec.prompts))

    kept = keepings(spec)
    found = evicted(
        *(model, ids, sampling, kept, spec.sinks, spec.seed, index), partial(rows_that_fit, model), on_forward
    )
    rows = []
    for keeping, text, told in zip(kept, found.texts, found.told, strict=True):
        like = agreement(found.text, text)
        measured = {"aligned": like.aligned, "agreement": like.by_position, "positions": len(ids) + len(found.text)}
        rows.append({name: getattr(keeping, name) for name in NAMED} | measured | told)
    return rows
