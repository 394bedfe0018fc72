"""What the model cards report of one bundled model: accuracy, the cost of pruning, and how its sinks move.

Every function returns plain JSON. Multiple-choice answers are scored by log-likelihood, as lm-eval's `acc` does.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from scipy import stats
from transformers import PreTrainedTokenizerFast

from analysis.attention import MassObserver
from analysis.bundled.grammar import document
from analysis.bundled.prompts import prompts
from analysis.bundled.world import PEOPLE
from analysis.evaluation.bundled.data import FOLDER
from analysis.evaluation.likelihood import Request, log_likelihoods
from analysis.evaluation.significance import Difference, Estimate, average, average_difference, estimate
from analysis.job_context import SilentContext
from analysis.models.load import LoadedModel, load, random_like
from analysis.models.tokenizer import token_strings
from analysis.provenance import environment
from analysis.pruning.algorithm import Calibration
from analysis.pruning.pipeline import prune
from analysis.recording import collecting, trajectory
from analysis.recording.denoising import denoise, stop_tokens
from analysis.sinks import definitions
from analysis.sinks.attention_pattern import AttentionPattern
from analysis.sinks.token_states import TokenState
from analysis.specs import AutoregressiveSampling, LLaDASampling, PruneSpec, SinkParams
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
REFERENCE_SEEDS = (1, 2, 3)  # random-weight models
REFERENCE_PERCENTILE = 99
_ANSWER_TOKENS = 24

Report = Callable[[str], None]


# --- accuracy ---------------------------------------------------------------------------------------------------


def read_items(task: str, split: str) -> list[dict[str, Any]]:
    """The committed items of a task."""
    return [json.loads(line) for line in (FOLDER / f"{task}_{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def correct(model: LoadedModel, task: str, split: str, limit: int | None = None) -> np.ndarray:
    """Which items of a multiple-choice task the model answers right, bool (N,)."""
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
    """Which word problems the model answers right with text it writes itself, bool (N,)."""
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

    Over `NAME_TEXTS` beginnings of training documents; values are means with their 95 % bootstrap interval.
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
        "right": bootstrap(np.array(right_probabilities)),
        "names": bootstrap(np.array(name_probabilities)),
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
    """Training loss on text that is never trained on, nats a token. The same masks for every model."""
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
    """Accuracies and paired differences with their intervals. clusters: the key of every item (N,), by task."""
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
    """How many sinks a step has, of which kinds, and how they move, on `PROMPTS` held-out prompts.

    A sink lies above mean + 2·std of its step's total mass AND above the 99th percentile of the corrected share that
    models of the same shape with random weights give to the same inputs. Values are means over prompts with 95 %
    bootstrap intervals.
    """
    ends = stop_tokens(model)
    runs = list(_trajectories(model))
    report(f"{len(runs)} trajectories recorded")
    drawn = [random_like(model, seed) for seed in REFERENCE_SEEDS]
    randoms = [[_replayed(network, run) for run in runs] for network in drawn]
    null = np.concatenate(
        [_corrected(model, mass, run) for replayed in randoms for mass, run in zip(replayed, runs, strict=True)]
    )
    level = float(np.percentile(null, REFERENCE_PERCENTILE))
    report(f"corrected share of random weights, percentile {REFERENCE_PERCENTILE}: {level:.3f}")
    rows = [_measures(model, run["mass"], run, level, ends) for run in runs]
    null_rows = [_measures(model, mass, run, level, ends) for mass, run in zip(randoms[0], runs, strict=True)]
    unfiltered = [_measures(model, run["mass"], run, 0.0, ends) for run in runs]
    return {
        "prompts": len(runs),
        "new_tokens": NEW_TOKENS,
        "reference_level": level,
        "reference_seeds": REFERENCE_SEEDS,
        "steps": int(sum(row["steps"] for row in rows)),
        "trained": _summary(rows),
        "random": _summary(null_rows),
        "without_reference": _summary(unfiltered),
        "centroid_variance_by_prompt": [row["centroid_variance"] for row in rows],
        "example": {"prompt": prompts(1)[0], "text": runs[0]["text"]},
    }


def _trajectories(model: LoadedModel) -> Iterator[dict[str, Any]]:
    for text in prompts(PROMPTS):
        ids = list(token_ids(model, text, True))
        sampling = _sampling(model, NEW_TOKENS)
        steps = denoise(model, torch.tensor([ids]), sampling, 0)
        run = collecting.record(steps, NEW_TOKENS, len(ids) + NEW_TOKENS, "float32")
        run["text"] = tokenizer_of(model).decode(run["final"].tolist())
        yield run


def _replayed(model: LoadedModel, run: dict[str, Any]) -> np.ndarray:
    """The mass (T, L, H, S) a model gives to the inputs of a recorded run."""
    mass = np.full_like(run["mass"], np.nan)
    for step, tokens in enumerate(run["tokens"]):
        present = tokens[tokens != trajectory.PADDING]
        observer = MassObserver()
        model.predict(torch.tensor(present[None].astype(np.int64)), observer)
        mass[step, ..., : len(present)] = observer.take()[0].numpy()
    return mass


def _corrected(model: LoadedModel, mass: np.ndarray, run: dict[str, Any]) -> np.ndarray:
    """Corrected share of the mass averaged over layers and heads, finite values only, (N,)."""
    pattern = _pattern(model, run)
    share = definitions.corrected_share(definitions.mean_mass(mass), pattern.uniform_mass[:, 0, 0])
    return share[np.isfinite(share)]


def _pattern(model: LoadedModel, run: dict[str, Any]) -> AttentionPattern:
    present = run["state"] != TokenState.ABSENT
    return AttentionPattern(model.architecture.attention, present, run["queries"], run["open_block"])


def _measures(
    model: LoadedModel, mass: np.ndarray, run: dict[str, Any], level: float, ends: set[int]
) -> dict[str, Any]:
    pattern = _pattern(model, run)
    mean = definitions.mean_mass(mass)
    sinks = definitions.find_sinks(mean, SinkParams(), pattern.visible())
    share = np.nan_to_num(definitions.corrected_share(mean, pattern.uniform_mass[:, 0, 0]))
    sinks &= share > level
    ids = np.unique(run["tokens"])
    names = token_strings(model.tokenizer, [token for token in ids.tolist() if token != trajectory.PADDING])
    kinds = definitions.token_kinds(run["tokens"], run["state"] == TokenState.UNDECIDED, names, ends)
    counts = definitions.count_by_kind(sinks, kinds)
    centroid = definitions.sink_centroid(np.nan_to_num(definitions.total_mass(mass)), sinks)
    centroid *= mass.shape[-1] / definitions.lengths(mass)  # positions of the step, not of the finished text
    turnover = definitions.turnover(sinks)
    with_centroid = np.isfinite(centroid)
    return {
        "steps": len(sinks),
        "sinks": float(sinks.sum(axis=1).mean()),
        "without": float((sinks.sum(axis=1) == 0).mean()),
        "distinct": int(sinks.any(axis=0).sum()),
        "turnover": float(np.nanmean(turnover)) if np.isfinite(turnover).any() else float("nan"),
        "centroid": float(centroid[with_centroid].mean()) if with_centroid.any() else float("nan"),
        "centroid_variance": float(centroid[with_centroid].var()) if with_centroid.sum() > 1 else float("nan"),
        "share": float(share[sinks].mean()) if sinks.any() else float("nan"),
        "strength": float(definitions.sink_strength(mass, sinks).mean()),
        **{f"kind {name}": float(counts[:, index].mean()) for index, name in enumerate(definitions.KINDS)},
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, list[float] | None]:
    """Mean over prompts with its 95 % percentile-bootstrap interval, by measure; NaN prompts are left out."""
    summary: dict[str, list[float] | None] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], float)
        values = values[np.isfinite(values)]
        summary[name] = bootstrap(values) if len(values) > 1 else None
    return summary


def bootstrap(values: np.ndarray) -> list[float]:
    """[mean, low, high] by 2,000 resamples of the prompts."""
    if np.ptp(values) == 0:
        return [float(values[0])] * 3
    interval = stats.bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=0).confidence_interval
    return [float(values.mean()), float(interval.low), float(interval.high)]


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
