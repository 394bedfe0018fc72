"""Masks read from files: what torch finds in the same checkpoint, whatever the format, and one line for a bad file."""

import json
import re
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from analysis.errors import UserError
from analysis.models.load import load
from analysis.pruned import compare, masks_file
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN
from tests.helpers import save_pruned
from training.measure import pruned_copy


@pytest.fixture(scope="module")
def folder(bundled, tmp_path_factory):
    """The bundled model without its smallest half, with a mask file."""
    return save_pruned(pruned_copy(bundled, "magnitude", 0.5), tmp_path_factory.mktemp("pruned"))


def copied(folder, to):
    """A copy to change."""
    shutil.copytree(folder, to)
    return to


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_zeros_of_every_precision_and_sign_are_found(folder, tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(masks_file, "_CHUNK", 20_000)  # several reads a matrix, the last one shorter
    there = copied(folder, tmp_path / "copy")
    (there / "masks.safetensors").unlink()
    weights = {name: weight.to(dtype) for name, weight in load_file(there / "model.safetensors").items()}
    negative = weights["model.transformer.blocks.0.q_proj.weight"]
    negative[0, :4] = -0.0
    negative[1, :4] = torch.finfo(dtype).smallest_normal  # as close to zero as a pruned weight never is
    save_file(weights, there / "model.safetensors", metadata={"format": "pt"})
    read = masks_file.open_masks(str(there))
    assert not read.stored
    for (layer, name), tensor in read.weights.items():
        theirs = {"o_proj": "attn_out", "gate_proj": "ff_proj", "down_proj": "ff_out"}.get(name, name)
        expected = (weights[f"model.transformer.blocks.{layer}.{theirs}.weight"] == 0).numpy()
        assert tensor.shape == expected.shape
        np.testing.assert_array_equal(read.pruned(layer, name), expected)
    assert read.pruned(0, "q_proj")[0, :4].all()
    assert not read.pruned(0, "q_proj")[1, :4].any()


def test_bits_wait_in_a_file_while_a_model_is_pruned(folder, tmp_path):
    there = copied(folder, tmp_path / "copy")
    (there / "masks.safetensors").unlink()
    bare, writer = masks_file.open_masks(str(there)), masks_file.MaskWriter(there)
    prefix = "model.transformer.blocks"
    names = {key: f"{prefix}.{key[0]}.{'ff_out' if key[1] == 'down_proj' else key[1]}.weight" for key in bare.weights}
    names = {key: name for key, name in names.items() if key[1] in ("q_proj", "k_proj", "up_proj", "down_proj")}
    tracemalloc.start()
    try:
        for key, name in names.items():
            writer.add(name, ~bare.pruned(*key))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    bits = sum(out * features for out, features in map(bare.shape, names)) // 8
    assert held < bits / 4
    writer.save()
    written = masks_file.open_masks(str(there))
    assert written.stored
    assert not list(there.glob("*.waiting"))
    for key in names:
        np.testing.assert_array_equal(written.pruned(*key), bare.pruned(*key))


def test_the_mask_file_is_the_mask_where_there_is_one(folder, tmp_path):
    stored = masks_file.open_masks(str(folder))
    bare = copied(folder, tmp_path / "bare")
    (bare / "masks.safetensors").unlink()
    zeros = masks_file.open_masks(str(bare))
    assert (stored.stored, zeros.stored) == (True, False)
    assert stored.names == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    geometry = stored.geometry
    assert len(stored.weights) == geometry.layers * 7
    comparison = compare.compare(
        masks_file.pairs(stored, zeros), geometry.layers, stored.names, geometry.heads, geometry.kv_heads
    )
    assert compare.disagreement(comparison.total()) == 0
    # A weight that is zero in the file and kept by the mask is kept: the mask file decides.
    weights = load_file(bare / "model.safetensors")
    weights["model.transformer.blocks.2.up_proj.weight"][:] = 0
    changed = copied(folder, tmp_path / "changed")
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(masks_file.open_masks(str(changed)).pruned(2, "up_proj"), stored.pruned(2, "up_proj"))


def test_what_a_mask_file_leaves_out_was_left_dense(folder, tmp_path):
    there = copied(folder, tmp_path / "partly")
    kept = {"model.transformer.blocks.1.q_proj.weight": np.packbits(np.zeros((192, 192), bool))}
    shapes = json.dumps({name: [192, 192] for name in kept})
    save_arrays(kept, there / "masks.safetensors", metadata={"shapes": shapes})
    read = masks_file.open_masks(str(there))
    assert read.pruned(1, "q_proj").all()
    assert not read.pruned(0, "q_proj").any()


@pytest.mark.parametrize("name", ["llada-mha", "llada-gqa", "dream-gqa"])
def test_the_mask_is_the_one_of_the_pruned_model_in_memory(name, tmp_path):
    model = load(ModelSpec(source=str(GOLDEN / name), device="cpu"))
    pruned = pruned_copy(model, "magnitude", 0.4)
    read = masks_file.open_masks(str(save_pruned(pruned, tmp_path / name, mask_file=False)))
    for layer, block in enumerate(pruned.blocks):
        for inner, module in pruned.projections(block).items():
            got = read.pruned(layer, inner.rpartition(".")[2])
            np.testing.assert_array_equal(got, (module.weight == 0).numpy(), inner)


def test_a_checkpoint_in_several_files_is_read_whole(bundled, folder, tmp_path):
    pruned = pruned_copy(bundled, "magnitude", 0.5)
    pruned.network.save_pretrained(tmp_path / "shards", max_shard_size="3MB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    whole, shards = masks_file.open_masks(str(folder)), masks_file.open_masks(str(tmp_path / "shards"))
    assert masks_file.why_not_comparable(whole, shards) == ""
    assert all((first == second).all() for _, _, first, second in masks_file.pairs(whole, shards))


def test_only_one_projection_lies_in_memory_at_a_time(tmp_path):
    side, layers = 1024, 12
    config = json.loads((GOLDEN / "dream-gqa" / "config.json").read_text()) | {"num_hidden_layers": layers}
    weights = {
        f"model.layers.{layer}.mlp.up_proj.weight": torch.ones(side, side, dtype=torch.bfloat16)
        for layer in range(layers)
    }
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        save_file(weights, tmp_path / name / "model.safetensors")
    first, second = (masks_file.open_masks(str(tmp_path / name)) for name in ("a", "b"))
    tracemalloc.start()
    compare.compare(masks_file.pairs(first, second), layers, first.names, 4, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * side * side  # both masks of all layers would be 24 times a side squared


def test_the_stamp_changes_with_the_files(folder, tmp_path):
    there = copied(folder, tmp_path / "stamped")
    before = masks_file.open_masks(str(there)).stamp
    assert masks_file.open_masks(str(there)).stamp == before
    (there / "masks.safetensors").unlink()
    assert masks_file.open_masks(str(there)).stamp != before


def bad_masks(folder, to, arrays, shapes):
    there = copied(folder, to)
    metadata = {} if shapes is None else {"shapes": shapes}
    save_arrays(arrays, there / "masks.safetensors", metadata=metadata)
    return there


WEIGHT = "model.transformer.blocks.0.q_proj.weight"


@pytest.mark.parametrize(
    ("arrays", "shapes", "message"),
    [
        ({WEIGHT: np.zeros(192 * 24, np.uint8)}, None, "is not a mask file"),
        ({WEIGHT: np.zeros(192 * 24, np.uint8)}, "[]", "is not a mask file"),
        ({WEIGHT: np.zeros(10, np.uint8)}, json.dumps({WEIGHT: [192, 192]}), "is not a mask file"),
        ({WEIGHT: np.zeros(192 * 24, np.int16)}, json.dumps({WEIGHT: [192, 192]}), "is not a mask file"),
        ({WEIGHT: np.zeros(8, np.uint8)}, json.dumps({WEIGHT: [8, 8]}), "do not belong together"),
    ],
)
def test_a_mask_file_that_is_none_is_refused_in_one_line(folder, tmp_path, arrays, shapes, message):
    there = bad_masks(folder, tmp_path / "bad", arrays, shapes)
    with pytest.raises(UserError, match=message) as error:
        masks_file.open_masks(str(there))
    assert "\n" not in str(error.value)


def test_weights_whose_zeros_cannot_be_told_are_refused(folder, tmp_path):
    there = copied(folder, tmp_path / "whole-numbers")
    weights = load_file(there / "model.safetensors")
    weights[WEIGHT] = weights[WEIGHT].to(torch.int8)
    save_file(weights, there / "model.safetensors")
    with pytest.raises(UserError, match="stored as I8"):
        masks_file.open_masks(str(there))


def test_hub_ids_that_are_not_here_and_folders_without_blocks_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="not on this disk"):
        masks_file.open_masks("someone/somewhere")
    there = copied(folder, tmp_path / "no-blocks")
    save_file({"lm_head.weight": torch.zeros(2, 2)}, there / "model.safetensors")
    with pytest.raises(UserError, match="weight files hold 0"):
        masks_file.open_masks(str(there))


def test_a_file_cut_off_after_it_was_opened_is_one_line(folder, tmp_path):
    there = copied(folder, tmp_path / "cut")
    (there / "masks.safetensors").unlink()
    read = masks_file.open_masks(str(there))
    path = there / "model.safetensors"
    with path.open("r+b") as file:
        file.truncate(5_000)
    with pytest.raises(UserError, match="ends before its weights do"):
        read.pruned(7, "v_proj")


def test_why_two_folders_cannot_be_compared(folder):
    bundled = masks_file.open_masks(str(folder))
    assert masks_file.why_not_comparable(bundled, bundled) == ""
    gqa, mha, dream = (masks_file.open_masks(str(GOLDEN / name)) for name in ("llada-gqa", "llada-mha", "dream-gqa"))
    assert "3 layers" in masks_file.why_not_comparable(bundled, gqa)
    assert "key/value heads" in masks_file.why_not_comparable(mha, gqa)
    assert masks_file.why_not_comparable(gqa, dream) == ""  # the same projections under other names
    key = (1, "q_proj")
    fewer = replace(gqa, weights={one: value for one, value in gqa.weights.items() if one != key})
    assert "has q_proj in layer 1" in masks_file.why_not_comparable(gqa, fewer)
    cut = replace(gqa, weights=gqa.weights | {key: replace(gqa.weights[key], shape=(48, 64))})
    assert re.search("64×64 and 48×64.*cut out", masks_file.why_not_comparable(gqa, cut))


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("model.transformer.blocks.3.ff_out.weight", (3, "down_proj")),
        ("model.layers.11.self_attn.o_proj.weight", (11, "o_proj")),
        ("layers.0.mlp.gate_proj.weight", (0, "gate_proj")),
        ("model.layers.0.mlp.experts.1.up_proj.weight", (0, "experts.1.up_proj")),
        ("transformer.h.2.attn.c_proj.weight", (2, "attn.c_proj")),
        ("model.transformer.ff_out.weight", None),
        ("model.layers.0.self_attn.q_proj.bias", None),
    ],
)
def test_projections_have_one_name_whatever_the_file_calls_them(weight, expected):
    assert masks_file.projection(weight) == expected
