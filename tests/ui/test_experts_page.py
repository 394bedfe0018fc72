"""The tab of experts: only where there are routes; its sentences and tables say what the recording holds."""

import shutil

import numpy as np
import pytest

from analysis import jobs
from analysis.models.resident import release_resident
from analysis.recording.trajectory_file import save
from analysis.specs import LLaDA2Sampling, ModelSpec, RecordSpec
from pages.parts.session import engine
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, save_tokenizer
from tests.recording.block_texts import block_trajectory
from tests.ui.helpers import app, texts

TABLES = ("expert_load", "expert_evenness", "expert_sinks", "expert_turnover", "expert_route")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = shutil.copytree(GOLDEN / "llada2", tmp_path_factory.mktemp("model") / "llada2")
    save_tokenizer(folder, size=100, mask=False)
    context = QuietContext(tmp_path_factory.mktemp("recording"))
    spec = RecordSpec(
        model=ModelSpec(source=str(folder), device="cpu"),
        prompt="w10 w38 w70 w67 w12",
        sampling=LLaDA2Sampling(gen_length=16, block_length=8),
    )
    outcome = jobs.record(spec, context)
    release_resident()
    return engine().add_recording(outcome.file)


def test_the_page_shows_loads_sinks_turnover_and_a_route(recording):
    assert recording.summary["experts"] == 8
    shown = {f"{name}_table": "true" for name in TABLES}
    test = app("pages/explore.py", tab="Experts", recording=recording.id, k="1", expert_layer="2", **shown)
    assert not test.exception
    said = texts(test)
    assert "each of 8 experts gets" in said
    beside = [{box.key for box in column.selectbox} for column in test.columns]
    assert {"expert_layer"} in beside, "the controls stand beside the plots"
    assert "The load of the sinks of layer 2" in said
    tables = [frame.value for frame in test.dataframe]
    load = next(table for table in tables if "share of choices" in table.columns)
    assert set(load["layer"]) == {1, 2}, "the first layer is dense"
    np.testing.assert_allclose(load.groupby("layer")["share of choices"].sum(), 1, atol=1e-6)
    sinks = next(table for table in tables if "lowest draw" in table.columns)
    np.testing.assert_allclose(sinks[["sinks", "all other tokens"]].sum(), 1, atol=1e-6)
    assert (sinks["lowest draw"] <= sinks["highest draw"]).all()
    route = next(table for table in tables if "first expert" in table.columns)
    assert route["first expert"].dropna().between(0, 7).all()


def test_a_route_of_another_position_is_another(recording):
    tables = []
    for position in ("3", "12"):
        test = app(
            "pages/explore.py",
            tab="Experts",
            recording=recording.id,
            expert_position=position,
            expert_route_table="true",
        )
        assert f"most of position {position}" in texts(test)
        tables.append(next(frame.value for frame in test.dataframe if "first expert" in frame.value.columns))
    assert not tables[0].equals(tables[1])


def test_a_recording_without_experts_says_so(tmp_path):
    path = tmp_path / "recording.safetensors"
    save(block_trajectory(), path)
    test = app("pages/explore.py", tab="Experts", recording=engine().add_recording(path).id)
    assert "has no experts" in texts(test) and "Experts" not in test.segmented_control(key="tab").options
