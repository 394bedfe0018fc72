"""The pruning benchmark runs, and its plain version of the published procedure decides as ours does."""

import numpy as np
import pytest
import torch

from analysis.discount import sink_scores
from analysis.specs import DiscountParams
from benchmarks import pruning, published


def test_the_pruning_benchmark_runs_and_both_procedures_agree(capsys):
    threads = torch.get_num_threads()
    try:
        pruning.main(["--quick"])
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith(("| float32", "| bfloat16"))]
    assert len(rows) == 2 * 2 * 4
    assert printed.count("100.0000%") >= 2 * 2 * 2
    assert "| layer by layer |" in printed


def test_masks_without_the_discount_do_not_pass_for_the_published_ones(golden):
    """The check on masks would notice an implementation that ignores sinks."""
    model, expected, _ = golden
    rows = expected["noisy_ids"].numpy().astype(np.int64)
    found, control = (
        published.masks(model, published.feature_scores(model, rows, DiscountParams(discount_strength=strength)), 0.5)
        for strength in (1, 0)
    )
    with pytest.raises(AssertionError, match="agree"):
        pruning.require_equal(control, found)


def test_the_plain_sink_score_is_the_published_one(golden):
    model, expected, _ = golden
    tokens = expected["noisy_ids"][0, 0]
    plain = published.sink_score(model, tokens, DiscountParams())
    assert abs(plain - expected["soft_sink_score"][0, 0]).max() < 1e-4
    mass = expected["attention_mass"][0, 0].sum(dim=0).numpy()
    assert abs(plain.numpy() - sink_scores(mass, DiscountParams())).max() < 1e-4
