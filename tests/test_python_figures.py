"""The figures that Python draws: all that the pages draw, of recordings, pruned folders, statistics and searches."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

import sinkscope
from analysis.errors import UserError
from analysis.specs import SinkParams
from analysis.specs.messages import spec_of
from analysis.specs.tuning import TuneParams
from sinkscope.drawing import FIGURES
from tests.helpers import ROOT

SAVED_BY_VERBS = {
    "analysis.exhibits.claims.claim_figure": "`claims` saves its figures, which `read` opens",
    "analysis.exhibits.claims.claims_figure": "`claims` saves its figures, which `read` opens",
    "analysis.exhibits.ablation.effects_of": "`ablate` saves its figures, which `read` opens",
    "analysis.exhibits.ablation.levels_beside": "`ablate` saves its figures, which `read` opens",
    "analysis.exhibits.ablation.timing": "`ablate` saves its figures, which `read` opens",
    "analysis.exhibits.eviction.effects_of": "`evict` saves its figures, which `read` opens",
    "analysis.exhibits.eviction.frontier_of": "`evict` saves its figures, which `read` opens",
    "analysis.exhibits.recording_sets.each_by_layer": "the figure `layers` of sets, a figure per set",
    "analysis.exhibits.recording_sets.each_births": "the births of the figure `movement` of a set, a figure per set",
    "analysis.exhibits.recording_sets.heads_of_sets": "the figure `heads` of sets, a figure per set",
    "analysis.exhibits.scored_runs.accuracy_of_runs": "of all runs of a store; Python reads one result at a time",
    "analysis.exhibits.with_discount.accuracy_shifts": "one setting of the ways and `seeds` of a study",
    "analysis.exhibits.study.sinks_of_each": "of the same tables as the figure `layers` of a set",
    "analysis.exhibits.study.part_exhibits": "one of the parts that `all_exhibits` draws",
    "analysis.exhibits.study.pruning_exhibits": "one of the parts that `all_exhibits` draws",
}
"""Functions that pages draw with and Python need not call, each with the reason."""


def functions_that_draw() -> set[str]:
    """Full names of public functions of `analysis` that return a figure, alone or with its sentence."""
    names = set()
    for path in (ROOT / "analysis").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "go.Figure" not in text and "Exhibit" not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
                returned = ast.unparse(node.returns)
                if any(kind in returned for kind in ("go.Figure", "Exhibit")):
                    names.add(f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}.{node.name}")
    return names


def names_used(folder: Path) -> set[str]:
    """Full names of what the modules of a folder use from others, by their imports."""
    used = set()
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                called |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
                used.add(f"{called[node.value.id]}.{node.attr}")
            elif isinstance(node, ast.Name) and node.id in called:
                used.add(called[node.id])
    return used


def test_python_draws_with_every_function_that_pages_draw_with():
    drawing, pages = functions_that_draw(), names_used(ROOT / "pages")
    on_pages = drawing & pages
    assert len(on_pages) > 25
    missing = on_pages - names_used(ROOT / "sinkscope") - set(SAVED_BY_VERBS)
    assert not missing, f"add a row to FIGURES of sinkscope/drawing for {missing}"
    assert set(SAVED_BY_VERBS) <= on_pages


def drawn(result: sinkscope.results.Result, **options: dict) -> set[str]:
    """Draw every figure of a result, and return their names. options: by the figure's name, with _ for a blank."""
    names = sinkscope.figures(result)
    for name, says in names.items():
        figure = sinkscope.figure(result, name, **options.get(name.replace(" ", "_"), {}))
        assert isinstance(figure, go.Figure) and figure.data and says, name
    return set(names)


@pytest.fixture(scope="module")
def other(trajectory):
    """The recording with another text."""
    final = trajectory.final.copy()
    final[-3:] = final[-6:-3]
    return replace(trajectory, final=final)


def test_every_figure_of_a_recording_is_drawn_alone_and_beside_another(trajectory, other):
    beside = {"beside": {"another": other}}
    names = drawn(
        trajectory,
        curve={**beside, "curve": "entropy", "layer": 1, "tokens": "without [MASK]"},
        kinds=beside,
        variances={**beside, "log": True, "by_head": False},
        tokens_written=beside,
        filled={"other": other},
        agreement={"other": other},
        flips={"other": other, "pairs": [(other, trajectory)]},
        kept_attention={"pruned": {"another": other}},
        kept_by_layer={"pruned": {"another": other}},
        heads={"metric": "entropy"},
        heads_by_step={"steps": [0, 3]},
    )
    assert names == {name for name, row in FIGURES[type(trajectory)].items() if row.fits(trajectory)}
    assert {"heads", "changes", "lifetimes", "kept by layer"} <= names and "expert load" not in names
    curve = sinkscope.figure(trajectory, "curve", curve="count", layer=1)
    table = sinkscope.sinks(trajectory, by="step")
    assert curve.data[0].y.tolist() != table["count"].tolist(), "a layer has sinks of its own"
    whole = sinkscope.figure(trajectory, "curve", curve="count")
    assert np.asarray(whole.data[0].y).tolist() == table["count"].tolist()


