"""The masks of runs through Streamlit's own test runner, with models really pruned and the real engine."""

import base64

import numpy as np
import pytest

from analysis.engine.job_store import Label
from analysis.engine.runs import Run, known_runs, save_label
from analysis.models.checkpoint import find, fingerprint
from analysis.models.load import load
from analysis.pruned import compare, masks_file
from analysis.pruned.report_file import PrunedRun
from analysis.pruning.pipeline import prune
from analysis.specs import (
    CalibrateSpec,
    CalibrationParams,
    LLaDASampling,
    ModelSpec,
    PruneSpec,
    RecordSpec,
    SeedFloorSpec,
)
from analysis.words import percent
from pages.parts.masks import choice
from pages.parts.session import engine
from tests.conftest import GOLDEN
from tests.helpers import fresh_context, save_pruned
from tests.ui.helpers import app, charts, shown_box, texts
from training.measure import pruned_copy

pytestmark = pytest.mark.slow


def report(method, sparsity, seed):
    spec = PruneSpec(method=method, sparsity=sparsity, calibration={"seed": seed})
    return {"parameters": spec.model_dump(mode="json"), "model": {"fingerprint": fingerprint(find("bundled"))}}


@pytest.fixture(scope="module")
def folders(bundled):
    """Two seeds of wanda, magnitude at two sparsities, in the store's models folder."""
    import torch

    root = engine().store.root / "models"
    made = {}
    for name, method, sparsity, seed in (
        ("wanda-0", "wanda", 0.5, 0),
        ("wanda-1", "wanda", 0.5, 1),
        ("magnitude", "magnitude", 0.5, 0),
        ("sparser", "magnitude", 0.75, 0),
    ):
        draw = torch.Generator().manual_seed(seed)
        text = [torch.randint(5, bundled.geometry.vocabulary, (2, 32), generator=draw)]
        pruned = pruned_copy(bundled, method, sparsity, text)
        made[name] = save_pruned(
            pruned, root / name, mask_file=name != "wanda-1", report=report(method, sparsity, seed)
        )
    return made


def ids(folders):
    """The ids of these runs, by folder name."""
    known = {run.folder.resolve(): run.id for run in known_runs(engine()) if run.folder is not None}
    return {name: known[folder.resolve()] for name, folder in folders.items()}


def compared(folders, first, second):
    a, b = (masks_file.open_masks(str(folders[name])) for name in (first, second))
    return compare.compare(masks_file.pairs(a, b), a.geometry.layers, a.names, a.geometry.heads, a.geometry.kv_heads)


def open_page(**query):
    return app("pages/runs.py", runs_view="Masks", **query)


def tables(test):
    """The tables beneath that of the runs."""
    return list(test.dataframe)[1:]


def view(test, name):
    test.segmented_control(key="masks_view").set_value(name).run()
    assert not test.exception, test.exception
    assert not test.error, [element.value for element in test.error]
    return test


def test_without_pruned_models_the_page_says_how_to_make_some(tmp_path, monkeypatch):
    monkeypatch.setattr(type(engine()), "models_folder", tmp_path)
    test = open_page()
    labels = {link.proto.label for link in test.get("page_link")}
    assert "**Prune with and without the discount**" in labels


def test_two_runs_of_one_sparsity_are_chosen_to_begin_with(folders):
    test = open_page()
    chosen = {test.selectbox(key=key).value for key in ("first", "second")}
    assert len(chosen) == 2
    assert ids(folders)["sparser"] not in chosen


@pytest.mark.parametrize(("ticked", "beside"), [(0, 3), (1, 2), (2, 1), (3, 0)])
def test_a_ticked_run_is_compared_with_its_control_of_the_same_seed(monkeypatch, ticked, beside):
    runs = [("wanda-noised", 1), ("wanda-noised", 0), ("sink-wanda", 0), ("sink-wanda", 1)]
    reports = [PrunedRun({"method": method, "sparsity": 0.5}, seed, "m") for method, seed in runs]
    monkeypatch.setattr(choice, "reports_of", lambda known: reports)
    known = {
        name: Run(name, "pruned", "", "", "m", 0.0, parameters={"method": method, "calibration": {"seed": seed}})
        for name, (method, seed) in zip("abcd", runs, strict=True)
    }
    pair = {"abcd"[beside], "abcd"[ticked]}
    for chosen in (["abcd"[ticked]], ["abcd"[ticked], "abcd"[beside]]):
        first, second = choice._first_two(known, chosen)
        assert {first, second} == pair and second in "cd", "the discount is the second, from which the first is taken"


