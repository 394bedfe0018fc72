"""Evaluating several models item by item, so that what is there so far can be looked at, stopped and gone on with.

Items come in a seeded shuffle, in windows that are sorted by length only inside. Where the models fit in memory
together, every model finishes a window before the next is begun; otherwise one model runs after the other and pairs
appear as the second does. Every finished item goes into the answer store and, scored, into a file of JSON lines.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

from analysis.evaluation.items_file import Answer, LineWriter, Reply
from analysis.evaluation.language_model import LanguageModel, Settings
from analysis.evaluation.likelihood import Budget, Known, Likelihood
from analysis.evaluation.lm_eval_fixes import quiet, templates_kept
from analysis.evaluation.tasks import Benchmark, TaskItem, described, scored
from analysis.models.loaded import LoadedModel, pick_device
from analysis.specs import Keeping, ModelSpec
from analysis.specs.evaluation import WINDOW
from cache.keys import code_version, content_key
from cache.stores import Responses


class Stopped(Exception):
    """Raised by `on_step` to end an evaluation early. What is there is kept."""


@dataclass
class ModelSlot:
    """A model that is evaluated. load: makes it, or returns it where it is in memory already. known: see `Known`.

    kept: how much of its keys and values it keeps.
    """

    name: str
    spec: ModelSpec
    fingerprint: str
    load: Callable[[], LoadedModel]
    kept: Keeping
    budget: Budget | None = None
    known: Known = field(default_factory=dict)


@dataclass
class EvaluationProgress:
    """Progress of an evaluation. fresh: answers that models gave in this run, not read from the store."""

    total: int
    done: int = 0
    fresh: int = 0
    busy: float = 0.0  # seconds that models were at work

    @property
    def rate(self) -> float | None:
        """Items a second."""
        return self.fresh / self.busy if self.fresh and self.busy else None


def windows(documents: Sequence[TaskItem]) -> list[list[TaskItem]]:
    """The shuffled items cut into windows, each sorted by length so that batches are even."""
    return [
        sorted(documents[start : start + WINDOW], key=lambda document: (document.length, document.place))
        for start in range(0, len(documents), WINDOW)
    ]


def settings_of(benchmark: Benchmark, seed: int, chat: bool, early_draws: bool, canvas_score: str = "") -> Settings:
    """Return the settings for scoring and writing a benchmark's answers."""
    return Settings(
        draws=benchmark.draws,
        seed=seed,
        guidance=benchmark.guidance,
        greedy=benchmark.needs_greedy,
        gen_length=benchmark.gen_length,
        early_draws=early_draws,
        chat=chat,
        canvas_score=canvas_score,
    )


@quiet()
@templates_kept()
def run(
    benchmarks: Sequence[Benchmark],
    slots: Sequence[ModelSlot],
    settings: Callable[[Benchmark], Settings],
    answers: Responses,
    lines: LineWriter,
    together: bool,
    on_step: Callable[[EvaluationProgress], None],
) -> EvaluationProgress:
    """Evaluate every slot on every item, writing each answer as it comes.

    on_step: called after every item and before every forward; it may raise `Stopped`, or anything else to abort.
    """
    progress = EvaluationProgress(total=len(slots) * sum(len(benchmark.documents) for benchmark in benchmarks))
    written: set[str] = set()
    for benchmark, window, slot in _order(benchmarks, slots, together):
        chosen = settings(benchmark)
        keys = _keys(slot, chosen, window)
        missing = []

        def keep(
            document: TaskItem, reply: Reply, restored: bool, benchmark: Benchmark = benchmark, slot: ModelSlot = slot
        ) -> None:
            if document.key not in written:
                written.add(document.key)
                lines.write(described(benchmark, document))
            responses = [tuple(response) if isinstance(response, list) else response for response in reply.responses]
            metrics, filtered = scored(benchmark, document, responses)
            answer = Answer(
                **dict(reply),
                key=document.key,
                model=slots.index(slot),
                metrics=metrics,
                filtered=filtered,
                restored=restored,
            )
            lines.write(answer)
            progress.done += 1
            progress.fresh += not restored
            on_step(progress)

        for document in window:
            record = answers.get(keys[document.key])
            if record is None:
                missing.append(document)
            else:
                keep(document, Reply.model_validate(record), True)
        if missing:
            _ask(slot, chosen, missing, keys, answers, keep, progress, on_step)
    return progress


def _order(
    benchmarks: Sequence[Benchmark], slots: Sequence[ModelSlot], together: bool
) -> Iterator[tuple[Benchmark, list[TaskItem], ModelSlot]]:
    """Take windows of the benchmarks in turn, so that each has its share of the progress."""
    columns = [[(benchmark, window) for window in windows(benchmark.documents)] for benchmark in benchmarks]
    turns = [request for row in zip_longest(*columns) for request in row if request is not None]
    if together:
        yield from ((benchmark, window, slot) for benchmark, window in turns for slot in slots)
    else:
        yield from ((benchmark, window, slot) for slot in slots for benchmark, window in turns)


def _ask(
    slot: ModelSlot,
    settings: Settings,
    documents: Sequence[TaskItem],
    keys: Mapping[str, str],
    answers: Responses,
    keep: Callable[[TaskItem, Reply, bool], None],
    progress: EvaluationProgress,
    on_step: Callable[[EvaluationProgress], None],
) -> None:
    """Put items to a model, storing and reporting each when the last of its requests is answered. keys: `_keys`."""
    model = slot.load()
    slot.budget = slot.budget or Budget.of(model)
    language_model = LanguageModel(model, settings, slot.budget, slot.known, slot.kept)
    requests = [request for document in documents for request in document.requests]
    places = [(document, place) for document in documents for place in range(len(document.requests))]
    replies: dict[str, list[Any]] = {document.key: [None] * len(document.requests) for document in documents}
    began = time.perf_counter()

    def answered(index: int, response: Any, likelihood: Likelihood | None) -> None:
        nonlocal began
        document, place = places[index]
        told = replies[document.key]
        told[place] = (response, likelihood)
        if None in told:
            return
        start = index - place
        likelihoods = [likelihood for _, likelihood in told if likelihood is not None]
        reply = Reply(
            responses=tuple(response for response, _ in told),
            draws=tuple(likelihood.draws for likelihood in likelihoods),
            tokens=tuple(likelihood.tokens for likelihood in likelihoods),
            exact=bool(likelihoods) and all(likelihood.exact for likelihood in likelihoods),
            cut=not language_model.cut.isdisjoint(range(start, start + len(told))),
            precision=model.dtype,
            device=model.device.type,
        )
        answers.put(keys[document.key], reply.model_dump())
        progress.busy += time.perf_counter() - began
        began = time.perf_counter()
        keep(document, reply, False)

    language_model.on_response = answered
    language_model.on_forward = lambda: on_step(progress)
    # A multiple-choice item is several likelihoods.
    getattr(language_model, documents[0].requests[0].request_type)(requests)


def _keys(slot: ModelSlot, settings: Settings, documents: Sequence[TaskItem]) -> dict[str, str]:
    """By item the name of its answer, by everything that it depends on: the model's content, the settings and the very
    text asked.
    """
    given = asdict(settings)
    device, code = pick_device(slot.spec.device), code_version(__name__, "analysis.models.resident")
    return {
        document.key: content_key(
            kind="answer",
            fingerprint=slot.fingerprint,
            device=device,
            dtype=slot.spec.dtype,
            kept="" if slot.kept.all_stays else str(slot.kept),
            settings=given,
            task=document.task,
            asked=[[request.request_type, *request.args[:2]] for request in document.requests],
            code=code,
        )
        for document in documents
    }