def test_figures_of_experts_are_drawn_of_mixtures_alone(trajectory):
    rng = np.random.default_rng(0)
    shape = (trajectory.steps, 2, 2, trajectory.positions)
    model = trajectory.info.model.model_copy(update={"expert_layers": (1, 3), "expert_count": 6})
    mixture = replace(
        trajectory,
        info=trajectory.info.model_copy(update={"model": model}),
        experts=rng.integers(0, 6, shape).astype(np.uint8),
        expert_weights=rng.random(shape).astype(np.float16),
    )
    names = [name for name in sinkscope.figures(mixture) if name.startswith("expert")]
    assert len(names) == 5
    for name in names:
        options = {"layer": 3} if name in ("expert turnover", "expert sinks") else {}
        assert sinkscope.figure(mixture, name, **options).data
    with pytest.raises(UserError, match=r"Layer 2 has no experts. These have: 1, 3"):
        sinkscope.figure(mixture, "expert turnover", layer=2)


def test_a_wrong_option_is_one_sentence(trajectory):
    for options, said in (
        ({"name": "curve", "curve": "none"}, "There is no curve 'none'"),
        ({"name": "filled"}, "not the options of the figure 'filled'"),
        ({"name": "changes", "layer": 1}, "not the options of the figure 'changes'"),
        ({"name": "kinds", "k": "many"}, "k must be|k .* number|Threshold"),
    ):
        with pytest.raises(UserError, match=said):
            sinkscope.figure(trajectory, **options)
    with pytest.raises(UserError, match="There is no job 'none'"):
        sinkscope.job("none")
    with pytest.raises(UserError, match="about a recording"):
        sinkscope.job("lens")


def test_flat_names_fill_a_spec_and_those_inside_it():
    setting = spec_of(TuneParams, {"sparsity": 0.7, "discount_strength": 0.5})
    assert (setting.sparsity, setting.discount.discount_strength) == (0.7, 0.5)
    assert setting.discount.sink_std == TuneParams().discount.sink_std
    assert spec_of(SinkParams, {"k": 3}).k == 3
    with pytest.raises(UserError, match=r"There is no option 'none'.*sink_std"):
        spec_of(TuneParams, {"none": 1})
    with pytest.raises(UserError, match="at most"):
        spec_of(TuneParams, {"sparsity": 2})


@pytest.mark.slow
def test_jobs_about_a_recording_are_run_and_drawn(trajectory, tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    read = sinkscope.job("attention_map", trajectory, step=2, layer=1, head=0)
    assert np.allclose(read.values.sum(axis=1), 1, atol=1e-3) and drawn(read) == {"map"}
    assert np.allclose(read.values.sum(axis=0), trajectory.mass[2, 1, 0], atol=0.02), (
        "the mass is the map's column sums"
    )
    ablation = sinkscope.job("ablate", trajectory, count=2)
    assert ablation.rows["aligned"][0] == 1 and drawn(ablation) == {"agreement", "confidence"}
    assert drawn(sinkscope.job("lens", trajectory, step=1)) == {"lens"}
    assert drawn(sinkscope.job("geometry", trajectory, random_models=1)) == {"geometry"}
    reference = sinkscope.job("reference", trajectory, tmp_path / "random.safetensors")
    assert sinkscope.read(tmp_path / "random.safetensors").mass.shape == reference.mass.shape == trajectory.mass.shape
    assert "curve" in drawn_alone(sinkscope.job("noise", trajectory))
    with pytest.raises(UserError, match="is not that model here"):
        sinkscope.job("lens", trajectory, model="bundled-ar")


def drawn_alone(recording):
    return {name for name in ("curve", "kinds", "heads") if sinkscope.figure(recording, name).data}


@pytest.mark.slow
def test_statistics_and_searches_are_made_kept_and_drawn(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    little = {"model": small.spec.source, "samples": 2, "seq_len": 32, "step_interval": 25}
    file = tmp_path / "statistics.safetensors"
    statistics = sinkscope.job("calibrate", out=file, heldout=1, **little)
    opened = sinkscope.read(file)
    assert opened.has_floor and opened.has_grams and opened.info == statistics.info
    setting = {"sparsity": 0.6, "discount_strength": 0.5}
    options = {name.replace(" ", "_"): setting for name in sinkscope.figures(opened)}
    assert len(drawn(opened, **options)) == 5
    with pytest.raises(UserError, match="exists"):
        sinkscope.job("calibrate", out=file)
    search = sinkscope.job("suggest", trials=4, heldout=1, **little)
    assert "trials" in drawn(search) and len(search.summary["trials"]) == 4


@pytest.mark.slow
def test_masks_of_pruned_folders_are_compared(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    common = {"model": small.spec.source, "sparsity": 0.5, "samples": 2, "seq_len": 32, "step_interval": 25}
    names = {"sink": ("sink-wanda", 0), "control": ("wanda-noised", 0), "seed": ("wanda-noised", 1)}
    folders = {
        name: sinkscope.prune(tmp_path / name, method=method, seed=seed, **common)
        for name, (method, seed) in names.items()
    }
    pruned = sinkscope.read(folders["sink"])
    other = {"other": folders["control"]}
    floor = {**other, "floor": (folders["control"], folders["seed"]), "measure": "jaccard"}
    shown = drawn(
        pruned,
        profile={"beside": {"control": folders["control"]}},
        disagreement=floor,
        heads=floor,
        depth=floor,
        changed_weights=other,
        weights_changed={**other, "floor": floor["floor"]},
        head_sparsity=other,
        mask={**other, "layer": 1},
        overlap={"others": [folders["control"], folders["seed"]]},
    )
    assert shown == set(FIGURES[type(pruned)]) - {"experts"}
    with pytest.raises(UserError, match="no 'none'"):
        sinkscope.figure(pruned, "mask", projection="none", **other)
