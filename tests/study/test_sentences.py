"""What studies say, read sentence by sentence: studies whose truth is known go through all of the rules."""

import re
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest

from analysis.statistics.decisions import DECISIONS
from analysis.study import gather_pruning, rules
from analysis.study.findings import Findings
from tests.study.helpers import Drawn, gathered

CONTROL = re.escape("Sink-Wanda against Wanda, noised (control)")
TOGETHER = "noise, order and norm together"
SPARSE = {"methods": ("sparsegpt", "sink-sparsegpt", "wanda-noised", "sink-wanda")}
DISCOUNT = {"methods": ("wanda-noised", "sink-wanda")}
SHAM = {"methods": ("wanda-noised", "sink-wanda", "sham-wanda", "light-wanda")}


@dataclass(frozen=True)
class Study:
    """drawn: the truth. says, never: what the answer and the verdicts must and must not say, as regular expressions."""

    drawn: Drawn
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    changes: dict = field(default_factory=dict)


def hidden(differences: np.ndarray, measure: str = "divergence", **others: np.ndarray) -> Drawn:
    """A study whose ablation of one model has these differences per prompt, and no difference in pruning."""
    told = {measure: differences, **others}
    return Drawn(causes={("bundled", name): tuple(map(float, values)) for name, values in told.items()})


def equal(drawn: Drawn, differences: np.ndarray) -> Drawn:
    """The same, with these differences at equal attention."""
    return replace(drawn, equal={("bundled", "divergence"): tuple(map(float, differences))})


def around(mean: float, spread: float, prompts: int = 16) -> np.ndarray:
    """Differences of prompts, with exactly this mean and standard deviation, skewed to neither side."""
    scores = np.sin(np.arange(1, prompts + 1) * 2.4)
    scores = (scores - scores.mean()) / scores.std(ddof=1)
    return mean + spread * scores


