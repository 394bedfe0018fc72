"""The page Sweep through Streamlit's own test runner, with the real engine and the bundled model."""

import re

import pytest

from analysis.engine import JobRecord
from analysis.engine.sweeps import Sweeps
from analysis.exhibits import sweeps
from analysis.exhibits.sweeps import ShippedFrontier, WrittenPlane, write_planes
from analysis.specs import CalibrationParams, EvaluateSpec, ModelSpec, PruneSpec, SweepSpec, grid
from pages import sweep
from pages.parts.session import engine
from tests.ui.helpers import app, folds, texts, unfold

pytestmark = pytest.mark.slow
PAGE = "pages/sweep.py"
SMALL = {"sweep_samples": "2", "sweep_seq_len": "32", "sweep_step_interval": "25", "sweep_limit": "4"}
SPEC = SweepSpec(
    methods=("sink-wanda", "wanda-noised"),
    sparsities=(0.7,),
    seeds=(0, 1),
    step_ranges=("0-25", "26-50"),
    pruning=PruneSpec(calibration=CalibrationParams(samples=2, seq_len=32, step_interval=25)),
    evaluation=EvaluateSpec(tasks=("bundled_agreement", "bundled_story"), limit=2, draws=2),
)


@pytest.fixture(scope="module")
def swept():
    """A finished sweep in the app's own store."""
    record = engine().submit("sweep", SPEC)
    return engine().wait(record.id, 600)


def test_the_page_says_how_many_prunings_it_is_and_what_is_not_known():
    assert "sweep_seeds" not in {box.key for box in app(PAGE).text_input}, "settings come with a click"
    test = app(PAGE, **SMALL)
    titles = folds(test)
    assert "More settings" in titles
    shared = "text bundled, 2 sequences, 32 tokens each, step interval 25, sparsity over layers uniform"
    assert f"The same for every point · {shared}" in titles
    assert "54 prunings to do and to score" in texts(test), "as many seeds as decide"
    assert "Not known: the time of 54 of 54 prunings, until they are estimated" in texts(test)
    assert "on the disk" in texts(test)
    test.text_input(key="sweep_seeds").set_value("0-7").run()
    assert "72 prunings" in texts(test)
    unfold(test, "fold_sweep_axes").multiselect(key="sweep_patterns").set_value(["2:4"]).run()
    assert "24 prunings" in texts(test)
    test.multiselect(key="sweep_methods").set_value(["sink-wanda"]).run()
    assert "cannot be attributed to the sinks" in texts(test)
    assert not engine().jobs(), "looking starts nothing"


def test_a_sweep_of_a_folder_is_titled_by_the_folders_name():
    spec = SPEC.model_copy(update={"model": ModelSpec(source="/somewhere/else/tiny")})
    record = JobRecord(id="s", kind="sweep", spec=spec.model_dump(mode="json"), created=0.0)
    assert sweep._title(record).endswith(" · tiny")


def test_without_a_sweep_the_page_shows_the_one_that_ships(tmp_path, monkeypatch):
    row = {"setting": "sinks 60 % kept", "series": "sinks", "cost": 0.6, "share of the dense cost": 0.6}
    row |= {"accuracy": 0.7, "low": 0.6, "high": 0.8, "seeds": 4, "on the frontier": True, "control": None}
    kept = WrittenPlane(
        cost="cache bytes", quality="accuracy", full=(1.0, 0.75), rows=(row,), said="At 60 %, it gains."
    )
    write_planes(
        ShippedFrontier(command="python -m analysis sweep", planes=(kept,), verdicts=()), tmp_path / "shipped.json.gz"
    )
    monkeypatch.setattr(sweeps, "EXAMPLE", tmp_path / "shipped.json.gz")
    test = app(PAGE)
    told = texts(test).replace("\u00a0", " ").replace("\\", "")
    assert (
        "Pruning 70 % of the weights costs 21 points of accuracy [18, 24]; the sink discount does not measurably win "
        "any back." in told
    )
    assert (
        "Shipped study of the diffusion model. Wanda on noised "
        "text (part masked), λ = 1. 2 sparsities × 3 methods × 6 seeds. Your sweep will "
        "replace it." in told
    )
    assert (
        "Gain from the discount: +0.1 points [−0.7, +0.9] at 50 %, +0.3 [−0.3, +1.0] at 70 %, both inside the "
        "margin of ±2 points fixed beforehand. Against Wanda as published (clean text): +0.8 [−1.2, +2.8] at 70 %, "
        "undecided." in told
    )
    assert "At 60 %, it gains." in told and not test.exception


def opened(**address):
    """The page with the settings of a new sweep."""
    return app(PAGE, **address).button(key="sweep_new").click().run()


def test_what_does_not_go_together_is_one_sentence_and_the_button_is_off():
    test = opened()
    test.text_input(key="sweep_sparsities").set_value("0.5, 1.5").run()
    assert "Sparsity must be at most 0.95" in texts(test)
    assert test.button(key="sweep_start").disabled
    test.text_input(key="sweep_sparsities").set_value("").run()
    assert test.button(key="sweep_start").disabled and not test.exception


