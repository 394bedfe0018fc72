"""What maps of heads, experts and two texts of one prompt show: the numbers of the plot, and silence where chance would
give as much.
"""

import numpy as np

from analysis.findings import finding_of
from analysis.sinks import routing
from analysis.words import percent

NAMES = ["‘the’ at 0", "‘cat’ at 1", "‘.’ at 2", "‘sat’ at 3"]


def test_a_map_names_the_token_that_its_queries_rest_on():
    pattern = np.tile([0.05, 0.05, 0.8, 0.1], (4, 1))
    said = finding_of("attention map", pattern, NAMES, np.full(4, 0.25))
    assert said == (
        "‘.’ at 2 takes 80 % of this head's attention, 3.2 times what uniform attention gives it; 4 of 4 tokens attend "
        "to it most."
    )
    assert finding_of("attention map", np.full((4, 4), 0.25), NAMES, np.full(4, 0.25)) == ""
    causal = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
    assert finding_of("attention map", causal, NAMES, causal.mean(axis=0)) == ""


def test_the_head_that_changes_most_is_held_against_random_weights_or_the_median_head():
    values = np.array([[[0.1, 0.2]], [[0.6, 0.21]], [[0.3, 0.2]]])
    said = finding_of("chosen steps", values, [0, 5, 9], True)
    assert said.startswith("Layer 0, head 0 changes most: 10 % in step 0, 60 % in step 5; the median head changes by 2")
    assert "of an equally sharp untrained model none by more than 0 %" in finding_of(
        "chosen steps", values, [0, 5, 9], True, 0 * values
    )
    assert finding_of("chosen steps", values, [0, 5, 9], True, 3 * values) == ""
    assert (
        finding_of("chosen steps", values[:1], [0], True)
        == ""
        == finding_of("chosen steps", np.ones((2, 1, 2)), [0, 1], 0)
    )


def test_common_sinks_and_flips_beyond_chance():
    shared, chance = np.array([np.nan, 0.7, 0.8]), np.full(3, 0.1)
    assert finding_of("common sinks", shared, chance, 9).startswith("75 % of this text's sinks are sinks beside it")
    assert finding_of("common sinks", chance, chance, 9) == "" == finding_of("common sinks", shared, chance, 0)
    assert finding_of("common sinks", np.array([0.3]), np.array([0.25]), 9) == ""
    said = finding_of("flips", 1.2, 3.0, 4.8, np.array([0, 2.5, 0.5]))
    assert said == "3.0 tokens per text come to differ (1.2 to 4.8), most of them in step 1."
    assert finding_of("flips", 0.0, 0.5, 1.0, np.array([0.5])) == ""


def test_experts_are_spoken_of_where_random_choices_would_be_more_even():
    rng = np.random.default_rng(0)
    even = rng.multinomial(400, np.full(8, 1 / 8), size=3) / 400
    skewed = even.copy()
    skewed[1] = [0.65, *[0.05] * 7]
    assert finding_of("load of experts", even, [0, 1, 2], 400) == ""
    assert finding_of("load of experts", skewed, [0, 4, 8], 400).startswith(
        "Expert 0 of layer 4 gets 5.2 times an even"
    )
    entropy, unused = routing.entropy(skewed), routing.unused(skewed)
    said = finding_of("evenness of experts", entropy, unused, [0, 4, 8], 8, 400)
    assert said.startswith(f"Layer 4 is the least even, with {percent(entropy[1], 0)} of the largest entropy")
    assert finding_of("evenness of experts", routing.entropy(even), routing.unused(even), [0, 1, 2], 8, 400) == ""


def test_routes_of_sinks_their_turnover_and_one_route_beyond_chance():
    drawn = np.array([0.1, 0.2, 0.3])
    assert "45 % of the sinks' choices" in finding_of("routes of sinks", 0.45, drawn, 2)
    assert finding_of("routes of sinks", 0.3, drawn, 2) == ""
    assert finding_of("turnover of routes", np.array([np.nan, 0.2]), 2, 8).startswith(
        "20 % of a token's experts are not"
    )
    assert finding_of("turnover of routes", np.array([0.8]), 2, 8) == ""
    assert finding_of("turnover of routes", np.array([np.nan]), 2, 8) == ""
    rng = np.random.default_rng(1)
    assert finding_of("route of a token", np.tile(rng.integers(0, 8, 4), (9, 1)).astype(float), 8).endswith(
        "in 100 % of steps and layers, 12 % by chance."
    )
    assert finding_of("route of a token", rng.integers(0, 8, (200, 4)).astype(float), 8) == ""
    assert finding_of("route of a token", np.full((5, 4), np.nan), 8) == ""
