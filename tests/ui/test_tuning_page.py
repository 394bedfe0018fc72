"""The preview of the page Prune, in the test runner of Streamlit, with statistics really stored by the real engine."""

import json

import numpy as np
import pytest
from pydantic.fields import FieldInfo

from analysis.__main__ import main
from analysis.errors import UserError
from analysis.figures import masks
from analysis.jobs import JOBS, known_key
from analysis.pruned.report_file import read_report
from analysis.sinks import discount
from analysis.sinks.discount import step_weights
from analysis.specs import (
    PRESETS,
    CalibrateSpec,
    CalibrationParams,
    DenseStatisticsSpec,
    DiscountParams,
    EstimateSpec,
    ModelSpec,
    PruneSpec,
    SuggestSpec,
    SweepSpec,
    TuneParams,
    parameter,
)
from analysis.specs.tuning import DiscountPreset, searchable
from analysis.tuning import effects as tuning
from analysis.tuning.bin_error import shares
from analysis.tuning.search_space import space
from analysis.tuning.statistics_file import joined, open_statistics
from analysis.words import percent
from pages.parts.plain import plain
from pages.parts.session import engine
from pages.parts.tuning import preview as tune_effects
from tests.conftest import GOLDEN
from tests.ui.helpers import app, charts, texts

pytestmark = pytest.mark.slow
SPEC = CalibrateSpec(
    calibration=CalibrationParams(samples=3, seq_len=32, step_interval=25, seed=4, noise_eps=0.01), heldout=2
)
QUERY = {
    "prune_samples": "3",
    "prune_seq_len": "32",
    "prune_step_interval": "25",
    "calibrate_heldout": "2",
    "prune_seed": "4",
    "prune_noise_eps": "0.01",
}


@pytest.fixture(scope="module")
def statistics():
    statistics = open_statistics(stored("calibrate", SPEC))
    assert statistics.missing == ("seed_floor", "heldout")
    for part in statistics.missing:
        statistics = joined(statistics, stored(part, SPEC))
    return statistics


def stored(kind, spec):
    """The file that a job leaves; parts of statistics are asked as they are."""
    record = engine().wait(engine().submit(kind, JOBS[kind].spec(**dict(spec))).id, 300)
    assert record.state == "done", record.reason
    return engine().result(record).file


def page(**query):
    return app("pages/prune.py", "fold_prune_discount", **QUERY, **query)


def total(statistics, setting):
    weights = tuning.group_weights(statistics.mass, "tokens", setting.discount)
    steps = step_weights(statistics.info.levels, 50, setting)
    effects = []
    for index in range(statistics.info.layers):
        layer = statistics.layer(index, setting.discount)
        plain = tuning.plain_layer(layer, steps, setting.sparsity)
        own = weights[:, :, index if weights.shape[2] > 1 else 0]
        effects.append(tuning.layer_effect(layer, plain, own, steps, setting.sparsity))
    return tuning.total(tuning.together(effects), statistics.sizes)


def check(test):
    assert not test.exception, test.exception
    assert not test.error, [element.value for element in test.error]
    return test


def test_without_statistics_the_page_offers_to_store_them():
    test = check(app("pages/prune.py", prune_samples="7", prune_seq_len="16"))
    assert "One pass of the dense model over 7 noised sequences" in test.button(key="tuning_calibrate").help


def test_masks_are_shown_before_the_floor_and_the_output_error_are_there(monkeypatch):
    """Of what is not there yet no sentence is said, no number shown; it comes when its job is done, which begins once
    the browser has drawn the plots and comes back."""
    spec = SPEC.model_copy(update={"calibration": SPEC.calibration.model_copy(update={"seed": 9})})
    query = {**QUERY, "prune_seed": "9"}
    file = stored("calibrate", spec)
    test = check(app("pages/prune.py", "fold_prune_map", **query))
    changed = percent(total(open_statistics(file), TuneParams()).changed, 3)
    assert [card.value for card in test.metric] == [changed, "not measured", "not measured"]
    assert len(charts(test)) == 4, "two of the preview, and the weights and accuracies of the study"
    assert "does not tell a discount from chance" in texts(test)
    assert "The discount chooses " in texts(test)
    of_study = "of the weights differently;** another calibration sample changes 1.7 % (shipped study)."
    assert of_study in texts(test)

    def asked():
        return [job for job in engine().jobs("seed_floor") if job.spec["calibration"]["seed"] == 9]

    assert not asked(), "a link runs nothing"
    check(test.segmented_control(key="prune_view").set_value("Discount").run())
    check(test.segmented_control(key="discount_view").set_value("Output error").run())
    assert "The output error is not measured" in texts(test) and len(charts(test)) == 4
    test.segmented_control(key="prune_view").set_value("Pruned models").run()

    much = spec.calibration.model_copy(update={"samples": 100, "seq_len": 64})
    ahead = engine().submit("calibrate", spec.model_copy(update={"calibration": much}))  # so that the parts wait
    drawn_before_asked, every_layer = [], tune_effects.every_layer

    def drawing(*arguments):
        drawn_before_asked.append(not asked())
        return every_layer(*arguments)

    monkeypatch.setattr(tune_effects, "every_layer", drawing)
    being_measured = [changed, "being measured", "being measured"]
    check(test.button(key="offer_seed_floor_").click().run())
    assert drawn_before_asked == [True] and not asked()
    assert [card.value for card in test.metric] == being_measured
    check(test.run())
    assert drawn_before_asked[:2] == [True, True] and asked()
    assert [card.value for card in test.metric] == being_measured
    engine().cancel(ahead.id)
    whole = joined(joined(open_statistics(file), stored("seed_floor", spec)), stored("heldout", spec))
    expected = total(whole, TuneParams())
    check(test.run())
    assert [card.value for card in test.metric] == [changed, percent(expected.floor, 3), percent(expected.error, 3)]
    assert "does not tell" not in texts(test) and "The discount chooses " in texts(test)
    assert of_study not in texts(test), "its own other sample is beside it"
    assert not any(button.key.startswith("offer_") for button in test.button)


