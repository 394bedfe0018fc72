"""Pruning whole head groups and MLP channels from a checkpoint into a folder: what is written, and that it is used."""

import json
import math

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from analysis import jobs
from analysis.errors import UserError
from analysis.models.blocks import skeleton
from analysis.models.files import stored_tensors
from analysis.models.load import load
from analysis.pruned import compare, masks_file
from analysis.pruning import pipeline, removal, saving, structured
from analysis.pruning.estimate import estimate
from analysis.specs import METHODS, LLaDASampling, ModelSpec, RecordSpec
from tests.conftest import over_golden
from tests.helpers import QuietContext, edit_config, save_tiny
from tests.pruning.test_pruning import FEW, published_text, spec_for, weights_hash, written
from training import measure

UNIT_METHODS = tuple(name for name, row in METHODS.items() if row.structured)


def prune(model, out, method="wanda", text=None, **changes):
    """The report of a structured pruning, by default of half."""
    spec = spec_for(model, out, method, **{"pattern": "structured", **changes})
    return pipeline.prune(model, spec, QuietContext(out.parent), text)


def opened(folder):
    return load(ModelSpec(source=str(folder), device="cpu"))


def block_weights(model) -> int:
    return sum(module.weight.numel() for block in model.blocks for module in model.projections(block).values())


def test_the_methods_without_hessians_are_all_here():
    assert set(METHODS) - set(UNIT_METHODS) == {"sparsegpt", "sink-sparsegpt", "sham-sparsegpt", "none"}


@over_golden(method=UNIT_METHODS)
def test_the_folder_is_smaller_and_its_report_true(golden, tmp_path, method):
    model, expected, _ = golden
    before = weights_hash(model)
    report = prune(model, tmp_path / "p", method, published_text(expected))
    assert weights_hash(model) == before
    again = opened(tmp_path / "p")
    gone = block_weights(model) - block_weights(again)
    assert report["sparsity"]["pruned_weights"] == gone
    assert report["sparsity"]["overall"] == pytest.approx(gone / block_weights(model))
    assert report["sparsity"]["overall"] == pytest.approx(0.5, abs=0.02)
    assert (tmp_path / "p" / "model.safetensors").stat().st_size < sum(
        file.stat().st_size for file in model.checkpoint.weight_files
    )
    for layer, block in enumerate(again.blocks):
        shapes = {name.split(".")[-1]: list(m.weight.shape) for name, m in again.projections(block).items()}
        assert report["sliced"]["shapes"][layer] == shapes
    assert again.geometry.kv_heads == report["sliced"]["kv_heads"] == model.geometry.kv_heads // 2
    assert again.predict(torch.arange(20)[None]).isfinite().all()
    assert any("cannot open this checkpoint" in note for note in report["notes"])


