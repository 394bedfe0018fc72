"""Measurements of one bundled model for its card: accuracy, the cost of pruning, and how its sinks move.

Every function returns plain JSON. Multiple-choice answers are scored by log-likelihood, as lm-eval's `acc` does.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from analysis.bundled.grammar import document
from analysis.bundled.world import PEOPLE
from analysis.evaluation.bundled.data import FOLDER
from analysis.evaluation.likelihood import Request, log_likelihoods
from analysis.findings import layers
from analysis.findings import sets as set_findings
from analysis.job_context import SilentContext, environment
from analysis.jobs.recording_sets import record_set
from analysis.models.load import load
from analysis.models.loaded import LoadedModel
from analysis.pruning.algorithm import Calibration
from analysis.pruning.pipeline import prune
from analysis.recording import set_measures
from analysis.recording.denoising import denoise
from analysis.recording.set_file import RecordingSet, open_set
from analysis.sinks.intervals import Estimates, quotient
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.specs import AutoregressiveSampling, LLaDASampling, PruneSpec, RecordSetSpec
from analysis.statistics.clustered import Estimate, average, average_difference, estimate
from analysis.statistics.differences import Difference
from training import train
from training.stream import batch
from training.tasks import TASKS, effective_clusters

DRAWS = 32
SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
METHODS = ("magnitude", "wanda")
CALIBRATION_SEED, CALIBRATION_BATCHES = 2_000_000, 2
LOSS_BATCHES = 6
NAME_TEXTS, NAME_TOKENS = 300, 64
PROMPTS, NEW_TOKENS = 50, 64
_ANSWER_TOKENS = 24

Report = Callable[[str], None]


# --- accuracy ---------------------------------------------------------------------------------------------------


def read_items(task: str, split: str) -> list[dict[str, Any]]:
    """The committed items of a task."""
    return [json.loads(line) for line in (FOLDER / f"{task}_{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def correct(model: LoadedModel, task: str, split: str, limit: int | None = None) -> np.ndarray:
    """Flag the items of a multiple-choice task that the model answers right, bool (N,)."""
    items = read_items(task, split)[:limit]
    requests = [
        Request(token_ids(model, item["context"], True), token_ids(model, " " + choice, False), task)
        for item in items
        for choice in item["choices"]
    ]
    values = np.array([result.value for result in log_likelihoods(model, requests, DRAWS)])
    best = values.reshape(len(items), -1).argmax(axis=1)
    return best == np.array([item["answer"] for item in items])


def solved(model: LoadedModel, split: str, limit: int | None = None) -> np.ndarray:
    """Flag the word problems that the model answers right with text it writes itself, bool (N,)."""
    items = read_items("problems", split)[:limit]
    prompts = [token_ids(model, item["context"], True) for item in items]
    right = np.zeros(len(items), bool)
    for length in sorted({len(prompt) for prompt in prompts}):
        rows = [index for index, prompt in enumerate(prompts) if len(prompt) == length]
        *_, step = denoise(model, torch.tensor([prompts[row] for row in rows]), _sampling(model, _ANSWER_TOKENS), 0)
        for row, tokens in zip(rows, step.choice.output[:, length:].tolist(), strict=True):
            right[row] = _result(str(tokenizer_of(model).decode(tokens))) == items[row]["result"]
    return right


@torch.no_grad()
def names_copied(model: LoadedModel) -> dict[str, Any]:
    """The probability of a character's name where it occurs once more, everything else (for the twin: everything to
    the left) being visible: of the right name, of all names together, and of each name were all alike.

    Over `NAME_TEXTS` beginnings of training documents; values are means with their 95 % interval.
    """
    random = Random("names copied")
    names = [token_ids(model, person.name, False)[0] for person in PEOPLE]
    right_probabilities: list[float] = []
    name_probabilities: list[float] = []
    while len(right_probabilities) < NAME_TEXTS:
        tokens = torch.tensor(token_ids(model, document(random).text, True)[:NAME_TOKENS])
        spoken = [(at, token) for at, token in enumerate(tokens.tolist()) if token in names]
        again = [at for number, (at, token) in enumerate(spoken) if token in [other for _, other in spoken[:number]]]
        if not again:
            continue
        at, right = again[-1], int(tokens[again[-1]])
        if model.mask_token is not None:
            tokens[at] = model.mask_token
        probability = model.predict(tokens[None])[0, at if model.mask_token is not None else at - 1].softmax(-1)
        right_probabilities.append(float(probability[right]))
        name_probabilities.append(float(probability[names].sum()))
    return {
        "texts": NAME_TEXTS,
        "right": mean_interval(np.array(right_probabilities)),
        "names": mean_interval(np.array(name_probabilities)),
        "uniform": 1 / len(names),
    }


def _result(text: str) -> str | None:
    """The number after the first 'has', as the task's filter takes it."""
    words = text.split()
    return words[words.index("has") + 1] if "has" in words[:-1] else None


