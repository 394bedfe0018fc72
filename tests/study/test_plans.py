"""Claims about the sizes of a study: what they show, rule out and cost, and the cheapest that reach their power."""

from itertools import pairwise

import pytest

from analysis import __version__, hub
from analysis.engine import Engine
from analysis.engine.studies import children_of, new_study
from analysis.evaluation import plan_noise, planning
from analysis.evaluation.ablation_effects import TESTED
from analysis.evaluation.presets import SHAPES, known_sizes, scorings
from analysis.exhibits import study_report as report
from analysis.machine.speed import CARDS
from analysis.specs import SIZES, ModelSpec, PlanParams
from analysis.specs.sweep import written_out
from analysis.statistics.differences import Difference
from analysis.study import plans, registration, rules
from analysis.study.findings import EXAMPLE, read
from analysis.study.gather_pruning import planned_causes
from analysis.words import percent
from tests.helpers import ROOT
from tests.study.test_cost_estimate import ALIKE

ASSUMED = planning.assumed(PlanParams())
LARGE = ModelSpec(source="llada-8b-base")


@pytest.fixture
def engine(store):
    made = Engine(store, alone=True)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: False)


def test_a_plan_counts_the_tests_that_the_study_makes():
    """Those of the shipped example, and SparseGPT's control, which is its published baseline, once."""
    example = read(EXAMPLE)
    spec = new_study(ModelSpec(), **ALIKE)
    causes = planned_causes(spec, [plans.Part("causes", {}, "waiting")])
    assert causes >= 2 * len(TESTED)
    assert plans.planned_tests(spec) == causes + sum(1 for _ in example.pruning.contrasts)
    pair = new_study(ModelSpec(), methods=("sparsegpt", "sink-sparsegpt"), sparsities=(0.5,))
    assert plans.planned_tests(pair) == causes + 1
    assert children_of(spec)["causes"], "its sinks can be hidden"


def test_paper_reaches_80_percent_for_half_a_point_and_says_what_it_costs():
    spec = new_study(LARGE, "paper")
    plan = plans.plan_of(spec, ASSUMED)
    assert spec.difference == 0.5 and plan.power >= planning.POWER and plan.detectable <= 0.005
    fewer = plans.plan_of(spec.model_copy(update={"seeds": (0, 1, 2)}), ASSUMED)
    assert fewer.power < 0.05, "three seeds almost surely show nothing"
    *benchmarks, one, every = plans.hours_table(spec)
    gsm8k = next(row for row in benchmarks if row["benchmark"] == "GSM8K")
    assert gsm8k["forwards"] == f"{1319 * 1024:,}"
    hellaswag = next(row for row in benchmarks if row["benchmark"] == "HellaSwag")
    assert hellaswag["forwards"] == f"{10_042 * 4 * 128 * 2:,}"
    assert one["benchmark"] == "one model" and every["benchmark"] == "all 201 models"
    assert all("days" in every[card.name] for card in CARDS)


def test_standard_reaches_its_difference_with_the_noise_assumed():
    plan = plans.plan_of(new_study(ModelSpec(), "standard"), ASSUMED)
    assert plan.power >= planning.POWER


def test_designs_reach_the_power_for_less_and_their_flags_ask_for_them():
    spec = new_study(LARGE, "paper")
    found = plans.designs(spec, ASSUMED)
    assert 2 <= len(found) <= 3 and found == sorted(found, key=lambda one: one.seconds)
    scored, _ = scorings(spec.tasks, spec.limit, spec.draws)
    whole = 201 * sum(one.seconds(plans.WEIGHTS, CARDS[0]) for one in scored)
    for design in found:
        assert design.plan.power >= planning.POWER and design.seconds < whole
        again = plans.plan_of(design.spec, ASSUMED)
        assert again.tests == design.plan.tests == plans.planned_tests(design.spec)
        assert again.detectable == pytest.approx(design.plan.detectable, rel=1e-6)
        assert design.models == len(design.spec.seeds) * len(design.spec.methods) * len(design.spec.sparsities) + 1
    told = plans.designs_in_words(spec, found)
    assert told[0] == "Cheapest studies that show a difference of 0.5 points with 80 % probability:"
    assert "--tasks " in told[1] and "--seeds 0-" in told[1]
    tiny = spec.model_copy(update={"difference": 0.01})
    assert plans.designs_in_words(tiny, plans.designs(tiny, ASSUMED)) == [
        "No number of seeds up to 32 shows a difference of 0.01 points with 80 % probability on these benchmarks."
    ]


def test_every_size_stands_beside_the_others_with_power_equivalence_and_time(engine):
    spec = new_study(ModelSpec(), seeds=(0, 1, 2))
    found = plans.sizes_of(engine, spec.model, read(EXAMPLE), spec)
    assert [one.title for one in found] == [plans.AS_SET, *(size.title for size in SIZES.values())]
    rows = {row["size"]: row for row in plans.sizes_table(found)}
    assert all(set(row) == set(rows["Quick"]) and all(row.values()) for row in rows.values())
    assert rows["Standard"]["asked about"] == "1 point" and rows["Standard"]["seeds"] == "14"
    assert "computed" in rows["Paper"]["time"] and "computed" not in rows["Quick"]["time"]
    assert found[0].plan.detectable > 2 * found[1].plan.detectable, "three seeds show less than six"
    told = plans.how_planned(plans.noise_of(spec, read(EXAMPLE)))
    share = plans.noise_of(spec, read(EXAMPLE)).disagreement
    assert f"Noise measured in the study that ships: two runs score {percent(share, 1)} of the items" in told
    assert 0 < share != ASSUMED.disagreement


