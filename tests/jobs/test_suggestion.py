"""Searching the discount: its space, the same trials however often it is cut off, and honest comparisons at the end."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from analysis.__main__ import main
from analysis.errors import UserError
from analysis.evaluation import tasks
from analysis.job_context import Cancelled
from analysis.jobs import JOBS, objectives
from analysis.models.load import register
from analysis.sinks.discount import step_weights
from analysis.specs import (
    CalibrateSpec,
    CalibrationParams,
    DiscountParams,
    EvaluateSpec,
    ModelSpec,
    StatisticsParams,
    SuggestSpec,
    TuneParams,
)
from analysis.tuning import collect
from analysis.tuning import effects as tuning
from analysis.tuning.search_space import Search, space
from docs.parameters import document
from tests.command_line.surface import holds_fields
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, tiny_llada
from tests.jobs import added_objective
from tests.tuning.exact import calibrated, token_file

NAMES = ("sink_std", "sink_alpha", "alpha_unit", "discount_strength")


@pytest.fixture
def spec(tmp_path):
    """Makes specs of quick searches on a golden checkpoint."""
    data = token_file(tmp_path / "text.jsonl", 16, 32)
    calibration = CalibrationParams(data=data, samples=3, seq_len=32, step_interval=25)
    usual = {
        "model": ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"),
        "trials": 14,
        "statistics": StatisticsParams(calibration=calibration, heldout=2),
    }
    return lambda **changes: SuggestSpec(**{**usual, **changes})


def suggested(spec, folder, context=None, home="home"):
    """What a search in `folder` finds; those beside it with the same home know each other's trials."""
    folder.mkdir(exist_ok=True)
    return JOBS["suggest"].run(spec, context or QuietContext(folder, folder.parent / home)).summary


def tried(summary):
    return [(row["name"], row["discount"], row["value"]) for row in summary["trials"]]


# --- the space and the sampler ----------------------------------------------------------------------------------


def test_the_space_is_that_of_the_fields():
    found = space(tuple(DiscountParams.model_fields), {"sink_steps": ["mean"]})
    assert (found["sink_std"].low, found["sink_std"].high, found["sink_std"].step) == (0, 6, 0.1)
    assert (found["sink_alpha"].low, found["sink_alpha"].high) == (0.5, 50)
    assert found["alpha_unit"].choices == ("raw", "std")
    assert "sink_steps" not in found
    search = Search(found, DiscountParams(sink_steps="mean"), 0, False)
    for _ in range(30):
        setting = search.ask()
        assert DiscountParams.model_validate(setting.model_dump()) == setting and search.holds(setting)
        assert setting.sink_steps == "mean" and round(setting.sink_std, 1) == setting.sink_std
        search.tell(setting, setting.sink_std)
    assert not search.holds(DiscountParams())


def test_the_sampler_finds_what_matters_and_goes_the_way_it_is_told():
    def run(maximise):
        search = Search(space(NAMES), DiscountParams(), 1, maximise)
        for _ in range(40):
            setting = search.ask()
            search.tell(setting, abs(setting.sink_std - 4))
        late = [abs(search.ask().sink_std - 4) for _ in range(1)]
        return search.importances(), late[0]

    (importances, near), (_, far) = run(False), run(True)
    assert next(iter(importances)) == "sink_std" and importances["sink_std"] > 0.5
    assert sum(importances.values()) == pytest.approx(1)
    assert near < 1.5 < far


def test_importance_waits_for_trials_and_is_silent_where_all_are_alike():
    search = Search(space(NAMES), DiscountParams(), 0, False)
    for _ in range(9):
        assert search.importances() == {} or len(search.importances()) == len(NAMES)
        search.tell(search.ask(), 1.0)
    assert search.importances() == {}


# --- the job, by output error -----------------------------------------------------------------------------------


def test_a_search_runs_held_out_text_and_another_seed_once(spec, tmp_path, monkeypatch):
    run, fill_part = [], collect.fill_part
    monkeypatch.setattr(collect, "fill_part", lambda part, *rest: (run.append(part), fill_part(part, *rest)))
    first = suggested(spec(trials=3), tmp_path / "job")
    assert run == ["heldout", "seed_floor"]
    assert suggested(spec(trials=4), tmp_path / "job")["floor"] == first["floor"] and len(run) == 2


