"""What docs/extending.md says of adding a method, a pattern, an allocation and a noise, done, and used."""

import json

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from analysis.__main__ import main
from analysis.pruning.run import ALGORITHMS
from analysis.specs import ALLOCATIONS, METHODS, NOISES, PATTERNS, PruneSpec
from docs.parameters import document
from tests.command_line.surface import holds_fields
from tests.helpers import there
from tests.pruning import additions

ROWS = (additions.METHOD, additions.PATTERN, additions.ALLOCATION, additions.NOISE)
SMALL = ["--samples", "2", "--seq-len", "32"]


@pytest.fixture
def added():
    with additions.added():
        yield


def test_the_command_line_prunes_by_an_added_method_and_pattern(added, tmp_path, capsys):
    out = tmp_path / "p"
    words = ["prune", "--method", "largest", "--pattern", "3:4", "--sparsity", "0.25", "--json", "--out", str(out)]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    holds_fields("prune", report)
    assert report["sparsity"]["overall"] == pytest.approx(0.25)
    assert "--method largest" in report["command"] and "--pattern 3:4" in report["command"]
    dense = {name: weight.abs() for name, weight in _weights("bundled").items() if "blocks.0" in name}
    pruned = load_file(out / "model.safetensors")
    matrices = [name for name in dense if dense[name].ndim == 2]
    assert matrices
    for name in matrices:
        largest = dense[name].view(-1, 4).amax(dim=1, keepdim=True).expand(-1, 4).reshape(dense[name].shape)
        gone = pruned[name] == 0
        assert (gone.view(-1, 4).sum(dim=1) == 1).all(), name
        assert torch.equal(dense[name][gone], largest[gone]), name


def test_the_command_line_prunes_by_an_added_allocation_and_noise(added, tmp_path, capsys):
    words = ["prune", "--method", "wanda-noised", "--allocation", "late", "--noise", "odd", *SMALL, "--json"]
    assert main([*words, "--out", str(tmp_path / "p")]) == 0
    report = json.loads(capsys.readouterr().out)
    by_layer = list(report["sparsity"]["by_layer"].values())
    assert by_layer == sorted(by_layer) and by_layer[-1] - by_layer[0] == pytest.approx(0.16, abs=0.01)
    assert report["calibration"]["masked"] == [0.5] * report["calibration"]["noise_levels"]
    assert any("noised at odd positions" in note for note in report["notes"])


def test_rules_ask_the_added_rows(added, tmp_path, capsys):
    assert main(["prune", "--method", "largest", "--pattern", "structured", "--out", str(tmp_path / "p")]) == 2
    assert "choose magnitude, wanda, wanda-noised, sink-wanda, sham-wanda or light-wanda" in capsys.readouterr().err
    for changes, said in (
        ({"pattern": "3:4", "sparsity": 0.5}, r"exactly 0\.25"),
        ({"pattern": "3:4", "sparsity": 0.25, "allocation": "late"}, "choose the allocation uniform"),
    ):
        with pytest.raises(ValidationError, match=said):
            PruneSpec(**changes)


def test_help_and_docs_list_them_and_without_them_they_are_refused(capsys):
    with additions.added():
        with pytest.raises(SystemExit):
            main(["prune", "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        for row in ROWS:
            assert f"{row.name}: {row.help}" in shown
            assert f"`{row.name}`: {row.help}" in document()
    for changes in ({"method": "largest"}, {"allocation": "late"}, {"calibration": {"noise": "odd"}}):
        with pytest.raises(ValidationError, match="Must be '"):
            PruneSpec(**changes)


def test_a_registry_refuses_duplicates(added):
    for registry, row in zip((METHODS, PATTERNS, ALLOCATIONS, NOISES), ROWS, strict=True):
        with pytest.raises(ValueError, match="already"):
            registry.add(row)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_algorithm_that_its_row_promises(method):
    row, algorithm = METHODS[method], ALGORITHMS[method]
    assert row.calibrated == (algorithm.prepare is not None or algorithm.statistic is not None)
    assert row.noised == (algorithm.prepare is not None)
    assert (row.ranking is not None) == (algorithm.statistic is not None)
    assert not (row.structured and algorithm.updates), "what is cut out makes up for nothing"


def _weights(source: str):
    from analysis.models.checkpoint import find

    return {name: weight for file in there(find(source)).weight_files for name, weight in load_file(file).items()}
