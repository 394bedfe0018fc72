"""Pages on a text written block by block, in which tokens are accepted, taken back and edited."""

import pytest

from analysis.recording.trajectory import save
from analysis.sinks.token_states import REGIONS, SPLITS
from pages.parts.session import engine
from tests.recording.block_texts import BLOCK, BLOCKS, PROMPT, block_trajectory
from tests.ui.helpers import app, texts


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "cached"])
def recording(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("blocks") / "recording.safetensors"
    save(block_trajectory(cached=request.param), path)
    return engine().add_recording(path)


def step_html(test) -> str:
    return next(block.proto.body for block in test.get("html") if "Text of this step" in block.proto.body)


def test_playback_shows_drafts_edits_take_backs_and_the_open_block(recording):
    test = app("pages/denoise.py", recording=recording.id)
    for step, shown, hidden in (
        (0, ("edge",), ("accepted", "taken back, was", "edited, was")),
        (4, ("accepted", "may be taken back"), ("taken back, was",)),
        (5, ("accepted", "taken back, was ‘w24’"), ("edited, was",)),
        (6, ("edited, was ‘w25’",), ("taken back, was",)),
    ):
        test.slider(key="step").set_value(step).run()
        text = step_html(test).split('aria-label="Text of this step"')[1].split("ss-legend")[0]
        assert all(word in text for word in shown), step
        assert not any(word in text for word in hidden), step
        assert text.count("<span") == PROMPT + BLOCK * (step // 3 + 1) + 2, "tokens there, and two borders"
    legend = step_html(test).split("ss-legend")[-1]
    assert "edited" in legend and "open block" in legend


def test_dynamics_counts_what_steps_change_and_where_sinks_stand(recording):
    shown = {f"{name}_table": "true" for name in ("regions_over_steps", "kinds_over_steps", "changes_over_steps")}
    test = app("pages/dynamics.py", recording=recording.id, k="1", **shown)
    said = texts(test)
    assert "13 tokens written, 2 tokens edited and 1 token taken back in all." in said
    tables = [frame.value for frame in test.dataframe]
    regions = next(table for table in tables if set(REGIONS.values()) <= set(table.columns))
    kinds = next(table for table in tables if "punctuation" in table.columns)
    whole = kinds.drop(columns=["series", "step"]).sum(axis=1).to_numpy()
    assert (regions[list(REGIONS.values())].sum(axis=1).to_numpy() == whole).all()
    changes = next(table for table in tables if "taken back" in table.columns)
    assert changes["written"].sum() == BLOCK * BLOCKS + 1, "one token is written, taken back and written again"


@pytest.mark.parametrize("page", ["pages/sinks.py", "pages/dynamics.py"])
def test_every_split_and_view_can_be_looked_at(recording, page):
    test = app(page, recording=recording.id, k="1")
    view = "sinks_view" if page == "pages/sinks.py" else "dynamics_view"
    for name in SPLITS:
        test.selectbox(key="split").set_value(name).run()
        assert not test.exception and not test.error, name
    for name in test.segmented_control(key=view).options:
        if "Ablation" not in str(name) and "Noised" not in str(name):
            test.segmented_control(key=view).set_value(getattr(name, "content", name)).run()
            assert not test.exception and not test.error, name