def test_every_trial_is_the_error_of_its_setting(spec, tmp_path):
    asked = spec(searched=(*NAMES, "sink_scope"), setting=TuneParams(sparsity=0.4, step_weighting="noisy"))
    summary = suggested(asked, tmp_path / "job")
    assert [row["name"] for row in summary["trials"][:2]] == ["published", "no discount"]
    assert len(summary["trials"]) == 14 and set(summary["searched"]) == set(asked.searched)
    statistics = calibrated(CalibrateSpec(model=asked.model, **dict(asked.statistics)), tmp_path)
    steps = step_weights(statistics.info.levels, 50, asked.setting)
    for row in summary["trials"][::4]:
        discount = DiscountParams(**row["discount"])
        weights = tuning.group_weights(statistics.mass, "tokens", discount)
        effects = []
        for index in range(statistics.info.layers):
            layer = statistics.layer(index, discount)
            own = weights[:, :, index if weights.shape[2] > 1 else 0]
            plain = tuning.plain_layer(layer, steps, 0.4)
            effects.append(tuning.layer_effect(layer, plain, own, steps, 0.4))
        total = tuning.total(tuning.together(effects), statistics.sizes)
        assert row["value"] == pytest.approx(total.error, rel=1e-6)
        assert row["facts"]["changed"] == pytest.approx(total.changed)
        assert row["published"] == summary["trials"][0]["value"]
    values = [row["value"] for row in summary["trials"]]
    other = asked.statistics.calibration.model_copy(update={"seed": summary["floor"]["seed"]})
    swapped = calibrated(
        CalibrateSpec(model=asked.model, **dict(asked.statistics.model_copy(update={"calibration": other}))), tmp_path
    )
    masks = [
        [
            tuning.pruned_mask(layer.weights[name], steps @ layer.plain[given], 0.4)
            for layer in (each.layer(index, DiscountParams()) for index in range(each.info.layers))
            for name, given in layer.inputs.items()
        ]
        for each in (statistics, swapped)
    ]
    differ = sum(int((one != two).sum()) for one, two in zip(*masks, strict=True))
    assert summary["floor"]["changed"] == pytest.approx(differ / statistics.sizes.sum()) and differ
    errors = []
    for index in range(statistics.info.layers):
        layer = statistics.layer(index, DiscountParams())
        for name, given in layer.inputs.items():
            mask, gram = masks[1][len(errors)], layer.grams[given]
            energy = tuning.output_energy(layer.weights[name], gram)
            errors.append(tuning.output_error(layer.weights[name], mask, gram, energy))
    assert summary["floor"]["value"] == pytest.approx(np.mean(errors), rel=1e-6)
    assert summary["best"] == int(np.argmin(values)) and summary["comparison"] is None
    assert summary["trials"][1]["facts"]["changed"] == 0


def test_a_search_that_is_stopped_cancelled_and_asked_for_more_is_the_one_without_a_break(spec, tmp_path, monkeypatch):
    class Breaking(QuietContext):
        """Ends at a trial, as the panel or the engine would end it."""

        def __init__(self, folder, at, how):
            super().__init__(folder, folder.parent / "home")
            self.at, self.how = at, how

        def progress(self, phase, done=0, total=0, **details):
            super().progress(phase, done, total, **details)
            if phase == "trying settings" and done == self.at:
                if self.how == "cancel":
                    raise Cancelled
                self.stop = True

    judged = []
    real = objectives.OutputError.value
    monkeypatch.setattr(objectives.OutputError, "value", lambda self, *rest: judged.append(1) or real(self, *rest))
    part = tmp_path / "part"
    part.mkdir()
    stopped = suggested(spec(), part, Breaking(part, 4, "stop"))
    assert stopped["stopped"] and 4 <= len(stopped["trials"]) <= 5
    context = Breaking(part, 9, "cancel")
    with pytest.raises(Cancelled):
        suggested(spec(), part, context)
    assert len(context.said[-1][3]["trials"]) == 9
    ended = suggested(spec(), part)
    assert not ended["stopped"] and len(ended["trials"]) == 14
    assert len(judged) == 14
    more = suggested(spec(trials=17), part)
    assert tried(more)[:14] == tried(ended) and len(judged) == 17
    assert tried(suggested(spec(trials=17), tmp_path / "whole", home="another home")) == tried(more)
    assert tried(suggested(spec(seed=1), tmp_path / "seed"))[2:] != tried(ended)[2:]


