"""Looking inside one input or run: the likeliest tokens, the attention map of a head, and ablating sinks."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.errors import UserError
from analysis.job_context import Context
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.recordings import layout_at, written
from analysis.jobs.summaries import (
    AblateSummary,
    AlternativesSummary,
    AttentionMapSummary,
    GeometrySummary,
    LensSummary,
)
from analysis.models.resident import resident_model
from analysis.specs import (
    CONTROLS,
    TARGETS,
    AblateSpec,
    AlternativesSpec,
    AttentionMapSpec,
    GeometrySpec,
    LensSpec,
    controls_drawn,
)

SINKS = "sinks"  # the target that the controls of one text match

if TYPE_CHECKING:
    import torch

    from analysis.attention import Observer
    from analysis.models.loaded import LoadedModel


def attention_map(spec: AttentionMapSpec, context: Context) -> Outcome[AttentionMapSummary]:
    """One forward over given tokens, keeping the attention map of one head: NaN in the rows of tokens not run."""
    model = resident_model(spec.model, context)
    from safetensors.numpy import save_file

    from analysis.attention import MapObserver

    geometry = model.geometry
    if spec.layer >= geometry.layers or spec.head >= geometry.heads:
        raise UserError(
            f"There is no layer {spec.layer}, head {spec.head}: this model has {geometry.layers} layers of "
            f"{geometry.heads} heads, counted from 0."
        )
    observer = MapObserver(spec.layer, spec.head)
    _forward(spec, model, context, observer)
    assert observer.map is not None
    values = np.full((len(spec.tokens), len(spec.tokens)), np.nan, np.float32)
    values[slice(*spec.kept.queries) if spec.kept else slice(None)] = observer.map.numpy()
    key = result_key(attention_map, spec, model.fingerprint)
    path = context.new_file(key)
    save_file({"map": values}, path)
    return Outcome({"positions": len(spec.tokens), "fingerprint": model.fingerprint}, path, key)


def alternatives(spec: AlternativesSpec, context: Context) -> Outcome[AlternativesSummary]:
    """One forward over given tokens, and the tokens likeliest at a position, by their probability at temperature 1.

    A token after the input is predicted by its last one, as is any in an autoregressive model by the one before it.
    """
    model = resident_model(spec.model, context)
    from analysis.models.tokenizer import token_strings

    family = model.architecture
    if family.noise == "uniform":
        raise UserError(
            f"{family.name} also predicts from its last predictions, which no recording holds: the alternatives of a "
            "step cannot be read again."
        )
    from_left = family.noise is None or spec.position == len(spec.tokens)
    if from_left and spec.position == 0:
        raise UserError("Nothing predicts the first token. Choose a later position.")
    if from_left and not (family.noise is None or family.opens_causally):
        raise UserError(f"{family.name} predicts the tokens of its input; position {spec.position} lies after them.")
    first = from_left if spec.kept is None else spec.kept.queries[0]
    logits = _forward(spec, model, context, aligned=not from_left)[0, spec.position - first]
    probabilities = logits.float().softmax(-1)
    likeliest = probabilities.topk(min(spec.count, len(probabilities)))
    names = token_strings(model.tokenizer, set(likeliest.indices.tolist()))
    summary: AlternativesSummary = {
        "alternatives": [
            {"token": token, "text": names[token], "probability": probability}
            for token, probability in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        ],
        "fingerprint": model.fingerprint,
    }
    return Outcome(summary, None, result_key(alternatives, spec, model.fingerprint))


def _forward(
    spec: AttentionMapSpec | AlternativesSpec,
    model: "LoadedModel",
    context: Context,
    observer: "Observer | None" = None,
    aligned: bool = True,
) -> "torch.Tensor":
    """Logits (1, Q, V) of one forward over the tokens: all of them, or a part after the whole forward whose keys it
    reads.
    """
    import torch

    from analysis.models.kept_keys import KeptKeys

    model.require_known(spec.tokens)
    context.progress("one forward", 0, 1)
    tokens = torch.tensor([spec.tokens], dtype=torch.long)
    if spec.kept is None:
        layout = layout_at(model, spec.prompt_length, spec.block_length, spec.open_from)
        return model.predict(tokens, observer, layout=layout, aligned=aligned)
    model.require_known(spec.kept.tokens)
    if not model.architecture.bidirectional:
        raise UserError(f"{model.architecture.name} does not see all of its text, so no such keys of it are kept.")
    if problem := model.architecture.why_no_cache:
        raise UserError(problem)
    kept = KeptKeys(model)
    kept.predict(torch.tensor([spec.kept.tokens], dtype=torch.long), (0, len(spec.kept.tokens)))
    return kept.predict(tokens, spec.kept.queries, observer)


def geometry(spec: GeometrySpec, context: Context) -> Outcome[GeometrySummary]:
    """The geometry of every input under the model and under random weights: arrays `own_…` (T, L, H) or (T, L), and
    `random_…` with the random models before them.
    """
    model = resident_model(spec.model, context)
    import torch
    from safetensors.numpy import save_file

    from analysis.models.load import random_like
    from analysis.recording.observers import geometry_of

    seeds = [spec.seed + number for number in range(spec.random_models)]
    total = len(spec.inputs) * (1 + len(seeds))

    def measured(network: "LoadedModel", done: int) -> dict[str, np.ndarray]:
        rows = []
        for step, tokens in enumerate(spec.inputs):
            context.progress("measuring geometry", done + step, total)
            opened = spec.open_blocks[step] if spec.open_blocks else None
            layout = layout_at(network, spec.prompt_length, spec.block_length, opened)
            rows.append(geometry_of(network, torch.tensor([tokens], dtype=torch.long), layout))
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    arrays = {f"own_{name}": values for name, values in measured(model, 0).items()}
    drawn = [
        measured(random_like(model, seed), len(spec.inputs) * number) for number, seed in enumerate(seeds, start=1)
    ]
    if drawn:
        arrays |= {f"random_{name}": np.stack([row[name] for row in drawn]) for name in drawn[0]}
    context.progress("measuring geometry", total, total)
    key = result_key(geometry, spec, model.fingerprint)
    path = context.new_file(key)
    save_file(arrays, path)
    return Outcome({"steps": len(spec.inputs), "seeds": seeds, "fingerprint": model.fingerprint}, path, key)


def lens(spec: LensSpec, context: Context) -> Outcome[LensSummary]:
    """One forward over given tokens, read behind every layer by the model's last norm and head."""
    model = resident_model(spec.model, context)
    import torch

    from analysis.models.tokenizer import token_strings
    from analysis.recording.observers import logit_lens

    context.progress("one forward", 0, 1)
    probabilities = logit_lens(
        model,
        torch.tensor([spec.tokens], dtype=torch.long),
        torch.tensor(spec.positions),
        layout_at(model, spec.prompt_length, spec.block_length, spec.open_from),
    )
    best = probabilities.max(dim=-1)
    final = torch.tensor(spec.becomes)
    names = token_strings(model.tokenizer, set(best.indices.flatten().tolist()))
    summary: LensSummary = {
        "words": [[names[token] for token in row] for row in best.indices.tolist()],
        "probability": [[round(value, 5) for value in row] for row in best.values.tolist()],
        "becomes": [
            [round(value, 5) for value in row]
            for row in probabilities.gather(-1, final.expand(len(probabilities), -1)[..., None])[..., 0].tolist()
        ],
        "hits": (best.indices == final).tolist(),
        "fingerprint": model.fingerprint,
    }
    return Outcome(summary, None, result_key(lens, spec, model.fingerprint))


