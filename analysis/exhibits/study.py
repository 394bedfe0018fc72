"""A study's figures and tables, as page and report show them: each with its title and the sentence that reads it."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from analysis.evaluation.ablation_effects import MEASURES
from analysis.exhibits import recording_sets
from analysis.figures import accuracy as figures
from analysis.figures.export import Exhibit
from analysis.figures.intervals import difference_row, interval_rows, way
from analysis.figures.style import ends_of
from analysis.findings import finding_of
from analysis.findings.layers import KindShares
from analysis.specs import CONTROLS, METHODS, STUDY_PARTS
from analysis.specs.sweep import called
from analysis.statistics.decisions import family_words
from analysis.study.findings import Cause, Findings, Setting, Waterfall
from analysis.study.rules import effect_words, unit_of
from analysis.words import model_title, percent

_WAY_FORMULA = (
    "Each step is the mean paired difference from the step before, over tasks and calibration seeds, with a 95 % "
    "interval over seeds and clusters of items crossed: $V = V_{seeds} + V_{clusters} - V_{seeds \\times clusters}$."
)


def pruning_exhibits(findings: Findings) -> dict[str, Exhibit]:
    """Show the ways to each method by sparsity, and all seeds; nothing while no run is scored."""
    pruning = findings.pruning
    if pruning is None:
        return {}
    exhibits = {way_name(waterfall): _way(waterfall) for waterfall in pruning.waterfalls}
    dots = [
        figures.Dots(
            setting.method,
            called(setting.method, setting.part),
            setting.sparsity,
            float(np.mean(setting.by_seed)),
            setting.by_seed,
        )
        for setting in pruning.settings
    ]
    interim = f" Interim: {pruning.waiting} more runs are to come." if pruning.waiting else ""
    exhibits["seeds"] = Exhibit(
        "Every calibration seed",
        f"A dot is one run, a bar the mean of a method's seeds, on {pruning.items:,} items in {pruning.clusters:,} "
        f"clusters.{interim}",
        figures.seed_dots(dots, pruning.dense, pruning.chance),
        settings_table(findings),
        formula="Right answers, the mean over tasks.",
        finding=_seeds_in_words(pruning.settings),
    )
    return exhibits


def _seeds_in_words(settings: Sequence[Setting]) -> str:
    """Say where all seeds of a method lie above all of every other."""
    methods = sorted({(each.method, each.part) for each in settings})
    sparsities = sorted({each.sparsity for each in settings})
    low, high = np.full((2, len(methods), len(sparsities)), np.nan)
    seeds = np.zeros((len(methods), len(sparsities)), int)
    for setting in settings:
        place = methods.index((setting.method, setting.part)), sparsities.index(setting.sparsity)
        low[place], high[place] = min(setting.by_seed), max(setting.by_seed)
        seeds[place] = len(setting.by_seed)
    titles = [called(method, part) for method, part in methods]
    return finding_of("seeds apart", titles, [f"{percent(sparsity, 0)}" for sparsity in sparsities], low, high, seeds)


def way_name(waterfall: Waterfall) -> str:
    """Return the name of a waterfall's figure among the exhibits."""
    return f"way_{waterfall.method}_{100 * waterfall.sparsity:g}"


def part_exhibits(findings: Findings, part: str) -> dict[str, Exhibit]:
    """Return the figures of a part by their names."""
    drawn = {
        "sinks": sink_exhibits,
        "movement": movement_exhibits,
        "causes": cause_exhibits,
        "pruning": pruning_exhibits,
    }
    return drawn[part](findings) if part in drawn else {}


def all_exhibits(findings: Findings) -> dict[str, Exhibit]:
    """Return the figures of all parts by their names."""
    return {name: shown for part in STUDY_PARTS for name, shown in part_exhibits(findings, part).items()}