def test_the_numbers_are_those_of_the_masks_beside_both_floors(folders):
    test = open_page(first="magnitude", second="wanda-0")
    total, seeds = compared(folders, "magnitude", "wanda-0").total(), compared(folders, "wanda-0", "wanda-1").total()
    assert test.metric[0].value == percent(compare.disagreement(total), 2)
    assert test.metric[1].value == percent(compare.jaccard_distance(total), 2)
    said = texts(test)
    assert f"Independent masks: 50.0 % · two calibration seeds: {percent(compare.disagreement(seeds), 2)}" in said
    assert "Two calibration seeds: Wanda seed 0 · 50 % and Wanda seed 1 · 50 %" in said
    assert "our measure" in said


def test_the_grid_and_its_table_hold_the_counted_numbers(folders):
    test = open_page(first="magnitude", second="wanda-0")
    comparison = compared(folders, "magnitude", "wanda-0")
    for part in ("whole head", "q_proj", "o_proj"):
        test.selectbox(key="mask_part").set_value(part).run()
        figure = charts(test)[0]["figure"]
        expected = compare.disagreement(comparison.head_parts()[part])
        seeds = compare.disagreement(compared(folders, "wanda-0", "wanda-1").head_parts()[part])
        shown = figure["data"][0]["z"]
        values = np.frombuffer(base64.b64decode(shown["bdata"]), np.float32).reshape(expected.shape)
        np.testing.assert_allclose(values, 100 * (expected - seeds), atol=0.0051)
    test.toggle(key="mask_heads_table").set_value(True).run()
    table = tables(test)[0].value
    np.testing.assert_allclose(table["mask disagreement"], expected.ravel())
    np.testing.assert_allclose(table["mask disagreement, two seeds"], seeds.ravel())
    floor = compare.independent_disagreement(comparison.head_parts()["o_proj"])
    np.testing.assert_allclose(table["mask disagreement, independent masks"], floor.ravel())
    assert "mask disagreement, two seeds" in table


def test_a_difference_that_cannot_be_is_said_and_not_drawn(folders):
    test = open_page(first="wanda-1", second="wanda-0", mask_part="q_proj")
    assert len(charts(test)) == 1
    assert "every row loses the same number" in test.info[0].value
    test.selectbox(key="mask_part").set_value("whole head").run()
    assert len(charts(test)) == 2, "the two runs, which are the two seeds themselves"
    said = texts(test)
    assert "It can move only in o_proj" in said
    assert "what is shown is the floor itself" in said and "that of two calibration seeds" not in said


def test_projections_open_one_mask_and_one_heads_part_of_it(folders):
    test = view(open_page(first="magnitude", second="wanda-0"), "Projections")
    test.selectbox(key="mask_layer").set_value(3)
    test.selectbox(key="mask_projection").set_value("o_proj").run()
    assert "The masks of layer 3, o_proj" in texts(test)
    test.selectbox(key="mask_slice").set_value("head 2").run()
    assert "The masks of layer 3, o_proj, head 2" in texts(test)
    test.toggle(key="mask_picture_table").set_value(True).run()
    table = tables(test)[0].value
    part = compare.head_slice(masks_file.open_masks(str(folders["wanda-0"])).pruned(3, "o_proj"), "o_proj", 2, 6, 6)
    np.testing.assert_array_equal(table["share pruned, second"].to_numpy().reshape(part.shape), part)
    test.slider(key="mask_outputs_192").set_value((10, 13))
    test.slider(key="mask_inputs_32").set_value((4, 6)).run()
    table = tables(test)[0].value
    np.testing.assert_array_equal(table["share pruned, second"].to_numpy().reshape(4, 3), part[10:14, 4:7])
    assert (table["output"].min(), table["input"].max()) == (10, 6)
    test.selectbox(key="mask_projection").set_value("down_proj").run()  # has no heads
    assert not test.exception, test.exception
    assert test.selectbox(key="mask_slice").value == "whole matrix"


def test_the_address_opens_the_mask_it_names(folders):
    test = open_page(
        first="magnitude", second="wanda-0", masks_view="Projections", mask_layer="5", mask_projection="up_proj"
    )
    assert "The masks of layer 5, up_proj" in texts(test)
    figure = charts(test)[0]["figure"]
    assert (figure["layout"]["shapes"][0]["y0"], figure["layout"]["shapes"][0]["x0"]) == (4.5, 4.5)


def test_an_address_holds_ids_and_older_ones_with_names_or_labels_are_followed_where_one_run_has_them(folders):
    by_name = ids(folders)
    for first in ("magnitude", "Magnitude · 50 %", str(folders["magnitude"]), by_name["magnitude"]):
        test = open_page(first=first, second="wanda-0")
        assert test.selectbox(key="first").value == by_name["magnitude"], first
        assert test.query_params["first"] in (by_name["magnitude"], [by_name["magnitude"]])
    assert "There is no model" in open_page(first="Wanda · 50 %", second="wanda-0").error[0].value, "of no run"


