"""Quality against cost: the frontier against a plain search, costs of settings, what is joined, and what is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evaluation import sweep_scores
from analysis.evaluation.frontier import COSTS, controlled, finding, on_frontier, placed
from analysis.evaluation.frontier_exhibit import plane
from analysis.specs import SweepSpec, grid
from tests.evaluation.test_sweep_scores import SPEC, scored, swept


def rows(spec: SweepSpec) -> list[dict]:
    """A table of points: 10 MB dense; sparsity and bits save, and each seed weighs a little more than the last."""
    return [
        {
            "bytes": 1e7 * (1 - pruning.sparsity) * pruning.quantization.bits / 16 + pruning.calibration.seed,
            "dense bytes": 1e7,
        }
        for pruning in grid(spec).prunings
    ]


def on_plane(spec: SweepSpec, gain: float = 0.0):
    settings = swept(scored(spec, gain), spec)
    compared = sweep_scores.comparisons(settings)
    return placed(settings, grid(spec).prunings, rows(spec), COSTS["bytes"]), compared


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_frontier_holds_what_no_point_beats(points):
    cost, quality = map(np.array, zip(*points, strict=True))
    for index, on in enumerate(on_frontier(cost, quality)):
        beaten = any(
            c <= cost[index] and q >= quality[index] and (c, q) != (cost[index], quality[index]) for c, q in points
        )
        assert on != beaten


def test_a_setting_costs_what_its_seeds_cost_and_its_interval_holds_its_accuracy():
    points, _ = on_plane(SPEC)
    assert [point.cost for point in points] == sorted(point.cost for point in points)
    for point in points:
        expected = 1e7 * (1 - point.setting.pruning.sparsity) + np.mean(point.setting.seeds)
        assert point.cost == pytest.approx(expected * 1e-6) and point.share == pytest.approx(expected / 1e7)
        assert point.quality.value == pytest.approx(point.setting.accuracy)
        assert point.quality.low < point.quality.value < point.quality.high
        assert (point.quality.holds_seeds and point.quality.p is None) or not point.quality.final
    unknown = [{"bytes": None, "dense bytes": None}] * len(grid(SPEC).prunings)
    assert placed(swept(scored(SPEC), SPEC), grid(SPEC).prunings, unknown, COSTS["bytes"]) == []


def test_what_is_said_is_the_largest_significant_gain_or_what_would_have_been_seen():
    points, compared = on_plane(SPEC, gain=0.5)
    said = finding(controlled(compared, points), COSTS["bytes"])
    assert said.startswith("At ") and "Sink-Wanda gains " in said and "compared with Wanda, noised (control)" in said
    assert "% of the dense model's bytes (" in said and "2 of 2 such differences are significant" in said
    points, compared = on_plane(SPEC)
    said = finding(controlled(compared, points), COSTS["bytes"])
    assert "not significant" in said and "would have been detected" in said and " gains " not in said
    one_seed = SPEC.model_copy(update={"seeds": (0,)})
    points, compared = on_plane(one_seed, gain=0.5)
    assert "no verdict from one seed" in finding(controlled(compared, points), COSTS["bytes"])
    assert finding([], COSTS["bytes"]) == ""


def test_each_sink_aware_setting_is_drawn_once_and_joined_to_its_control():
    spec = SweepSpec(
        methods=("none", "sink-wanda", "wanda-noised", "magnitude"),
        sparsities=(0.5,),
        bits=(16, 4),
        quantizers=("gptq-noised", "sink-gptq", "rtn"),
        seeds=(0, 1),
    )
    points, compared = on_plane(spec)
    shown = plane(points, compared, COSTS["bytes"])
    assert shown is not None and len(shown.table) == len(points)
    joined = shown.table.dropna(subset="control").set_index("setting")["control"].to_dict()
    assert joined == {
        "none 0 4-bit Sink-GPTQ": "none 0 4-bit GPTQ noised",
        "sink-wanda 0.5": "wanda-noised 0.5",
        "sink-wanda 0.5 4-bit Sink-GPTQ": "wanda-noised 0.5 4-bit GPTQ noised",
        "sink-wanda 0.5 4-bit GPTQ noised": "wanda-noised 0.5 4-bit GPTQ noised",
        "sink-wanda 0.5 4-bit RTN": "wanda-noised 0.5 4-bit RTN",
        "magnitude 0.5 4-bit Sink-GPTQ": "magnitude 0.5 4-bit GPTQ noised",
        "wanda-noised 0.5 4-bit Sink-GPTQ": "wanda-noised 0.5 4-bit GPTQ noised",
    }
    dotted = [trace for trace in shown.figure.data if trace.line.dash == "dot"]
    ends = np.concatenate([np.asarray(trace.y, float).reshape(-1, 3)[:, :2] for trace in dotted])
    gains = shown.table.dropna(subset="control")["gain over the control"]
    lengths = ends[:, 0] - ends[:, 1]
    assert sorted(lengths[np.isfinite(lengths)]) == pytest.approx(sorted(gains))
    names = [row[3] for trace in shown.figure.data if trace.customdata is not None for row in trace.customdata]
    assert set(shown.table["setting"]) <= set(names)