def sink_exhibits(findings: Findings) -> dict[str, Exhibit]:
    """Show where the sinks of each model are, by layer, and their number under other definitions."""
    layers, counts = (pd.DataFrame(findings.tables.get(name, ())) for name in ("layers", "counts"))
    exhibits = {} if layers.empty else {"layers": recording_sets.layers_shown(layers, findings.prompts)}
    return exhibits if counts.empty else exhibits | {"counts": recording_sets.counts_shown(counts)}


def sinks_of_each(findings: Findings) -> list[Exhibit]:
    """Show of which kinds each model's sinks are, by layer, a figure per model."""
    prompts = {model_title(model): count for model, count in findings.prompts.items()}
    return [] if (kinds := _kinds(findings)).empty else recording_sets.each_shown(kinds, prompts)


def shares_of_each(findings: Findings) -> dict[str, KindShares]:
    """Return the same as the findings read it, by the model's name."""
    return {} if (kinds := _kinds(findings)).empty else recording_sets.kind_shares(kinds)


def _kinds(findings: Findings) -> pd.DataFrame:
    """Return the table of kinds by layer, its models as sentences call them."""
    kinds = pd.DataFrame(findings.tables.get("layers", ()))
    return kinds if kinds.empty else kinds.assign(model=kinds["model"].map(model_title))


def movement_exhibits(findings: Findings) -> dict[str, Exhibit]:
    """Draw the movement of each model's sinks beside the nulls, a figure per model."""
    rows = findings.tables.get("movement", ())
    return {
        f"movement_{number}": recording_sets.movement_shown(
            model_title(name), pd.DataFrame([row for row in rows if row["model"] == name]), prompts
        )
        for number, (name, prompts) in enumerate(findings.prompts.items())
    }


def cause_exhibits(findings: Findings) -> dict[str, Exhibit]:
    """Return the effects of hiding sinks in all models, a figure per measure, the primary outcome first."""
    by_measure: dict[str, list[Cause]] = {}
    for cause in findings.causes:
        by_measure.setdefault(cause.measure, []).append(cause)
    primary = findings.parameters.primary
    names = sorted(by_measure, key=lambda name: name != primary)
    return {f"causes_{name}": _cause(name, by_measure[name], name == primary) for name in names}


def _cause(name: str, causes: Sequence[Cause], primary: bool) -> Exhibit:
    measure, unit = MEASURES[name], unit_of(name)
    rows = []
    for cause in causes:
        called, model = _called(cause), model_title(cause.model)
        rows.append((called, model, cause.effect, [side.share for side in cause.sides]))
        if cause.untrained is not None:
            rows.append((f"{called}, random weights", model, cause.untrained, [np.nan, np.nan]))
    names, models, effects, shares = (list(column) for column in zip(*rows, strict=True))
    trained = [cause.effect for cause in causes]
    tested = max(effect.tests for effect in trained)
    untested = any(effect.p is None and effect.final for effect in trained)
    significant = [effect in trained and effect.shown for effect in effects]
    drawn = [
        difference_row(name, effect, unit, group=model, filled=flag)
        for name, model, effect, flag in zip(names, models, effects, significant, strict=True)
    ]
    axis = f"{measure.axis}, sinks minus control{' (points)' if measure.percent else ''}"
    return Exhibit(
        f"{measure.title}: sinks hidden, minus each control",
        f"{'Primary' if primary else 'Secondary'} outcome. A dot is the mean over prompts with its 95 % interval; "
        f"filled: significant {family_words(tested)}."
        + (" Against the controls by attention, secondary outcomes are not tested." if untested else "")
        + (" Random weights are shown for comparison and not tested." if len(effects) > len(trained) else ""),
        interval_rows(drawn, axis, even=""),
        pd.DataFrame(
            [
                {
                    "model": name,
                    "value": effect.value,
                    "low": effect.low,
                    "high": effect.high,
                    "prompts": effect.n,
                    "p (Holm)": effect.adjusted if effect in trained else None,
                    "attention hidden, sinks": held[0],
                    "attention hidden, control": held[1],
                }
                for name, effect, held in zip(names, effects, shares, strict=True)
            ]
        ),
        finding=finding_of(
            "differences",
            list(map(_called, causes)),
            ends_of(trained, unit.scale).T,
            [effect.shown for effect in trained],
            unit.name,
            "effect",
        ),
    )


