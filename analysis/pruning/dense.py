"""Statistics taken from the dense model before a weight goes: scores or token weights, how the layers share the
sparsity, and the threshold of a quota that spans layers.

They are kept, so that an interrupted pruning need not gather them again.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from analysis.calibration.activations import ForwardCount, rows_of, step_token_weights
from analysis.calibration.norms import InputNorms, Scores, new_statistics, scores_of
from analysis.models.loaded import Projection
from analysis.pruning.algorithm import Calibration, Known, Prepared
from analysis.pruning.allocation import layer_sparsities, outlier_ratio, tail_exponent
from analysis.pruning.expert_removal import reads_text, worths
from analysis.pruning.removal import require_finite
from analysis.pruning.run import DENSE, OUTLIERS, QUOTA, TAILS, TOKENS, PruningRun, budget
from analysis.pruning.wanda import wanda_score
from analysis.specs import ALLOCATIONS, PATTERNS, QUOTA_SCOPES, PruneSpec
from cache.keys import content_key


def save_prepared(prepared: Prepared, path: Path) -> None:
    """Write it, under another name until it is whole."""
    tensors = {
        f"{layer}|{name}": score.clone()
        for layer, scores in enumerate(prepared.scores or [])
        for name, score in scores.items()
    }
    if prepared.token_weights is not None:
        tensors["token weights"] = torch.from_numpy(prepared.token_weights)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {"facts": json.dumps(prepared.facts)})
    partial.replace(path)


def load_prepared(path: Path) -> Prepared:
    """Read it."""
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle is no mapping
    weights = tensors.pop("token weights", None)
    layers = 1 + max((int(name.partition("|")[0]) for name in tensors), default=-1)
    scores: list[dict[str, torch.Tensor]] = [{} for _ in range(layers)]
    for name, score in tensors.items():
        layer, _, projection = name.partition("|")
        scores[int(layer)][projection] = score
    return Prepared(scores or None, None if weights is None else weights.numpy(), facts)


def prepare(run: PruningRun, text: Calibration | None) -> Prepared:
    """Return the dense model's statistics for the method."""
    if not prepares(run) or text is None:
        return Prepared()
    with run.phase(DENSE):
        if PATTERNS[run.spec.pattern].cuts_experts:
            prepared = worths(run.runner, run.spec, text, partial(run.tell, DENSE))
        elif run.algorithm.prepare is None:
            scores, missed = feature_scores(run, text, DENSE)
            prepared = Prepared(scores, facts={"forwards": len(text.batches()), **missed})
        else:
            prepared = _told_by_the_dense_model(run, text, run.spec)
    for layer, by_name in enumerate(prepared.scores or []):
        for name, score in by_name.items():
            require_finite(score, layer, name)
    return prepared


def prepares(run: PruningRun) -> bool:
    """Return True if the dense model is run before anything is pruned."""
    if PATTERNS[run.spec.pattern].cuts_experts:
        return reads_text(run.spec)
    return run.algorithm.prepare is not None or (run.algorithm.statistic is not None and not run.gathers)


def _told_by_the_dense_model(run: PruningRun, text: Calibration, spec: PruneSpec) -> Prepared:
    assert run.algorithm.prepare is not None
    return run.algorithm.prepare(run.runner, text, spec, budget(spec, run.model), partial(run.tell, DENSE))


def prepare_once(run: PruningRun, text: Calibration | None, stored: Path | None) -> Prepared:
    """`prepare`, or what it had told before: to a job that stored it, or to this one before it was cut off.

    stored: the file of the former, of the same model and text.
    """
    if not prepares(run):
        return Prepared()
    if stored is not None:
        prepared = load_prepared(stored)
        run.notes.append("The statistics of the dense model were read from the store.")
        run.facts["dense_model"] = prepared.facts
        return prepared
    asked_of_it = {"method", "calibration", "discount", "steps", "ranking", "norm"}
    if PATTERNS[run.spec.pattern].cuts_experts:
        asked_of_it |= {"pattern", "expert_worth"}
    question = run.spec.model_dump(mode="json", include=asked_of_it)
    kept = run.context.scratch / f"{content_key(model=run.model.fingerprint, **question)}.safetensors"
    if kept.is_file():
        prepared = load_prepared(kept)
        run.notes.append("The activations of the dense model were read from the run that was cut off.")
    else:
        prepared = prepare(run, text)
        save_prepared(prepared, kept)
    run.facts["dense_model"] = prepared.facts
    return prepared


def with_quantizer_weights(run: PruningRun, text: Calibration | None, prepared: Prepared) -> Prepared:
    """Add ω of every token of the noised text to `prepared`, where the quantizer reads it."""
    if run.quantizer is None or not run.quantizer.noised:
        return prepared
    assert text is not None and text.noised is not None
    discount = run.spec.discount if run.quantizer.discounted else None
    with run.phase(TOKENS):
        weights = step_token_weights(run.runner, text.noised, discount, partial(run.tell, TOKENS))
    run.facts["quantizer_mean_token_weight"] = float(weights.mean())
    return replace(prepared, quantizer_weights=weights)


