"""Every page on a small model that writes block by block, with what the real engine made of it."""

import json
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.engine import JobRecord
from analysis.specs import SAMPLINGS, CalibrateSpec, CalibrationParams, EvaluateSpec, ModelSpec, PruneSpec, RecordSpec
from pages.parts.session import engine
from tests.conftest import GOLDEN
from tests.helpers import ROOT, edit_config, save_tokenizer, there
from tests.ui.helpers import texts

pytestmark = pytest.mark.slow
# It writes beside a clean copy; the other families are opened by jobs/test_families.py.
NAME = "sdar"
CALIBRATION: dict[str, Any] = {"samples": 2, "seq_len": 16, "step_interval": 25}


@dataclass(frozen=True)
class Made:
    """A model and the finished jobs on it."""

    model: ModelSpec
    text: str
    recording: JobRecord
    prunings: tuple[JobRecord, ...]
    evaluation: JobRecord


def finished(kind: str, spec) -> JobRecord:
    record = engine().wait(engine().submit(kind, spec).id, 300)
    assert record.state == "done", record.reason
    return record


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    folder = shutil.copytree(GOLDEN / NAME, tmp_path_factory.mktemp("model") / NAME)
    save_tokenizer(folder, size=95, mask=False)
    edit_config(folder, block_size=4)
    rows = np.random.default_rng(0).integers(5, 90, (12, 16)).tolist()
    text = folder.parent / "text.jsonl"
    text.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))
    model = ModelSpec(source=str(folder))
    sampling = SAMPLINGS[NAME](gen_length=8)
    calibration = CalibrationParams(data=str(text), **CALIBRATION)
    finished("calibrate", CalibrateSpec(model=model, calibration=calibration, heldout=1))
    prunings = tuple(
        finished("prune", PruneSpec(model=model, method=method, calibration=calibration))
        for method in ("sink-wanda", "wanda-noised")
    )
    compare = tuple(ModelSpec(source=str(there(engine().result(record)).folder)) for record in prunings)
    names = ("dense", "sink-wanda", "wanda-noised")
    evaluation = EvaluateSpec(model=model, compare=compare, names=names, tasks=("bundled_agreement",), limit=4, draws=2)
    return Made(
        model,
        str(text),
        finished("record", RecordSpec(model=model, prompt="w54 w58 w10 w38 w70 w67", sampling=sampling)),
        prunings,
        finished("evaluate", evaluation),
    )


def opened(page: str, made: Made, **query: str) -> AppTest:
    """A page with the model in use."""
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    test.session_state["model_in_use"] = made.model
    test.switch_page(page)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def check(test):
    assert not test.exception, test.exception
    assert not test.error, [element.value for element in test.error]
    return test


def every_view(test, key: str) -> None:
    for name in test.segmented_control(key=key).options:
        test.segmented_control(key=key).set_value(getattr(name, "content", name)).run()
        check(test)


def test_the_sidebar_says_how_it_attends(made):
    test = check(opened("pages/prune.py", made))
    assert "block of 4" in test.sidebar.table[0].value.to_string()


def test_its_recording_is_looked_at(made, explorer_sent):
    test = check(opened("pages/explore.py", made, recording=made.recording.id, k="1"))
    assert explorer_sent[-1][0]["tracks"][0]["steps"] == made.recording.summary["steps"]
    every_view(test, "tab")
    test.segmented_control(key="tab").set_value("Dynamics").run()
    for view in test.selectbox(key="dynamics_view").options:
        check(test.selectbox(key="dynamics_view").set_value(view).run())


def test_its_discount_is_tuned(made):
    stored = {f"prune_{name}": str(value) for name, value in CALIBRATION.items()}
    query = {"prune_data": made.text, "calibrate_heldout": "1", "prune_view": "Discount"}
    test = check(opened("pages/prune.py", made, **query, **stored))
    assert "2 sequences of 16 tokens, each beside its clean copy" in texts(test)
    every_view(test, "prune_view")
    test.segmented_control(key="prune_view").set_value("Discount").run()
    every_view(test, "discount_view")
    test.segmented_control(key="discount_view").set_value("Text").run()
    test.toggle(key="tuning_text_table").set_value(True).run()
    table = next(frame.value for frame in check(test).dataframe if "masked" in frame.value)
    assert table["copy"].tolist() == ["noised"] * 16 + ["clean"] * 16
    assert table["position"].tolist() == [*range(16), *range(16)]
    assert not table["masked"][16:].any()


def test_its_prunings_are_offered_and_compared(made):
    test = check(opened("pages/prune.py", made))
    assert test.button(key="prune")
    assert len(test.multiselect(key="accuracy_runs").options) == 2
    check(opened("pages/runs.py", made, runs_view="Accuracy", evaluation=made.evaluation.id))
    test = check(opened("pages/runs.py", made, runs_view="Masks"))
    every_view(test, "masks_view")


@pytest.mark.parametrize("page", ["pages/runs.py", "pages/sweep.py"])
def test_its_runs_are_listed_and_a_sweep_is_offered(made, page):
    check(opened(page, made))
