"""Everything a store knows, as tables with a dictionary of their columns: jobs, recordings, runs, accuracies, items.

A column is one row of `COLUMNS`: a table has the columns that are described there, in their order, and no others.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from analysis.engine.engine import Engine
from analysis.engine.job_store import JobRecord
from analysis.engine.runs import Run, known_runs, score
from analysis.errors import UserError
from analysis.evaluation.results import Results, read
from analysis.jobs.summaries import RecordSummary
from analysis.pruned.report_file import quantization_title
from analysis.recording.frames import column_of, step_frame
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.metrics import CURVES
from analysis.specs import SinkParams

_Result = TypeVar("_Result")
_JOB = "id of the job, as in addresses and logs"
_INTERVAL = "end of the 95 % interval over clusters of items"
COLUMNS: dict[str, dict[str, str]] = {
    "jobs": {
        "job": _JOB,
        "kind": "what was asked: record, prune, evaluate, …",
        "state": "queued, running, done, failed, cancelled or interrupted",
        "model": "source of the model",
        "fingerprint": "digest of the model's weights and config; empty until the model was read",
        "created": "when it was asked (UTC)",
        "started": "when it began (UTC)",
        "finished": "when it ended (UTC)",
        "device": "where it ran",
        "threads": "threads that computed; 0 where none did",
        "reason": "why it failed or was cut off",
        "code": "version of the code that computes its result",
        "parameters": "all parameters, as JSON",
    },
    "recordings": {
        "job": _JOB,
        "model": "source of the model",
        "fingerprint": "digest of the model's weights and config",
        "prompt": "the prompt as typed",
        "text": "the finished text",
        "seed": "seed of the sampler",
        "steps": "recorded forwards",
        "layers": "layers of the model",
        "heads": "heads per layer",
        "positions": "tokens of the finished text, prompt included",
        "bytes": "size of the recording's file",
    },
    "recording_steps": {
        "job": _JOB,
        "step": "denoising step, from 0",
        "share_undecided": "share of the step's tokens that are still masked, or noise",
        **{column_of(name): f"{curve.sentence} Unit: {curve.axis}" for name, curve in CURVES.items()},
    },
    "runs": {
        "run": "id of the run: of its pruning job, else made from its folder or source",
        "name": "its name on the page Runs",
        "kind": "dense, pruned, imported, or evicted: scored with a part of its keys and values",
        "source": "name, hub id or folder by which jobs refer to it",
        "model": "source of the dense model",
        "method": "pruning method; empty for a dense model",
        "sparsity": "requested share of weights to remove",
        "removed": "share of weights that was removed, over the pruned projections",
        "kept": "policy and budget of the keys and values that stayed, and of a control the draw; empty for all",
        "quantization": "bits, quantizer and group of the weights that stay; empty where they are as stored",
        "bytes": "bytes of all weights by arithmetic, each matrix as compact as it can be stored",
        "seed": "calibration seed",
        "accuracy": "accuracy in its newest evaluation, unweighted mean over tasks",
        "accuracy_low": f"lower {_INTERVAL}",
        "accuracy_high": f"upper {_INTERVAL}",
        "items": "items of that evaluation",
        "star": "whether it is starred",
        "tags": "its tags, as a JSON list",
        "note": "its notes",
        "created": "when it was pruned, imported or first evaluated (UTC)",
    },
    "accuracies": {
        "job": _JOB,
        "model": "name of the model in the evaluation",
        "task": "benchmark, or 'average' over those of the evaluation",
        "value": "share of right answers",
        "low": f"lower {_INTERVAL}",
        "high": f"upper {_INTERVAL}",
        "n": "items",
        "clusters": "clusters of items that belong together",
        "chance": "share of right answers by chance; missing where answers are written, and for the average",
        "draws": "mask draws per likelihood; missing where none is estimated",
    },
    "differences": {
        "job": _JOB,
        "model": "the model",
        "than": "what it is compared with",
        "task": "benchmark, or 'average' over those of the evaluation",
        "value": "share of right answers of the model minus that of the other, on the same items",
        "low": f"lower {_INTERVAL}",
        "high": f"upper {_INTERVAL}",
        "n": "items that both answered",
        "clusters": "clusters of items that belong together",
        "p_holm": "p adjusted by Holm over all tests of the evaluation; missing until all items are in",
        "verdict": "in words",
        "also_differs": "what differs between the two besides the method",
    },
    "items": {
        "job": _JOB,
        "model": "name of the model in the evaluation",
        "task": "benchmark",
        "item": "key of the item: a hash of task, context and continuation",
        "cluster": "cluster that the item shares with others of its task; empty if it has none",
        "place": "its place in the seeded shuffle of the task",
        "score": "score of the answer by the task's metric: 1 right, 0 wrong; nats per word for a perplexity",
        "restored": "whether the answer was read from the store and not computed by this job",
    },
    "evictions": {
        "job": _JOB,
        "model": "source of the model",
        "policy": "what is kept",
        "budget": "share of positions whose keys and values are kept in each layer",
        "control": "random: as many random positions of the same state take its place; empty for the policy itself",
        "prompt": "its place among the prompts, from 0",
        "cluster": "key that the prompt shares with those that are alike; empty if it has none",
        "gone": "whether positions left a cache; else their keys were hidden",
        "aligned": "share of tokens in common with the text written with everything kept, aligned (ROUGE-L)",
        "agreement": "share of tokens that stayed the same at their position",
        "divergence": "KL divergence from the full run's predictions on the same inputs, in nats, mean over forwards",
        "share": "share of positions kept, mean over forwards",
        "bytes": "keys and values kept, in bytes, mean over forwards",
        "full_bytes": "all keys and values, in bytes",
        "milliseconds": "median forward over the cache, in ms; missing where keys were hidden",
    },
    "eviction_differences": {
        "job": _JOB,
        "model": "source of the model",
        "policy": "what is kept",
        "budget": "share of positions whose keys and values are kept in each layer",
        "against": "the control at the same budget",
        "measure": "aligned or divergence, as in the table evictions",
        "value": "policy minus control, mean over prompts",
        "low": "lower end of the 95 % interval over clusters of prompts",
        "high": "upper end of the 95 % interval over clusters of prompts",
        "n": "prompts",
        "clusters": "clusters of prompts that are alike",
        "p_holm": "p adjusted by Holm over all differences of the measure; missing where it was stopped",
        "detectable": "difference that would have been significant with a probability of 0.8",
    },
    "sparsity": {
        "run": "id of the run",
        "layer": "layer, from 0",
        "projection": "projection of the block",
        "removed": "share of its weights that was removed",
    },
}
"""Description of each column of each table, with its unit."""

Rows = Iterator[dict[str, Any]]


def stored_tables(engine: Engine) -> dict[str, pd.DataFrame]:
    """Return every table by name, without evicted or unreadable results."""
    runs = known_runs(engine)
    rows: dict[str, Rows] = {
        "jobs": map(_job, engine.jobs()),
        "recordings": map(_recording, _done(engine, "record")),
        "recording_steps": _recording_steps(engine),
        "runs": map(_run, runs),
        "accuracies": (row for job in _evaluated(engine) for row in _accuracies(job)),
        "differences": (row for job in _evaluated(engine) for row in _differences(job)),
        "items": (
            {"job": job.id, **row}
            for job, results in _opened(engine, _evaluated(engine), read)
            for row in item_rows(results)
        ),
        "evictions": (row for job in _done(engine, "evict") for row in _evictions(job)),
        "eviction_differences": (
            {**row, "job": job.id, "model": _source(job)}
            for job in _done(engine, "evict")
            for row in job.summary["effects"]
        ),
        "sparsity": (row for run in runs for row in _sparsity(run)),
    }
    return {name: pd.DataFrame(list(found), columns=list(COLUMNS[name])) for name, found in rows.items()}


def dictionary() -> pd.DataFrame:
    """Return one row per table and column, with its meaning."""
    rows = [(table, column, told) for table, columns in COLUMNS.items() for column, told in columns.items()]
    return pd.DataFrame(rows, columns=["table", "column", "meaning"])


def _done(engine: Engine, kind: str) -> list[JobRecord]:
    return [job for job in engine.jobs(kind) if job.state == "done"]


def _evaluated(engine: Engine) -> list[JobRecord]:
    return [job for kind in ("evaluate", "import") for job in _done(engine, kind)]


def _opened(
    engine: Engine, jobs: Iterable[JobRecord], opener: Callable[[Path], _Result]
) -> Iterator[tuple[JobRecord, _Result]]:
    """Yield jobs with their results, without those whose file is gone or cannot be read."""
    for job in jobs:
        file = engine.result_file(job)
        try:
            opened = None if file is None else opener(file)
        except UserError:
            continue
        if opened is not None:
            yield job, opened


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _job(job: JobRecord) -> dict[str, Any]:
    return {
        **dict(job),
        "job": job.id,
        "model": _source(job),
        "fingerprint": str(job.summary.get("fingerprint") or ""),
        **{name: _time(getattr(job, name)) for name in ("created", "started", "finished")},
        "parameters": _json(job.spec),
    }


def _source(job: JobRecord) -> str:
    model = job.spec.get("model")
    return str(model.get("source", "")) if isinstance(model, dict) else ""


def _recording(job: JobRecord) -> dict[str, Any]:
    told = {name: job.summary.get(name) for name in RecordSummary.__annotations__}
    return {**told, "job": job.id, "model": _source(job), "prompt": str(job.spec.get("prompt") or "")}


def _recording_steps(engine: Engine) -> Rows:
    for job, trajectory in _opened(engine, _done(engine, "record"), open_trajectory):
        for row in step_frame(trajectory, SinkParams()).to_dict("records"):
            yield {**{str(name): value for name, value in row.items()}, "job": job.id}


def _run(run: Run) -> dict[str, Any]:
    scored = score(run)
    parameters = run.parameters
    return {
        **vars(run),
        "run": run.id,
        "name": run.name,
        "method": str(parameters.get("method") or ""),
        "sparsity": parameters.get("sparsity"),
        "removed": run.sparsity.get("overall"),
        "quantization": quantization_title(parameters),
        "bytes": None if run.bytes is None else run.bytes[1],
        "seed": (parameters.get("calibration") or {}).get("seed"),
        "accuracy": None if scored is None else scored.value,
        "accuracy_low": None if scored is None else scored.low,
        "accuracy_high": None if scored is None else scored.high,
        "items": None if scored is None else scored.items,
        "star": run.label.star,
        "tags": _json(list(run.label.tags)),
        "note": run.label.note,
        "created": _time(run.created),
    }


def _accuracies(job: JobRecord) -> Rows:
    summary = job.summary
    for task in summary["tasks"]:
        for row in task.get("models", ()):
            yield {**row, "job": job.id, "task": task["task"], "chance": task["chance"], "draws": task["draws"]}
    if len(summary["tasks"]) > 1:
        yield from ({**row, "job": job.id, "task": "average"} for row in summary["average"])


def _differences(job: JobRecord) -> Rows:
    summary = job.summary
    several = len(summary["tasks"]) > 1
    averages = [("average", summary["average_differences"])] if several else []
    for task, rows in [*((task["task"], task.get("differences", ())) for task in summary["tasks"]), *averages]:
        for row in rows:
            yield {**row, "job": job.id, "task": task, "verdict": row["words"]}


def item_rows(results: Results) -> Rows:
    """Yield a row per model and item of an evaluation, with the columns of the table `items`."""
    places = {item.key: place for items in results.shuffled.values() for place, item in enumerate(items)}
    for (key, model), answer in results.answers.items():
        item = results.documents[key]
        yield {
            "model": results.names[model],
            "task": item.benchmark,
            "item": key,
            "cluster": item.cluster,
            "place": item.place,
            "score": float(results.scored[item.benchmark][model, places[key]]),
            "restored": answer.restored,
        }


def _evictions(job: JobRecord) -> Rows:
    """Yield a row per policy, budget, control and prompt."""
    summary = job.summary
    for row in summary["rows"]:
        same = {name: value for name, value in row.items() if not isinstance(value, list)}
        same |= {"job": job.id, "model": _source(job), "gone": summary["gone"]}
        lists = {name: value for name, value in row.items() if isinstance(value, list)}
        for prompt in range(summary["prompts"]):
            numbers = {name: values[prompt] for name, values in lists.items()}
            yield same | numbers | {"prompt": prompt, "cluster": numbers.get("keys", "")}


def _sparsity(run: Run) -> Rows:
    told = run.sparsity
    for layer, row in enumerate(told.get("grid") or ()):
        for projection, removed in zip(told["projections"], row, strict=True):
            if removed is not None:
                yield {"run": run.id, "layer": layer, "projection": projection, "removed": removed}
