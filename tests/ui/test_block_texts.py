"""Pages on a text written block by block, in which tokens are accepted, taken back and edited."""

import numpy as np
import pytest

from analysis.recording import playback as data
from analysis.recording.playback import played
from analysis.recording.trajectory_file import save
from analysis.sinks.step_inputs import ALL, REGIONS, SPLITS
from analysis.specs import SinkParams
from pages.parts.explore.dynamics import VIEWS
from pages.parts.recordings.recording import open_recording
from pages.parts.session import engine
from tests.figures.test_player import unpacked
from tests.recording.block_texts import BLOCK, BLOCKS, PROMPT, block_trajectory
from tests.ui.helpers import app, texts


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "cached"])
def recording(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("blocks") / "recording.safetensors"
    save(block_trajectory(cached=request.param), path)
    return engine().add_recording(path)


def test_playback_shows_drafts_edits_take_backs_and_the_open_block(recording):
    sent = played([open_recording(recording).trajectory], SinkParams())["tracks"][0]
    cells = unpacked(sent)
    texts_ = np.array(sent["names"])[cells["token"]]

    def marked(bit: int) -> dict[int, list[str]]:
        """What the cells with a flag held in the frame before, by their frame."""
        frame, position = np.nonzero(cells["flags"] & bit)
        return {at: texts_[at - 1, position[frame == at]].tolist() for at in set(frame.tolist())}

    accepted = set(np.nonzero(cells["flags"] & data.ACCEPTED)[0].tolist())
    assert 0 not in accepted and {4, 5} <= accepted
    assert marked(data.TAKEN_BACK)[5] == ["w24"] and "w25" in marked(data.EDITED)[6]
    assert 4 not in marked(data.TAKEN_BACK) and 5 not in marked(data.EDITED)
    present = (cells["flags"] & data.PRESENT > 0).sum(axis=1)
    for step in (0, 4, 5, 6):
        start, end = sent["blocks"][step]
        assert end - start == BLOCK and present[step] == PROMPT + BLOCK * (step // 3 + 1), step


def test_dynamics_counts_what_steps_change_and_where_sinks_stand(recording):
    shown = {f"{name}_table": "true" for name in ("regions_over_steps", "kinds_over_steps", "changes_over_steps")}
    test = app("pages/explore.py", recording=recording.id, tab="Dynamics", k="1", **shown)
    said = texts(test)
    assert "13 tokens written, 2 tokens edited and 1 token taken back in all." in said
    tables = [frame.value for frame in test.dataframe]
    regions = next(table for table in tables if set(REGIONS.values()) <= set(table.columns))
    kinds = next(table for table in tables if "punctuation" in table.columns)
    whole = kinds.drop(columns=["series", "step"]).sum(axis=1).to_numpy()
    assert (regions[list(REGIONS.values())].sum(axis=1).to_numpy() == whole).all()
    changes = next(table for table in tables if "taken back" in table.columns)
    assert changes["written"].sum() == BLOCK * BLOCKS + 1, "one token is written, taken back and written again"


@pytest.mark.parametrize("tab", [{"tab": "Heads"}, *({"tab": "Dynamics", "dynamics_view": name} for name in VIEWS)])
def test_every_split_and_tab_can_be_looked_at(recording, tab, request):
    """Every split by head, and every view of the steps whole and by one of them."""
    is_cached = request.node.callspec.params["recording"]
    splits = [ALL if is_cached else "open block"] if "dynamics_view" in tab else [ALL] if is_cached else SPLITS
    for split in splits:
        test = app("pages/explore.py", recording=recording.id, k="1", split=split, **tab)
        assert not test.exception and not test.error, split