STUDIES: dict[str, Study] = {
    # --- the discount, one pair of methods ---
    "nothing differs": Study(
        Drawn(),
        (rf"{CONTROL}: no difference of ±2 points or more at 50 % .* and 70 %", r"pruning\? No\. "),
        (TOGETHER,),
    ),
    "a gain at both": Study(
        Drawn({"sink-wanda": 0.12}),
        (rf"pruning\? Yes\. {CONTROL}: better at 50 % .* and 70 %", "discount is at least part of the gain"),
        (TOGETHER, r"\bNo\b"),
    ),
    "a loss at both": Study(
        Drawn({"sink-wanda": -0.12}), (rf"pruning\? No\. {CONTROL}: worse at 50 %",), (r"\bYes\b", "better", TOGETHER)
    ),
    "a gain at one, nothing at the other": Study(
        Drawn({("sink-wanda", 0.7): 0.12}),
        (rf"pruning\? {CONTROL}: better at 70 % .*; no difference of ±2 points or more at 50 %",),
        (r"\? (Yes|No)\b", TOGETHER),
    ),
    "a gain at one, a loss at the other": Study(
        Drawn({("sink-wanda", 0.5): 0.12, ("sink-wanda", 0.7): -0.12}),
        (rf"pruning\? {CONTROL}: better at 50 % .*; worse at 70 %",),
        (r"\? (Yes|No)\b",),
    ),
    "a loss at one, nothing at the other": Study(
        Drawn({("sink-wanda", 0.5): -0.12}),
        (r"worse at 50 % .*; no difference of ±2 points or more at 70 %",),
        (r"\? Yes",),
    ),
    "a small gain at one, a small loss at the other": Study(
        Drawn({("sink-wanda", 0.5): 0.004, ("sink-wanda", 0.7): -0.004}, items=8000),
        (r"no difference of ±2 points or more at 50 % \(\+0\.4 points .* and 70 % \(−0\.4 points",),
        (r"\bYes\b", "better", "worse"),
    ),
    "a small gain and a small loss, both asked about": Study(
        Drawn({("sink-wanda", 0.5): 0.01, ("sink-wanda", 0.7): -0.01}, items=8000),
        (r"better at 50 % \(\+1\.0 points .*; worse at 70 % \(−1\.0 points",),
        (r"\? (Yes|No)\b",),
        {"difference": 0.5},
    ),
    "a tiny effect of many items": Study(
        Drawn({"sink-wanda": 0.002}, items=8_000),
        (r"pruning\? Not by 2 points or more\. .*no difference of ±2 points or more at 50 % \(\+0\.20 points",),
        (r"\? (Yes|No)\b\.", "better"),
        {"sparsities": (0.5,)},
    ),
    "a tiny effect that was asked about": Study(
        Drawn({"sink-wanda": 0.004}, items=8_000), ("better at 50 %",), (), {"sparsities": (0.5,), "difference": 0.1}
    ),
    "a large effect of few clusters": Study(
        Drawn({"sink-wanda": 0.2}, size=40),
        (r"cannot tell at 50 % \(\+20 points \[.*\]; .*no difference below 25 points would have been detected\)",),
        (r"\? (Yes|No)\b", "better"),
    ),
    "a large effect of enough clusters": Study(Drawn({"sink-wanda": 0.3}, size=4), (r"Yes\. .*better at 50 %",)),
    "contradictory seeds": Study(
        Drawn({"sink-wanda": 0.03}, spread=0.06),
        ("cannot tell at 50 %", "would have been detected"),
        (r"\? (Yes|No)\b", "better"),
    ),
    "seeds that agree on little": Study(
        Drawn({"sink-wanda": 0.06}, spread=0.05), ("cannot tell",), (r"\? (Yes|No)\b",), {"seeds": (0, 1, 2, 3)}
    ),
    "noisy runs without a difference": Study(
        Drawn(own=0.3),
        ("cannot tell at 50 %",),
        (r"\? (Yes|No)\b", TOGETHER),
        {"sparsities": (0.5,), "seeds": (0, 1, 2)},
    ),
    "noisy runs and a wide margin": Study(
        Drawn(own=0.05), ("no difference of ±15 points or more",), (r"\bYes\b",), {"difference": 15.0}
    ),
    "ties only": Study(
        Drawn({"wanda": 0.0, "sink-wanda": 0.0}, flipped=0.0),
        (r"No\. .*no difference of ±2 points or more",),
        ("better",),
    ),
    "ties of few items": Study(
        Drawn(flipped=0.0, items=40),
        (r"cannot tell at 50 % \(0\.0 points", "would have been detected"),
        (r"\? (Yes|No)\b",),
    ),
    "everything right": Study(Drawn(base=1.2), ("no difference of ±2 points or more",), ("better", r"\bYes\b")),
    "one seed, a large gain": Study(
        Drawn({"sink-wanda": 0.3}),
        (r"no verdict from one calibration seed at 50 % \(\+30",),
        (r"\? (Yes|No)\b", "better at", "p = ", "p < ", TOGETHER),
        {"seeds": (0,)},
    ),
    "one seed, nothing": Study(
        Drawn(), ("no verdict from one calibration seed",), (r"\? (Yes|No)\b", "no difference of"), {"seeds": (3,)}
    ),
    "one seed, many items": Study(
        Drawn({"sink-wanda": 0.01}, items=8_000),
        ("no verdict from one calibration seed",),
        (r"\? (Yes|No)\b",),
        {"seeds": (0,), "sparsities": (0.5,)},
    ),
    "two seeds": Study(Drawn({"sink-wanda": 0.3}, flipped=0.05), (), ("one calibration seed",), {"seeds": (0, 1)}),
    "a dense model at chance": Study(
        Drawn({"sink-wanda": 0.12}, dense=0.26),
        (r"no verdict, as the dense model is not above chance, at 50 %",),
        (r"\? (Yes|No)\b", "better at", "p < ", TOGETHER),
    ),
    "a dense model below chance": Study(
        Drawn({"sink-wanda": -0.12}, dense=0.1), ("is not above chance",), (r"\? (Yes|No)\b", "worse at")
    ),
    "a dense model barely above chance": Study(
        Drawn({"sink-wanda": 0.12}, dense=0.28, items=400), ("is not above chance",), (r"\? (Yes|No)\b",)
    ),
    "a dense model above chance": Study(Drawn({"sink-wanda": 0.12}, dense=0.4), (r"Yes\. ",), ("chance",)),
    "written answers have no chance": Study(Drawn({"sink-wanda": 0.12}, chance=None), (r"Yes\. ",), ("chance",)),
    "written answers, none right": Study(Drawn(chance=None, dense=0.0), ("is not above chance",), (r"\? (Yes|No)\b",)),
    "seeds still to come": Study(
        Drawn({"sink-wanda": 0.12}, unscored=(4, 5)),
        ("not all runs are in at 50 %",),
        (r"\? (Yes|No)\b", "p < ", "better at"),
    ),
    "all but one seed to come": Study(
        Drawn({"sink-wanda": 0.12}, unscored=(1, 2, 3, 4, 5)),
        ("not all runs are in",),
        ("one calibration seed", "better at"),
    ),
    # --- where a gain of the recipe comes from ---
    "a gain of the noise alone": Study(
        Drawn({"wanda-noised": 0.12, "sink-wanda": 0.12}),
        (rf"At 50 % and 70 % the gain of Sink-Wanda over Wanda comes with {TOGETHER}: the discount changes",),
        (r"\bYes\b", "part of the gain"),
    ),
    "a gain of the noise at one sparsity": Study(
        Drawn({("wanda-noised", 0.7): 0.12, ("sink-wanda", 0.7): 0.12}),
        (rf"At 70 % the gain of Sink-Wanda over Wanda comes with {TOGETHER}",),
        (r"At 50 % ",),
    ),
    "recipe at one sparsity, discount at the other": Study(
        Drawn({("wanda-noised", 0.5): 0.12, ("sink-wanda", 0.5): 0.12, ("wanda-noised", 0.7): -0.12}),
        (rf"At 50 % the gain of Sink-Wanda over Wanda comes with {TOGETHER}", r"better at 70 %"),
        ("part of the gain", "At 70 %"),
    ),
    "noise gains, discount takes some": Study(
        Drawn({"wanda-noised": 0.25, "sink-wanda": 0.12}),
        ("beats Wanda although its discount makes it worse", "worse at 50 %"),
        (TOGETHER, r"\bYes\b"),
    ),
    "noise gains, discount adds": Study(
        Drawn({"wanda-noised": 0.1, "sink-wanda": 0.22}), ("discount is at least part of the gain",), (TOGETHER,)
    ),
    "noise gains, the discount cannot be told": Study(
        Drawn({"wanda-noised": 0.28, "sink-wanda": 0.29}, own=0.5),
        ("cannot tell whether the discount is part of that",),
        (TOGETHER, r"\? (Yes|No)\b"),
        {"difference": 0.5},
    ),
    "no gain, so no sentence on where it comes from": Study(
        Drawn(own=0.3), (), ("the gain", "beats"), {"sparsities": (0.5,), "seeds": (0, 1)}
    ),
    "noise hurts": Study(
        Drawn({"wanda-noised": -0.12, "sink-wanda": -0.12}), ("against Wanda: worse at 50 %",), (TOGETHER, "beats")
    ),
    # --- the recipe taken apart, sham discounts, doses ---
    "taken apart, the norm carries the gain": Study(
        Drawn({"wanda-noised": 0.12, "sink-wanda": 0.12, "norm alone": 0.12}),
        (
            r"At 50 % Sink-Wanda gains \+12\.\d.*; the norm alone carries some of it\. ",
            r"Alone against Wanda: better: norm \(\+12.*; no difference of ±2 points or more: noise .*, order .* and d",
            r"Does the norm alone help\? Wanda with the norm alone against Wanda: better at 50 %",
        ),
        ("no part alone",),
        {"decompose": True},
    ),
    "taken apart, two parts carry the gain at one sparsity": Study(
        Drawn({("sink-wanda", 0.7): 0.12, ("noise alone", 0.7): 0.1, ("discount alone", 0.7): 0.1}),
        (r"At 70 % Sink-Wanda gains \+12.*; the noise and discount alone carry some of it\. ",),
        ("At 50 %, of the gain",),
        {"decompose": True},
    ),
    "taken apart, no part alone carries the gain": Study(
        Drawn({"wanda-noised": 0.12, "sink-wanda": 0.12}),
        (r"At 70 % Sink-Wanda gains \+12.*; no part alone gains significantly\. ",),
        ("by itself", "by themselves"),
        {"decompose": True},
    ),
    "taken apart, a part gains less than was asked about": Study(
        Drawn({"wanda-noised": 0.12, "sink-wanda": 0.12, "norm alone": 0.012}, items=8000),
        (r"At 70 % Sink-Wanda gains \+12.*; no part alone gains 2 points or more\. ",),
        ("significantly",),
        {"decompose": True},
    ),
    "taken apart without a gain": Study(Drawn(), (), ("of the gain",), {"decompose": True}),
    "a sham discount does as much": Study(
        Drawn({"sink-wanda": 0.12, "sham-wanda": 0.12}),
        (r"At 50 % nothing puts the gain down to the sinks: discounting random tokens of the same state",),
        ("it matters that the sinks",),
        SHAM,
    ),
    "a sham discount does more": Study(
        Drawn({"sink-wanda": 0.06, "sham-wanda": 0.2}), ("At 50 % it is not the sinks: .* helps more",), (), SHAM
    ),
    "a sham discount does less": Study(
        Drawn({"sink-wanda": 0.12, "light-wanda": 0.12}),
        (
            r"At 50 % it matters that the sinks are discounted: discounting random tokens .* helps less \(\+12",
            r"At 50 % nothing puts the gain down to the tokens with most attention: discounting those with least",
            r"Is it the sinks\? Sink-Wanda against Sham-Wanda \(control\): better at 50 %",
        ),
        (),
        SHAM,
    ),
    "a sham discount beside one that does nothing": Study(Drawn(), (), ("the sinks: disc", "are discounted:"), SHAM),
    "shams of two methods": Study(
        Drawn({"sink-wanda": 0.12, "sink-sparsegpt": 0.12, "sham-sparsegpt": 0.12}),
        (
            r"At 50 % with Sink-Wanda it matters that the sinks are discounted",
            r"At 50 % with Sink-SparseGPT nothing puts the gain down to the sinks",
        ),
        (),
        {"methods": (*SHAM["methods"][:3], *SPARSE["methods"][:2], "sham-sparsegpt")},
    ),
    "a discount that does more the stronger it is": Study(
        Drawn({"sink-wanda": 0.12}),
        (
            r"Dose-response of Sink-Wanda at 50 % \(λ = 0, 0\.5, 1\): accuracy rises with λ, \+1[12]\.",
            r"Sink-Wanda against Wanda, noised \(control\): better at 50 % \(\+12",
        ),
        ("no trend",),
        DISCOUNT | {"strengths": (0, 0.5, 1)},
    ),
    "doses of nothing": Study(
        Drawn(), ("no significant trend in λ, 0.0 points",), ("rises", "falls"), DISCOUNT | {"strengths": (0, 0.5, 1)}
    ),
    # --- two pairs of methods ---
    "one pair gains, the other loses": Study(
        Drawn({"sink-wanda": 0.12, "sink-sparsegpt": -0.12}),
        (rf"pruning\? Sink-SparseGPT against SparseGPT: worse at 50 %.* {CONTROL}: better at 50 %",),
        (r"\? (Yes|No)\b",),
        SPARSE,
    ),
    "both pairs gain": Study(
        Drawn({"sink-wanda": 0.12, "sink-sparsegpt": 0.12}), (r"pruning\? Yes\. ",), (r"\? No\b",), SPARSE
    ),
    "one pair gains, the other does not": Study(
        Drawn({"sink-sparsegpt": 0.12}),
        (r"Sink-SparseGPT against SparseGPT: better", "no difference"),
        (r"\? (Yes|No)\b",),
        SPARSE,
    ),
    # --- hiding sinks ---
    "sinks matter": Study(
        hidden(around(0.05, 0.02)),
        (
            r"matter\? Yes: hiding the sinks of the diffusion model changes its predictions more than .* \(\+0\.05",
            r", and also more than hiding random tokens of equal attention \(\+0\.05",
            r"Per unit of attention, scaled to what the sinks held: \+0\.05",
        ),
        ("cannot tell whether hiding", "no sinks by"),
        DISCOUNT,
    ),
    "sinks matter by their attention alone": Study(
        equal(hidden(around(0.05, 0.02)), around(0.0005, 0.001)),
        (
            r"matter\? It depends: hiding the sinks of the diffusion model changes its predictions more than .* "
            r"tokens \(\+0\.05",
            r"; against random tokens of equal attention the difference is less than 0\.01 nats",
        ),
        (r"matter\? (Yes|No)", "and also"),
        DISCOUNT,
    ),
    "sinks matter, and at equal attention it is open": Study(
        equal(hidden(around(0.05, 0.02)), around(0.02, 0.1)),
        (r"matter\? Hiding .*; against random .* this study cannot tell \(\+0\.02.*would have been detected\)",),
        (r"matter\? (Yes|No)", "and also"),
        DISCOUNT,
    ),
    "sinks matter less at equal attention than asked about": Study(
        equal(hidden(around(0.05, 0.02)), around(0.014, 0.01)),
        (r"and also more than hiding random .* attention \(.*\), perhaps by less than 0\.01 nats",),
        (r"matter\? (Yes|No)",),
        DISCOUNT,
    ),
    "sinks matter less than others of equal attention": Study(
        equal(hidden(around(0.05, 0.02)), around(-0.05, 0.02)),
        (
            r"matter\? It depends: hiding .* than hiding as many random tokens \(.*\), but less than hiding "
            r"random tokens of equal attention \(−0\.05",
        ),
        (r"matter\? (Yes|No)", "and also"),
        DISCOUNT,
    ),
    "some prompts have no sinks": Study(
        replace(hidden(around(0.05, 0.02)), sinkless=3), (r"matter\? Yes: ",), ("cannot tell whether hiding",), DISCOUNT
    ),
    "random weights beside": Study(
        replace(hidden(around(0.05, 0.02)), untrained=0.01),
        (r"matter\? Yes: ", r"With random weights: \+0\.0005 nats \["),
        (),
        DISCOUNT,
    ),
    "no more than random weights": Study(
        replace(hidden(around(0.05, 0.02)), untrained=0.8),
        (r"matter\? Hiding .* more than hiding .*, but perhaps no more than with random weights \(\+0\.04",),
        (r"matter\? (Yes|No)",),
        DISCOUNT,
    ),
    "an untrained model": Study(
        hidden(around(0.00029, 0.0004)),
        (r"matter\? No: hiding the sinks of the diffusion model differs from .* random tokens by less than 0\.01",),
        (r"matter\? Yes",),
        DISCOUNT,
    ),
    "less than matched tokens": Study(
        hidden(around(-0.05, 0.02)),
        (r"matter\? No: .* changes its predictions less than",),
        (r"matter\? Yes",),
        DISCOUNT,
    ),
    "more, perhaps by less than the margin": Study(
        hidden(around(0.015, 0.012)),
        (r"matter\? Hiding .* more than .*, perhaps by less than 0\.01 nats",),
        (r"matter\? (Yes|No)",),
        DISCOUNT,
    ),
    "too few prompts to tell": Study(
        hidden(around(0.05, 0.2, 6)),
        (r"matter\? This study cannot tell whether .* \(\+0\.05.*; ±[\d.]+ nats would have been detected\)",),
        (r"matter\? (Yes|No)", "no more than"),
        DISCOUNT,
    ),
    "a secondary outcome alone": Study(
        hidden(around(0.0, 0.2), aligned=around(-0.35, 0.1)),
        (r"matter\? This study cannot tell", r"Secondary: .*greement .*−35\.0 points .*, p = 0\.00\d"),
        (r"matter\? (Yes|No)",),
        DISCOUNT,
    ),
    "the primary outcome is another": Study(
        hidden(around(0.0, 0.2), aligned=around(-0.35, 0.1)),
        (r"matter\? Yes: hiding the sinks of the diffusion model changes more of its text",),
        (r"matter\? No",),
        DISCOUNT | {"primary": "aligned"},
    ),
    "agreement within its margin": Study(
        hidden(around(0.5, 0.1), aligned=around(0.001, 0.005)),
        (r"matter\? No: .* by less than 2 points",),
        (r"matter\? Yes",),
        DISCOUNT | {"primary": "aligned"},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Plans are left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather_pruning, "_needs", lambda spec, step: "")
        yield


@cache
def found(name: str) -> Findings:
    return gathered(STUDIES[name].drawn, **{"sparsities": (0.5, 0.7), **STUDIES[name].changes})


def everything(name: str) -> str:
    said = rules.verdicts(found(name))
    return "\n".join([*rules.answer(found(name)), *(f"{one.title} {one.sentence} {one.numbers}" for one in said)])


def test_there_are_enough():
    assert len(STUDIES) >= 40


@pytest.mark.parametrize("name", list(STUDIES))
def test_a_study_says_what_is_true_of_it_and_claims_no_more_than_its_numbers_hold(name):
    one, said = STUDIES[name], everything(name)
    for wanted in one.says:
        assert re.search(wanted, said), f"{wanted}\n\nnot in\n\n{said}"
    for wrong in one.never:
        assert not re.search(wrong, "\n".join(rules.answer(found(name)))), f"{wrong}\n\nin\n\n{said}"
    study, margin = found(name), rules.margin_of(found(name))
    answer = " ".join(rules.answer(study))
    above = rules.above_chance(study.pruning)
    contrasts = {(one.kind, one.method, one.sparsity): one.effect for one in study.pruning.contrasts}
    tested = [one.effect for one in (*study.causes, *study.pruning.contrasts)]
    assert {one.tests for one in tested} == {study.tests}, "one family"
    assert all(one.p_holm is None or one.p_holm >= one.p for one in tested)
    for (kind, method, sparsity), effect in contrasts.items():
        decision = rules.decide(effect, margin, above)
        assert decision in DECISIONS
        if decision in ("better", "worse"):
            assert above and effect.seeds > 1 and effect.p_holm < 0.05 and not effect.low <= 0 <= effect.high
            assert (effect.value > 0) == (decision == "better")
        if decision == "equivalent":
            assert -margin < effect.low and effect.high < margin
        at = f"{100 * sparsity:g} %"
        if re.search(rf"At [^.]*{at}[^.]* {TOGETHER}", answer) and kind == "discount" and method == "sink-wanda":
            assert decision == "equivalent"
            assert rules.decide(contrasts["recipe", method, sparsity], margin, above) == "better"
            assert rules.decide(contrasts["noise", "wanda-noised", sparsity], margin, above) == "better"
    for clause in re.findall(r"cannot tell at [^;]*?\([^)]*\)", said):
        assert "would have been detected" in clause
    assert "not shown" not in said and "no more than hiding" not in said
    assert not re.search(r"nan|None|inf\b|\+\+|--", said)