def test_a_box_keeps_its_run_while_the_label_that_the_browser_shows_is_out_of_date(folders):
    test = open_page(first="magnitude", second="wanda-0")
    run = next(run for run in known_runs(engine()) if run.folder == folders["magnitude"])
    shown = run.name
    save_label(engine(), run, Label(name="my magnitude"))
    try:
        assert test.selectbox(key="first").value == run.id and shown in test.selectbox(key="first").options
        test.segmented_control(key="masks_view").set_value("Depth").run()
        assert not test.error and test.selectbox(key="first").value == run.id
    finally:
        save_label(engine(), run, Label())


def test_depth_shows_every_layer_and_both_floors(folders):
    test = view(open_page(first="magnitude", second="wanda-0"), "Depth")
    figure = charts(test)[0]["figure"]
    names = [trace["name"] for trace in figure["data"]]
    assert names[:3] == ["all projections", "attention", "MLP"]
    assert names[3].startswith("two calibration seeds")
    assert names[4] == "independent masks"


def test_runs_of_two_sparsities_are_refused_until_asked_for(folders):
    test = open_page(first="magnitude", second="sparser")
    assert "at least 25.0 %" in texts(test)
    assert not charts(test)
    test.toggle(key="unlike").set_value(True).run()
    assert not test.exception, test.exception
    assert charts(test)


def test_any_folder_can_be_typed_and_a_bad_one_is_one_line(folders, bundled, tmp_path):
    save_pruned(pruned_copy(bundled, "magnitude", 0.5), tmp_path / "elsewhere", mask_file=False)
    test = open_page(first=str(tmp_path / "elsewhere"), second="magnitude")
    assert "no report" in texts(test)
    assert test.metric[0].value == "0.00 %"
    test = open_page(first=str(tmp_path / "nowhere"), second="magnitude")
    assert "There is no model" in test.error[0].value
    test = open_page(first="tests/golden/llada-gqa", second="magnitude")
    assert "cannot be compared" in test.error[0].value


def test_a_floor_of_ones_own_choice(folders):
    test = open_page(first="magnitude", second="wanda-0")
    test.segmented_control(key="floor").set_value("two runs of my choice").run()
    assert "· two calibration seeds: " not in texts(test)
    test.selectbox(key="floor_first").set_value(ids(folders)["wanda-0"])
    test.selectbox(key="floor_second").set_value(ids(folders)["wanda-1"]).run()
    seeds = compared(folders, "wanda-0", "wanda-1").total()
    assert f"two calibration seeds: {percent(compare.disagreement(seeds), 2)}" in texts(test)


def test_several_runs_overlap_as_their_sets_do(folders):
    test = view(open_page(first="magnitude", second="wanda-0"), "Several runs")
    by_name = ids(folders)
    assert set(test.multiselect(key="runs").value) == {by_name[name] for name in ("magnitude", "wanda-0", "wanda-1")}
    test.toggle(key="overlap_table").set_value(True).run()
    table = tables(test)[0].value.set_index(["first", "second"])
    expected = compare.jaccard(compared(folders, "magnitude", "wanda-0").total())
    assert table.loc[("Magnitude · 50 %", "Wanda seed 0 · 50 %"), "jaccard"] == pytest.approx(expected)
    assert len(table) == 3
    test.multiselect(key="runs").set_value([by_name["magnitude"], by_name["sparser"]]).run()
    assert "25.0 points apart" in test.warning[0].value


