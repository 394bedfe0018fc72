"""Prunings on the page Prune through Streamlit's own test runner, with the real engine and the bundled model."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from analysis.specs import METHODS, CalibrationParams, FootprintSpec, ModelSpec, PruneSpec, StudySpec, SweepSpec
from pages.parts.session import engine
from tests.ui.helpers import app, folds, texts, unfold

pytestmark = pytest.mark.slow
PAGE = "pages/prune.py"
SMALL = CalibrationParams(samples=2, seq_len=32)
SHORT = {"prune_samples": "2", "prune_seq_len": "32"}


@pytest.fixture(scope="module")
def pruned():
    """A finished pruning in the app's own store."""
    record = engine().submit("prune", PruneSpec(method="wanda", calibration=SMALL))
    return engine().wait(record.id, 300)


def opened(test: AppTest, run_id: str) -> AppTest:
    """Open a pruned model, for which the runner has no click."""
    test.session_state["prune_opened"] = run_id
    return test.run()


def answered(test: AppTest) -> AppTest:
    for record in engine().jobs():
        if not record.ended:
            engine().wait(record.id, 300)
    return test.run()


def test_the_paper_s_method_and_its_control_are_preselected():
    test = app(PAGE)
    assert set(test.multiselect(key="prune_methods").value) == {"sink-wanda", "wanda-noised"}
    assert test.button(key="prune").label == "Prune with and without the discount"
    test.slider(key="prune_discount_strength").set_value(0.0).run()
    assert test.button(key="prune").disabled and "λ = 0 is no discount" in texts(test)
    test.slider(key="prune_discount_strength").set_value(1.0)
    test.slider(key="prune_sparsity").set_value(0.0).run()
    assert test.button(key="prune").disabled and "removes no weight" in texts(test)
    test.slider(key="prune_sparsity").set_value(0.5)
    test.multiselect(key="prune_methods").set_value(["sink-wanda", "wanda", "wanda-noised"]).run()
    assert not test.button(key="prune").disabled
    assert test.button(key="prune").label == "Prune with 3 methods"
    test.multiselect(key="prune_methods").set_value(["sink-wanda"]).run()
    assert "cannot be attributed to the sinks" in texts(test)
    test.multiselect(key="prune_methods").set_value([]).run()
    assert test.button(key="prune").disabled
    assert "Choose at least one method" in texts(test)


def test_weights_are_quantized_with_a_method_or_alone():
    test = app(PAGE)
    test.multiselect(key="prune_methods").set_value(["none"]).run()
    assert test.button(key="prune").disabled and "Set fewer bits" in texts(test)
    unfold(test, "fold_prune_bits")
    test.selectbox(key="prune_bits").set_value(4).run()
    assert not test.exception and not test.button(key="prune").disabled
    assert "no calibration text" in texts(test), "RTN reads none"
    test.selectbox(key="prune_quantizer").set_value("sink-gptq").run()
    assert "GPTQ, noised (control)" in texts(test) and test.slider(key="prune_discount_strength")
    assert "no calibration text" not in texts(test)
    test.multiselect(key="prune_methods").set_value(["sink-wanda", "none"])
    test.selectbox(key="prune_pattern").set_value("structured").run()
    assert test.button(key="prune").disabled and "prune first, then quantize" in texts(test)


def test_presets_of_the_authors_scripts_set_the_calibration():
    test = app(PAGE, "fold_prune_calibration")
    test.selectbox(key="prune_preset").set_value("published, Dream").run()
    assert not test.exception
    assert test.selectbox(key="prune_noise").value == "uniform"
    assert test.text_input(key="prune_data").value == "wikitext2"
    assert test.number_input(key="prune_seq_len").value == 256  # as many as the bundled model takes
    assert "The authors' script for LLaDA noises text by steps" in texts(test)
    test.selectbox(key="prune_preset").set_value("published, LLaDA").run()
    assert test.selectbox(key="prune_noise").value == "steps"
    assert "The authors' script for LLaDA" not in texts(test)


def test_every_method_and_parameter_has_its_help_from_the_table():
    test = app(PAGE, "fold_prune_calibration")
    helped = test.multiselect(key="prune_methods").help
    assert all(method.title in helped and method.help in helped for method in METHODS.values())
    assert test.slider(key="prune_sparsity").help.startswith(PruneSpec.model_fields["sparsity"].description)
    for name in CalibrationParams.model_fields:
        kind = {"data": test.text_input, "noise": test.selectbox}.get(name, test.number_input)
        assert CalibrationParams.model_fields[name].description in kind(key=f"prune_{name}").help


