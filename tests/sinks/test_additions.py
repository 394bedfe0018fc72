"""What docs/extending.md says of adding a sink definition, a metric, a measure of masks and a target, done."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from streamlit.testing.v1 import AppTest

from analysis import jobs
from analysis.pruned.compare import MEASURES
from analysis.sinks.definitions import find_sinks
from analysis.sinks.metrics import CURVES, HEAD_METRICS
from analysis.specs import DEFINITIONS, TARGETS, AblateSpec, LLaDASampling, ModelSpec, SinkParams
from analysis.specs.base import parameter
from docs.parameters import document
from pages.parts.recordings import choice
from tests.helpers import QuietContext
from tests.sinks import additions

ADDED = (
    (DEFINITIONS, additions.DEFINITION),
    (TARGETS, additions.TARGET),
    (CURVES, additions.CURVE),
    (HEAD_METRICS, additions.HEAD_METRIC),
    (MEASURES, additions.MEASURE),
)


@pytest.fixture
def added():
    with additions.added():
        yield


def test_an_added_definition_is_a_choice_that_finds_sinks_and_is_documented(added):
    params = SinkParams(definition="multiple", epsilon=2)
    mass = np.array([[1, 1, 1, 6, np.nan]], np.float32)
    assert find_sinks(mass, params).tolist() == [[False, False, False, True, False]]
    assert not find_sinks(mass, SinkParams(definition="multiple", epsilon=3)).any()
    assert f"`multiple`: {additions.DEFINITION.help}" in document()


def test_without_its_row_a_definition_is_refused():
    with pytest.raises(ValidationError, match="Must be 'std', 'mean-attention' or 'above-others'"):
        SinkParams(definition="multiple")


def test_an_ablation_blocks_an_added_target_by_an_added_definition(added, tmp_path):
    spec = AblateSpec(
        model=ModelSpec(device="cpu"),
        prompt=(7, 8, 9, 10),
        sampling=LLaDASampling(gen_length=4, steps=2),
        sinks=SinkParams(definition="multiple", epsilon=1.5),
    )
    rows = {row["target"]: row for row in jobs.ablate(spec, QuietContext(tmp_path)).summary["rows"]}
    assert list(rows) == ["untouched", "sinks", "matched", "masked", "mass", "others", "first", "lightest"]
    assert list(rows)[-1] == "lightest"
    assert rows["lightest"]["title"] == "lightest positions"
    assert (
        0
        < rows["lightest"]["blocked_share"]
        == min(row["blocked_share"] for name, row in rows.items() if name != "untouched")
    )


def test_a_registry_refuses_duplicates(added):
    for registry, row in ADDED:
        with pytest.raises(ValueError, match="already"):
            registry.add(row)


class MultipleParams(SinkParams):
    """What counts as a sink, with a field that only the added definition reads."""

    multiple: float = parameter(2.0, "Times the mean", "A token is a sink above so many means.", ge=1, le=9, step=0.5)


def _page():
    import streamlit as st

    from pages.parts.recordings.choice import sink_controls

    st.write(sink_controls().model_dump_json())


def test_a_definition_may_bring_a_field_of_its_own(monkeypatch):
    definition = replace(
        additions.DEFINITION,
        name="times",
        parameter="multiple",
        implementation=lambda row, visible, multiple: np.float32(multiple) * row.mean,
    )
    monkeypatch.setattr(choice, "SinkParams", MultipleParams)
    DEFINITIONS.add(definition)
    try:
        page = AppTest.from_function(_page).run()
        page.selectbox(key="definition").select("times").run()
        (slider,) = page.slider
        assert (slider.label, slider.value, slider.max) == ("Times the mean", 2.0, 9.0)
        slider.set_value(2.5).run()
        params = MultipleParams.model_validate_json(page.markdown[0].value)
        mass = np.array([[1, 1, 1, 6, np.nan]], np.float32)  # of mean 2.25
        assert find_sinks(mass, params).tolist() == [[False, False, False, True, False]]
        assert not find_sinks(mass, params.model_copy(update={"multiple": 3.0})).any()
    finally:
        del DEFINITIONS["times"]
