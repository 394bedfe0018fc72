"""What studies say: the rules, known cases, and that a verdict holds the numbers of the sweep's own page."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evaluation import sweep_scores
from analysis.specs import grid
from analysis.study import rules
from analysis.study.findings import Effect
from tests.study.helpers import scores_of, spec, study

shares = st.floats(-1, 1, allow_nan=False)


def effect(value: float, low: float, high: float, p: float | None) -> Effect:
    return Effect(value=value, low=low, high=high, n=100, clusters=50, seeds=3, p=p, p_adjusted=p)


@st.composite
def effects(draw) -> Effect:
    low, value, high = sorted(draw(st.tuples(shares, shares, shares)))
    return effect(value, low, high, draw(st.none() | st.floats(0, 1)))


@given(effects(), st.floats(0.001, 1))
def test_a_rule_claims_no_more_than_the_interval_and_the_test_hold(one, margin):
    said = rules.outcome(one, margin)
    significant = one.value != 0 and one.p_adjusted is not None and one.p_adjusted < 0.05
    inside = -margin <= one.low and one.high <= margin
    if one.p is None:
        assert said == "waiting"
    elif significant:
        assert said == ("small" if inside else "shown" if one.value > 0 else "reversed")
    else:
        assert said == ("refuted" if inside else "not shown")


@given(st.lists(effects(), min_size=1, max_size=4), st.floats(0.001, 1))
def test_several_sparsities_are_refuted_only_together_and_wait_for_the_last(some, margin):
    said, single = rules.together(some, margin), {rules.outcome(one, margin) for one in some}
    assert (said == "waiting") == ("waiting" in single)
    if said in ("refuted", "small"):
        assert single <= {"refuted", "small"}
    if said == "shown":
        assert "shown" in single and "reversed" not in single
    if said == "mixed":
        assert {"shown", "reversed"} <= single


@pytest.mark.parametrize(
    ("value", "low", "high", "p", "margin", "said"),
    [
        (0.010, 0.002, 0.017, 0.012, 0.005, "shown"),  # the control against Wanda
        (-0.001, -0.005, 0.003, 0.6, 0.005, "refuted"),  # Sink-Wanda against its control, asked for half a point
        (-0.001, -0.005, 0.003, 0.6, 0.004, "not shown"),  # asked for less than its interval holds
        (0.003, 0.001, 0.005, 0.01, 0.01, "small"),
        (-0.03, -0.05, -0.01, 0.001, 0.01, "reversed"),
    ],
)
def test_known_cases(value, low, high, p, margin, said):
    assert rules.outcome(effect(value, low, high, p), margin) == said


def outcomes(findings) -> dict[str, str]:
    return {one.claim: one.outcome for one in rules.verdicts(findings)}


def test_a_gain_of_the_noise_alone_is_not_put_down_to_the_sinks():
    found = study(noise=0.12)
    assert outcomes(found) == {"discount": "refuted", "noise": "shown", "recipe": "shown"}
    first, second = rules.answer(found)
    assert first.startswith("Does discounting sinks help pruning? No: discounting the sinks changes accuracy by less")
    assert second == "What gain there is comes with the noise in the calibration text, not with the sinks."


def test_a_gain_of_the_discount_is_shown():
    found = study(discount=0.12)
    assert outcomes(found)["discount"] == "shown"
    assert "at least in part, the discount's" in rules.answer(found)[-1]


def test_while_seeds_are_missing_nothing_is_claimed():
    assert set(outcomes(study(noise=0.12, unscored=(4, 5))).values()) == {"waiting"}


def test_what_is_not_shown_says_what_it_would_take():
    found = study(discount=0.004, difference=0.1, tasks=("bundled_story",))
    (said,) = [one for one in rules.verdicts(found) if one.claim == "discount"]
    assert said.outcome == "not shown" and said.needs.startswith("To show a difference of 0.1 points")


def test_a_verdict_holds_the_very_numbers_of_the_sweeps_page():
    asked = spec()
    points = [scores_of(pruning, 0.12, 0.03) for pruning in grid(asked.sweep()).prunings]
    compared = sweep_scores.comparisons(sweep_scores.settings(points, grid(asked.sweep()).prunings))
    found = study(noise=0.12, discount=0.03)
    of_page = {
        ("discount" if one.relation == "control" else "recipe", one.setting.pruning.sparsity): one.difference
        for one in compared
    }
    mine = {(one.kind, one.sparsity): one.effect for one in found.pruning.contrasts if one.kind != "noise"}
    assert mine.keys() == of_page.keys()
    for name, one in mine.items():
        page = of_page[name]
        assert (one.value, one.low, one.high, one.p, one.p_adjusted) == (
            page.value,
            page.low,
            page.high,
            page.p,
            page.p_holm,
        )
    for way in found.pruning.waterfalls:
        steps = [stage.effect.value for stage in way.stages]
        assert np.isclose(sum(steps[:-1]), steps[-1]), "the steps add up to the whole"
        assert way.floor > 0
