"""An evaluation as one summary in JSON, for the command line and the job's record."""

from typing import Any

from analysis.evaluation import bounds, comparing, conditions
from analysis.evaluation.comparing import Pair
from analysis.evaluation.results import PERPLEXITY, Results, scores
from analysis.evaluation.tables import accuracy, average, cut_items, estimated_by, mean_draws, perplexities
from analysis.findings import finding_of
from analysis.statistics import clustered
from analysis.statistics.differences import Difference


def summary(results: Results) -> dict[str, Any]:
    """The numbers as JSON, for the command line and the job's record."""
    tasks = []
    by_pair = comparing.family(results)
    relations = comparing.related_pairs(results)
    cut, used = cut_items(results), mean_draws(results)
    for benchmark in results.benchmarks:
        row: dict[str, Any] = {
            "task": benchmark.name,
            "title": benchmark.title,
            "metric": benchmark.metric,
            "planned": benchmark.planned,
            "draws": benchmark.draws or None,
            "estimated_by": estimated_by(results, benchmark.name),
            "shots": benchmark.shots,
            "guidance": benchmark.guidance,
            "settings_from": benchmark.source,
            "truncated": cut[benchmark.name],
            "clustered_by": benchmark.cluster,
            "chance": results.chance[benchmark.name],
        }
        if benchmark.kind == PERPLEXITY:
            row["perplexity"] = perplexities(results, benchmark.name)
        else:
            row["models"] = [
                {
                    "model": name,
                    **clustered.as_json(accuracy(results, benchmark.name, index)),
                    "draws_used": used.get((benchmark.name, index)),
                }
                for index, name in enumerate(results.names)
            ]
            row["differences"] = [
                _compared(results, relations, pair, differences[benchmark.name])
                for pair, differences in by_pair.items()
            ]
        tasks.append(row)
    return {
        "models": list(results.names),
        "tasks": tasks,
        "average": [
            {"model": name, **clustered.as_json(average(results, index))} for index, name in enumerate(results.names)
        ],
        "average_differences": [
            _compared(results, relations, pair, comparing.overall(differences))
            for pair, differences in by_pair.items()
            if differences
        ],
        "over_seeds": [
            {
                "pairs": [[results.names[model] for model in pair] for pair in group.pairs],
                "seeds": list(group.seeds),
                **clustered.as_json(group.difference),
                "words": group.difference.words,
                "in_words": finding_of("pairs over seeds", results, group),
            }
            for group in comparing.over_seeds(results)
        ],
        "seed_floors": [
            {"models": [results.names[model] for model in models], **vars(floor)}
            for models, floor in comparing.floors(results).items()
        ],
        "tests": {
            "count": comparing.tests(by_pair, comparing.over_seeds(results)),
            "adjusted_by": "holm",
            "in_words": finding_of("tests of an evaluation", results),
        },
        "bounds": bounds.summary(results),
        "conditions": [
            {conditions.title(name): conditions.told(name, value) for name, value in settings.items()}
            for settings in comparing.conditions_of(results)
        ],
        "without_counterpart": [
            sentence for relation in conditions.RELATIONS for sentence in comparing.missing(results, relation)
        ],
        "answers": len(results.answers),
        "restored": sum(answer.restored for answer in results.answers.values()),
        "complete": all(
            len(scores(results, b.name, index)[0]) == b.planned
            for b in results.benchmarks
            for index in range(len(results.names))
        ),
        "problems": list(results.problems),
        "seed": results.header.seed,
        "end": results.end.model_dump(exclude={"line"}) if results.end is not None else None,
    }


def _compared(results: Results, relations: dict[str, list[Pair]], pair: Pair, difference: Difference) -> dict[str, Any]:
    """Return a difference as JSON. as: the other model's relation to this one. also_differs: conditions besides the
    method.
    """
    return {
        "model": results.names[pair[0]],
        "than": results.names[pair[1]],
        **clustered.as_json(difference),
        "words": difference.words,
        "as": [relation for relation, some in relations.items() if pair in some],
        "also_differs": comparing.mismatch(results, pair),
    }
