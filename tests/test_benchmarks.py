"""The benchmarks run, and the plain version of the published procedure decides as ours does."""

import numpy as np
import pytest
import torch

from analysis.sinks.discount import sink_scores
from analysis.specs import DiscountParams
from benchmarks import likelihood, noise, observing, pruning, published, threads
from training.tasks import TASKS


def test_the_pruning_benchmark_runs_and_both_procedures_agree(capsys):
    count = torch.get_num_threads()
    try:
        pruning.main(["--quick"])
    finally:
        torch.set_num_threads(count)
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


def test_cached_decoding_is_timed_on_the_same_text(capsys):
    count = torch.get_num_threads()
    try:
        observing.main(["--cached", "--layers", "1", "--rounds", "1"])
    finally:
        torch.set_num_threads(count)
    printed = capsys.readouterr().out
    assert "8 blocks of 32, 64 steps" in printed
    assert "whole / cached: " in printed


def test_the_noise_benchmark_counts_every_difference(capsys):
    noise.main(["--samples", "2", "--seq-len", "16", "--seeds", "2"])
    printed = capsys.readouterr().out
    shares = [float(line.split("%")[0].split()[-1]) for line in printed.splitlines() if line.startswith("noise '")]
    assert len(shares) == 7 and all(0 < share < 50 for share in shares)


def test_the_bias_of_few_draws_is_measured_on_every_bundled_task(capsys):
    likelihood.main(["--bias", "--limit", "2", "--items", "1", "--seeds", "3"])
    printed = capsys.readouterr().out
    assert printed.count("| draws | dense (") == 1 + len(TASKS)
    assert all(f"bundled_{task}: 2 items" in printed for task in TASKS)
    long, *rest = printed.split("| draws |")[1:]
    told = [line.split("|")[1].split(",") for line in long.splitlines() if line.startswith("| ") and "---" not in line]
    assert sorted(int(draws) for row in told for draws in row) == list(likelihood.DRAWS)
    assert any(
        line.startswith("| 1, 2, 4, 8, 16, 32, 64, 128 | 0 | 0 | 0 |") for part in rest for line in part.splitlines()
    )


@pytest.mark.slow
def test_ways_of_waiting_are_timed_alone_and_three_at_once(capsys):
    threads.main(["--quick"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [row[0].strip() for row in rows] == list(threads.WAYS)
    assert all(float(cell) > 0 for row in rows for cell in row[1:])
    assert (float(rows[0][2]), float(rows[0][4])) == (1, 1)
