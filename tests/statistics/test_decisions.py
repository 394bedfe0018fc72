"""Decisions from one difference: what each rule holds, and how often it is wrong."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.crossed import crossed_difference
from analysis.statistics.decisions import DECISIONS, NATS, POINTS, conclusions, decide, interval_words
from analysis.statistics.differences import Difference, in_family
from analysis.study.findings import EXAMPLE

shares = st.floats(-1, 1, allow_nan=False)


@st.composite
def differences(draw) -> Difference:
    low, value, high = sorted(draw(st.tuples(shares, shares, shares)))
    p = draw(st.none() | st.floats(0, 1))
    return Difference(
        value,
        low,
        high,
        100,
        50,
        p=p,
        p_holm=p,
        final=p is not None,
        tests=draw(st.integers(1, 12)),
        seeds=draw(st.sampled_from((0, 1, 3))),
        cluster_variance=draw(st.floats(0, 0.1)),
        cluster_freedom=40,
    )


@given(differences(), st.floats(0.001, 1), st.booleans())
def test_a_decision_claims_no_more_than_interval_and_test_hold(one, margin, above):
    said = decide(one, margin, above)
    significant = one.p_holm is not None and one.p_holm < 0.05 and not one.low <= 0 <= one.high
    half = one.half(0.05 / one.tests)
    if not one.final:
        assert said == "waiting"
    elif not above:
        assert said == "at chance"
    elif one.seeds == 1:
        assert said == "one seed"
    elif -margin < one.value - half and one.value + half < margin:
        assert said == "equivalent"
    elif significant:
        assert said == ("better" if one.value > 0 else "worse")
    else:
        assert said == "cannot tell"


def test_a_p_below_5_percent_beside_an_interval_that_holds_0_is_no_yes():
    one = Difference(0.05, -0.001, 0.1, 100, 50, p=0.03, p_holm=0.03, cluster_variance=0.025**2, cluster_freedom=49)
    assert decide(one, 0.01) == "cannot tell"


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 3))
def test_a_test_that_arrives_takes_no_verdict_back(ps, later, more):
    planned = len(ps) + 1 + more
    now = in_family([Difference(0.1, 0.05, 0.15, 9, 9, p=p) for p in ps], planned)
    then = in_family([Difference(0.1, 0.05, 0.15, 9, 9, p=p) for p in (*ps, later)], planned)
    for one, other in zip(now, then, strict=False):
        assert other.p_holm <= one.p_holm + 1e-12
        assert one.tests == other.tests == planned


def test_what_is_called_detectable_is_found_in_8_of_10_studies_and_equivalence_is_seldom_wrong():
    """3 seeds crossed with 200 items, in a family of 6; the truth is what one study calls detectable, or the margin."""
    rng = np.random.default_rng(0)

    def drawn(truth: float) -> Difference:
        one = truth + rng.normal(0, 0.01, (8, 1)) + rng.normal(0, 0.1, (1, 200)) + rng.normal(0, 0.1, (8, 200))
        found = crossed_difference([0.5 + one], [np.full(one.shape, 0.5)], [np.arange(200)], test=True)
        return replace(found, p_holm=min(1.0, 6 * (found.p or 0.0)), tests=6)

    detectable = float(np.mean([drawn(0.0).detectable() for _ in range(20)]))
    found = np.mean([decide(drawn(detectable), 0.001) == "better" for _ in range(100)])
    assert 0.7 < found < 0.95
    wrong = np.mean([decide(drawn(0.04), 0.04) == "equivalent" for _ in range(100)])
    assert wrong <= 0.02
    right = np.mean([decide(drawn(0.0), 0.04) == "equivalent" for _ in range(40)])
    assert right > 0.5


def test_words():
    one = Difference(0.0123, 0.0042, 0.0204, 100, 50, p=0.01, p_holm=0.03, tests=3)
    assert interval_words(one) == "+1.2 points [+0.4, +2.0]"
    assert interval_words(Difference(0.003, 0.0001, 0.006, 9, 9)) == "+0.30 points [+0.01, +0.60]"
    assert interval_words(Difference(-0.004, -0.128, 0.119, 9, 9)) == "−0.4 points [−13, +12]"
    assert interval_words(Difference(0.0, -0.01, 0.01, 9, 9)) == "0.0 points [−1.0, +1.0]"
    assert interval_words(Difference(-0.008, -0.15, 0.134, 9, 9)) == "−1 points [−15, +13]"
    assert interval_words(Difference(0.0417, 0.0261, 0.0612, 9, 9), NATS) == "+0.042 nats [+0.026, +0.061]"
    assert (POINTS.size(0.0744), POINTS.size(0.01), POINTS.size(0.114), NATS.size(0.0213)) == (
        "7.5 points",
        "1 point",
        "12 points",
        "0.022 nats",
    )
    assert conclusions({"70 %": one}, 0.005) == "better at 70 % (+1.2 points [+0.4, +2.0])"


@pytest.mark.parametrize("name", list(DECISIONS))
def test_every_decision_says_when_it_holds(name):
    assert DECISIONS[name].help.endswith(".") and DECISIONS[name].title


def test_a_stored_difference_has_every_field():
    """Results in stores and the shipped files were written without the fields that a newer version would add."""
    with gzip.open(EXAMPLE) as file:
        stored = json.load(file)["causes"][0]["effect"]
    assert set(Difference.__dataclass_fields__) == set(stored)
