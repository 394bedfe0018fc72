"""Methods over calibration seeds: seeds and clusters crossed, and what two seeds of one method differ by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.evaluation import plan_noise, planning
from analysis.statistics import clustered
from analysis.statistics.crossed import crossed_difference, seed_floor


def crossed_anova(differences: np.ndarray) -> tuple[float, float, float]:
    """The mean squares of seeds, items and what is left, by the sums of squares of a two-way table (seeds, items)."""
    seeds, items = differences.shape
    mean = differences.mean()
    of_seeds = items * ((differences.mean(axis=1) - mean) ** 2).sum() / (seeds - 1)
    of_items = seeds * ((differences.mean(axis=0) - mean) ** 2).sum() / (items - 1)
    whole = ((differences - mean) ** 2).sum()
    rest = whole - (seeds - 1) * of_seeds - (items - 1) * of_items
    return of_seeds, of_items, rest / ((seeds - 1) * (items - 1))


@given(st.integers(2, 5), st.integers(3, 12), st.integers(0, 2**31))
def test_with_items_of_their_own_it_is_the_textbooks_two_way_table(seeds, items, number):
    rng = np.random.default_rng(number)
    first, second = 10 * rng.random((seeds, items)), rng.random((seeds, items)) + rng.random(items)
    found = crossed_difference([first], [second], [np.arange(items)], test=True)
    of_seeds, of_items, rest = (square / (seeds * items) for square in crossed_anova(first - second))
    assert found.value == pytest.approx((first - second).mean())
    assert (found.seed_variance, found.cluster_variance) == pytest.approx((of_seeds, of_items))
    assert found.shared_variance == pytest.approx(rest)
    squares = stats.t.ppf(0.975, seeds - 1) ** 2 * of_seeds
    squares += stats.t.ppf(0.975, items - 1) ** 2 * max(of_items - rest, 0)
    assert found.high - found.low == pytest.approx(2 * np.sqrt(squares))
    assert (found.p < 0.05) <= (not found.low <= 0 <= found.high)
    assert (found.seeds, found.clusters, found.n) == (seeds, items, items)


@given(st.integers(2, 4), st.integers(0, 2**31))
@settings(max_examples=30)
def test_the_other_way_round_is_the_opposite(seeds, number):
    rng = np.random.default_rng(number)
    clusters = [rng.integers(0, 9, 30), rng.integers(0, 5, 12)]
    first, second = ([(rng.random((seeds, len(of))) < share) * 1.0 for of in clusters] for share in (0.7, 0.5))
    one = crossed_difference(first, second, clusters, test=True)
    other = crossed_difference(second, first, clusters, test=True)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.p == pytest.approx(other.p)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert not one.shown or not one.low <= 0 <= one.high


def test_one_seed_is_the_clustered_difference_and_says_what_it_lacks():
    rng = np.random.default_rng(0)
    clusters = [np.arange(60) // 2, np.arange(90) // 3]
    first, second = ([(rng.random((1, len(of))) < share) * 1.0 for of in clusters] for share in (0.8, 0.5))
    one = crossed_difference(first, second, clusters, test=True)
    mean = clustered.average_difference([a[0] - b[0] for a, b in zip(first, second, strict=True)], clusters, True)
    assert (one.value, one.low, one.high, one.p) == pytest.approx((mean.value, mean.low, mean.high, mean.p))
    assert not one.holds_seeds and one.seed_variance is None
    assert (one.seeds, one.clusters, one.n) == (1, 60, 150)


def test_seeds_that_differ_keep_a_difference_from_being_shown():
    """All items agree, but half of the seeds go the other way: over items alone it would be sure."""
    one = np.tile([[0.06], [-0.02], [0.05], [-0.03]], (1, 400))
    found = crossed_difference([0.5 + one], [np.full((4, 400), 0.5)], [np.arange(400)], test=True)
    assert found.value == pytest.approx(0.015)
    assert found.words == "not significant"
    assert found.low < 0 < found.high
    assert found.holds_seeds


def test_what_differs_nowhere_has_a_wide_interval():
    same = np.ones((3, 20))
    found = crossed_difference([same], [same], [np.arange(20)], test=True)
    assert (found.value, found.words) == (0, "not significant")
    assert found.high > 0.1


def test_the_floor_is_what_two_seeds_differ_by():
    runs = [np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0.0]])]
    floor = seed_floor(runs, [np.arange(4)])
    assert floor.largest == 0.75
    assert floor.typical == pytest.approx(np.sqrt((0.5**2 + 0.75**2 + 0.25**2) / 3))
    assert floor.typical == pytest.approx(np.sqrt(2) * runs[0].mean(axis=1).std(ddof=1))
    assert floor.disagreement == pytest.approx(0.5)
    assert (floor.seeds, floor.pairs, floor.n, floor.clusters) == (3, 3, 4, 4)
    far = seed_floor([np.repeat([[1.0], [0.0]], 100, axis=1)], [np.arange(100)])
    assert (far.beside, far.pairs) == (1, 1)


def test_what_does_not_fit_together_is_refused():
    row, of = np.ones((2, 5)), np.arange(5)
    with pytest.raises(ValueError, match="no pairs"):
        crossed_difference([row], [row[:1]], [of], test=True)
    with pytest.raises(ValueError, match="items"):
        crossed_difference([row], [row], [of[:4]], test=True)
    with pytest.raises(ValueError, match="tasks"):
        crossed_difference([], [], [], test=True)
    with pytest.raises(ValueError, match="answered"):
        crossed_difference([row * np.nan], [row], [of], test=True)
    with pytest.raises(ValueError, match="One seed"):
        seed_floor([row[:1]], [of])


# --- null experiments -------------------------------------------------------------------------------------------


KEYS = [np.repeat(np.arange(60), 1 + np.arange(60) % 8) for _ in range(3)]  # of three tasks, 266 items each
CUT, PARTS = -0.5, {"key": 1.0, "item": 0.5, "method and key": 0.4, "seed and key": 0.5, "seed and item": 0.3}


def experiment(
    rng: np.random.Generator, seeds: int, clusters: list[np.ndarray], effect: float = 0.0, seed_noise: float = 0.25
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two methods, each with calibration seeds, on tasks whose items share keys. effect: of the first, as a share.

    An item is right where the sum of what its key, it alone, the method and the seed do to it is above a cut.
    """
    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    shifts = rng.normal(0, seed_noise, (2, seeds, 1))
    spread = np.sqrt(sum(part**2 for part in PARTS.values()) + seed_noise**2)
    wins = effect / stats.norm.cdf(CUT / spread)  # of what is wrong without them
    for of in clusters:
        keys = of.max() + 1
        ease = rng.normal(0, PARTS["key"], keys)[of] + rng.normal(0, PARTS["item"], len(of))
        for shift, runs, won in zip(shifts, (first, second), (wins, 0), strict=True):
            noise = rng.normal(0, PARTS["method and key"], keys)[of]
            noise = noise + rng.normal(0, PARTS["seed and key"], (seeds, keys))[:, of]
            noise = noise + rng.normal(0, PARTS["seed and item"], (seeds, len(of))) + shift
            runs.append(((ease + noise > CUT) | (rng.random((seeds, len(of))) < won)).astype(float))
    return first, second


