"""Looking inside one input or run: the attention map of a head, and ablating sinks."""

import time
from dataclasses import replace

from analysis.errors import UserError
from analysis.job_context import Context
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.recordings import written
from analysis.jobs.summaries import AblateSummary, AttentionMapSummary
from analysis.models.resident import resident_model
from analysis.specs import TARGETS, AblateSpec, AttentionMapSpec


def attention_map(spec: AttentionMapSpec, context: Context) -> Outcome[AttentionMapSummary]:
    """One forward over given tokens, keeping the full attention map of one head."""
    model = resident_model(spec.model, context)
    import torch
    from safetensors.numpy import save_file

    from analysis.attention import MapObserver
    from analysis.models.layout import layout_of

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
    layout = None
    if model.architecture.by_blocks:
        placed = layout_of(model.architecture, spec.prompt_length, spec.block_length)
        layout = replace(placed, open_from=spec.open_from)
    model.predict(torch.tensor([spec.tokens], dtype=torch.long), observer, layout=layout)
    assert observer.map is not None
    key = result_key("attention_map", spec, model.fingerprint)
    path = context.folder / f"{key}-{time.time_ns()}.safetensors"
    save_file({"map": observer.map.numpy()}, path)
    return Outcome({"positions": len(spec.tokens), "fingerprint": model.fingerprint}, path, key)


def ablate(spec: AblateSpec, context: Context) -> Outcome[AblateSummary]:
    """Denoises untouched and with each target's positions blocked, and compares."""
    model = resident_model(spec.model, context)
    import torch

    from analysis.models.tokenizer import token_strings
    from analysis.recording import ablation
    from analysis.recording.denoising import denoise, stop_tokens

    prompt = torch.tensor([spec.prompt], dtype=torch.long)
    targets = {name: target for name, target in TARGETS.items() if not target.for_sets}
    total = len(targets) + 1
    context.progress("denoising untouched", 0, total)
    untouched = list(denoise(model, prompt, spec.sampling, spec.seed))
    ends = stop_tokens(model)
    rows = [
        {
            "target": "untouched",
            "title": "nothing",
            "blocked_share": 0.0,
            **ablation.compare(untouched, untouched, len(spec.prompt)),
        }
    ]
    for index, (name, target) in enumerate(targets.items(), start=1):
        context.progress(f"blocking {target.title}", index, total)
        conditions = [ablation.Condition(name)]
        blocking = ablation.Ablation(model, len(spec.prompt), conditions, spec.count, spec.sinks, spec.seed)
        steps = list(denoise(model, prompt, spec.sampling, spec.seed, blocking))
        changed = ablation.compare(steps, untouched, len(spec.prompt))
        share = blocking.told[0].means()["share"]
        rows.append({"target": name, "title": target.title, "blocked_share": share, **changed})
    for row in rows:
        tokens = row.pop("tokens")
        names = token_strings(model.tokenizer, set(tokens))
        row["words"], row["text"] = [names[token] for token in tokens], written(model, tokens, ends)
    context.progress("done", total, total)
    summary: AblateSummary = {"rows": rows, "architecture": model.architecture.name, "fingerprint": model.fingerprint}
    return Outcome(summary, None, result_key("ablate", spec, model.fingerprint))
