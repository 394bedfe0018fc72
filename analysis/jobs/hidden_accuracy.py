"""Accuracy on choice tasks as a model reads items untouched, with its sinks hidden and with as many others hidden."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.evaluation.items_file import Answer, Line, LineWriter
from analysis.jobs.summaries import HiddenAccuracy
from analysis.machine import garbage
from analysis.specs import ClaimMeasuresSpec, EvaluateSpec
from analysis.specs.eviction import EVERYTHING, kept_of

if TYPE_CHECKING:
    from analysis.job_context import Context
    from analysis.models.loaded import LoadedModel

READINGS = ("untouched", "hidden", "others")


class _Kept(LineWriter):
    """In-memory metrics of an evaluation, by item and number of the reading."""

    def __init__(self) -> None:
        self.metrics: dict[str, dict[int, dict[str, Any]]] = {}

    def write(self, line: Line) -> None:
        """Keep the metrics of an answer."""
        if isinstance(line, Answer):
            self.metrics.setdefault(line.key, {})[line.model] = dict(line.metrics)

    def close(self) -> None:
        """Do nothing: no file is open."""


def _itself(model: "LoadedModel") -> "LoadedModel":
    return model


def hidden_accuracy(
    spec: ClaimMeasuresSpec, model: "LoadedModel", context: "Context", on_step: Callable[[], None]
) -> HiddenAccuracy:
    """Score the tasks' choice items in the three readings, on the same masks. Answers are kept in the answer store, so
    that an interrupted job resumes. Raises UserError if no task is available.
    """
    with garbage.importing("lm_eval"):
        from analysis.evaluation import live
        from analysis.evaluation.tasks import ChatTemplate, fitting, load_benchmarks
    from analysis.models.tokenizer import chat_text, uses_chat
    from analysis.recording.hidden_sinks import HiddenSinks

    tokenizer = model.require_tokenizer()
    chat = None
    if uses_chat(model.spec.source, tokenizer, spec.chat_template):
        chat = ChatTemplate(lambda *turns, **options: chat_text(tokenizer, *turns, **options), model.fingerprint)
    asked = EvaluateSpec(model=model.spec, tasks=spec.tasks, limit=spec.limit, seed=spec.seed)
    benchmarks, _ = load_benchmarks(asked, chat, context.progress)
    benchmarks, _ = fitting(benchmarks, model.geometry.max_length, lambda text: len(tokenizer.tokenize(text)))
    benchmarks = [benchmark for benchmark in benchmarks if benchmark.chance is not None]
    hidden = HiddenSinks.of(model, spec.sinks, False, spec.seed)
    networks = (model, hidden, hidden.with_others())
    sinks, whole = spec.sinks.model_dump_json(), kept_of(EVERYTHING)
    slots = [
        live.ModelSlot(name, model.spec, f"{name}-{sinks}-{model.fingerprint}", partial(_itself, it), whole)
        for name, it in zip(READINGS, networks, strict=True)
    ]
    kept = _Kept()
    live.run(
        benchmarks,
        slots,
        lambda benchmark: live.settings_of(benchmark, spec.seed, chat is not None, False),
        context.stores.responses,
        kept,
        True,
        lambda progress: on_step(),
    )
    told: HiddenAccuracy = {"keys": [], "clusters": [], "chances": [], **{name: [] for name in READINGS}}  # type: ignore[typeddict-item]
    for benchmark in benchmarks:
        for document in benchmark.documents:
            metrics = kept.metrics[document.key]
            told["keys"].append(document.key)
            told["clusters"].append(f"cluster {document.cluster}" if document.cluster else f"item {document.key}")
            told["chances"].append(1 / document.choices)
            for number, name in enumerate(READINGS):
                told[name].append(float(metrics[number][benchmark.metric]))  # type: ignore[literal-required]
    return told