def test_parts_that_the_server_refuses_are_asked_for_once_and_again_by_a_button(monkeypatch):
    """Not by every refresh: the reason stands until the visitor acts."""
    spec = SPEC.model_copy(update={"calibration": SPEC.calibration.model_copy(update={"seed": 11}), "heldout": 1})
    stored("calibrate", spec)
    query = {**QUERY, "prune_seed": "11", "calibrate_heldout": "1"}
    submitted, reason = [], "9 of your jobs run or wait already, as many as this server takes. Wait for one."

    def full(kind, spec):
        submitted.append(kind)
        raise UserError(reason)

    test = check(app("pages/prune.py", **query))
    with monkeypatch.context() as patch:
        patch.setattr("pages.parts.asking.submit", full)
        test.button(key="offer_seed_floor_").click().run()
        for _ in range(3):
            test.run()
            assert not test.exception
        assert submitted == ["seed_floor", "heldout"]
        assert [error.value for error in test.error] == [reason, reason]
        assert [card.value for card in test.metric][1:] == ["not measured", "not measured"]
        test.button(key="retry_seed_floor_").click().run()
        assert submitted == ["seed_floor", "heldout", "seed_floor"] and len(test.error) == 2
    test.button(key="retry_seed_floor_").click().run()
    assert [job.state for job in engine().jobs("seed_floor") if job.spec["calibration"]["seed"] == 11]
    assert not test.exception and len(test.error) == 1, "the other part is still refused"


def test_a_model_that_writes_left_to_right_is_told_why_not():
    test = app("pages/prune.py")
    test.session_state["model_in_use"] = ModelSpec(source="bundled-ar")
    check(test.run())
    assert "no noised text" in texts(test)
    assert not [button for button in test.button if button.key == "tuning_calibrate"]


def test_moving_a_slider_gives_the_numbers_of_that_setting(statistics):
    test = check(page())
    assert test.metric[0].value == percent(total(statistics, TuneParams()).changed, 3)
    test.slider(key="prune_sink_std").set_value(1.0).run()
    test.slider(key="prune_sparsity").set_value(0.3).run()
    expected = total(statistics, TuneParams(discount=DiscountParams(sink_std=1.0), sparsity=0.3))
    check(test)
    assert test.metric[0].value == percent(expected.changed, 3)
    assert test.metric[1].value == percent(expected.floor, 3)
    assert test.metric[2].value == percent(expected.error, 3)
    assert test.metric[2].delta == plain(f"{100 * (expected.error - expected.plain_error):+.4f} points")
    assert "against no discount" in texts(test), "beneath, as it is cut off beside the number"


def test_layers_are_shown_as_they_come_in(statistics, monkeypatch):
    """Where it takes longer than a moment: the same figure of the layers so far, gone when all are there."""
    seen = []

    def changed(shown, names):
        if np.isnan(shown[0].layers).any():
            seen.append(shown[0].layers)
        return original(shown, names)

    original = masks.changed_by_projection
    whole = check(app("pages/prune.py", **QUERY))
    whole.run()
    assert not whole.get("empty"), "every refresh of the sidebar would draw it again"
    monkeypatch.setattr(tune_effects, "PATIENCE", 0.0)
    monkeypatch.setattr(masks, "changed_by_projection", changed)
    test = check(app("pages/prune.py", **QUERY))
    layers = statistics.info.layers
    assert [int(np.isfinite(values).all(axis=1).sum()) for values in seen] == list(range(1, layers))
    assert all(values.shape == (layers, 7) for values in seen)
    assert len(charts(test)) == len(charts(whole))