def test_the_button_starts_the_sweep_of_the_address_and_it_can_be_cancelled():
    test = app(PAGE, **SMALL, sweep_sparsities="0.3")
    test.multiselect(key="sweep_methods").set_value(["magnitude"]).run()
    test.button(key="sweep_start").click().run()
    (record,) = engine().jobs("sweep")
    assert test.query_params["sweep"] in (record.id, [record.id])
    spec = record.parameters(SweepSpec)
    assert (spec.methods, spec.sparsities, spec.evaluation.limit) == (("magnitude",), (0.3,), 4)
    test.button(key=f"cancel_sweep_{record.id}").click().run()
    assert engine().job(record.id).state == "cancelled"
    test.run()
    assert "This sweep was cancelled" in texts(test)


def test_a_finished_sweep_says_what_pruning_costs_and_draws_it(swept):
    assert swept.state == "done", swept.reason
    test = app(PAGE, sweep=swept.id)
    told = texts(test).replace("\u00a0", " ")
    first = next(element.value for element in test.markdown if element.value.startswith("#####"))
    assert re.match(r"##### (Pruning 70\u00a0% of the weights costs |The dense model is not above chance)", first), (
        first
    )
    assert (
        "hold two sources of noise" in told and "Other models, tasks and calibration sources are not covered." in told
    )
    assert (
        "What moves accuracy" in told
        and " and 2 seeds, wide as so few barely show their spread, Student's, with 1 degree of freedom" in told
    )
    assert re.search(r"Wanda .+ text \(part masked\), λ = 1\. 1 sparsity × \d methods × 2 seeds\.", told)
    assert "8 models took " in told
    assert "python -m analysis sweep" in test.code[0].value
    pair = test.segmented_control(key="sweep_pair")
    assert len(pair.options) == 2, "one per range of noise steps"
    assert not pair.set_value(pair.options[1]).run().exception


@pytest.mark.parametrize(
    ("view", "title"),
    [
        ("Every method", "Accuracy against sparsity"),
        ("Size and time", "Accuracy against "),
        ("Differences", "Differences of accuracy by sparsity"),
        ("Tasks", "Tasks by method at 70 %"),
        ("Noise steps", "Noise steps that count, by sparsity: Sink-Wanda"),
        ("Published results", "Published by others"),
        ("Points", "Points"),
    ],
)
def test_every_other_view_of_a_sweep_has_an_address(swept, view, title):
    test = app(PAGE, sweep=swept.id, sweep_view=view)
    told = texts(test).replace("\\", "")
    assert title in told and not test.exception and not test.error
    if view == "Differences":
        compared = next(frame.value for frame in test.dataframe if "compared with" in frame.value.columns)
        assert compared["compared with"].str.startswith("Wanda, noised (control)").all()
        assert set(compared["conclusion"]) == {"cannot tell"} and "detectable" not in compared, (
            "too coarse for a number"
        )
        assert "Two calibration seeds of Wanda, noised (control)" in told and "cannot tell at" in told
    if view == "Points":
        frame = test.dataframe[-1].value
        assert len(frame) == 8 and set(frame["state"]) == {"done"}


def test_an_address_with_a_control_of_a_view_opens_it(swept):
    assert "Accuracy against " in texts(app(PAGE, sweep=swept.id, sweep_size="bytes"))
    assert "Accuracy against " not in texts(app(PAGE, sweep=swept.id))


def test_where_seeds_are_too_few_more_are_offered_with_their_cost(swept, monkeypatch):
    test = app(PAGE, sweep=swept.id)
    told = texts(test)
    assert "2 seeds cannot tell" in told or "not above chance" in told
    assert " more models: " in told
    assert "older version" not in told
    monkeypatch.setattr(Sweeps, "unanswered", lambda self, spec: list(grid(spec).prunings))  # as after an update
    test.run()
    assert "16 new models and 8 to redo (made by an older version or deleted): " in texts(test)
    monkeypatch.undo()
    test.button(key=f"sweep_more_seeds_{swept.id}").click().run()
    wider = engine().jobs("sweep")[0]
    assert wider.parameters(SweepSpec).seeds == (0, 1, 2, 3, 4, 5)
    assert test.query_params["sweep"] in (wider.id, [wider.id])
    engine().cancel(wider.id)


def test_published_results_stand_apart_with_their_source(swept):
    test = app(PAGE, sweep=swept.id, sweep_view="Published results")
    told = texts(test).replace("\\", "")
    assert "Published by others" in told and "Not measured here" in told and "Independent replication" in told
    test.selectbox(key="sweep_published_table").set_value("LLaDA-8B · unstructured · average").run()
    assert "2602.17664" in texts(test)


def test_a_sweep_that_is_not_here_is_said(swept):
    assert "a sweep that is not in the store" in texts(app(PAGE, sweep="0123456789ab"))


def test_items_a_task_are_preset_and_can_be_emptied_which_the_address_says():
    test = opened()
    assert test.number_input(key="sweep_limit").value == 128 and "sweep_limit" not in test.query_params
    test.number_input(key="sweep_limit").set_value(None).run()
    assert test.number_input(key="sweep_limit").value is None
    assert test.query_params["sweep_limit"] == "all"
    assert app(PAGE, sweep_limit="all").number_input(key="sweep_limit").value is None
    assert app(PAGE, sweep_limit="7").number_input(key="sweep_limit").value == 7
