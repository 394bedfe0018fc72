"""Planning: how many items, clusters and seeds a difference needs, before anything is measured and after."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evaluation import plan_noise, planning
from analysis.evaluation.bundled.data import FOLDER
from analysis.evaluation.planning import Noise, TaskItems, needed, plan
from analysis.evaluation.presets import PRESETS, SUITES, known_sizes
from analysis.specs import PlanParams
from analysis.statistics.crossed import crossed_difference

NOISE = Noise(disagreement=0.06, alike=0.4, changing=0.5, seed_spread=0.004, source="assumed")
TASKS = [TaskItems("one", (1, 2, 3, 4) * 50), TaskItems("two", (1,) * 800)]


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.integers(0, 2**31))
def test_the_expected_clusters_are_those_of_random_subsets(sizes, number):
    task, rng = TaskItems("x", tuple(sizes)), np.random.default_rng(number)
    of = np.repeat(np.arange(len(sizes)), sizes)
    items = int(rng.integers(1, len(of) + 1))
    drawn = [of[rng.permutation(len(of))[:items]] for _ in range(400)]
    counts = [len(set(some)) for some in drawn]
    assert np.mean(counts) == pytest.approx(task.clusters(items), abs=5 * np.std(counts) / 20 + 0.02)
    pairs = [
        np.mean(some[:, None] == some[None, :]) * items - 1 for some in drawn
    ]  # others that share an item's cluster
    assert np.mean(pairs) == pytest.approx((items - 1) * task.sharing, abs=5 * np.std(pairs) / 20 + 0.02)


def test_one_unclustered_task_is_the_textbooks_formula():
    """(z(0.975) + z(0.8))² σ² / n of a paired difference (Miller, equation 9), t where n is small; a little less, as a
    difference found large goes with a variance found large.
    """
    tasks = [TaskItems("x", (1,) * 4000)]
    found = plan(tasks, replace(NOISE, disagreement=0.1), None, seeds=1)
    assert found.detectable == pytest.approx((1.95996 + 0.84162) * np.sqrt(0.1 / 4000), rel=5e-3)
    assert (found.items, found.clusters) == (4000, 4000)


def test_alike_items_of_equal_clusters_count_by_kishs_design_effect():
    """D = 1 + a (m − 1) of clusters of m: 4000 items in fives, a = 0.5, tell as much as 4000 / 3 on their own."""
    noise = replace(NOISE, disagreement=0.1, alike=0.5)
    found = plan([TaskItems("x", (5,) * 800)], noise, None, seeds=1)
    assert found.detectable == pytest.approx((1.963 + 0.84162) * np.sqrt(0.1 * 3 / 4000), rel=6e-3)


def test_a_plan_says_what_studies_of_its_size_show():
    """Studies drawn from the same variances and judged by the estimator itself: power, and a margin ruled out."""
    rng, noise, seeds, items, target = np.random.default_rng(0), Noise(0.05, 0.0, 0.5, 0.004, "drawn"), 5, 400, 0.02
    tasks = [TaskItems("one", (1,) * items), TaskItems("two", (1,) * items)]
    found = plan(tasks, noise, None, seeds, tests=4, target=target)
    of, shown, excluded = [np.arange(items)] * 2, 0, 0
    for _ in range(300):
        rows = []
        for _ in tasks:
            scored = rng.choice([-1.0, 1.0], items) * (rng.random(items) < 0.025)
            rows.append(scored + rng.choice([-1.0, 1.0], (seeds, items)) * (rng.random((seeds, items)) < 0.025))
        shift = rng.normal(0, noise.seed_spread, (seeds, 1))
        one = replace(
            crossed_difference([row + shift for row in rows], [row * 0 for row in rows], of, test=True), tests=4
        )
        excluded += one.within(target)
        half = one.half(0.05 / 4)
        shown += one.value + target - half > 0
    assert shown / 300 == pytest.approx(found.power, abs=0.07)
    assert excluded / 300 == pytest.approx(found.exclusion, abs=0.07)
    assert found.excluded > found.detectable, "to rule a difference out takes more than to show one"


def test_few_items_that_differ_or_few_seeds_show_nothing():
    """A sign flip of so few clusters, or Student's t with one degree of freedom, cannot reach the family's level."""
    few = [TaskItems("x", (1,) * 60)]
    assert plan(few, replace(NOISE, disagreement=0.02), None, 4, tests=12, target=0.02).power < 0.1
    two, three, six = (plan(TASKS, NOISE, None, seeds, tests=12).detectable for seeds in (2, 3, 6))
    assert two > 2 * three > 4 * six, "the adjusted level costs few seeds more than the unadjusted one"
    assert plan(TASKS, NOISE, None, 2, tests=1).detectable < two / 4
    assert "show no difference" in planning.in_words(replace(plan(few, NOISE, None, 2, 12), detectable=np.inf))


def test_items_of_a_subject_are_less_alike_than_items_of_a_key():
    sizes = (250,) * 57
    by_key, by_subject = (plan([TaskItems("x", sizes, subjects)], NOISE, None, 1) for subjects in (False, True))
    assert by_key.detectable > 3 * by_subject.detectable


def test_more_items_clusters_and_seeds_show_less_and_more_tests_more():
    usual = plan(TASKS, NOISE, 200, 4)
    assert plan(TASKS, NOISE, 300, 4).detectable < usual.detectable
    assert plan(TASKS, NOISE, 200, 8).detectable < usual.detectable
    assert plan(TASKS, replace(NOISE, alike=1.0), 200, 4).detectable > usual.detectable
    assert plan(TASKS, NOISE, 200, 4, tests=20).detectable > usual.detectable
    assert usual.items == 400
    assert plan(TASKS, NOISE, None, 4).items == 1300
    with pytest.raises(ValueError, match="needs items"):
        plan([], NOISE, None, 1)


def test_what_is_needed_is_enough_and_one_item_less_is_not():
    found = needed(TASKS, NOISE, 0.02)
    assert found.detectable <= 0.02
    assert plan(TASKS, NOISE, found.items_a_task, found.seeds, target=0.02).power >= planning.AIM
    assert plan(TASKS, NOISE, found.items_a_task - 1, found.seeds, target=0.02).power < planning.AIM
    assert found.seeds >= 2
    assert needed(TASKS, NOISE, 0.0005) is None
    found = needed(TASKS, NOISE, 0.03)
    dear = needed(TASKS, NOISE, 0.03, cost=lambda items, seeds: items + 1000 * seeds)
    assert dear.seeds < found.seeds or dear.items_a_task == found.items_a_task, "where seeds cost more, fewer are taken"
    assert "are too few" in planning.needed_in_words(None, 0.0005, TASKS, NOISE, 1)


def test_few_seeds_do_not_make_a_small_spread():
    """Runs that happen to have the same average at two seeds say nothing about other seeds."""
    rng = np.random.default_rng(0)
    first, second = (rng.random((2, 200)) < 0.7) * 1.0, (rng.random((2, 200)) < 0.7) * 1.0
    assumed = planning.assumed(PlanParams())
    measured = plan_noise.measured([sample(first, second)])
    assert measured.seed_spread >= assumed.seed_spread
    assert measured.alike == 0  # no two items share a cluster
    one = plan_noise.measured([sample(first[:1], second[:1])])
    assert (one.seed_spread, one.changing) == (assumed.seed_spread, assumed.changing)
    assert one.disagreement > np.mean(first[0] != second[0])


def sample(first: np.ndarray, second: np.ndarray, of: np.ndarray | None = None) -> plan_noise.Sample:
    """Scores (seeds, items) of two methods on one task."""
    pairs = tuple((f"one {seed}", f"other {seed}") for seed in range(len(first)))
    return plan_noise.Sample((first,), (second,), (np.arange(first.shape[1]) if of is None else of,), pairs)


def test_likeness_is_measured():
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(400), 5)
    alike = rng.choice([-1.0, 0.0, 1.0], (1, 400))[:, of]
    apart = rng.choice([-1.0, 0.0, 1.0], (1, 2000))
    zero = np.zeros((1, 2000))
    assert plan_noise.measured([sample(alike, zero, of)]).alike == pytest.approx(1, abs=0.01)
    assert plan_noise.measured([sample(apart, zero, of)]).alike < 0.05


def test_samples_are_pooled_by_what_each_knows():
    """Half of 300 items differ in one, 1 in 10 of 100 in the other; 8 seeds weigh 7 times as much as 2."""
    rng = np.random.default_rng(1)
    many, few = np.zeros((8, 300)), np.zeros((2, 100))
    many[:, :150], few[:, :10] = 1.0, 1.0
    both = plan_noise.measured([sample(many, many * 0), sample(few, few * 0)])
    whole = (0.5 * 300 + 0.1 * 100) / 400
    assert both.disagreement == pytest.approx(whole * plan_noise.measured([sample(many, many * 0)]).disagreement / 0.5)
    assert both.source == "measured on one 0 against other 0 and 9 more matched pairs of runs"
    spread = [(rng.normal(0, 1, (seeds, 1)) > 0) * np.ones((1, 400)) for seeds in (8, 2)]
    one, other = (plan_noise.measured([sample(runs, runs * 0)]) for runs in spread)
    pooled = plan_noise.measured([sample(runs, runs * 0) for runs in spread])
    assert min(one.seed_spread, other.seed_spread) <= pooled.seed_spread <= max(one.seed_spread, other.seed_spread)
    with pytest.raises(ValueError, match="Nothing was measured"):
        plan_noise.measured([])


def test_sizes_are_known_before_anything_is_read():
    tasks, unknown = known_sizes(("bundled", "bundled_text", "wikitext", "my_task"))
    assert unknown == ["my_task"]
    assert [task.title for task in tasks] == [PRESETS[name].title for name in SUITES["bundled"]]
    rows = map(json.loads, (FOLDER / "physical_test.jsonl").read_text(encoding="utf-8").splitlines())
    assert sorted(tasks[3].sizes) == sorted(Counter(row["key"] for row in rows).values())
    mmlu, *rest = known_sizes(("paper",))[0]
    assert (mmlu.items, len(mmlu.sizes)) == (14_042, 57)
    assert len(rest) == 7


def test_the_preset_of_64_items_says_what_it_can_show():
    tasks, _ = known_sizes(("bundled",))
    shown, wanted, source = planning.sentences(tasks, planning.assumed(PlanParams()), 0.005, 64, 1, tests=7)
    assert shown.startswith("384 items in about ")
    studied, *_ = planning.sentences(tasks, planning.assumed(PlanParams()), 0.005, None, 8, tests=12)
    assert "where there is none, they rule out one of" in studied
    assert "comes on top" in shown
    assert wanted.startswith("To show a difference of 0.5 points")
    assert source.startswith("Noise assumed: two runs score 2.0 % of the items differently")
    assert source.endswith("Adjusted for 7 tests.")