def _called(cause: Cause) -> str:
    return f"{model_title(cause.model)}, {CONTROLS[cause.control].title}"


def sayings(findings: Findings, part: str) -> dict[str, tuple[str, ...]]:
    """Return what a part shows of each model, by name."""
    return {saying.model: saying.sentences for saying in findings.sayings if saying.part == part}


def _way(waterfall: Waterfall) -> Exhibit:
    ends = ends_of((stage.effect for stage in waterfall.stages), 100)
    method = METHODS[waterfall.method].title
    return Exhibit(
        f"From the dense model to {method} at {percent(waterfall.sparsity, 0)}",
        f"The dense model scores {percent(waterfall.dense, 1)}. Each row is what one change adds or takes, the last "
        "the whole way, each with its own 95 % interval. Grey band: what two calibration seeds of the control "
        "differ by.",
        way(
            [stage.title for stage in waterfall.stages],
            ends.T,
            "change of accuracy (points)",
            100 * (waterfall.floor or 0.0),
        ),
        pd.DataFrame(
            [
                {"step": stage.title, "points": value, "low": low, "high": high}
                | {"items": stage.effect.n, "clusters": stage.effect.clusters, "seeds": stage.effect.seeds}
                for stage, (value, low, high) in zip(waterfall.stages, ends.T, strict=True)
            ]
        ),
        formula=_WAY_FORMULA,
        finding=_way_in_words(waterfall, method),
    )


def _way_in_words(waterfall: Waterfall, method: str) -> str:
    """Say what the whole way and its last step, the discount, change."""
    *steps, whole = waterfall.stages
    last = f"; its last step, {steps[-1].title.strip('+ ')}, {effect_words(steps[-1].effect)}" if steps else ""
    return f"{method} against the dense model: {effect_words(whole.effect)}{last}."


def settings_table(findings: Findings) -> pd.DataFrame:
    """Return one row per method, sparsity and seed: its accuracy, a share."""
    rows = [
        (setting.method, setting.part, setting.sparsity, seed, accuracy)
        for setting in (() if findings.pruning is None else findings.pruning.settings)
        for seed, accuracy in zip(setting.seeds, setting.by_seed, strict=True)
    ]
    return pd.DataFrame(rows, columns=["method", "part", "sparsity", "seed", "accuracy"])


def differences_table(findings: Findings) -> pd.DataFrame:
    """Return the rows of `contrasts_table` for readers: methods by title, and points."""
    table = contrasts_table(findings)
    value, low, high = (
        [f"{100 * share:+.2f}".replace("-", "−") for share in table[name]] for name in ("value", "low", "high")
    )
    return pd.DataFrame(
        {
            "what differs": table["kind"],
            "method": [
                called(name, kind.rpartition(" alone")[0])
                for name, kind in zip(table["method"], table["kind"], strict=True)
            ],
            "less": [METHODS[name].title for name in table["against"]],
            "sparsity": [f"{percent(value, 0)}" for value in table["sparsity"]],
            "points": value,
            "95 %": [f"{least} to {most}" for least, most in zip(low, high, strict=True)],
            "items": table["n"],
            "clusters": table["clusters"],
            "seeds": table["seeds"],
            "p (Holm)": table["p_holm"],
        }
    )


def contrasts_table(findings: Findings) -> pd.DataFrame:
    """Return one row per contrast: its difference with its interval, as shares, its p after Holm and the number of
    tests.
    """
    rows = [] if findings.pruning is None else findings.pruning.contrasts
    columns = ["kind", "method", "against", "sparsity"]
    columns += ["value", "low", "high", "n", "clusters", "seeds", "p_holm", "tests"]
    return pd.DataFrame([{**dict(contrast), **asdict(contrast.effect)} for contrast in rows], columns=columns)