def test_it_says_what_a_run_will_take_before_it_starts():
    test = app(PAGE, **SHORT)
    test.button(key="prune_estimate").click().run()
    test = answered(test)
    for name in ("sink-wanda", "wanda-noised"):
        told = rf"- \*\*{re.escape(METHODS[name].title)}\*\* about .+, \d+ MB of memory, \d+ MB on disk"
        assert any(re.search(told, each.value) for each in test.markdown), texts(test)
    assert not engine().jobs("prune") or all(job.ended for job in engine().jobs("prune"))


def test_a_calibration_that_cannot_be_is_said_outside_of_its_fold():
    test = app(PAGE, prune_step_interval="60")
    assert "must not exceed the steps" in texts(test)
    assert not any(fold.error for fold in test.expander)
    assert "Calibration text · step interval 60" in folds(test)


def test_settings_that_do_not_go_together_cannot_be_submitted():
    test = app(PAGE)
    test.multiselect(key="prune_methods").set_value(["sparsegpt"]).run()
    test.selectbox(key="prune_pattern").set_value("structured").run()
    assert "Structured pruning scores features" in texts(test)
    assert test.button(key="prune").disabled
    test.selectbox(key="prune_pattern").set_value("2:4").run()
    assert not test.button(key="prune").disabled
    assert next(slider for slider in test.slider if slider.label == "Sparsity").disabled


def test_a_finished_run_shows_its_numbers_and_measures_its_footprint(pruned):
    assert pruned.state == "done", pruned.reason
    test = app(PAGE)
    opened(test, pruned.id)
    assert "1,916,928 weights removed, 50.0 % of those that can be. Took " in texts(test)
    folder = engine().result(pruned).folder
    question = FootprintSpec(model=pruned.parameters().model, pruned=str(folder))
    test.button(key=f"footprint_{pruned.id}").click().run()
    job = next(job for job in engine().jobs("footprint") if job.spec == question.model_dump(mode="json"))
    assert engine().wait(job.id, 300).state == "done"
    test.run()
    assert "not faster" in texts(test) or "as fast" in texts(test) or "speed" in texts(test)
    assert not test.exception


def test_runs_of_different_precision_are_said_to_be_no_comparison(pruned):
    test = app(PAGE)
    opened(test, pruned.id)
    assert "Ran in float32 on cpu" in texts(test)
    assert "Every matrix lost 50.0 % of its weights" in texts(test)
    assert "same precision" not in texts(test)
    rounded = PruneSpec(model=ModelSpec(dtype="bfloat16"), method="magnitude", calibration=SMALL)
    engine().wait(engine().submit("prune", rounded).id, 300)
    test.run()
    opened(test, engine().jobs("prune")[0].id)
    assert "Ran in bfloat16 on cpu" in texts(test)
    assert "Precision alone changes which weights go" in texts(test)


def test_no_run_is_open_at_first_but_one_that_has_just_finished_and_matches_the_settings(pruned, monkeypatch):
    monkeypatch.setattr("pages.parts.pruning.runs.FRESH", 0.0)
    test = app(PAGE, **SHORT)
    test.multiselect(key="prune_methods").set_value(["wanda"]).run()
    assert test.session_state["prune_opened"] is None and "None has these settings" not in texts(test)
    monkeypatch.undo()
    test.slider(key="prune_sparsity").set_value(0.65).run()
    assert test.session_state["prune_opened"] is None and "None has these settings" in texts(test)
    test.slider(key="prune_sparsity").set_value(0.5).run()
    assert test.session_state["prune_opened"] == pruned.id
    assert "None has these settings" not in texts(test)
    assert not any(str(engine().result(pruned).folder) in block.value for block in test.code), "copied by a button"


def test_the_first_line_compares_a_run_with_its_control_and_both_can_be_scored_by_one_button():
    for method in ("wanda-noised", "sink-wanda"):
        engine().wait(engine().submit("prune", PruneSpec(method=method, sparsity=0.4, calibration=SMALL)).id, 300)
    test = app(PAGE, "fold_prune_runs_map", **SHORT, prune_sparsity="0.4")
    told = texts(test)
    assert "sparsity the discount chooses " in told and "independent masks differ in" in told
    assert "What the sink discount does to accuracy at these settings is not measured yet." in told
    assert "With and without the discount are not scored on the same items yet." in told
    assert "Mask disagreement" in told, "the masks that were pruned, until those of the settings are previewed"
    assert test.button(key="prune_score_both")
    test.button(key="tuning_calibrate").click().run()
    told = texts(answered(test))
    assert not test.exception and "Weights chosen differently by matrix" in told, "beneath the masks that were pruned"
    assert "independent masks differ in" in told


