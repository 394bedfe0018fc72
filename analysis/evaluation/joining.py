"""One comparison of models that were scored apart: on the items that all of them have answered, by what was asked.

An item is the same where its benchmark, its prompt and its answer are the same, whatever its number. Answers made under
other conditions (draws, examples, versions) are joined all the same; each model keeps its conditions, so that every
sentence about two of them says what differs.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.errors import UserError
from analysis.evaluation import comparing, conditions
from analysis.evaluation.items_file import Answer, EvaluatedBenchmark, EvaluatedItem, EvaluatedModel, Header
from analysis.evaluation.results import Results

Items = Mapping[str, Mapping[str, EvaluatedItem]]
"""By benchmark, the items by what was asked."""


@dataclass(frozen=True)
class Part:
    """A model of some results, and what it is called in the comparison."""

    name: str
    results: Results
    model: int


def joined(parts: Sequence[Part]) -> Results:
    """The models of all parts on the items that they have in common, with a sentence on everything left out.

    Where a part has not answered all of its items, tests wait as in its own evaluation. Raises UserError where two
    parts have one name, and where no item is common to all.
    """
    names = tuple(part.name for part in parts)
    if len(set(names)) != len(names):
        raise UserError("Two models have the same name. Give each a name of its own.")
    answered = [_answered(part) for part in parts]
    shared = {
        benchmark: [question for question in items if all(question in other.get(benchmark, {}) for other in answered)]
        for benchmark, items in answered[0].items()
    }
    shared = {benchmark: questions for benchmark, questions in shared.items() if questions}
    if not shared:
        raise UserError(
            f"No item was answered by all of {', '.join(names)}: their tasks or prompts differ. Compare models that "
            "were asked the same."
        )
    documents: dict[str, EvaluatedItem] = {}
    answers: dict[tuple[str, int], Answer] = {}
    for benchmark, some in shared.items():
        for question in some:
            item = answered[0][benchmark][question]
            documents[item.key] = item
            for number, (part, items) in enumerate(zip(parts, answered, strict=True)):
                answer = part.results.answers[items[benchmark][question].key, part.model]
                answers[item.key, number] = answer.model_copy(update={"key": item.key, "model": number})
    header = Header(
        names=names,
        models=tuple(_model(part) for part in parts),
        benchmarks=tuple(_benchmark(name, len(some), parts) for name, some in shared.items()),
        problems=tuple(_left_out(parts, answered, shared)),
        seed=parts[0].results.header.seed,
    )
    return Results(header, documents, answers, None)


def _answered(part: Part) -> dict[str, dict[str, EvaluatedItem]]:
    """By benchmark, the items that a part's model has answered, by what was asked. What was asked twice is numbered."""
    by_benchmark: dict[str, dict[str, EvaluatedItem]] = {}
    for benchmark in part.results.benchmarks:
        seen: Counter[str] = Counter()
        for item in part.results.shuffled[benchmark.name]:
            question = asked_of(item)
            seen[question] += 1
            if (item.key, part.model) in part.results.answers:
                by_benchmark.setdefault(benchmark.name, {})[f"{question}/{seen[question]}"] = item
    return by_benchmark


def asked_of(item: EvaluatedItem) -> str:
    """Identify an item across files: by its prompt's hash, or its words' where a file has none, and its answer."""
    prompt = item.prompt or hashlib.sha256(item.question.encode("utf-8", "replace")).hexdigest()
    answer = item.choices[item.right] if isinstance(item.right, int) and item.right < len(item.choices) else item.right
    return f"{prompt}/{' '.join(str(answer).split())}"


def _model(part: Part) -> EvaluatedModel:
    """The model with the conditions it was scored under, as they are not those of the others."""
    results = part.results
    joined_model = results.models[part.model]
    scored = joined_model.scored or conditions.scoring_of_all(results.header, comparing.scoring_versions(results))
    return joined_model.model_copy(update={"scored": scored})


def _benchmark(name: str, common: int, parts: Sequence[Part]) -> EvaluatedBenchmark:
    """A benchmark as the first part has it. Tests wait for the items that a part still has to answer.

    Draws are not stated (0) where they are not of some part.
    """
    first = parts[0].results.benchmark(name)
    open_items = max(part.results.benchmark(name).planned - len(_done(part, name)) for part in parts)
    stated = all(part.results.benchmark(name).draws for part in parts)
    return first.model_copy(update={"planned": common + max(open_items, 0), "draws": first.draws if stated else 0})


def _done(part: Part, benchmark: str) -> list[EvaluatedItem]:
    return [item for item in part.results.shuffled[benchmark] if (item.key, part.model) in part.results.answers]


def _left_out(parts: Sequence[Part], answered: Sequence[Items], shared: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the parts' problems and what of them is not compared, a sentence each."""
    told = [f"{part.name}: {problem}" for part in parts for problem in part.results.problems]
    for part, items in zip(parts, answered, strict=True):
        alone = [part.results.benchmark(name).title for name in items if name not in shared]
        if alone:
            told.append(f"{', '.join(alone)} of {part.name} is not compared: not all others have answered its items.")
    for name, some in shared.items():
        counts = {part.name: len(items[name]) for part, items in zip(parts, answered, strict=True)}
        if any(count != len(some) for count in counts.values()):
            title = parts[0].results.benchmark(name).title
            each = ", ".join(f"{count:,} of {who}" for who, count in counts.items())
            told.append(f"{title} is compared on the {len(some):,} items whose prompts all were asked ({each}).")
    return told