def test_what_cannot_be_judged_is_left_out_or_refused_in_a_sentence(spec, tmp_path):
    bins = spec().statistics.model_copy(update={"grouping": "bins"})
    summary = suggested(spec(statistics=bins, searched=("sink_std", "sink_scope", "sink_steps")), tmp_path / "bins")
    assert summary["searched"] == ["sink_std"]
    assert any("sink_scope layer was left out" in note for note in summary["notes"])
    assert any("bins miss" in note or "far bins are off" in note for note in summary["notes"])
    with pytest.raises(UserError, match="Nothing is left to search"):
        suggested(spec(statistics=bins, searched=("sink_scope",)), tmp_path / "bins")
    held = TuneParams(discount=DiscountParams(sink_steps="mean"))
    with pytest.raises(UserError, match="needs a run"):
        suggested(spec(statistics=bins, setting=held), tmp_path / "bins")


def test_references_outside_the_space_are_tried_all_the_same(spec, tmp_path):
    held = TuneParams(discount=DiscountParams(sink_score="hard", discount_strength=0.5))
    summary = suggested(spec(setting=held, searched=("sink_std",), trials=4), tmp_path / "job")
    settings = [row["discount"] for row in summary["trials"]]
    assert settings[0] == DiscountParams().model_dump() and settings[1]["discount_strength"] == 0
    assert all(row["sink_score"] == "hard" and row["discount_strength"] == 0.5 for row in settings[2:])


# --- by accuracy ------------------------------------------------------------------------------------------------


def test_the_parts_of_a_task_share_no_item(tmp_path):
    def items(part, seed=0, limit=None):
        asked = EvaluateSpec(tasks=("bundled_knowledge",), part=part, seed=seed, limit=limit)
        (benchmark,), _ = tasks.load_benchmarks(asked, None)
        return [document.id for document in benchmark.documents]

    everything, tuned, reported = (items(part) for part in ("all", "tuning", "reported"))
    assert sorted([*tuned, *reported]) == sorted(everything) and not set(tuned) & set(reported)
    assert 0.15 < len(tuned) / len(everything) < 0.35
    assert set(items("tuning", seed=9)) == set(tuned) and items("tuning", seed=9) != tuned
    assert items("tuning", limit=20) == tuned[:20]