@pytest.mark.parametrize("seeds", [3, 8])
def test_200_null_experiments_with_clusters_and_seeds(seeds):
    """5 % ± 2.5 % are called different. Over items alone, with one seed, it would be many times as many."""
    rng = np.random.default_rng(7)
    crossed, items_alone = 0, 0
    for _ in range(200):
        first, second = experiment(rng, seeds, KEYS)
        crossed += crossed_difference(first, second, KEYS, test=True).p < 0.05
        single = [left[0] - right[0] for left, right in zip(first, second, strict=True)]
        own = [np.arange(len(row)) for row in single]
        items_alone += clustered.average_difference(single, own, True).p < 0.05
    assert 0.025 <= crossed / 200 <= 0.075
    assert items_alone / 200 > 0.3


def test_the_planned_size_finds_an_effect_of_2_points():
    """Planned by what a pilot without an effect has measured; at least 80 % of 100 experiments show it."""
    rng = np.random.default_rng(3)
    clusters = [np.repeat(np.arange(700), 1 + np.arange(700) % 8) for _ in range(3)]
    pilot = experiment(rng, 8, clusters, seed_noise=0.02)
    pairs = tuple((f"a{seed}", f"b{seed}") for seed in range(8))
    noise = plan_noise.measured([plan_noise.Sample(tuple(pilot[0]), tuple(pilot[1]), tuple(clusters), pairs)])
    tasks = [planning.TaskItems("a task", tuple(np.bincount(of))) for of in clusters]
    planned = planning.needed(tasks, noise, target=0.02)
    assert planned is not None
    assert planned.detectable <= 0.02
    assert planned.items_a_task < tasks[0].items
    found = 0
    for _ in range(100):
        taken = [of[rng.permutation(len(of))[: planned.items_a_task]] for of in clusters]
        assert sum(map(len, taken)) == planned.items
        first, second = experiment(rng, planned.seeds, taken, effect=0.02, seed_noise=0.02)
        one = crossed_difference(first, second, taken, test=True)
        found += one.p < 0.05 and one.value > 0
    assert found / 100 >= 0.8