@over_golden(method=("magnitude", "wanda", "sink-wanda"))
def test_streaming_writes_the_same_bits(golden, tmp_path, method):
    model, expected, _ = golden
    changes = {"allocation": "depth", "sparsity": 0.4}
    for name, network in (("whole", model), ("streamed", skeleton(model.spec))):
        prune(network, tmp_path / name, method, published_text(expected), **changes)
    for file in ("model.safetensors", masks_file.MASK_FILE, "config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "streamed" / file).read_bytes(), file


def test_masks_have_the_dense_shape_and_say_which_weights_are_left(golden, tmp_path):
    """What a mask keeps of the dense weight, laid in the shape of the small one, is the small one."""
    model, expected, _ = golden
    report = prune(model, tmp_path / "p", "sink-wanda", published_text(expected))
    small, folder = written(tmp_path / "p", model), masks_file.open_masks(str(tmp_path / "p"))
    assert (folder.geometry.heads, folder.geometry.kv_heads) == (model.geometry.heads, model.geometry.kv_heads)
    dense = {name: stored.read() for name, stored in stored_tensors(model).items()}
    assert set(dense) == set(small)
    for layer, block in enumerate(model.blocks):
        for inner, module in model.projections(block).items():
            name, short = f"model.layers.{layer}.{inner}.weight", inner.split(".")[-1]
            kept = torch.from_numpy(~folder.pruned(layer, short))
            assert kept.shape == module.weight.shape
            assert torch.equal(dense[name][kept].view(small[name].shape), small[name])
            share = report["sparsity"]["grid"][layer][report["sparsity"]["projections"].index(short)]
            assert share == pytest.approx(1 - kept.float().mean().item(), abs=1e-6)
        groups = report["sliced"]["head_groups"][layer]
        assert [share == 0 for share in report["sparsity"]["by_head"]["k_proj"][layer]] == [
            group in groups for group in range(model.geometry.kv_heads)
        ]


@pytest.mark.parametrize("golden", ["llada-mha"], indirect=True)
def test_masks_are_compared_with_those_of_any_other_pattern(golden, tmp_path):
    model, expected, _ = golden
    text = published_text(expected)
    prune(model, tmp_path / "a", "wanda", text)
    prune(model, tmp_path / "b", "wanda", text, pattern="unstructured")
    first, second = (masks_file.open_masks(str(tmp_path / name)) for name in "ab")
    assert masks_file.why_not_comparable(first, second) == ""
    geometry = first.geometry
    found = compare.compare(
        masks_file.pairs(first, second), geometry.layers, first.names, geometry.heads, geometry.kv_heads
    )
    assert compare.sparsities(found.total())[0] == pytest.approx(0.5, abs=0.02)
    assert 0.3 < compare.disagreement(found.total()) < 0.6
    # A mask whose kept rows are not as many as the weight's belongs to another folder.
    prune(model, tmp_path / "c", "wanda", text, sparsity=0.3)
    (tmp_path / "a" / masks_file.MASK_FILE).write_bytes((tmp_path / "c" / masks_file.MASK_FILE).read_bytes())
    mixed = masks_file.open_masks(str(tmp_path / "a"))
    with pytest.raises(UserError, match="do not belong together"):
        mixed.pruned(0, "up_proj")


@pytest.mark.parametrize("allocation", ["owl"])
def test_allocations_give_blocks_different_widths(bundled, tmp_path, allocation):
    report = prune(bundled, tmp_path / "p", "wanda", allocation=allocation, sparsity=0.4, allocation_range=0.2)
    channels = report["sliced"]["channels"]
    assert len(set(channels)) > 1
    assert report["sparsity"]["overall"] == pytest.approx(0.4, abs=0.005)
    found = list(report["sparsity"]["by_layer"].values())
    assert found == pytest.approx(report["sparsity"]["asked_by_layer"], abs=0.03)
    if allocation == "depth":
        assert channels == sorted(channels)
    again = opened(tmp_path / "p")
    assert [block.mlp.up_proj.out_features for block in again.blocks] == channels
    assert "differ in width" in " ".join(report["notes"])


def test_a_sliced_model_records_and_is_pruned_again(small, tmp_path):
    prune(small, tmp_path / "p", "magnitude", allocation="depth")
    source = ModelSpec(source=str(tmp_path / "p"), device="cpu")
    sampling = LLaDASampling(gen_length=8, steps=4)
    outcome = jobs.record(RecordSpec(model=source, prompt="one day ben", sampling=sampling), QuietContext(tmp_path))
    assert outcome.file.is_file()
    once = load(source)
    assert once.geometry.heads == small.geometry.heads // 2
    again = prune(once, tmp_path / "q", "wanda", sparsity=0.3)
    twice = opened(tmp_path / "q")
    assert again["sparsity"]["pruned_weights"] == block_weights(once) - block_weights(twice)
    assert twice.predict(torch.arange(20)[None]).isfinite().all()
    prune(once, tmp_path / "r", "magnitude", pattern="2:4", sparsity=0.5)
    assert block_weights(opened(tmp_path / "r")) == block_weights(once)


@pytest.mark.parametrize("golden", ["dream-gqa"], indirect=True)
def test_wanda_scores_each_block_on_what_the_cut_ones_before_it_pass_on(golden, tmp_path, monkeypatch):
    """Layer by layer, against norms that a hook gathers from the written model's own forward."""
    model, expected, _ = golden
    seen = []
    choose = structured.choose

    def watched(block, shape, groups, channels, scores):
        seen.append(dict(scores))
        return choose(block, shape, groups, channels, scores)

    monkeypatch.setattr(structured, "choose", watched)
    text = published_text(expected)
    prune(model, tmp_path / "p", "wanda", text)
    again = opened(tmp_path / "p")
    last = len(again.blocks) - 1
    # The last block of the written model reads what the last dense block read when it was scored.
    inputs = []
    hook = again.blocks[last].register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    again.predict(torch.from_numpy(text.clean))
    hook.remove()
    normed = model.blocks[last].input_layernorm(torch.cat(inputs)).detach()
    norms = (normed.square().flatten(0, 1).sum(dim=0) / len(text.clean)).sqrt()
    torch.testing.assert_close(seen[last]["self_attn.q_proj"], norms, rtol=1e-4, atol=1e-5)


def test_scored_units_cost_less_than_random_ones(bundled, tmp_path, monkeypatch):
    """At a quarter of the weights, what is lost on held-out text is well below what as many random units cost."""
    prune(bundled, tmp_path / "scored", "wanda", sparsity=0.25)

    def drawn(block, shape, groups, channels, scores):
        return structured.Kept(
            *(
                torch.randperm(count)[:kept].sort().values
                for count, kept in ((shape.groups, groups), (shape.channels, channels))
            )
        )

    monkeypatch.setattr(structured, "choose", drawn)
    torch.manual_seed(0)
    prune(bundled, tmp_path / "random", "wanda", sparsity=0.25)
    folders = (tmp_path / "scored", tmp_path / "random")
    dense, scored, random = (measure.loss(model, 1) for model in (bundled, *map(opened, folders)))
    assert dense < scored
    assert scored - dense < 0.7 * (random - dense)


def test_biases_and_tensors_of_other_kinds_go_with_their_units(tmp_path):
    """Qwen2 has biases of q, k and v, and here three key/value heads that six query heads share."""
    sizes = {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3, "intermediate_size": 64}
    folder = save_tiny(tmp_path / "dense", transformers.Qwen2ForCausalLM, transformers.Qwen2Config, **sizes)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith("bias"):
            weight.normal_()
    save_file({name: weight.half() for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    edit_config(folder, is_causal=False, mask_token_id=1)
    model = opened(folder)
    report = prune(model, tmp_path / "p", "magnitude", sparsity=0.4)
    groups = report["sliced"]["head_groups"][1]
    assert len(groups) == 2
    small = load_file(tmp_path / "p" / "model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in small.values())
    for name in ("q_proj", "k_proj", "v_proj"):
        whole = weights[f"model.layers.1.self_attn.{name}.bias"].half().view(3, -1)
        assert torch.equal(small[f"model.layers.1.self_attn.{name}.bias"], whole[groups].flatten())
    untouched = [name for name in small if "layernorm" in name or "embed" in name]
    assert untouched
    assert all(torch.equal(small[name], weights[name].half()) for name in untouched)
    assert opened(tmp_path / "p").predict(torch.arange(5, 20)[None]).isfinite().all()


@pytest.mark.parametrize("golden", ["llada-gqa"], indirect=True)
def test_what_is_left_dense_keeps_its_shape(golden, tmp_path):
    model, expected, _ = golden
    text = published_text(expected)
    report = prune(model, tmp_path / "p", "wanda", text, skip_layers=(0,), sparsity=0.3)
    tensors, dense = written(tmp_path / "p", model), stored_tensors(model)
    assert all(torch.equal(tensors[name], dense[name].read()) for name in tensors if ".layers.0." in name)
    assert report["sliced"]["kv_heads"] == model.geometry.kv_heads
    assert report["sparsity"]["grid"][0] == [None] * 7
    assert report["sparsity"]["overall"] == pytest.approx(0.3, abs=0.03)
    report = prune(model, tmp_path / "q", "wanda", text, skip_projections=("up_proj",))
    assert report["sliced"]["kv_heads"] == model.geometry.kv_heads // 2
    assert report["sliced"]["channels"] == [160] * 3
    assert report["sparsity"]["by_projection"].keys() == {"q_proj", "k_proj", "v_proj", "o_proj"}


@pytest.mark.parametrize("golden", ["llada-gqa"], indirect=True)
@pytest.mark.parametrize(("sparsity", "message"), [(0.95, "at most"), (0.001, "too low")])
def test_a_sparsity_that_cannot_be_is_refused_before_any_work(golden, tmp_path, sparsity, message):
    model, _, _ = golden
    context = QuietContext(tmp_path)
    spec = spec_for(model, tmp_path / "p", "sink-wanda", pattern="structured", sparsity=sparsity)
    for run in (pipeline.prune, estimate):
        with pytest.raises(UserError, match=message):
            run(model, spec, context)
    assert context.said == []
    assert list(tmp_path.iterdir()) == []


# --- families whose classes are transformers' own ---------------------------------------------------------------

FOREIGN = {
    "mistral": (transformers.MistralForCausalLM, transformers.MistralConfig, {}),
    "gemma": (transformers.GemmaForCausalLM, transformers.GemmaConfig, {"head_dim": 8}),
    "olmo2": (transformers.Olmo2ForCausalLM, transformers.Olmo2Config, {}),
}


def foreign(folder, name):
    """A model of a family whose class has no MLPs of different widths, with three key/value heads."""
    kind, config, changes = FOREIGN[name]
    sizes = {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3, "intermediate_size": 64}
    return opened(save_tiny(folder, kind, config, **{**sizes, "num_hidden_layers": 3, **changes}))


@pytest.mark.parametrize(
    ("name", "changes", "groups"),
    [
        ("mistral", {"sparsity": 0.4}, 2),
        ("mistral", {"sparsity": 0.35, "skip_projections": ("down_proj",)}, 2),
        ("gemma", {"sparsity": 0.4}, 2),
        ("olmo2", {"sparsity": 0.4, "skip_projections": ("q_proj",)}, 3),
    ],
)
def test_other_families_lose_the_same_in_every_block_and_open_again(tmp_path, name, changes, groups):
    """What opens computes what the dense model does with the lost columns of o and down set to zero."""
    model = foreign(tmp_path / "dense", name)
    report = prune(model, tmp_path / "p", "magnitude", **changes)
    again = opened(tmp_path / "p")
    assert len({block.mlp.up_proj.out_features for block in again.blocks}) == 1
    assert again.geometry.kv_heads == groups
    gone = block_weights(model) - block_weights(again)
    assert report["sparsity"]["pruned_weights"] == gone
    assert report["sparsity"]["overall"] == pytest.approx(changes["sparsity"], abs=0.07)
    assert any("opens this checkpoint too" in note for note in report["notes"])
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "p")
    folder = masks_file.open_masks(str(tmp_path / "p"))
    tokens = torch.arange(5, 29).view(2, 12)
    with torch.no_grad():
        for layer, block in enumerate(model.blocks):
            for part, module in (("o_proj", block.self_attn.o_proj), ("down_proj", block.mlp.down_proj)):
                if part in folder.names:
                    module.weight[torch.from_numpy(folder.pruned(layer, part))] = 0
    torch.testing.assert_close(again.predict(tokens), model.predict(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mistral", {"allocation": "depth"}, "one width for all blocks"),
        ("gemma", {"allocation": "owl"}, "one width for all blocks"),
        ("mistral", {"skip_layers": (0,)}, "one width for all blocks"),
        ("olmo2", {}, r"q_norm.*leave q_proj dense"),
    ],
)
def test_shapes_that_a_class_cannot_hold_are_refused_before_any_work(tmp_path, name, changes, message):
    model = foreign(tmp_path / "dense", name)
    context = QuietContext(tmp_path)
    spec = spec_for(model, tmp_path / "p", "wanda", pattern="structured", **changes)
    for run in (pipeline.prune, estimate):
        with pytest.raises(UserError, match=message):
            run(model, spec, context)
    assert context.said == []
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_a_sliced_folder_that_does_not_open_is_not_kept(small, tmp_path, monkeypatch):
    monkeypatch.setattr(removal.CutsUnits, "config_changes", lambda self: {})
    with pytest.raises(UserError, match="does not open again"):
        prune(small, tmp_path / "p", "magnitude")
    assert list(tmp_path.iterdir()) == []


def test_other_blocks_than_llamas_are_refused(tmp_path):
    config = transformers.GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(UserError, match="Llama only"):
        prune(opened(tmp_path / "gpt2"), tmp_path / "p", "magnitude")


@pytest.mark.parametrize(
    ("golden", "method", "projection"),
    [("llada-mha", "magnitude", "up_proj"), ("llada-gqa", "wanda", "q_proj"), ("dream-gqa", "sink-wanda", "up_proj")],
    indirect=["golden"],
)
def test_weights_that_are_not_finite_are_refused(golden, tmp_path, method, projection):
    model, expected, _ = golden
    folder = tmp_path / "broken"
    folder.mkdir()
    saving.copy_companions(model.checkpoint, folder)
    tensors = {stored.name: stored.read() for stored in stored_tensors(model).values()}
    name = next(name for name in tensors if f"{projection}.weight" in name)
    tensors[name][0, 0] = math.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="not finite"):
        prune(opened(folder), tmp_path / "p", method, published_text(expected))
    assert not (tmp_path / "p").exists()


def test_the_estimate_counts_the_smaller_files(bundled, tmp_path):
    spec = spec_for(bundled, tmp_path / "p", pattern="structured", calibration=FEW)
    found = estimate(bundled, spec, QuietContext(tmp_path))
    whole = estimate(bundled, spec.model_copy(update={"pattern": "unstructured"}), QuietContext(tmp_path))
    assert 0 < found["total_seconds"] < 600
    assert found["memory_bytes"] == whole["memory_bytes"]
    pipeline.prune(bundled, spec, QuietContext(tmp_path))
    files = sum((tmp_path / "p" / name).stat().st_size for name in ("model.safetensors", masks_file.MASK_FILE))
    assert found["disk_bytes"] == pytest.approx(files, rel=0.02)
    assert found["disk_bytes"] < 0.8 * whole["disk_bytes"]


def test_the_command_line_prunes_units(tmp_path, capsys):
    from analysis.__main__ import main

    words = ["prune", "--method", "magnitude", "--pattern", "structured", "--sparsity", "0.3", "--json"]
    assert main([*words, "--out", str(tmp_path / "p")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sparsity"]["overall"] == pytest.approx(0.3, abs=0.005)
    assert main([*words[:-2], "0.95", "--out", str(tmp_path / "q")]) == 2
    assert "cannot reach" in capsys.readouterr().err
