"""Methods behind the numbers of each part of a study: what is counted, what an interval holds, which test there is."""

from collections.abc import Callable

from analysis.findings.sets import NOISE
from analysis.specs import MASS_TOLERANCE
from analysis.study.findings import Findings
from analysis.words import percent

_CROSSED = (
    "The variance is that of calibration seeds and clusters of items crossed, V = V(seeds) + V(clusters) − V(seeds × "
    "clusters); in the interval each part has its own Student quantile (Banerjee)."
)


def how(findings: Findings, part: str) -> str:
    """Explain to a reviewer how to read the figures of a part, in plain text."""
    return _HOW[part](findings)


def how_compared(findings: Findings) -> str:
    """Explain how the differences between methods were tested."""
    pruning = findings.pruning
    if pruning is None:
        return ""
    return (
        f"Mean paired differences over tasks, {pruning.items:,} items in {pruning.clusters:,} clusters, as shares. "
        f"{_CROSSED} p: two-sided, the level at which that interval would end at 0, or the sign flip's over clusters "
        f"where few differ and it is larger. {_family(findings)}"
    )


def _family(findings: Findings) -> str:
    return (
        f"All {findings.tests} comparisons that this study planned are one family: every p is adjusted by Holm over "
        "them, those still to come counting as p = 1."
    )


def _watch(findings: Findings) -> str:
    spec = findings.parameters
    return (
        f"One prompt, seed {spec.seed}: “{spec.prompt}”. It shows what a recording looks like, and proves nothing; "
        "there is no interval and no test."
    )


def _sets(findings: Findings) -> str:
    spec = findings.parameters
    return (
        f"{spec.prompts} prompts per model, clustered by template; {spec.random_models} models of every null of other "
        f"weights beside each that has some; seed {spec.seed}. Intervals of single values: 95 %, Student's over "
        f"clusters of prompts, not adjusted. {NOISE} No p-values are computed."
    )


def _causes(findings: Findings) -> str:
    counts = sorted({cause.effect.n for cause in findings.causes}) or [findings.parameters.prompts]
    told = " to ".join(f"{count}" for count in dict.fromkeys((counts[0], counts[-1])))
    return (
        f"{told} prompts per model, those of one template or key one cluster, one seed. Paired: sinks hidden minus "
        "other tokens hidden on the same prompt: as many of the same state, or others that draw as much attention, "
        f"within {percent(MASS_TOLERANCE, 0)}. Per unit of attention, the first control's effect is scaled to the "
        "sinks' attention (delta method). Intervals: 95 %, Student's, over prompts. p: two-sided, Student's, "
        f"and the sign flip's where it is larger and few prompts differ. {_family(findings)}"
    )


def _pruning(findings: Findings) -> str:
    pruning = findings.pruning
    if pruning is None:
        return ""
    seeds = sorted({len(setting.seeds) for setting in pruning.settings})
    told = " to ".join(f"{count}" for count in dict.fromkeys((seeds[0], seeds[-1])))
    return (
        f"{pruning.items:,} items in {pruning.clusters:,} clusters; {told} calibration seeds a method. {_CROSSED} "
        "The tests of these differences stand beneath ‘All differences’; a dot of one seed has no interval."
    )


_HOW: dict[str, Callable[[Findings], str]] = {
    "watch": _watch,
    "sinks": _sets,
    "movement": _sets,
    "causes": _causes,
    "pruning": _pruning,
}
