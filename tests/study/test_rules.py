"""What studies say: known cases, one family of tests, and that a verdict holds the numbers of the sweep's own page."""

import numpy as np
import pytest

from analysis.evaluation import sweep_scores
from analysis.specs import grid
from analysis.statistics.differences import holm
from analysis.study import gather_pruning, rules
from tests.study.helpers import Drawn, gathered, spec, study


def outcomes(findings) -> dict[str, str]:
    return {one.claim: one.outcome for one in rules.verdicts(findings)}


def test_a_gain_of_the_noise_alone_is_not_put_down_to_the_sinks():
    found = study(noise=0.12)
    assert outcomes(found) == {"discount": "equivalent", "noise": "better", "recipe": "better"}
    first, second = rules.answer(found)
    assert first.startswith("Does discounting sinks help pruning? No. Sink-Wanda against Wanda, noised (control): no")
    assert second == (
        "At 50 % and 70 % the gain of Sink-Wanda over Wanda comes with noise, order and norm together: the discount "
        "changes accuracy by less than 2 points."
    )


def test_while_seeds_are_missing_nothing_is_claimed():
    assert set(outcomes(study(noise=0.12, unscored=(4, 5))).values()) == {"waiting"}


def test_what_cannot_be_told_says_what_it_would_take_at_the_level_of_its_family():
    found = gathered(Drawn(own=0.1), difference=1.0, tasks=("bundled_story",), sparsities=(0.5,))
    (said,) = [one for one in rules.verdicts(found) if one.claim == "discount"]
    assert said.outcome == "cannot tell" and said.needs.startswith("To show a difference of 1 point, ")


def test_one_comparison_has_one_p_wherever_it_stands(monkeypatch):
    """Adjusted over all comparisons that the study plans, those of hidden sinks among them."""
    monkeypatch.setattr(gather_pruning, "_needs", lambda spec, step: "")
    changes = (0.03, 0.08, 0.02, 0.05, 0.01, 0.06)
    causes = {("bundled", name): changes for name in ("divergence", "aligned", "nll")}
    found = gathered(Drawn({"wanda-noised": 0.02, "sink-wanda": 0.04}, own=0.05, causes=causes))
    effects = [one.effect for one in (*found.causes, *found.pruning.contrasts)]
    tested = [one for one in effects if one.p is not None]
    assert len(tested) == found.tests == 3 + 2 + 3 * 2, "the primary outcome against two more controls"
    assert [one.p_holm for one in effects] == pytest.approx(holm([one.p for one in effects]))
    for way in found.pruning.waterfalls:
        first, noise, discount, whole = way.stages
        assert first.effect.adjusted is None and whole.effect.adjusted is None, "told, not tested"
        of_kind = {one.kind: one.effect for one in found.pruning.contrasts if one.sparsity == way.sparsity}
        assert (noise.effect, discount.effect) == (of_kind["noise"], of_kind["discount"])
    for said in rules.verdicts(found):
        assert "after Holm correction over 11 comparisons" in said.numbers.lower().replace("holm", "Holm")


def test_prompts_without_sinks_or_without_a_match_are_counted_and_equal_attention_may_be_missing():
    changes = (0.03, 0.08, 0.02, 0.05, 0.04, 0.06)
    found = gathered(Drawn(causes={("bundled", "divergence"): changes}, sinkless=2))
    (said,) = [one for one in rules.verdicts(found) if one.claim == "matter"]
    assert "2 prompts had no sinks by this definition" in said.left_out and "6 prompts" in said.left_out
    assert "random other tokens that held as much attention (10.0 % of all at the sinks" in said.controlled
    one = [cause for cause in found.causes if cause.control == "matched"]
    (alone,) = [
        said for said in rules.verdicts(found.model_copy(update={"causes": tuple(one)})) if said.claim == "matter"
    ]
    assert "equal attention" not in alone.sentence and "part of a difference" in alone.controlled.lower()


def test_what_is_still_to_come_counts_so_that_no_verdict_is_taken_back():
    causes = {("bundled", "divergence"): (0.03, 0.08, 0.02, 0.05, 0.04, 0.06)}
    alone = gathered(Drawn(causes=causes, unscored=tuple(range(6))))
    whole = gathered(Drawn({"wanda-noised": 0.12, "sink-wanda": 0.12}, causes=causes))
    assert alone.tests == whole.tests
    assert alone.causes[0].effect.p_holm >= whole.causes[0].effect.p_holm > whole.causes[0].effect.p


def test_a_verdict_holds_the_very_numbers_of_the_sweeps_page():
    asked = spec()
    drawn = Drawn({"wanda-noised": 0.12, "sink-wanda": 0.15})
    points = [drawn.scores(pruning) for pruning in grid(asked.sweep()).prunings]
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
        assert (one.value, one.low, one.high, one.p) == (page.value, page.low, page.high, page.p)
        assert (one.tests, page.tests) == (6, 4), "the noise is a question of the study alone"
    for way in found.pruning.waterfalls:
        steps = [stage.effect.value for stage in way.stages]
        assert np.isclose(sum(steps[:-1]), steps[-1]), "the steps add up to the whole"
        assert way.floor > 0
