"""What pruning saved: exact sizes, measured times, and a statement that claims nothing that was not."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis.errors import UserError
from analysis.models import checkpoint as checkpoints
from analysis.models import loaded
from analysis.models.load import load
from analysis.pruned.report_file import packed_bytes
from analysis.pruning import footprint as speeds
from analysis.pruning import structured
from analysis.pruning.footprint import Footprint, Size, footprint, size_of, statement
from analysis.pruning.selection import pruned_mask
from analysis.specs import FootprintParams, ModelSpec
from analysis.words import percent
from tests.conftest import GOLDEN
from tests.helpers import edit_config

DENSE = ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu")
QUICK = FootprintParams(tokens=16, repeats=3)


def masked(folder, pattern: str):
    """The golden model with half of every projection's weights zero, as a checkpoint."""
    model = load(DENSE)
    network = copy.deepcopy(model.network)
    for block in replace(model, network=network).blocks:
        for module in model.projections(block).values():
            module.weight.data[pruned_mask(module.weight.data.abs(), 0.5, pattern)] = 0
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """The golden model pruned in every way, as checkpoints by pattern."""
    folders = {name: masked(tmp_path_factory.mktemp("masked"), name) for name in ("unstructured", "2:4", "4:8")}
    model, folder = load(DENSE), tmp_path_factory.mktemp("sliced")
    shapes = [structured.block_shape(block, model.geometry) for block in model.blocks]
    made = structured.plan(shapes, structured.scope(3), [0.5] * 3)
    for block, shape, channels in zip(model.blocks, shapes, made.channels, strict=True):
        structured.slice_(block, shape, structured.choose(block, shape, made.groups, channels, None))
    model.network.save_pretrained(folder)
    edit_config(folder, **structured.config_changes(model.architecture, shapes, made))
    return {**folders, "structured": folder}


def test_sizes_are_counted_from_the_files(pruned):
    for name, folder in pruned.items():
        size = size_of(checkpoints.open_folder(folder))
        tensors = load_file(folder / "model.safetensors")
        assert size.parameters == sum(tensor.numel() for tensor in tensors.values())
        assert size.nonzeros == sum(int((tensor != 0).sum()) for tensor in tensors.values())
        assert size.dense_bytes == 4 * size.parameters
        assert size.file_bytes == (folder / "model.safetensors").stat().st_size > size.dense_bytes
        assert size.two_of_four == (name == "2:4")
        packed = 0
        for tensor in tensors.values():
            values = tensor[tensor != 0].numpy().tobytes()
            bits = np.packbits((tensor != 0).numpy()).nbytes
            packed += min(tensor.numel() * 4, bits + len(values))
        assert size.bitmask_bytes == packed
    dense = size_of(checkpoints.open_folder(GOLDEN / "llada-gqa"))
    assert not dense.two_of_four
    assert dense.bitmask_bytes == dense.dense_bytes, "a tensor without zeros is kept as it is"


@pytest.mark.parametrize(
    ("count", "nonzeros", "width", "expected"),
    [(16, 8, 2, 18), (17, 8, 2, 19), (16, 16, 2, 32), (16, 15, 2, 32), (0, 0, 4, 0)],
)
def test_compression_is_a_bit_a_weight_and_the_values(count, nonzeros, width, expected):
    assert packed_bytes(count, nonzeros, 8 * width) == expected


def test_unstructured_zeros_are_said_not_to_be_faster(pruned):
    heard = []
    result = footprint(DENSE, ModelSpec(source=str(pruned["unstructured"])), QUICK, lambda *done: heard.append(done))
    assert heard == [(2, 10), (4, 10), (6, 10), (8, 10), (10, 10)]
    assert result.pruned.parameters == result.dense.parameters
    assert "not faster" in result.statement
    assert "times the dense model's speed" in result.statement
    measured = result.speed
    assert (measured.device, measured.dtype, measured.kernels, measured.repeats) == ("cpu", "float32", "dense", 3)
    assert measured.threads == torch.get_num_threads()
    assert measured.low <= measured.speedup <= measured.high
    assert measured.dense_tokens_per_second == pytest.approx(16 / measured.dense_seconds)
    assert Footprint.model_validate_json(result.model_dump_json()) == result


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine may have the kernels")
def test_without_a_gpu_two_of_four_says_what_it_needs(pruned):
    result = footprint(DENSE, ModelSpec(source=str(pruned["2:4"])), QUICK)
    assert result.pruned.two_of_four
    assert result.speed.kernels == "dense"
    assert "2:4 kernels need an NVIDIA GPU; this ran on cpu." in result.statement
    assert "not faster" in result.statement
    assert "NVIDIA" not in footprint(DENSE, ModelSpec(source=str(pruned["4:8"])), QUICK).statement


