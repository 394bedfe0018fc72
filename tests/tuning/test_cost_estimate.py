"""The time of a search by the trials measured before."""

from analysis.engine.cost_estimate import search_time


def test_trials_to_come_take_as_long_as_those_measured():
    time = search_time([2.0, 0.0, 2.0, 2.0, 4.0], 40)
    assert time is not None and (time.median, time.measured) == (80.0, 4)
    assert time.low <= time.median < time.high <= 160.0


def test_of_none_measured_nothing_is_foretold():
    assert search_time([], 40) is None
    assert search_time([0.0, 0.0], 40) is None, "trials that were remembered took no time"