def test_presets_undo_and_a_setting_kept_beside_another(statistics):
    test = check(page())
    test.selectbox(key="tuning_preset").set_value("no discount").run()
    assert check(test).metric[0].value == "0.000 %"
    test.button(key="tuning_undo").click().run()
    assert check(test).slider(key="prune_discount_strength").value == 1.0
    test.button(key="tuning_keep").click().run()
    test.slider(key="prune_sink_std").set_value(3.0).run()
    labels = {metric.label: metric.value for metric in check(test).metric}
    assert labels["Weights chosen differently, A"] == percent(total(statistics, TuneParams()).changed, 3)
    assert "A" in texts(test) and "k 3" in texts(test)
    test.button(key="tuning_swap").click().run()
    assert check(test).slider(key="prune_sink_std").value == 2.0
    assert json.loads(test.query_params["tuning_a"])["discount"]["sink_std"] == 3.0


def test_a_preset_that_is_added_can_be_chosen(statistics, monkeypatch):
    row = DiscountPreset("half as strong", DiscountParams(discount_strength=0.5, sink_score="hard"))
    monkeypatch.setitem(PRESETS, row.name, row)
    test = check(page())
    test.selectbox(key="tuning_preset").set_value(row.name).run()
    assert check(test).metric[0].value == percent(total(statistics, TuneParams(discount=row.discount)).changed, 3)
    with pytest.raises(ValueError, match="already"):
        PRESETS.add(DiscountPreset("published", DiscountParams()))


@pytest.fixture
def floor(monkeypatch):
    """One field more in `DiscountParams` and what it does in φ: a score below the floor counts as none."""
    specs = (DiscountParams, TuneParams, PruneSpec, DenseStatisticsSpec, EstimateSpec, SuggestSpec, SweepSpec)
    help_text = "A score below it is none."
    field = FieldInfo.from_annotated_attribute(float, parameter(0.0, "Floor of φ", help_text, ge=0, le=1, step=0.1))
    original = discount.sink_scores

    def sink_scores(mass, params, known=None):
        scores = original(mass, params, known)
        return np.where(scores < params.floor, np.float32(0), scores)

    for module in (discount, tuning):
        monkeypatch.setattr(module, "sink_scores", sink_scores)
    DiscountParams.model_fields["floor"] = field
    for spec in specs:
        own = spec.model_fields.get("discount")
        if own is not None and isinstance(own.default, DiscountParams):
            monkeypatch.setattr(own, "default", DiscountParams())  # the one made at import lacks the field
        spec.model_rebuild(force=True)
    yield field
    del DiscountParams.model_fields["floor"]
    for spec in specs:
        spec.model_rebuild(force=True)


def test_a_parameter_of_the_discount_that_is_added_is_drawn_told_and_computed(statistics, floor):
    test = check(page(prune_alpha_unit="std", prune_sink_alpha="1.0"))
    test.button(key="tuning_keep").click().run()
    test.slider(key="prune_floor").set_value(0.5).run()
    a = TuneParams(discount=DiscountParams(alpha_unit="std", sink_alpha=1.0))
    b = TuneParams(discount=DiscountParams(alpha_unit="std", sink_alpha=1.0, floor=0.5))
    numbers = {metric.label: metric.value for metric in check(test).metric}
    shown = {name: numbers[f"Weights chosen differently, {name}"] for name in ("A", "B, this setting")}
    assert shown == {
        "A": percent(total(statistics, a).changed, 3),
        "B, this setting": percent(total(statistics, b).changed, 3),
    }
    assert shown["A"] != shown["B, this setting"]
    assert "floor of φ 0 · sparsity" in texts(test) and "floor of φ 0.5" in texts(test)
    test.segmented_control(key="prune_view").set_value("Discount").run()
    test.toggle(key="tuning_curve_table").set_value(True).run()
    curve = check(test).dataframe[0].value
    below = curve["z"] < 1.9  # where φ < 0.5, k = 2
    assert (curve["ω median, B, this setting"][below] == 1).all() and (curve["ω median, A"][below] < 1).all()
    test.segmented_control(key="prune_view").set_value("Suggest settings").run()
    assert "Floor of φ" in check(test).multiselect(key="suggest_searched").options
    pruning = app("pages/prune.py", prune_floor="0.5")
    assert not pruning.exception and pruning.slider(key="prune_floor").value == 0.5


def test_a_parameter_of_the_discount_that_is_added_is_a_flag_and_searched(floor, tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"input_ids": [*range(row, row + 32)]}) + "\n" for row in range(4)))
    small = ["--calibration", str(text), "--samples", "2", "--seq-len", "32", "--step-interval", "25"]
    asked = ["prune", "--model", str(GOLDEN / "llada-gqa"), "--method", "sink-wanda", *small]
    assert main([*asked, "--alpha-unit", "std", "--floor", "0.5", "--out", str(tmp_path / "pruned")]) == 0
    assert read_report(tmp_path / "pruned").settings["discount"]["floor"] == 0.5
    ranges = space(searchable())
    assert (ranges["floor"].low, ranges["floor"].high, ranges["floor"].step) == (0, 1, 0.1)


