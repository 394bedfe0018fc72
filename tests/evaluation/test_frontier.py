"""Quality against cost: the frontier against a plain search, costs of settings, what is joined, and what is said."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.command_line.written_sweep import headlines
from analysis.errors import UserError
from analysis.evaluation import sweep_scores, sweep_tables
from analysis.evaluation.frontier import COSTS, QUALITIES, controlled, on_frontier, placed, settings_of
from analysis.evaluation.sweep_scores import PointScores
from analysis.exhibits.sweeps import ShippedFrontier, plane, read_planes, write_planes, written_plane
from analysis.findings import sweeps
from analysis.specs import EvictionPoint, SweepSpec, against, grid, scored_as, setting_name
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
    said = sweeps.at_same_cost(controlled(compared, points), COSTS["bytes"])
    assert said.startswith("At ") and "Sink-Wanda gains " in said and "compared with Wanda, noised (control)" in said
    assert "% of the dense model's bytes (" in said and "2 of 2 such differences are significant" in said
    points, compared = on_plane(SPEC)
    said = sweeps.at_same_cost(controlled(compared, points), COSTS["bytes"])
    assert "not significant" in said and "would have been detected" in said and " gains " not in said
    one_seed = SPEC.model_copy(update={"seeds": (0,)})
    points, compared = on_plane(one_seed, gain=0.5)
    assert "no verdict from one seed" in sweeps.at_same_cost(controlled(compared, points), COSTS["bytes"])
    assert sweeps.at_same_cost([], COSTS["bytes"]) == ""


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
    assert sorted(lengths[np.isfinite(lengths)]) == pytest.approx(sorted(100 * gains))
    names = [row[3] for trace in shown.figure.data if trace.customdata is not None for row in trace.customdata]
    assert set(shown.table["setting"]) <= set(names)


# --- evictions --------------------------------------------------------------------------------------------------

EVICTIONS = SweepSpec(
    methods=("sink-wanda", "wanda-noised"),
    sparsities=(0.5,),
    policies=("sinks",),
    budgets=(0.3, 0.6),
    seeds=tuple(range(6)),
)


def evicted_scores(gain: float, spec: SweepSpec = EVICTIONS) -> list[PointScores]:
    """Scores in which keeping sinks answers `gain` more of the items than the control, which draws flip a little."""
    points = scored(spec)
    for number, point in enumerate(points):
        pruning = point.pruning
        if not isinstance(pruning, EvictionPoint):
            continue
        tasks = []
        for task in point.tasks:
            right = (np.random.default_rng([3, round(100 * pruning.budget)]).random(len(task.keys)) < 0.6).astype(float)
            own = np.random.default_rng([4, pruning.calibration.seed if pruning.control else 0])
            if pruning.control:
                right = np.where(own.random(len(right)) < 0.05, 1 - right, right)
            changed = own.random(len(right)) < abs(gain)
            if pruning.policy == "sinks" and not pruning.control:
                right = np.where(changed, float(gain > 0), right)
            tasks.append(replace(task, pruned=right))
        points[number] = PointScores(pruning, tuple(tasks))
    return points


def on_cache(gain: float, spec: SweepSpec = EVICTIONS):
    settings = swept(evicted_scores(gain, spec), spec)
    compared = sweep_scores.comparisons(settings)
    rows = [
        {"cache bytes": 1e6 * point.budget, "dense cache bytes": 1e6} if isinstance(point, EvictionPoint) else {}
        for point in grid(spec).prunings
    ]
    return placed(settings, grid(spec).prunings, rows, COSTS["cache bytes"]), compared


def test_a_policy_is_a_point_beside_its_control_of_every_draw():
    points = [point for point in grid(EVICTIONS).prunings if isinstance(point, EvictionPoint)]
    assert Counter(point.keeping.name for point in points) == dict.fromkeys(
        [f"{name} {share} % kept" for share in (30, 60) for name in ("sinks", "recent")]
        + [f"random {share} % kept as sinks" for share in (30, 60)],
        6,
    )
    assert len({scored_as(point).model_dump_json() for point in points if not point.control}) == 4, "scored once"
    assert {str(point.keeping) for point in points if point.control and point.budget == 0.3} == {
        f"sinks:0.3:random:{seed}" for seed in range(6)
    }
    for point in points:
        control = against(point, "control")
        assert (control is not None) == (point.policy == "sinks" and not point.control)
        assert control is None or (control in points and control.calibration == point.calibration)


def test_the_cache_has_a_plane_of_its_own_with_a_sentence_on_keeping():
    points, compared = on_cache(gain=0.5)
    assert {type(point.setting.pruning) for point in points} == {EvictionPoint}
    assert [point.share for point in points] == [0.3] * 3 + [0.6] * 3
    pairs = controlled(compared, points)
    said = sweeps.at_same_cost(pairs, COSTS["cache bytes"])
    strongest = max(pairs, key=lambda pair: pair[0].difference.value)
    gain, low, high = (100 * getattr(strongest[0].difference, end) for end in ("value", "low", "high"))
    assert said.startswith(f"At {100 * strongest[1].share:.0f} % of the cache, ")
    assert f"keeping sinks and a window gains {gain:.1f} points [{low:.1f}, {high:.1f}] compared with keeping" in said
    assert "random positions of the same state, after Holm correction over" in said

    lost = sweeps.at_same_cost(controlled(on_cache(gain=-0.5)[1], on_cache(gain=-0.5)[0]), COSTS["cache bytes"])
    assert "keeping sinks and a window loses " in lost and "−" not in lost

    points, compared = on_cache(gain=0.0)
    none = sweeps.at_same_cost(controlled(compared, points), COSTS["cache bytes"])
    assert none.startswith("At ") and "keeping sinks and a window compared with keeping random positions" in none
    assert "not significant" in none and "would have been detected" in none and " gains " not in none
    one = EVICTIONS.model_copy(update={"seeds": (0,)})
    points, compared = on_cache(0.5, one)
    assert "no verdict from one seed" in sweeps.at_same_cost(controlled(compared, points), COSTS["cache bytes"])


def test_evictions_stand_among_the_verdicts_and_in_one_family_with_prunings():
    _, compared = on_cache(gain=0.5)
    assert {one.difference.tests for one in compared} == {1 + 2 + 2}, "one pruning, two budgets against two policies"
    of_control = [one for one in compared if one.relation == "control"]
    pruned, evicted = sweeps.headlines(of_control)
    assert "sink discount" in pruned.told and " sparsity" in pruned.told and pruned.discount
    assert evicted.told.startswith("Keeping sinks and a window is better than keeping random positions")
    assert "% of the cache: +" in evicted.told
    assert "2 of 2 differences are significant" in evicted.told and "the draw (6 seeds" in evicted.tested
    said = sweeps.verdicts(compared)
    kept = next(one for one in said if "random positions" in one.told)
    against = "Sinks and a window against random positions of the same state (control)"
    assert kept.told.startswith(f"{against} on the diffusion model: ")
    assert "% of the cache (" in kept.told and "the draw (6 seeds, paired)" in kept.tested
    window = next(one for one in compared if one.relation == "policy")
    assert window.difference.seeds == 0 and window.difference.p is not None and not window.difference.holds_seeds
    assert "nothing else is drawn" in next(one for one in said if "the nearest positions" in one.told).tested
    row = sweep_tables.comparison_row(next(one for one in compared if one.relation == "control" and one.shown))
    assert row["policy"] == "sinks" and row["against"] == "random"


def test_the_plane_of_the_cache_joins_every_policy_to_its_control():
    points, compared = on_cache(gain=0.5)
    shown = plane(points, compared, COSTS["cache bytes"])
    joined = shown.table.dropna(subset="control").set_index("setting")["control"].to_dict()
    assert joined == {f"sinks {share} % kept": f"random {share} % kept as sinks" for share in (30, 60)}
    assert len([trace for trace in shown.figure.data if trace.line.dash == "dot"]) == 1
    assert headlines([shown]) == [shown.finding]


def test_a_policy_that_only_comes_with_others_and_a_budget_that_is_no_share_are_refused():
    with pytest.raises(ValidationError, match="comes by itself"):
        SweepSpec(policies=("random",))
    with pytest.raises(ValidationError, match="budget is a share"):
        SweepSpec(policies=("sinks",), budgets=(1.5,))
    alone = SweepSpec(methods=("none",), policies=("recent",), budgets=(0.5, 1.0))
    assert [str(point.keeping) for point in grid(alone).prunings] == ["recent:0.5"] and not grid(alone).left_out


# --- divergence -------------------------------------------------------------------------------------------------


def diverging(gain: float) -> list[PointScores]:
    """Divergences from the dense model's answers: those of what keeps sinks are `gain` nats less than the control's."""
    points = []
    for point in evicted_scores(0.0):
        keeps = setting_name(point.pruning).startswith("sinks ")
        own = np.random.default_rng([7, point.pruning.calibration.seed, keeps])
        moved = [0.3 + 0.01 * own.random(len(task.keys)) - (gain if keeps else 0) for task in point.tasks]
        tasks = [replace(task, divergence=values) for task, values in zip(point.tasks, moved, strict=True)]
        points.append(PointScores(point.pruning, tuple(tasks)))
    return points


@pytest.mark.parametrize(
    ("gain", "said"), [(0.1, "keeps the answers 0.1"), (-0.1, "moves the answers 0.1"), (0.0, "detected")]
)
def test_closeness_to_the_dense_model_is_a_quality_of_its_own(gain, said):
    quality = QUALITIES["divergence"]
    settings = settings_of(diverging(gain), grid(EVICTIONS).prunings, quality)
    assert all(setting.above_chance for setting in settings), "decided by the accuracy of the dense model"
    compared = sweep_scores.comparisons(settings)
    rows = [
        {"cache bytes": 1e6 * point.budget, "dense cache bytes": 1e6} if isinstance(point, EvictionPoint) else {}
        for point in grid(EVICTIONS).prunings
    ]
    points = placed(settings, grid(EVICTIONS).prunings, rows, COSTS["cache bytes"])
    shown = plane(points, compared, COSTS["cache bytes"], quality=quality)
    assert shown.name == "frontier-divergence-cache-bytes" and said in shown.finding and "nats" in shown.finding
    row = shown.table.set_index("setting").loc["sinks 30 % kept"]
    assert row["divergence"] == pytest.approx(0.305 - gain, abs=0.01) and row["low"] < row["divergence"] < row["high"]
    assert row["gain over the control"] == pytest.approx(gain, abs=0.01)


def test_planes_come_back_from_a_small_file_as_they_were(tmp_path):
    points, compared = on_cache(gain=0.5)
    shown = plane(points, compared, COSTS["cache bytes"])
    full = (1.0, points[0].setting.dense.value)
    kept = written_plane(shown, full, "cache bytes", "accuracy", "")
    write_planes(ShippedFrontier(command="sweep", planes=(kept,), verdicts=("said",)), tmp_path / "frontier.json.gz")
    again = read_planes(tmp_path / "frontier.json.gz").planes[0].shown()
    assert again.figure.to_json() == shown.figure.to_json() and again.told == shown.told
    assert again.table.to_dict("records")[0]["setting"] == shown.table["setting"][0]
    (tmp_path / "frontier.json.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="no frontier that this version can read"):
        read_planes(tmp_path / "frontier.json.gz")
