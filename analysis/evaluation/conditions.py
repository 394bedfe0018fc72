"""Under what conditions a model was pruned, what differs between two, and which run is another's control.

A comparison of methods holds everything else equal: the dense model, the text and its seed, the sparsity, and the
precision and device, which move about as many weights as what is compared. So a run's control is found by what its
report says, never by its name. What the method of a run does not read is no condition of it. Imports no torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.evaluation.items_file import EvaluatedModel, Header
from analysis.pruned.report_file import SETTINGS, PrunedRun
from analysis.specs import (
    CANVAS_SCORES,
    EVERYTHING,
    METHODS,
    OTHER_POLICY,
    PARTS,
    POLICIES,
    PUBLISHED,
    QUANTIZERS,
    PruneSpec,
    kept_of,
)
from analysis.specs.pruning import held_against, read_by, readers

Conditions = Mapping[str, Any]
"""By name, as `calibration.seed`. Two can be compared on the names that both have."""

METHOD, DENSE, REVISION, SAMPLER = "method", "dense", "revision", "sampler"
QUANTIZER = "quantization.quantizer"
LIKELIHOOD = "likelihood"
KEPT = "kept"
CALIBRATION_SEED = "calibration.seed"
PRUNED_IN, PRUNED_ON = "pruned_in", "pruned_on"
SCORED_IN, SCORED_ON = "scored_in", "scored_on"
TASKS, ITEMS, SEED = "tasks", "items", "scoring.seed"
TEMPLATE, EXAMPLES_SEED = "template", "examples.seed"
_BY_TASK = {"draws": "Draws", "shots": "Examples before each item", "guidance": "Guidance scale"}
_VERSIONS, _SCORING_VERSIONS = "versions.", "scoring_versions."
_DISCOUNT = "discount."
_TITLES = {
    DENSE: "Dense model",
    REVISION: "Revision of the model",
    SAMPLER: "Sampler",
    LIKELIHOOD: "Likelihoods by",
    KEPT: "Keys and values kept",
    TASKS: "Tasks",
    ITEMS: "Items asked",
    SEED: "Seed of items and masks",
    TEMPLATE: "Chat template",
    EXAMPLES_SEED: "Seed of the examples",
    **_BY_TASK,
    PRUNED_IN: "Precision of the pruning",
    PRUNED_ON: "Device of the pruning",
    SCORED_IN: "Precision of the scoring",
    SCORED_ON: "Device of the scoring",
}
_ROWS: Mapping[str, Mapping[str, Any]] = {METHOD: METHODS, QUANTIZER: QUANTIZERS, LIKELIHOOD: CANVAS_SCORES}
"""Conditions whose values are rows of a table."""
RELATIONS = {"control": "control", "published": "published baseline"}
"""Baselines of a sink-aware method, by the field of its method's row that names them, and their names."""
PLACEBOS = {"sham": "sham discount", "light": "discount of light tokens"}
"""Likewise, the methods that discount other tokens in the place of the sinks."""
HELD_AGAINST = RELATIONS | PLACEBOS | {OTHER_POLICY: "the other policy"}