@pytest.mark.parametrize("view", ["Output error", "Token weights", "Text", "Scores"])
def test_every_view_opens_by_its_address(statistics, view):
    test = check(
        page(prune_view="Discount", discount_view=view, prune_sink_scope="layer", prune_step_weighting="noisy")
    )
    if view == "Text":
        markup = " ".join(str(element.proto.body) for element in test.get("html"))
        assert "ss-discount" in markup and "position 31" in markup
    else:
        assert len(charts(test)) >= 1


def test_steps_come_from_the_address(statistics):
    test = check(page(tune_steps="25-25"))
    assert test.metric[0].value == percent(total(statistics, TuneParams(first_step=25, last_step=25)).changed, 3)


def test_what_is_pruned_is_what_the_preview_shows(statistics):
    """One set of settings: calibration, discount, noise steps and sparsity of the preview are those of the prunings."""
    setting = {"prune_sink_std": "1.5", "prune_sink_score": "hard", "prune_sparsity": "0.3", "tune_steps": "0-25"}
    setting["prune_seeds"] = "1"
    test = check(page(**setting, prune_step_weighting="clean"))
    button = test.button(key="prune")
    assert button.label == "Prune with and without the discount" and not button.disabled
    test.toggle(key="prune_then_score").set_value(False).run()
    check(test.button(key="prune").click().run())
    jobs = {job.spec["method"]: job.spec for job in engine().jobs("prune")}
    assert set(jobs) == {"sink-wanda", "wanda-noised"}
    spec = PruneSpec.model_validate(jobs["sink-wanda"])
    assert spec.calibration == SPEC.calibration and spec.sparsity == 0.3
    assert (spec.discount.sink_std, spec.discount.sink_score) == (1.5, "hard")
    assert (spec.steps.last_step, spec.steps.step_weighting) == (25, "clean")
    for job in engine().jobs("prune"):
        assert engine().wait(job.id, 300).state == "done", job.reason
    assert "The discount chooses" in texts(check(test.run())), "without leaving the page"
    assert not engine().jobs("evaluate"), "as scoring was switched off"


def test_bins_say_their_measured_error():
    calibration = SPEC.calibration.model_copy(update={"seq_len": 96})
    spec = SPEC.model_copy(update={"grouping": "bins", "calibration": calibration})
    record = engine().wait(engine().submit("calibrate", spec).id, 300)
    assert record.state == "done", record.reason
    found = shares(open_statistics(engine().result(record).file).info.bin_errors)
    shown = texts(check(app("pages/prune.py", **{**QUERY, "calibrate_grouping": "bins", "prune_seq_len": "96"})))
    assert f"bins miss {percent(found.missed, 1)}, and falsely change {percent(found.false, 1)}" in shown
    assert "in 72 bins of z" in shown


def test_under_uniform_noise_no_step_can_be_left_out():
    query = {**QUERY, "prune_noise": "uniform"}
    spec = SPEC.model_copy(update={"calibration": SPEC.calibration.model_copy(update={"noise": "uniform"})})
    record = engine().wait(engine().submit("calibrate", spec).id, 300)
    assert record.state == "done", record.reason
    test = check(app("pages/prune.py", **query, tune_steps="25-25", prune_step_weighting="noisy"))
    assert "all steps weigh the same" in texts(test)
    assert not any(box.key == "prune_step_weighting" for box in test.selectbox)
    statistics = open_statistics(engine().result(record).file)
    assert test.metric[0].value == percent(total(statistics, TuneParams()).changed, 3)


def test_an_address_with_nonsense_is_ignored(statistics):
    check(page(tune_steps="7-what", tuning_a="{", prune_sink_std="99"))
    assert "No stored noise step lies in that range" in texts(check(page(tune_steps="7-9")))
    assert known_key("calibrate", SPEC)


def test_a_kept_setting_is_still_there_after_another_page(statistics):
    test = page(prune_sink_std="1.0")
    test.button(key="tuning_keep").click().run()
    test.slider(key="prune_sink_std").set_value(3.0).run()
    assert "**A** k 1" in texts(test)
    test.switch_page("pages/start.py").run()
    test.query_params.clear()
    test.switch_page("pages/prune.py").run()
    for name, value in QUERY.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, test.exception
    assert "**A** k 1" in texts(test)
    assert not test.button(key="tuning_drop").disabled
    test.button(key="tuning_drop").click().run()
    test.run()
    assert "**A**" not in texts(test)
