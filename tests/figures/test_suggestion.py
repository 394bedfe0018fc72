"""Figures of a search: what they draw of the trials."""

import numpy as np

from analysis.figures import tuning

NAMES = ["a", "b", "c", "d", "e", "f"]
REFERENCES = {"published": 0.5, "no discount": 0.51}


def trace(figure, name):
    return next(one for one in figure.data if one.name == name)


def test_a_history_shows_the_best_so_far_and_both_references():
    figure = tuning.history([0.5, 0.51, 0.48, 0.49, 0.47, 0.5], NAMES, REFERENCES, "output error", False, 10, 4, 2e-4)
    assert list(trace(figure, "best so far").y) == [50, 50, 48, 48, 47, 47]
    assert set(trace(figure, "published").y) == {50} and trace(figure, "no discount").x[-1] == 9
    low, high = figure.layout.yaxis.range
    assert low < 47 and high > 51 and figure.layout.yaxis.ticksuffix == " %"
    upward = tuning.history([0.5, 0.51, 0.48], NAMES[:3], REFERENCES, "accuracy", True, 3, 2, 2e-3)
    assert list(trace(upward, "best so far").y) == [50, 51, 51]


def test_what_another_seed_changes_is_a_band_inside_the_axis():
    floor = (0.4, 0.62)
    figure = tuning.history([0.5, 0.51], NAMES[:2], REFERENCES, "output error", False, 4, 4, 2e-4, floor)
    (band,) = figure.layout.shapes
    assert (band.y0, band.y1) == (40, 62) and band.showlegend and band.name == "another calibration seed"
    low, high = figure.layout.yaxis.range
    assert low < 40 and high > 62
    assert not tuning.history([0.5], NAMES[:1], REFERENCES, "output error", False, 4, 4, 2e-4).layout.shapes


def test_a_trial_far_worse_than_the_rest_stands_at_the_edge_and_tells_its_value():
    figure = tuning.history([0.5, 0.51, 0.48, 0.49, 3.0, 0.5], NAMES, REFERENCES, "output error", False, 6, 4, 2e-4)
    trials = trace(figure, "trial")
    assert figure.layout.yaxis.range[1] < 60 and trials.y[4] < 60
    assert list(trials.marker.symbol).index("triangle-up") == 4 and "300" in trials.customdata[4]
    best = tuning.history([0.5, 0.51, 0.5, 0.5, 0.1, 0.5], NAMES, REFERENCES, "output error", False, 6, 4, 2e-4)
    assert best.layout.yaxis.range[0] < 10 and "triangle-up" not in trace(best, "trial").marker.symbol


def test_trials_that_are_all_alike_have_an_axis_around_them():
    figure = tuning.history([0.5, 0.5], NAMES[:2], {"published": 0.5}, "accuracy", True, 12, 2, 2e-3)
    low, high = figure.layout.yaxis.range
    assert 49 < low < 50 < high < 51


def test_importances_are_bars_with_the_largest_on_top():
    figure = tuning.importances({"k": 0.2, "λ": 0.7, "α": 0.1})
    (bars,) = figure.data
    assert list(bars.y) == ["α", "k", "λ"] and np.allclose(bars.x, [10, 20, 70])