def ablate(spec: AblateSpec, context: Context) -> Outcome[AblateSummary]:
    """Denoise untouched and with each target's positions hidden, and compare."""
    model = resident_model(spec.model, context)
    import torch

    from analysis.models.tokenizer import token_strings
    from analysis.recording import ablation
    from analysis.recording.denoising import denoise, stop_tokens

    prompt = torch.tensor([spec.prompt], dtype=torch.long)
    choices = [(name, "", row.title) for name, row in TARGETS.items() if not row.for_sets]
    first, others = choices[:1], choices[1:]
    beside = controls_drawn(SINKS, model.mask_token is not None)
    choices = [*first, *((SINKS, name, CONTROLS[name].title) for name in beside), *others]
    total = len(choices) + 1
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
    drawn: dict[str, list[ablation.Drawn]] = {}
    for index, (name, control, title) in enumerate(choices, start=1):
        context.progress(f"hiding {title}", index, total)
        conditions = [ablation.Condition(name, control)]
        blocking = ablation.Ablation(
            model, len(spec.prompt), conditions, spec.count, spec.sinks, spec.seed, drawn=drawn
        )
        steps = list(denoise(model, prompt, spec.sampling, spec.seed, blocking))
        changed = ablation.compare(steps, untouched, len(spec.prompt))
        share = blocking.told[0].means()["share"]
        rows.append({"target": control or name, "title": title, "blocked_share": share, **changed})
    with_sinks = sum(like.count > 0 for like in drawn[SINKS])
    for row in rows:
        tokens = row.pop("tokens")
        names = token_strings(model.tokenizer, set(tokens))
        row["words"], row["text"] = [names[token] for token in tokens], written(model, tokens, ends)
    context.progress("done", total, total)
    summary: AblateSummary = {
        "rows": rows,
        "steps": len(untouched),
        "steps_with_sinks": with_sinks,
        "architecture": model.architecture.name,
        "fingerprint": model.fingerprint,
    }
    return Outcome(summary, None, result_key(ablate, spec, model.fingerprint))