def test_by_accuracy_settings_prune_the_model_and_the_best_is_compared_on_other_items(spec, tmp_path, monkeypatch):
    calibration = CalibrationParams(samples=2, seq_len=16, step_interval=25)
    register()  # saves under the authors' names
    model = ModelSpec(source=tiny_llada(tmp_path / "tiny", 0), device="cpu")
    asked = spec(
        model=model,
        statistics=StatisticsParams(calibration=calibration),
        objective="accuracy",
        trials=3,
        tasks=("bundled_agreement", "bundled_knowledge"),
        limit=8,
        draws=4,
        reported_limit=10,
        setting=TuneParams(sparsity=0.6, step_weighting="clean"),
    )
    seen, pruned = [], []
    evaluate, prune = objectives.evaluate, objectives.prune
    monkeypatch.setattr(objectives, "evaluate", lambda spec, context: seen.append(spec) or evaluate(spec, context))
    monkeypatch.setattr(objectives, "prune", lambda spec, context: pruned.append(spec) or prune(spec, context))
    summary = suggested(asked, tmp_path / "job")
    rows = summary["trials"]
    assert [one.part for one in seen] == ["tuning"] * 4 + ["reported"]
    floor = pruned.pop(2)  # after both references, the undiscounted one with another seed
    assert (floor.discount.discount_strength, floor.calibration.seed) == (0, calibration.seed + 1)
    assert summary["floor"]["seed"] == 1 and 0 <= summary["floor"]["value"] <= 1
    assert [one.discount.model_dump() for one in pruned[:3]] == [row["discount"] for row in rows]
    assert all(one.method == "sink-wanda" and one.sparsity == 0.6 and one.calibration == calibration for one in pruned)
    assert all(one.steps.step_weighting == "clean" for one in pruned)
    assert len({row["facts"]["dense"] for row in rows}) == 1 and {row["facts"]["items"] for row in rows} == {16}
    for row in rows:
        assert row["value"] == pytest.approx(np.mean(list(row["facts"]["tasks"].values())))
    assert summary["best"] == int(np.argmax([row["value"] for row in rows]))
    names = {"best", "published", "no discount"} - {rows[summary["best"]]["name"]}
    pairs = {("best", name) for name in names - {"best"}}
    comparison = summary["comparison"]
    assert {row["model"] for row in comparison["accuracies"]} == {"dense", *names}
    assert {(row["setting"], row["than"]) for row in comparison["differences"]} >= pairs
    for row in comparison["differences"]:
        assert row["low"] <= row["value"] <= row["high"] and row["words"]
        assert row["n"] == (20 if row["task"] == "average" else 10)
    again = suggested(asked, tmp_path / "job")
    assert again["comparison"] == comparison and tried(again) == tried(summary) and len(pruned) == 3 + len(names)


# --- the command line -------------------------------------------------------------------------------------------


def test_the_verb_searches_and_prints_what_the_job_found(tmp_path, capsys):
    data = token_file(tmp_path / "text.jsonl", 16, 32)
    flags = ["--model", str(GOLDEN / "llada-mha"), "--device", "cpu", "--calibration", data, "--samples", "3"]
    flags += ["--seq-len", "32", "--calibration-seed", "2", "--step-interval", "25", "--heldout", "2"]
    flags += ["--searched", "sink_std,discount_strength", "--sparsity", "0.3", "--trials", "5", "--seed", "4"]
    assert main(["suggest", *flags, "--json"]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    holds_fields("suggest", summary)
    assert summary["searched"] == ["sink_std", "discount_strength"] and len(summary["trials"]) == 5
    assert (summary["seed"], summary["calibration_seed"]) == (4, 2) and "trying settings" in printed.err
    assert main(["suggest", *flags]) == 0
    assert "published" in capsys.readouterr().out
    assert main(["suggest", "--searched", "nonsense"]) == 2
    assert "'nonsense' is no parameter of the discount" in capsys.readouterr().err


# --- an added objective -----------------------------------------------------------------------------------------


def test_an_added_objective_is_searched_by_from_the_command_line(capsys):
    words = ["suggest", "--device", "cpu", "--objective", "far", "--limit", "2", "--trials", "20", "--json"]
    with added_objective.added():
        assert main(words) == 0
        summary = json.loads(capsys.readouterr().out)
        with pytest.raises(SystemExit):
            main(["suggest", "--help"])
        assert f"far: {added_objective.OBJECTIVE.help}" in " ".join(capsys.readouterr().out.split())
        assert f"`far`: {added_objective.OBJECTIVE.help}" in document()
    assert (summary["objective"], summary["maximise"]) == ("far", True)
    values = [min(abs(row["discount"]["sink_std"] - 3), 2) for row in summary["trials"]]
    assert [row["value"] for row in summary["trials"]] == pytest.approx(values)
    assert summary["trials"][summary["best"]]["value"] == max(values) > values[0] == 1
    assert "alpha_unit" not in summary["searched"] and summary["notes"] == ["alpha_unit std was left out, for a test."]
    with pytest.raises(ValidationError, match="Must be 'error' or 'accuracy'"):
        SuggestSpec(objective="far")


def test_what_an_objective_alone_reads_is_part_of_no_other_question():
    with added_objective.added():
        assert SuggestSpec(objective="far", limit=3).question() != SuggestSpec(objective="far").question()
        assert SuggestSpec(objective="far", draws=3).question() == SuggestSpec(objective="far").question()
    assert SuggestSpec(limit=3).question() == SuggestSpec().question()
