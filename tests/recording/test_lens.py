"""The logit lens: its last layer is the model's own prediction, and what is said of sinks stands beside the others."""

import numpy as np
import pytest
import torch

from analysis import jobs
from analysis.errors import UserError
from analysis.models.load import load
from analysis.recording import observers
from analysis.sinks.step_inputs import sentence, settled_layer
from analysis.specs import LensSpec, ModelSpec
from tests.conftest import GOLDEN
from tests.helpers import QuietContext


@pytest.mark.parametrize("source", ["bundled", str(GOLDEN / "dream-gqa")])
def test_the_last_layer_is_what_the_model_predicts(source):
    model = load(ModelSpec(source=source, device="cpu"))
    tokens, positions = torch.arange(5, 17)[None], torch.tensor([0, 3, 11])
    found = observers.logit_lens(model, tokens, positions, None)
    assert found.shape[:2] == (model.geometry.layers, 3)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(found.shape[:2]))
    torch.testing.assert_close(found[-1], model.predict(tokens)[0, positions].softmax(dim=-1), atol=1e-4, rtol=1e-3)


def test_a_model_whose_states_are_read_otherwise_has_no_lens(bundled, monkeypatch):
    monkeypatch.setattr(observers, "_NORMS", ("embed_tokens_norm",))
    with pytest.raises(UserError, match="no last norm"):
        observers.logit_lens(bundled, torch.arange(5, 9)[None], torch.tensor([0]), None)


def test_the_job_reads_positions_and_compares_with_what_they_become(bundled, tmp_path):
    tokens = (7, 8, 9, bundled.mask_token, bundled.mask_token)
    final = bundled.predict(torch.tensor([tokens]))[0, 3:].argmax(dim=-1).tolist()
    spec = LensSpec(model=ModelSpec(device="cpu"), tokens=tokens, positions=(3, 4), becomes=(final[0], final[1] + 1))
    summary = jobs.lens(spec, QuietContext(tmp_path)).summary
    assert len(summary["words"]) == bundled.geometry.layers
    assert summary["hits"][-1] == [True, False]
    assert summary["becomes"][-1][0] == pytest.approx(summary["probability"][-1][0], abs=1e-4)


def test_a_position_is_settled_from_the_layer_on_that_it_stays_right():
    hits = np.array([[True, False, False], [False, False, True], [True, False, True]])
    assert settled_layer(hits).tolist() == [2, 3, 1]


def test_sinks_are_compared_with_the_other_undecided_tokens_whichever_know_more():
    hits = np.array([[False, False, False], [True, True, False]])
    told = sentence(hits, np.array([True, True, False]))
    assert told.startswith("2 of 2 undecided sinks") and "(0 of 1 other undecided tokens), from layer 1 on" in told
    told = sentence(hits, np.array([False, False, True]))
    assert told.startswith("0 of 1 undecided sinks") and "(2 of 2 other undecided tokens). One step" in told
    assert sentence(hits, np.array([False] * 3)).startswith("2 of 3 undecided tokens")
    assert "None of them are sinks" in sentence(hits, np.array([False] * 3))
    assert "All of them are sinks" in sentence(hits, np.array([True] * 3))
