"""The planted effect: extra weights are removed from a pruned copy, and studies find what that costs."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.honesty import planted
from benchmarks.honesty.parts import Sets


def test_a_stated_share_of_the_kept_weights_goes_and_nothing_else_changes(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(40, 50, generator=generator) for name in ("layers.0.q_proj", "embed")}
    weights["layers.0.q_proj"][torch.rand(40, 50, generator=generator) < 0.5] = 0
    weights["norm"] = torch.zeros(50)
    (tmp_path / "control").mkdir()
    save_file(weights, tmp_path / "control" / "model.safetensors")
    before = float((weights["layers.0.q_proj"] == 0).float().mean())
    share = planted.plant(tmp_path / "control", tmp_path / "planted", 0.1, 3)
    assert share == pytest.approx(before + 0.1 * (1 - before), abs=1e-3)
    after = load_file(tmp_path / "planted" / "model.safetensors")
    gone = (after["layers.0.q_proj"] == 0) & (weights["layers.0.q_proj"] != 0)
    assert int(gone.sum()) == round(0.1 * int((weights["layers.0.q_proj"] != 0).sum()))
    kept = ~gone
    assert torch.equal(after["layers.0.q_proj"][kept], weights["layers.0.q_proj"][kept])
    assert all(torch.equal(after[name], weights[name]) for name in ("embed", "norm"))


def test_studies_of_the_size_named_find_the_planted_effects(tmp_path, monkeypatch):
    small, large = (planted.stored(place) for place in range(2))
    assert planted.truth(large) < planted.truth(small) < 0, "the fewer weights, the worse the answers"
    for scored in (small, large):
        assert {task.scores.shape[:2] for task in scored} == {(2, planted.SEEDS)}
        assert all(np.isin(task.scores, (0, 1)).all() for task in scored)
    monkeypatch.setattr(planted, "PILOTS", 20)
    rows = planted.found(Sets(tmp_path, most=40))
    assert len(rows) == 2 and all(row.sets == 40 and row.holds for row in rows), rows