def _sampling(model: LoadedModel, tokens: int) -> Any:
    if model.mask_token is None:
        return AutoregressiveSampling(gen_length=tokens)
    return LLaDASampling(gen_length=tokens, steps=tokens)


def tokenizer_of(model: LoadedModel) -> PreTrainedTokenizerFast:
    """The tokenizer that comes with a model of the pair."""
    assert isinstance(model.tokenizer, PreTrainedTokenizerFast)
    return model.tokenizer


def token_ids(model: LoadedModel, text: str, start: bool) -> tuple[int, ...]:
    """The tokens of a text, [BOS] in front where it is the start of a document."""
    return tuple(tokenizer_of(model)(text, add_special_tokens=start)["input_ids"])


def keys(task: str, split: str, limit: int | None = None) -> np.ndarray:
    """The key of every item of a task, (N,): items of one key are one cluster."""
    return np.array([item["key"] for item in read_items(task, split)[:limit]])


def interval(estimate: Estimate | Difference) -> list[float]:
    """[value, low, high] of an estimate with its 95 % interval, clustered by the items' keys."""
    return [estimate.value, estimate.low, estimate.high]


# --- pruning ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def loss(model: LoadedModel, batches: int = LOSS_BATCHES) -> float:
    """Training loss on text that is never trained on, nats per token. The same masks for every model."""
    kind = "diffusion" if model.architecture.bidirectional else "autoregressive"
    total = 0.0
    for number in range(batches):
        generator = torch.Generator().manual_seed(number)
        tokens = batch(train.VALIDATION_SEED, number, tokenizer_of(model))
        inputs, chosen, expected, weight = train.TARGETS[kind](tokens, model.mask_token, generator)
        logits = model.predict(inputs).flatten(0, 1)[chosen].float()
        total += float((torch.nn.functional.cross_entropy(logits, expected, reduction="none") * weight).sum())
    return total / batches


def calibration(model: LoadedModel) -> list[torch.Tensor]:
    """Clean training text for Wanda."""
    return [batch(CALIBRATION_SEED, number, tokenizer_of(model)) for number in range(CALIBRATION_BATCHES)]


def pruned_copy(model: LoadedModel, method: str, sparsity: float, texts: Sequence[torch.Tensor] = ()) -> LoadedModel:
    """The model as a pruning job prunes it, in memory; the one given is left as it was.

    texts: clean token ids (B, S), of any lengths, for a method that reads them.
    """
    arrays = [text.numpy() for text in texts]
    text = Calibration(arrays[0], other_lengths=tuple(arrays[1:])) if arrays else None
    with tempfile.TemporaryDirectory() as folder:
        spec = PruneSpec(model=model.spec, method=method, sparsity=sparsity, out=str(Path(folder) / "pruned"))
        prune(model, spec, SilentContext(Path(folder)), text)
        return load(model.spec.model_copy(update={"source": spec.out}))


def pruning_curve(model: LoadedModel, split: str, limit: int | None, report: Report) -> dict[str, Any]:
    """Accuracy and loss of the dense model and at every sparsity by both methods."""
    texts = calibration(model)
    scored: list[Scored] = []
    for method, sparsity in [("dense", 0.0), *((m, s) for s in SPARSITIES for m in METHODS)]:
        pruned = model if method == "dense" else pruned_copy(model, method, sparsity, texts)
        right = {task: correct(pruned, task, split, limit) for task in TASKS}
        scored.append(Scored(method, sparsity, right, loss(pruned)))
        mean = np.mean([values.mean() for values in right.values()])
        report(f"{method} {sparsity}: mean accuracy {mean:.3f}, loss {scored[-1].loss:.3f}")
    clusters = {task: keys(task, split, limit) for task in TASKS}
    tokens = sum(text.numel() for text in texts)
    return {
        "split": split,
        "draws": DRAWS,
        "calibration": {"seed": CALIBRATION_SEED, "tokens": tokens},
        "environment": environment(),
        **summary(scored, clusters),
    }


@dataclass(frozen=True)
class Scored:
    """One model of the curve. right: whether each item is answered right, bool (N,), by task."""

    method: str
    sparsity: float
    right: dict[str, np.ndarray]
    loss: float