def test_a_sliced_model_is_smaller_and_no_more_is_claimed_than_measured(pruned):
    result = footprint(DENSE, ModelSpec(source=str(pruned["structured"])), QUICK)
    share = 1 - result.pruned.parameters / result.dense.parameters
    assert f"{percent(share, 1)} fewer weights" in result.statement
    assert "faster" not in result.statement
    assert f"{result.speed.speedup:.2f} times" in result.statement
    assert result.pruned.file_bytes < result.dense.file_bytes


def test_sizes_come_even_where_there_is_no_room_for_both(pruned, monkeypatch):
    monkeypatch.setattr(loaded, "free_bytes", lambda device: 1000)
    result = footprint(DENSE, ModelSpec(source=str(pruned["2:4"])), QUICK)
    assert result.speed is None
    assert "The speed was not measured: Not enough memory" in result.statement
    assert result.pruned.nonzeros < result.dense.nonzeros


def test_what_cannot_be_compared_is_refused(pruned):
    with pytest.raises(UserError, match="is no pruned"):
        footprint(ModelSpec(device="cpu"), ModelSpec(source=str(pruned["2:4"])), QUICK)
    with pytest.raises(UserError, match="take 256 tokens, not 257"):
        footprint(DENSE, ModelSpec(source=str(pruned["2:4"])), FootprintParams(tokens=257))
    with pytest.raises(UserError, match="not a name of the registry"):
        footprint(DENSE, ModelSpec(source="no such thing"), QUICK)


def test_nothing_pruned_is_said():
    size = size_of(checkpoints.open_folder(GOLDEN / "llada-gqa"))
    assert statement(size, size, None) == "Nothing was pruned."


def test_models_take_turns_in_changing_order():
    order = []
    models = [SimpleNamespace(predict=lambda tokens, name=name: order.append(name)) for name in "dp"]
    seconds = speeds.forward_seconds(models, torch.zeros(1, 4), 3, lambda done, total: None)
    assert "".join(order) == "dp" + "pd" + "dp" + "pd" + "dp"
    assert seconds.shape == (3, 2)
    assert (seconds > 0).all()


def test_the_interval_of_the_median_covers_it():
    """Ranks 4 and 12 of 15 are the textbook's; drawn samples cover the true median at least 95 times in a hundred."""
    assert speeds.median_interval(np.arange(15.0)) == (3, 11)
    assert speeds.median_interval(np.array([3.0, 1.0, 2.0])) == (1, 3)
    samples = np.random.default_rng(0).exponential(size=(2000, 15))
    covered = [low <= np.log(2) <= high for low, high in map(speeds.median_interval, samples)]
    assert 0.95 <= np.mean(covered) < 0.985


@pytest.mark.parametrize("refusing", [False, True])
def test_kernels_are_tried_and_what_they_refuse_is_told(refusing, pruned, monkeypatch):
    """The path on a GPU, with torch's conversion replaced: what is 2:4 moves, what is refused stays as it was."""

    def convert(weight):
        if refusing or weight.shape[0] == 32:
            raise RuntimeError("shape (32, 64) is not supported\nmore")
        return weight.clone()

    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", convert)
    model = load(ModelSpec(source=str(pruned["2:4"]), device="cpu"))
    expected = model.predict(torch.arange(8)[None])
    converted, reason = speeds.use_kernels_(model)
    assert converted == (0 if refusing else 3 * 5)
    refused = 3 * 7 if refusing else 3 * 2
    assert reason == f"torch's 2:4 kernels refused {refused} matrices (shape (32, 64) is not supported)."
    assert torch.equal(model.predict(torch.arange(8)[None]), expected)
    assert speeds.use_kernels_(load(DENSE)) == (0, ""), "a dense matrix is left alone"


def test_kernels_need_ampere_and_half_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old")
    gpu = torch.device("cuda")
    assert "this is Old" in speeds.why_no_kernels(gpu, torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert "these are float32" in speeds.why_no_kernels(gpu, torch.float32)
    assert speeds.why_no_kernels(gpu, torch.bfloat16) == ""


def test_kernels_are_claimed_only_where_they_ran():
    size = Size(parameters=10, nonzeros=10, file_bytes=9, dense_bytes=20, bitmask_bytes=20, two_of_four=False)
    half = size.model_copy(update={"nonzeros": 5, "bitmask_bytes": 12, "two_of_four": True})
    ran = speeds.Speed(
        device="cuda",
        device_name="GPU",
        threads=1,
        dtype="bfloat16",
        sequences=1,
        tokens=8,
        repeats=9,
        dense_seconds=1,
        pruned_seconds=0.5,
        dense_tokens_per_second=8,
        pruned_tokens_per_second=16,
        speedup=2,
        low=1.9,
        high=2.1,
        kernels="2:4",
        converted=7,
    )
    said = statement(size, half, ran)
    assert "7 matrices run on 2:4 kernels" in said
    assert "not faster" not in said
    assert "2.00 times the dense model's speed (1.90 to 2.10) on GPU" in said
