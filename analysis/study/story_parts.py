"""Helpers that the story's findings share: names of models, numbers as they are read, and the study's recordings and
comparisons."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from analysis.figures.player import Played, unpacked
from analysis.figures.player.data import UNDECIDED
from analysis.figures.story import charts
from analysis.models.registry import entry
from analysis.specs import METHODS, StudySpec
from analysis.statistics.decisions import decide
from analysis.study import rules
from analysis.study.findings import Contrast, Findings

# --- names and numbers ------------------------------------------------------------------------------------------


def about(findings: Findings) -> str:
    """Tell which model was measured, with the first sentence of its summary."""
    source = spec_of(findings).model.source
    known = entry(source)
    if known is None:
        return f"Measured on {source}."
    summary = known.summary.partition(". ")[0].removesuffix(".")
    return f"Measured on {source}, {summary[0].lower() if summary.startswith('A ') else summary[0]}{summary[1:]}."


def called(findings: Findings) -> Mapping[str, str]:
    """Return the names of the models in charts, by their sources, the model first."""
    spec = spec_of(findings)
    if spec.reference is None:
        return MappingProxyType({spec.model.source: spec.model.source})
    return MappingProxyType(
        {
            spec.model.source: f"Diffusion model ({spec.model.source})",
            spec.reference.source: f"Autoregressive model ({spec.reference.source})",
        }
    )


def tone(findings: Findings, source: str) -> str:
    """Return the tone of a model's marks."""
    return charts.MODEL if source == spec_of(findings).model.source else charts.REFERENCE


def spec_of(findings: Findings) -> StudySpec:
    """Return the parameters of a study."""
    return StudySpec.model_validate(findings.spec)


def number(value: float) -> str:
    """Return a number with two significant digits."""
    text = f"{value:.2g}"
    return f"{float(text):g}" if "e" in text and value >= 1e-4 else text.replace("-", "−")


def factor(value: float) -> str:
    """Return a multiple with two significant digits, also where they are zeros."""
    return f"{value:#.2g}".removesuffix(".") if value < 99.5 else f"{value:.0f}"


def share(value: float) -> str:
    """Return a share in per cent, with two significant digits."""
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.2g} %"


def spread(low: float, high: float, write: Callable[[float], str]) -> str:
    """Return a range, or one value where its ends read alike."""
    first, last = write(low), write(high)
    return first if first == last else f"{first.removesuffix(' %')} to {last}"


# --- the player's recordings ------------------------------------------------------------------------------------


def recordings(findings: Findings) -> tuple[Played, ...]:
    """Return the recordings to watch, empty until they are there."""
    tracks = (findings.playback or {}).get("tracks", ())
    return tuple(unpacked(track) for track in tracks)


def position(track: Played, frame: int, place: int) -> charts.Token:
    """Return a position of a recording at a frame."""
    masked = bool(track.flags[frame, place] & UNDECIDED)
    return charts.Token(
        str(track.words[frame, place]), float(track.mass[frame, place]), bool(track.sinks[frame, place]), masked
    )


# --- comparisons of prunings


def discounts(findings: Findings, kind: str = "discount") -> dict[str, Contrast]:
    """Return the comparisons of a kind by setting, sparsity by sparsity; with the method where there are several."""
    contrasts = [one for one in findings.pruning.contrasts if one.kind == kind] if findings.pruning else []
    several = len({one.method for one in contrasts}) > 1
    return {
        f"{100 * one.sparsity:g} %{f' ({METHODS[one.method].title})' if several else ''}": one
        for one in sorted(contrasts, key=lambda one: (one.method, one.sparsity))
    }


def outcomes_of(findings: Findings, by_setting: Mapping[str, Contrast]) -> dict[str, str]:
    """Return the decision at each setting."""
    pruning = findings.pruning
    above = pruning is None or rules.above_chance(pruning)
    return {name: decide(one.effect, rules.margin_of(findings), above) for name, one in by_setting.items()}


def needs(findings: Findings) -> tuple[str, ...]:
    """Tell what it would take to settle what the study cannot tell about the discount."""
    return tuple(f"{name}: {one.needs}" for name, one in discounts(findings).items() if one.needs)