def test_a_failed_run_is_shown_here_and_in_the_sidebar():
    """Both offer to start it again, each with a button of its own."""
    calibration = CalibrationParams(data="no-such-file.txt", samples=2, seq_len=32)
    failed = engine().wait(engine().submit("prune", PruneSpec(method="wanda", calibration=calibration)).id, 300)
    assert failed.state == "failed"
    test = app(PAGE)
    assert {f"again_{failed.id}", f"restart_{failed.id}"} <= {button.key for button in test.button}


def test_a_causal_model_is_offered_the_methods_without_noise():
    test = app(PAGE)
    test.session_state["model_in_use"] = ModelSpec(source="bundled-ar")
    test.run()
    assert set(test.multiselect(key="prune_methods_causal").options) == {
        METHODS[name].title for name in ("none", "magnitude", "wanda", "sparsegpt")
    }
    assert "no mask token" in texts(test)


def test_any_n_of_m_can_be_typed_as_the_pattern():
    test = app(PAGE, prune_pattern="3:8")
    assert not test.exception
    sparsity = next(slider for slider in test.slider if slider.label == "Sparsity")
    assert sparsity.disabled and sparsity.value == 0.625
    test = app(PAGE, prune_pattern="9:8")
    assert not test.exception and "with 1 ≤ N < M ≤ 16" in texts(test)
    assert test.button(key="prune").disabled


TINY = {**SHORT, "prune_step_interval": "25", "accuracy_limit": "2", "accuracy_draws": "2"}


def test_one_button_prunes_and_scores_with_and_without_at_as_many_seeds_as_a_study_takes():
    test = app(PAGE, **TINY, prune_sparsity="0.35")
    assert test.number_input(key="prune_seeds").value == len(StudySpec.model_fields["seeds"].default) == 6
    assert "12 models: " in texts(test), "said before"
    test.button(key="prune").click().run()
    record = engine().jobs("sweep")[0]
    spec = record.parameters(SweepSpec)
    assert (spec.methods, spec.sparsities, spec.seeds) == (("sink-wanda", "wanda-noised"), (0.35,), (0, 1, 2, 3, 4, 5))
    assert (spec.evaluation.limit, spec.keep, spec.pruning.calibration.samples) == (2, "checkpoints", 2)
    assert "Accuracies come in as soon as one seed" in texts(test.run()), "while it runs"
    test.button(key=f"cancel_sweep_{record.id}").click().run()
    assert engine().job(record.id).state == "cancelled"
    assert "This sweep was cancelled. What was found is kept." in texts(test.run())
    assert test.button(key=f"restart_sweep_{record.id}")


def test_a_sweep_is_cut_short_only_once_it_ended_and_not_among_the_results_of_the_study():
    test = app(PAGE, **TINY, prune_seeds="2")
    test.button(key="prune").click().run()
    record = engine().jobs("sweep")[0]
    test.run()
    test.segmented_control(key="prune_source").set_value("Study").run()
    assert not engine().job(record.id).ended and not test.warning, "it is still at work"
    test.button(key=f"cancel_sweep_{record.id}").click().run()
    drawn = [str(element.value) for element in test.run().main if element.type in {"markdown", "warning"}]
    ended = drawn.index("This sweep was cancelled. What was found is kept.")
    before = [text for text in drawn[:ended] if text.startswith("**")]
    assert before[-1].startswith("**3 ·"), "directly below the button"


def test_settings_changed_just_before_the_press_are_those_that_run():
    test = app(PAGE, **TINY, prune_sparsity="0.35")
    before = {record.id for record in engine().jobs()}
    test.toggle(key="prune_then_score").set_value(False)
    test.slider(key="prune_sparsity").set_value(0.45)
    test.button(key="prune").click().run()
    begun = [record for record in engine().jobs() if record.id not in before]
    assert {(record.kind, record.spec["sparsity"]) for record in begun} == {("prune", 0.45)}


