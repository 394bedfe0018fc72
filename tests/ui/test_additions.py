"""A sink definition, metrics, a measure of masks, and a target that were only added to their tables."""

import dask
import numpy as np
import pytest

from analysis.pruned import compare, masks_file
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.definitions import mean_mass
from analysis.sinks.metrics import value_totals
from analysis.specs import LLaDASampling, PruneSpec, RecordSpec
from analysis.words import percent
from pages.parts.session import engine
from tests.sinks import additions
from tests.ui.helpers import app, charts, texts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def added():
    preload = {"distributed.worker.preload": ["tests.sinks.additions"]}
    with dask.config.set(preload), additions.added():
        yield


@pytest.fixture(scope="module")
def recording():
    spec = RecordSpec(prompt="mia has a dog .", sampling=LLaDASampling(gen_length=12, steps=6))
    return engine().wait(engine().submit("record", spec).id, 300)


@pytest.fixture(scope="module")
def trajectory(recording):
    return open_trajectory(engine().result(recording).file)


def choose(test, kind, key, value):
    getattr(test, kind)(key=key).set_value(value).run()
    assert not test.exception, test.exception


def test_an_added_definition_is_offered_explained_and_counts(recording, trajectory):
    mean = mean_mass(trajectory.mass)
    levels = np.float32(1.5) * mean.mean(axis=1, keepdims=True)
    sinks = mean > levels
    assert sinks[3].any() and not sinks[3].all()
    box = app("pages/causes.py", recording=recording.id).selectbox(key="definition")
    assert additions.DEFINITION.title in box.options and additions.DEFINITION.help in box.help
    view = {"recording": recording.id, "tab": "Dynamics", "curve_count_table": "true"}
    assert "Gaussian reference" in shown(app("pages/explore.py", **view))
    test = app("pages/explore.py", **view, definition="multiple", epsilon="1.5")
    assert "Gaussian reference" not in shown(test), "the definition counts no standard deviations"
    assert test.dataframe[0].value["number of sinks"].tolist() == sinks.sum(axis=1).tolist()


def shown(test) -> str:
    """What a page says, and the names of what its charts draw."""
    figures = [chart["figure"] for chart in charts(test)]
    return "\n".join([texts(test), *(trace.get("name", "") for figure in figures for trace in figure["data"])])


def test_an_added_head_metric_is_laid_over_the_heads_and_ranks_them(recording, trajectory):
    test = app("pages/explore.py", recording=recording.id, tab="Heads")
    choose(test, "selectbox", "metric", "value-span")
    assert "Span of the values by layer and head" in texts(test)
    table = test.dataframe[0].value
    values = np.ptp(value_totals(trajectory.value_norm), axis=0)
    for row in table.itertuples():
        assert table.loc[row.Index, "Span of the values"] == pytest.approx(values[row.layer, row.head])


def test_an_added_curve_is_drawn_and_its_row_is_asked(recording, trajectory):
    test = app("pages/explore.py", recording=recording.id, tab="Dynamics")
    assert additions.CURVE.sentence in texts(test)
    choose(test, "toggle", "curve_heaviest_table", True)
    table = test.dataframe[0].value
    own = table[table["series"] == "Diffusion model"]["mass"].to_numpy()
    np.testing.assert_allclose(own, mean_mass(trajectory.mass).max(axis=1), rtol=1e-6)
    test = app("pages/explore.py", recording=recording.id, tab="Dynamics", split="[MASK] only")
    assert additions.CURVE.title in texts(test), "it can be split"
    choose(test, "selectbox", "dynamics_view", "Noised against real")
    test.button(key="ask_noise_").click().run()
    for job in engine().jobs("noise"):
        assert engine().wait(job.id, 300).state == "done"
    test.run()
    assert "Number of sinks" in texts(test)
    assert additions.CURVE.title not in texts(test), "it compares a step with the one before"


def test_an_added_target_is_named_and_blocked(recording):
    test = app(
        "pages/causes.py", recording=recording.id, definition="multiple", epsilon="1.5", causes_view="One prompt"
    )
    assert any(f"- the first token alone\n- {additions.TARGET.help}" in caption.help for caption in test.caption)
    test.button(key="run_ablation").click().run()
    job = engine().wait(engine().jobs("ablate")[0].id, 300)
    assert job.state == "done", job.reason
    test.run()
    assert not test.exception, test.exception
    table = test.dataframe[0].value.set_index("title")
    assert table.index[-1] == additions.TARGET.title
    assert 0 < table["blocked_share"][additions.TARGET.title] < table["blocked_share"]["sinks"]


def test_an_added_measure_has_its_number_its_choice_and_its_column(recording):
    for sparsity in (0.5, 0.505):
        job = engine().wait(engine().submit("prune", PruneSpec(method="magnitude", sparsity=sparsity)).id, 300)
        assert job.state == "done", job.reason
    folders = engine().pruned_models()
    (first, a), (second, b) = ((name, masks_file.open_masks(str(folder))) for name, folder in folders.items())
    geometry = a.geometry
    pairs = masks_file.pairs(a, b)
    counts = compare.compare(pairs, geometry.layers, a.names, geometry.heads, geometry.kv_heads)
    expected = additions.kept_apart(counts.total())
    assert expected > 0

    test = app("pages/runs.py", runs_view="Masks", first=first, second=second)
    cards = {metric.label: metric.value for metric in test.metric}
    assert cards["Sparsities apart"] == percent(expected, 2)
    assert len(cards) == len(compare.MEASURES) + 1
    choose(test, "selectbox", "mask_measure", "apart")
    assert "Sparsities apart by layer and head" in texts(test)
    choose(test, "toggle", "mask_heads_table", True)
    np.testing.assert_allclose(
        test.dataframe[1].value["sparsities apart"], additions.kept_apart(counts.head_parts()["whole head"]).ravel()
    )