def test_the_noise_that_differences_had_is_read_from_their_variances():
    """The variances that `plan` derives from a noise give it back, but for the caution about few degrees of freedom."""
    tasks, _ = known_sizes(("bundled",))
    noise = planning.Noise(0.03, 0.5, 0.4, 0.004, "true")
    seeds, grown = 2000, planning.Sizes.of(tasks, 64, noise).noise
    whole = noise.disagreement * grown
    shared = whole * noise.changing / seeds
    one = Difference(
        0.0,
        -1.0,
        1.0,
        384,
        370,
        seeds=seeds,
        cluster_variance=whole * (1 - noise.changing) + shared,
        cluster_freedom=1e6,
        seed_variance=noise.seed_spread**2 / seeds + shared,
        seed_freedom=seeds - 1,
        shared_variance=shared,
    )
    found = plan_noise.seen([one], tasks, 64, "read")
    assert found.disagreement == pytest.approx(noise.disagreement, rel=0.01)
    assert found.changing == pytest.approx(noise.changing)
    assert found.seed_spread == pytest.approx(noise.seed_spread, rel=0.3)
    assert plan_noise.seen([], tasks, 64, "read") == planning.assumed(PlanParams())


def test_bundled_items_have_the_lengths_that_are_said():
    import json
    from statistics import mean

    from analysis.evaluation.bundled.data import FOLDER

    for name in ("agreement", "reference", "story"):
        rows = list(map(json.loads, (FOLDER / f"{name}_test.jsonl").read_text(encoding="utf-8").splitlines()))
        shape = SHAPES[f"bundled_{name}"]
        assert mean(len(row["choices"]) for row in rows) == shape.choices
        words = mean(len(choice.split()) for row in rows for choice in row["choices"])
        assert shape.answer == pytest.approx(words, rel=0.15), "a word is a token in the bundled model's world"


def test_the_report_names_the_plan_by_its_hash_and_lists_every_departure():
    example = read(EXAMPLE)
    spec = new_study(ModelSpec(), **ALIKE)
    plan = registration.register(spec)
    asked = spec.model_copy(update={"registration": plan}).model_dump(mode="json")
    same = registration.registered(example.model_copy(update={"spec": asked, "tests": plan.tests}), [])
    assert same.registered.departures == ()
    assert rules.asked(same).endswith(f"(SHA-256 {plan.digest}). No departure.")
    fewer = spec.model_copy(update={"seeds": (0, 1), "registration": plan})
    pruning = example.pruning.model_copy(
        update={"settings": (example.pruning.settings[0].model_copy(update={"seeds": (0,)}),)}
    )
    parts = tuple(
        part.model_copy(update={"state": "failed", "reason": "Memory ran out."}) if part.name == "causes" else part
        for part in example.parts
    )
    other = example.model_copy(
        update={
            "spec": fewer.model_dump(mode="json"),
            "tests": plan.tests - 3,
            "pruning": pruning,
            "parts": parts,
            "environment": {"versions": {"sinkscope": "0.0.1"}},
        }
    )
    told = registration.registered(other, [0.0, 4e9]).registered.departures
    assert told == (
        "Calibration seeds: 0, 1, 2, 3, 4 and 5 planned, 0 and 1 used.",
        f"{plan.tests} tests planned, {plan.tests - 3} made.",
        "Do they matter?: This part failed. Memory ran out.",
        "Wanda at 50 %: 6 calibration seeds planned, 1 scored.",
        f"Planned with SinkScope {__version__}, scored with 0.0.1.",
        "1 of its jobs were finished before the plan was made, for an earlier request.",
    )
    assert registration.registered(example, []) is example, "no plan, nothing to depart from"
    assert plan.digest in "".join(report._verdict_lines(same)) + rules.asked(same)


def test_the_sweep_of_the_walk_through_can_tell_half_a_point_in_the_hours_it_names():
    """The claim of docs/llada-8b.md about its own command."""
    text = (ROOT / "docs" / "llada-8b.md").read_text(encoding="utf-8")
    words = next(line for line in text.splitlines() if "analysis sweep" in line).split()
    flags = dict(pairwise(words))
    seeds, tasks = written_out([flags["--seeds"]]), tuple(flags["--tasks"].split(","))
    limit, methods = int(flags["--limit"]), flags["--methods"].split(",")
    sizes, _ = known_sizes(tasks)
    assert planning.plan(sizes, ASSUMED, limit, len(seeds)).detectable <= 0.005
    few = planning.plan(known_sizes(("arc_challenge",))[0], ASSUMED, 300, 4)
    assert "300 items of one benchmark with 4 seeds show 2 points" in text and round(100 * few.detectable, 1) == 2.0
    models = len(methods) * len(seeds) + 1
    hours = models * sum(one.seconds(plans.WEIGHTS, CARDS[0]) for one in scorings(tasks, limit, None)[0]) / 3600
    assert f"Scoring its {models} models takes about {hours:.0f} hours of one H100" in text