def test_attention_to_the_dense_models_sinks_is_measured_on_both_pruned_models(folders):
    spec = RecordSpec(prompt="mia has a dog .", sampling=LLaDASampling(gen_length=12, steps=6), seed=5)
    dense = engine().wait(engine().submit("record", spec).id, 300)
    test = view(open_page(first="magnitude", second="wanda-0", recording=dense.id, k="1"), "Attention to sinks")
    before = {job.id for job in engine().jobs("record")}
    test.toggle(key="pruned_recordings").set_value(True).run()
    asked = [job for job in engine().jobs("record") if job.id not in before]
    assert {job.spec["model"]["source"] for job in asked} == {str(folders[name]) for name in ("magnitude", "wanda-0")}
    for job in asked:
        made = job.parameters()
        assert (made.prompt, made.seed, made.sampling, made.chat_template) == (spec.prompt, 5, spec.sampling, "off")
    test.run()  # a rerun while they wait must not cancel one for the other
    assert [engine().wait(job.id, 300).state for job in asked] == ["done", "done"]
    test.run()
    assert not test.exception, test.exception
    assert not test.error, [element.value for element in test.error]
    test.toggle(key="kept_over_steps_table").set_value(True).run()
    table = tables(test)[0].value
    first, second = "first: Magnitude · 50 %", "second: Wanda seed 0 · 50 %"
    assert set(table["model"]) == {"dense", first, second, "uniform attention"}
    own = table[table["model"] == "dense"]
    assert (own["of the dense model's"].dropna() == 1).all()

    from analysis.recording.trajectory_file import open_trajectory
    from analysis.sinks.definitions import find_sinks, mean_mass
    from analysis.specs import SinkParams

    record = open_trajectory(engine().result(dense).file)
    sinks = find_sinks(mean_mass(record.mass), SinkParams(k=1))
    for job in asked:
        mass = open_trajectory(engine().result(engine().job(job.id)).file).mass
        slot = first if "magnitude" in job.spec["model"]["source"] else second
        got = table[table["model"] == slot]["share of attention"].to_numpy()
        for step in range(6):
            share = sum(mass[step, :, :, s].sum() for s in np.flatnonzero(sinks[step])) / mass[step].sum()
            assert got[step] == pytest.approx(share, rel=1e-4)


def test_the_recording_to_look_at_is_one_of_the_dense_model(folders):
    recordings = engine().jobs("record")
    assert any("magnitude" in job.spec["model"]["source"] for job in recordings)
    test = view(open_page(first="magnitude", second="wanda-0"), "Attention to sinks")
    chosen = engine().job(shown_box(test).value)
    assert chosen.spec["model"]["source"] == "bundled"
    pruned = next(job for job in recordings if "magnitude" in job.spec["model"]["source"])
    test = view(open_page(first="magnitude", second="wanda-0", recording=pruned.id), "Attention to sinks")
    assert "pruned from another model than the one recorded" in test.info[0].value


def test_two_runs_of_a_mixture_are_compared_expert_by_expert(tmp_path, monkeypatch):
    model = load(ModelSpec(source=str(GOLDEN / "lladamoe"), device="cpu"))
    made = {}
    monkeypatch.setattr(type(engine()), "models_folder", tmp_path)
    for pattern in ("unstructured", "2:4"):
        out = tmp_path / pattern.replace(":", "-")
        spec = PruneSpec(model=model.spec, method="magnitude", sparsity=0.5, pattern=pattern, out=str(out))
        prune(model, spec, fresh_context(out))
        made[out.name] = out
    test = view(open_page(first="unstructured", second="2-4"), "Experts")
    assert "whole expert" in test.selectbox(key="mask_expert_part").options
    first, second = (masks_file.open_masks(str(folder)) for folder in made.values())
    wanted = np.mean(first.pruned(2, "experts.5.up_proj") != second.pruned(2, "experts.5.up_proj"))
    test.selectbox(key="mask_expert_part").set_value("experts.up_proj").run()
    figure = charts(test)[0]["figure"]
    shown = figure["data"][0]["z"]
    drawn = np.frombuffer(base64.b64decode(shown["bdata"]), np.float32).reshape(3, 8)
    assert drawn[2, 5] == pytest.approx(100 * wanted), "in per cent"
    view(test, "Projections")
    test.selectbox(key="mask_layer").set_value(0)
    test.selectbox(key="mask_projection").set_value("experts.down_proj").run()
    test.selectbox(key="mask_expert").set_value(7).run()
    assert "layer 0, experts.7.down_proj" in texts(test)


def test_without_another_seed_the_floor_is_taken_from_the_statistics_of_tuning():
    small = CalibrationParams(samples=2, seq_len=32, seed=7)
    jobs = [
        engine().submit("prune", PruneSpec(method=name, calibration=small)) for name in ("wanda-noised", "sink-wanda")
    ]
    folders = [str(engine().result(engine().wait(job.id, 300)).folder) for job in jobs]
    names = {str(folder): name for name, folder in engine().pruned_models().items()}
    first, second = (names[folder] for folder in folders)
    assert open_page(first=first, second=second).button(key="masks_measure_floor")
    spec = CalibrateSpec(calibration=small, heldout=1)
    assert engine().wait(engine().submit("calibrate", spec).id, 300).state == "done"
    assert open_page(first=first, second=second).button(key="masks_measure_floor"), "the other seed was not run yet"
    assert engine().wait(engine().submit("seed_floor", SeedFloorSpec(**dict(spec))).id, 300).state == "done"
    test = open_page(first=first, second=second)
    said = texts(test)
    assert "Calibration seeds 7 and 8, without a discount, from the statistics" in said
    assert not any(button.key == "masks_measure_floor" for button in test.button)
    assert "· two calibration seeds: " in said and "of that of two calibration seeds" in said