def allocate(run: PruningRun, text: Calibration | None, prepared: Prepared) -> np.ndarray:
    """The sparsity of every layer (L,), or of every layer's projections (L, P)."""
    row = ALLOCATIONS[run.spec.allocation]
    measured = None
    if row.needs_outliers:
        assert text is not None
        with run.phase(OUTLIERS):
            measured = outlier_ratios(run, dense_scores(run, text, prepared))
        run.facts["outlier_ratios"] = measured.tolist()
    elif row.needs_tails:
        with run.phase(TAILS):
            measured = tail_exponents(run)
        run.facts["tail_exponents"] = [None if np.isnan(value) else float(value) for value in measured]
    sparsities = shares(run, measured)
    if row.by_projection:
        run.facts["asked_by_projection"] = sparsities.tolist()
    return sparsities


def shares(run: PruningRun, measured: np.ndarray | None) -> np.ndarray:
    """The sparsity of every layer (L,), or projection (L, P), from what was measured of them for the allocation."""
    spec, sizes = run.spec, run.sizes()
    flat = None if measured is None else measured.ravel()
    sparsities = layer_sparsities(spec.allocation, spec.sparsity, sizes.ravel(), flat, spec.allocation_range)
    return sparsities.reshape(sizes.shape)


def dense_scores(run: PruningRun, text: Calibration, prepared: Prepared) -> Scores:
    """The feature scores of the dense model by the method's own norm, Wanda's where it has none."""
    if prepared.scores is not None:
        return prepared.scores
    if run.algorithm.prepare is not None and run.algorithm.score is not None:
        scores = _told_by_the_dense_model(run, text, run.spec.model_copy(update={"ranking": "dense"})).scores
        assert scores is not None
        return scores
    return feature_scores(run, text, OUTLIERS)[0]


def feature_scores(run: PruningRun, text: Calibration, phase: str) -> tuple[Scores, dict[str, Any]]:
    """Wanda's ‖X_j‖ of the dense model on clean text, by layer and projection; and the experts without tokens."""
    batches = [batch.tokens for batch in text.batches()]
    gathered = new_statistics(InputNorms, run.runner.groups)
    run.runner.inputs(
        batches,
        lambda batch, layer, name, inputs, positions: gathered[layer][name].add(inputs, None),
        ForwardCount(len(batches), partial(run.tell, phase)).step,
        noised=False,
    )
    return scores_of(gathered, run.runner)


def outlier_ratios(run: PruningRun, scores: Scores) -> np.ndarray:
    """D of OWL from the feature scores of the dense model: of every layer (L,), or of its projections (L, P), each
    against its own mean.
    """
    threshold = run.spec.owl_threshold

    rows: list[Any] = []
    for layer, block in run.dense_blocks():
        targets, modules = run.removal.targets(layer), run.model.projections(block)

        def score(name: str, layer: int = layer, modules: Mapping[str, Projection] = modules) -> torch.Tensor:
            return wanda_score(rows_of(modules[name]), scores[layer][name])

        if ALLOCATIONS[run.spec.allocation].by_projection:
            rows.append(
                [
                    outlier_ratio([score(name)] if name in targets else [], threshold)
                    for name in run.model.projection_names
                ]
            )
        else:
            rows.append(outlier_ratio((score(name) for name in targets), threshold))
    return np.array(rows)


def tail_exponents(run: PruningRun) -> np.ndarray:
    """The mean of `tail_exponent` over the projections of every layer that may lose weights, (L,); NaN without any."""
    means = []
    for layer, block in run.dense_blocks():
        modules = run.model.projections(block)
        exponents = [tail_exponent(rows_of(modules[name])) for name in run.removal.targets(layer)]
        means.append(np.mean(exponents) if exponents else np.nan)
        run.tell(TAILS, layer + 1, run.model.geometry.layers)
    return np.array(means)


def surveys(run: PruningRun) -> bool:
    """Return True if a quota spans layers, so that every score is read before a weight goes."""
    return run.spec.scope is not None and QUOTA_SCOPES[run.spec.scope].spans_layers


def survey(run: PruningRun, prepared: Prepared) -> None:
    """Find the threshold of a quota over the model, where there is one, from every score of the dense model."""
    if not surveys(run):
        return
    layers, passes = run.model.geometry.layers, itertools.count(1)

    def scored_blocks() -> Iterator[tuple[int, nn.Module, Known]]:
        for layer, block in run.dense_blocks():
            yield layer, block, {} if prepared.scores is None else prepared.scores[layer]
            run.tell(QUOTA, next(passes), 2 * layers)

    with run.phase(QUOTA):
        run.removal.survey(scored_blocks)