def test_headline_and_figures_have_one_source_at_a_time(monkeypatch):
    test = app(PAGE, **TINY, prune_seeds="2")
    assert "prune_source" not in {control.key for control in test.segmented_control}, "there are no runs yet"
    told = texts(test).replace("\u00a0", " ").replace("\\", "")
    assert (
        "The sink discount does not measurably help: accuracy changes by less than 2 points at 50 % sparsity and at "
        "70 %." in told
    )
    assert "The margin of 2 points is fixed in the study's specification. ±1.7 points would" in told
    assert (
        "Shipped study: Wanda on noised text (part masked), λ = 1; 768 items "
        "(unpruned 92.6 %, chance 37.5 %), 6 calibration seeds; 95 % intervals." in told
    )
    assert "Tasks: Agreement, Arithmetic, Knowledge, Physical, Story and Reference." in told
    assert "**In the shipped study**" in told
    assert "Method, sparsity and λ are those chosen here, all else is as in the shipped study." in told
    assert "±1.7 points would have been detected with 80 % power." in told
    assert (
        "Gain from the discount: +0.1 points [−0.7, +0.9] at 50 % sparsity, +0.3 [−0.3, +1.0] at 70 %, where "
        "pruning itself costs 21 [18, 24]. Against Wanda as published (clean text): +0.8 [−1.2, +2.8] at 70 %, "
        "undecided." in told
    )
    assert (
        "At 50 % sparsity the discount chooses only 0.21 % of the weights differently;** another calibration sample "
        "changes 1.7 %." in told
    )
    accuracies = "50 % sparsity: 92.6 % unpruned, 91.3 % without the discount, 91.4 % with it; chance 37.5 %."
    assert accuracies in told
    assert "as reading those of many takes long" not in told, "masks of all seeds are compared"
    test.button(key="prune").click().run()
    record = engine().wait(engine().jobs("sweep")[0].id, 300)
    assert record.state == "done", record.reason
    test.run()
    source = test.segmented_control(key="prune_source")
    assert list(source.options) == ["Study", "Runs here"]
    assert source.value == "Runs here", "as they were started here"
    told = texts(test).replace("\u00a0", " ").replace("\\", "")
    here = r"12 items \([^;]+\), 2 calibration seeds"
    assert re.search(here, told) and "768 items" not in told and "Shipped study" not in told
    assert re.search(r"4 (of \d+ )?pruned models", told)
    assert not any(fold.startswith("Runs here: ") for fold in folds(test)) and "**In your runs**" in told
    assert ", 12 items each. Click" in told and accuracies not in told
    source.set_value("Study").run()
    told = texts(test).replace("\u00a0", " ").replace("\\", "")
    assert "768 items" in told and accuracies in told and not re.search(here, told)
    assert any(re.match(r"Runs here: 4 (of \d+ )?pruned models", fold) for fold in folds(test))
    assert "**In the shipped study**" in told and "**In your runs**" not in told
    again = app(PAGE, **TINY, prune_seeds="2", prune_source="Runs here")
    assert again.segmented_control(key="prune_source").value == "Runs here", "a reload keeps it"
    assert re.search(here, texts(again).replace("\u00a0", " "))
    assert app(PAGE, **TINY, prune_source="study").segmented_control(key="prune_source").value == "Study", "unknown"
    with monkeypatch.context() as at_work:
        at_work.setattr("pages.parts.pruning.settings.sweeps_at_work", lambda: [record])
        later = app(PAGE, **TINY, prune_seeds="2")
    later.query_params.pop("prune_source", None)
    assert later.run().segmented_control(key="prune_source").value == "Runs here", "what came in stays when it ends"
    other = app(PAGE, **TINY, source="bundled-ar")
    assert "**In your runs**" in texts(other) and "The newest runs; nothing" not in texts(other), "of another model"
    assert "prune_more_seeds" not in {button.key for button in test.button}, "step 3 has the one button"


def test_one_choice_stands_for_a_method_with_its_discount_and_its_control():
    test = app(PAGE)
    assert test.selectbox(key="prune_base").value == "wanda"
    test.selectbox(key="prune_base").set_value("sparsegpt").run()
    assert set(test.multiselect(key="prune_methods").value) == {"sink-sparsegpt", "sparsegpt"}
    assert test.button(key="prune").label == "Prune with and without the discount"
    test.multiselect(key="prune_methods").set_value(["wanda", "sparsegpt"]).run()
    assert test.selectbox(key="prune_base").value == "As chosen under Advanced"
    assert test.button(key="prune").label == "Prune with 2 methods"