def summary(scored: Sequence[Scored], clusters: dict[str, np.ndarray]) -> dict[str, Any]:
    """Summarize accuracies and paired differences with intervals. clusters: the key of every item (N,), by task."""
    by_model = {(model.method, model.sparsity): model.right for model in scored}
    of_tasks = list(clusters.values())
    rows = [
        {
            "method": model.method,
            "sparsity": model.sparsity,
            "loss": model.loss,
            "mean": interval(average([model.right[task].astype(float) for task in clusters], of_tasks)),
            "tasks": {task: interval(estimate(model.right[task].astype(float), clusters[task])) for task in clusters},
        }
        for model in scored
    ]
    differences = []
    for sparsity in SPARSITIES:
        magnitude, wanda = (by_model[method, sparsity] for method in METHODS)
        paired = [magnitude[task].astype(float) - wanda[task] for task in clusters]
        difference = average_difference(paired, of_tasks, test=True)
        differences.append({"sparsity": sparsity, "magnitude - wanda": interval(difference)})
    return {
        "items": {task: len(of) for task, of in clusters.items()},
        "effective_clusters": {task: round(effective_clusters(of), 1) for task, of in clusters.items()},
        "rows": rows,
        "differences": differences,
    }


# --- sinks ------------------------------------------------------------------------------------------------------


def sink_statistics(model: LoadedModel, report: Report) -> dict[str, Any]:
    """Measure where the model's sinks are and how they move, on a set of recordings of `PROMPTS` prompts.

    Estimates are [value, low, high]; lists of them are by scope: every layer, then all layers together.
    """
    spec = RecordSetSpec(model=model.spec, count=PROMPTS, sampling=_sampling(model, NEW_TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        outcome = record_set(spec, SilentContext(Path(folder)))
        assert outcome.file is not None
        recordings = open_set(outcome.file)
    report(f"{recordings.prompts} prompts recorded in {recordings.info.seconds:.0f} s")
    return set_statistics(recordings)


def set_statistics(recordings: RecordingSet) -> dict[str, Any]:
    """The numbers of a set of recordings that a card shows, as JSON; None where nothing could be measured."""
    variance = recordings.part("trained")["centroid_variance"]
    return {
        "prompts": recordings.prompts,
        "judged": "corrected share",
        "new_tokens": NEW_TOKENS,
        "steps": sum(prompt.steps for prompt in recordings.info.prompts),
        "random_seeds": recordings.info.random_seeds,
        "scopes": recordings.scopes,
        "kinds": recordings.info.kinds,
        "by_scope": {
            name: {which: _rows(set_measures.of_all_kinds(recordings, name, which)) for which in ("trained", "random")}
            for name in ("count", "corrected-share", "strength", "life")
        },
        "portions": [_rows(scope) for scope in _scopes(set_measures.by_kind(recordings, "portion"))],
        "moves": {
            name: {which: _rows(set_measures.moves(recordings, name, which)) for which in ("trained", *MOVEMENT_NULLS)}
            for name in set_measures.MOVES
        },
        "words": layers.words({"": recordings})[""],
        "beyond": set_findings.layers_beyond(recordings),
        "noise": set_findings.NOISE,
        "centroid_variance_by_prompt": _finite(variance.round(7)),
    }


def _scopes(estimates: Estimates) -> list[Estimates]:
    return [Estimates(*ends) for ends in zip(estimates.value, estimates.low, estimates.high, strict=True)]


def _rows(estimates: Estimates) -> list[list[float] | None]:
    """[value, low, high] of each of (N,) estimates."""
    rows = np.stack([estimates.value, estimates.low, estimates.high], axis=-1).round(6)
    return [row.tolist() if np.isfinite(row).all() else None for row in rows]


def _finite(values: np.ndarray) -> list[list[float | None]]:
    return [[value if np.isfinite(value) else None for value in row] for row in values.tolist()]


def mean_interval(values: np.ndarray) -> list[float]:
    """[mean, low, high] of values (N,) with their 95 % interval (Student)."""
    mean = quotient(values)
    return [float(end) for end in (mean.value, mean.low, mean.high)]


def measure(model: LoadedModel, split: str, limit: int | None, report: Report) -> dict[str, Any]:
    """Everything a card says about one model."""
    result = {"loss": loss(model), "sinks": sink_statistics(model, report)}
    right = solved(model, split, limit)
    result["names"] = names_copied(model)
    share = estimate(right.astype(float), keys("problems", split, limit))
    result["problems"] = {"items": len(right), "share": interval(share)}
    report(f"problems: {right.mean():.3f}")
    return result | {"pruning": pruning_curve(model, split, limit, report)}


def save(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