def conditions(run: PrunedRun) -> dict[str, Any]:
    """Return the settings of a pruning; empty for a model without a report. What an older report lacks was the
    default.
    """
    if str(run.settings.get(METHOD)) not in METHODS:
        return {}
    settings: dict[str, Any] = {DENSE: run.model}
    for name in SETTINGS:
        if name not in PARTS:
            settings[name] = run.settings.get(name, PruneSpec.model_fields[name].default)
    for part, spec in PARTS.items():
        stated = run.settings.get(part)
        values = spec().model_dump(mode="json") | (stated if isinstance(stated, dict) else {})
        settings |= {f"{part}.{name}": value for name, value in values.items()}
    method = METHODS[settings[METHOD]]
    # Two methods that both run as published do not differ.
    for name, default in (
        ("quota_scope", None if method.rounds else method.scope),
        ("ranking", method.ranking),
        ("norm", method.norm),
    ):
        if settings[name] == default:
            settings[name] = PUBLISHED
    settings[CALIBRATION_SEED] = run.seed
    settings |= {name: value for name, value in ((PRUNED_IN, run.precision), (PRUNED_ON, run.device)) if value}
    settings |= {f"{_VERSIONS}{name}": version for name, version in run.versions.items()}
    is_read = read_by(settings)
    return {name: _plain(value) for name, value in settings.items() if is_read(name)}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def scoring(header: Header, model: EvaluatedModel, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return the conditions, beside the model, that its score depended on; of an imported model, those known.

    versions: of packages, of the evaluation that all models of `header` shared.
    """
    settings: dict[str, Any] = {SAMPLER: model.sampler, LIKELIHOOD: model.likelihood, REVISION: model.revision}
    if any(other.kept for other in header.models):
        settings[KEPT] = model.kept or EVERYTHING
    settings |= model.scored or scoring_of_all(header, versions)
    return {name: _plain(value) for name, value in settings.items() if value not in ("", None)}


def scoring_of_all(header: Header, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return the conditions that the scores of all models of an evaluation share."""
    benchmarks = header.benchmarks
    settings: dict[str, Any] = {
        TASKS: in_order(benchmark.title for benchmark in benchmarks),
        ITEMS: by_task({benchmark.title: benchmark.planned for benchmark in benchmarks}),
        SEED: header.seed,
    }
    settings |= {
        name: by_task({benchmark.title: getattr(benchmark, name) for benchmark in benchmarks}) for name in _BY_TASK
    }
    return with_versions(settings, versions)


def with_versions(settings: Conditions, versions: Mapping[str, Any]) -> dict[str, Any]:
    """Add the versions of what scored it, by name, to the conditions of a scoring."""
    return {**settings, **{f"{_SCORING_VERSIONS}{name}": str(version) for name, version in versions.items()}}


def in_order(titles: Iterable[str]) -> tuple[str, ...]:
    """Return titles of tasks in a fixed order, as the order in which tasks were asked changes no score."""
    return tuple(sorted(titles))


def by_task(values: Mapping[str, Any]) -> Any:
    """One value where all tasks have the same, else `ARC-C 128, MMLU 1`."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{title} {told('', values[title])}" for title in in_order(values))


# --- comparing --------------------------------------------------------------------------------------------------


def differing(first: Conditions, second: Conditions) -> list[str]:
    """The names of what both depended on and what is not the same, but for method, quantizer, discount and what is kept
    of the keys.
    """
    return [
        name
        for name, value in first.items()
        if name in second
        and second[name] != value
        and name not in (METHOD, QUANTIZER, KEPT)
        and not name.startswith(_DISCOUNT)
    ]


def but_for_the_seed(settings: Conditions) -> frozenset[tuple[str, Any]]:
    """All conditions but the calibration seed and versions: equal for runs of one method that differ in their seed."""
    return frozenset(
        (name, value)
        for name, value in settings.items()
        if name != CALIBRATION_SEED and not name.startswith((_VERSIONS, _SCORING_VERSIONS))
    )


def counterpart(every: Sequence[Conditions], of: int, relation: str) -> int | None:
    """Find the run to compare this one with: what the rows of its method and quantizer name, all else being equal.

    relation: a name of `RELATIONS`. Versions may differ. None where the method has none, or where there is no such run.
    A model with a part of its keys is compared with the same one with as many random ones.
    """
    if every[of].get(KEPT, EVERYTHING) != EVERYTHING:
        return _kept_at_random(every, of) if relation == "control" else None
    return next((index for index, hinders in _baselines(every, of, relation) if not hinders), None)


def _baselines(every: Sequence[Conditions], of: int, relation: str) -> list[tuple[int, list[str]]]:
    """The runs of the right method, and what rules out a comparison with each."""
    wanted = held_against(readers(every[of]), relation)
    if wanted is None:
        return []
    return [(index, _hinder(every[of], other)) for index, other in enumerate(every) if _names(other) == wanted]


def _kept_at_random(every: Sequence[Conditions], of: int) -> int | None:
    """The first draw of the control that keeps as many keys."""
    keeping = kept_of(every[of][KEPT])
    matched = POLICIES[keeping.policy].matched_control
    if keeping.control or not matched:
        return None
    for index, other in enumerate(every):
        control = kept_of(other.get(KEPT, EVERYTHING))
        alike = (control.policy, control.budget, control.control) == (keeping.policy, keeping.budget, matched)
        if alike and not _hinder({**every[of], KEPT: None}, {**other, KEPT: None}):
            return index
    return None


def nearest(every: Sequence[Conditions], of: int, relation: str) -> tuple[int, list[str]] | None:
    """The run of the right method that misses being the counterpart by least, and what differs; None without one."""
    return min(_baselines(every, of, relation), key=lambda candidate: len(candidate[1]), default=None)


def chain(every: Sequence[Conditions], of: int) -> list[int]:
    """A run's published baseline, its control, and itself: each differs from the one before in one thing more.

    Where the baseline is the control, or is not there, there is one step less. Empty without a control.
    """
    control, published = (counterpart(every, of, relation) for relation in ("control", "published"))
    if control is None:
        return []
    return list(dict.fromkeys(model for model in (published, control, of) if model is not None))


def method_against(settings: Conditions, relation: str) -> str:
    """Return the names of the baseline's method and quantizer, where they differ; '' without any."""
    rows = readers(settings)
    others = held_against(rows, relation) or ()
    return " with ".join(other for row, other in zip(rows, others, strict=False) if row.name != other)


def _names(settings: Conditions) -> tuple[str, ...]:
    return tuple(row.name for row in readers(settings))


def _hinder(first: Conditions, second: Conditions) -> list[str]:
    """Return the differences that rule out a comparison. Other tasks do not: common items count."""
    differs = [
        name
        for name in differing(first, second)
        if name not in (TASKS, ITEMS) and not name.startswith((_VERSIONS, _SCORING_VERSIONS))
    ]
    return differs + ([KEPT] if first.get(KEPT, EVERYTHING) != second.get(KEPT, EVERYTHING) else [])


# --- in words ---------------------------------------------------------------------------------------------------


def title(name: str) -> str:
    """Return the title of a condition on pages."""
    part, _, rest = name.partition(".")
    if f"{part}." in (_VERSIONS, _SCORING_VERSIONS):
        return f"Version of {rest}" + (" at the scoring" if f"{part}." == _SCORING_VERSIONS else "")
    field = PARTS[part].model_fields.get(rest) if part in PARTS else PruneSpec.model_fields.get(name)
    return _TITLES.get(name) or (field.title if field is not None and field.title else name)


def told(name: str, value: Any) -> str:
    """A condition's value for people."""
    rows = _ROWS.get(name)
    if rows is not None:
        return rows[value].title if value in rows else str(value)
    if name == KEPT:
        return kept_of(str(value)).in_words
    if name == "sparsity" and isinstance(value, int | float):
        return f"{100 * value:g} %"
    if name == DENSE:
        return str(value)[:8]
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def in_words(names: Sequence[str], first: Conditions, second: Conditions) -> str:
    """Describe the differences in one line: `Sparsity (60 % and 70 %), …`."""
    return ", ".join(f"{title(name)} ({told(name, first[name])} and {told(name, second[name])})" for name in names)


def listed(settings: Conditions) -> list[dict[str, str]]:
    """Return conditions for people, one row each."""
    return [{"setting": title(name), "value": told(name, value)} for name, value in settings.items()]


def differing_settings(every: Sequence[Conditions], names: Sequence[str]) -> list[dict[str, str]]:
    """The conditions of several that are not the same in all that read them, a row each, with a column per run by name.

    The method is one of them. A condition that a run does not read is blank.
    """
    rows = []
    for condition in dict.fromkeys(name for settings in every for name in settings):
        values = [settings[condition] for settings in every if condition in settings]
        if any(value != values[0] for value in values):
            shown = {
                name: told(condition, settings[condition]) if condition in settings else ""
                for name, settings in zip(names, every, strict=True)
            }
            rows.append({"setting": title(condition), **shown})
    return rows
