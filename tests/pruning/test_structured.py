"""Cutting out head groups and channels: what goes, what a sliced model computes, and that it loads everywhere here."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.attention import MassObserver
from analysis.errors import UserError
from analysis.models import native_code
from analysis.models.blocks import first_input, private_block, run_block, skeleton
from analysis.models.files import stored_tensors
from analysis.models.load import load, random_like, register
from analysis.pruning import structured
from analysis.pruning.allocation import layer_sparsities
from analysis.pruning.structured import BlockShape, Scope, UnitsKept
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN
from tests.helpers import edit_config, save_tiny

register()
TOKENS = torch.arange(5, 29).view(2, 12)
FAMILIES = {
    "a2d-llama": (native_code.A2DLlamaLMHeadModel, native_code.A2DLlamaConfig, {}),
    "a2d-qwen2": (native_code.A2DQwen2LMHeadModel, native_code.A2DQwen2Config, {}),
    "a2d-qwen3": (native_code.A2DQwen3LMHeadModel, native_code.A2DQwen3Config, {"head_dim": 16}),
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "qwen2": (transformers.Qwen2ForCausalLM, transformers.Qwen2Config, {}),
    "qwen3": (transformers.Qwen3ForCausalLM, transformers.Qwen3Config, {"head_dim": 16}),
}
GOLDENS = ("llada-mha", "llada-gqa", "dream-gqa")


def open_cpu(folder):
    return load(ModelSpec(source=str(folder), device="cpu", paradigm="mdlm"))


@pytest.fixture(params=[*GOLDENS, *FAMILIES])
def model(request, tmp_path):
    """A small model of every family, with three key/value heads where we make it; biases are not zero."""
    if request.param in GOLDENS:
        return open_cpu(GOLDEN / request.param)
    kind, config, changes = FAMILIES[request.param]
    sizes = {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3, "intermediate_size": 64}
    folder = save_tiny(tmp_path / "dense", kind, config, **{**sizes, **changes})
    if request.param == "qwen2":
        edit_config(folder, is_causal=False, mask_token_id=1)
    dense = open_cpu(folder)
    with torch.no_grad():
        for name, weight in dense.network.named_parameters():
            if name.endswith("bias"):
                weight.normal_()
    return dense


def shapes_of(model) -> list[BlockShape]:
    return [structured.block_shape(block, model.geometry) for block in model.blocks]


def sliced(model, sparsity: float, allocation: str = "uniform", kept=None):
    """A sliced copy by magnitude, its plan and what was kept of every block."""
    shapes = shapes_of(model)
    may_go = structured.scope(len(shapes))
    sparsities = layer_sparsities(allocation, sparsity, np.array(may_go.weights(shapes)), None, 0.2)
    made = structured.plan(shapes, may_go, sparsities.tolist())
    smaller = replace(model, network=copy.deepcopy(model.network))
    kept = []
    for block, shape, channels in zip(smaller.blocks, shapes, made.channels, strict=True):
        kept.append(structured.choose(block, shape, made.groups, channels, None))
        structured.slice_(block, shape, kept[-1])
    return smaller, made, kept


def saved(model, smaller, made, folder):
    """The sliced copy as a checkpoint."""
    smaller.network.save_pretrained(folder)
    edit_config(folder, **structured.config_changes(model.architecture, shapes_of(model), made))
    for file in model.checkpoint.folder.glob("*token*"):
        shutil.copy(file, folder)
    return folder


def test_a_sliced_model_reloads_records_and_is_sliced_again(request, model, tmp_path):
    of_model = [*GOLDENS, *FAMILIES].index(request.node.callspec.params["model"])
    allocation = ("uniform", "depth")[of_model % 2]
    smaller, made, _ = sliced(model, 0.5, allocation)
    assert made.groups < model.geometry.kv_heads
    assert (len(set(made.channels)) > 1) == (allocation == "depth")
    again = open_cpu(saved(model, smaller, made, tmp_path / "sliced"))
    expected = smaller.predict(TOKENS)
    assert torch.equal(again.predict(TOKENS), expected)
    assert shapes_of(again) == [
        replace(shape, groups=made.groups, channels=channels)
        for shape, channels in zip(shapes_of(model), made.channels, strict=True)
    ]
    assert again.bytes < model.bytes
    assert again.geometry.kv_heads == made.groups
    observer = MassObserver()
    again.predict(TOKENS, observer)
    mass, norms, _ = observer.take()
    assert mass.shape == (2, again.geometry.layers, again.geometry.heads, TOKENS.shape[1])
    assert norms.shape[2] == made.groups
    null = random_like(again, 0)
    assert shapes_of(null) == shapes_of(again)
    width = null.blocks[0].mlp.up_proj.weight
    assert width.std() < 2 * null.network.config.initializer_range, "drawn as the family's other weights are"

    twice, remade, _ = sliced(again, 0.3)
    final = open_cpu(saved(again, twice, remade, tmp_path / "twice"))
    assert torch.equal(final.predict(TOKENS), twice.predict(TOKENS))


def test_a_sliced_model_streams_block_by_block(tmp_path):
    model = open_cpu(GOLDEN / "dream-gqa")
    smaller, made, _ = sliced(model, 0.5, "depth")
    shell = skeleton(ModelSpec(source=str(saved(model, smaller, made, tmp_path / "sliced")), device="cpu"))
    stored, given_input = stored_tensors(shell), first_input(shell, TOKENS)
    for index in range(len(shell.blocks)):
        given_input.states = run_block(private_block(shell, index, stored), given_input)
    expected = smaller.network.model(input_ids=TOKENS, use_cache=False).last_hidden_state
    torch.testing.assert_close(shell.network.model.norm(given_input.states), expected)


def test_slicing_is_zeroing_made_small(model):
    """A sliced model computes what the dense one does with the lost columns of o and down set to zero."""
    smaller, _, kept = sliced(model, 0.5)
    zeroed = replace(model, network=copy.deepcopy(model.network))
    for block, shape, keep in zip(zeroed.blocks, shapes_of(model), kept, strict=True):
        size = shape.group_heads * shape.head_dim
        for name, units, width in (("self_attn.o_proj", keep.groups, size), ("mlp.down_proj", keep.channels, 1)):
            weight = block.get_submodule(name).weight.data
            lost = torch.ones(weight.shape[1] // width, dtype=torch.bool)
            lost[units] = False
            weight[:, lost.repeat_interleave(width)] = 0
    torch.testing.assert_close(smaller.predict(TOKENS), zeroed.predict(TOKENS), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(smaller.predict(TOKENS), model.predict(TOKENS), rtol=1e-2, atol=1e-2)


def test_the_units_worth_most_stay():
    model = open_cpu(GOLDEN / "llada-gqa")
    block, (shape, *_) = model.blocks[0], shapes_of(model)
    generator = torch.Generator().manual_seed(0)
    scores = {
        name: torch.rand(block.get_submodule(name).weight.shape[1], generator=generator)
        for name in ("self_attn.o_proj", "mlp.down_proj")
    }
    kept = structured.choose(block, shape, 1, 96, scores)
    columns = {name: block.get_submodule(name).weight.double().norm(dim=0) * scores[name].double() for name in scores}
    by_group = columns["self_attn.o_proj"].view(2, -1).sum(dim=1)
    assert kept.groups.tolist() == [int(by_group.argmax())]
    assert kept.channels.tolist() == sorted(columns["mlp.down_proj"].argsort()[-96:].tolist())
    plain = structured.choose(block, shape, 1, 96, None)
    assert plain.channels.tolist() != kept.channels.tolist()
    scores["mlp.down_proj"][3] = torch.nan
    with pytest.raises(UserError, match="NaN"):
        structured.choose(block, shape, 1, 96, scores)


# --- the plan ---------------------------------------------------------------------------------------------------


@st.composite
def stacks(draw):
    """Blocks of one head geometry; the MLPs may differ in width, as after slicing."""
    groups, group_heads, head_dim = draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.sampled_from([8, 16]))
    widths = draw(st.lists(st.sampled_from([48, 64, 100, 160]), min_size=1, max_size=8))
    return [BlockShape(groups, group_heads, head_dim, width, groups * group_heads * head_dim) for width in widths]


def test_a_head_group_goes_where_all_channels_are_too_few():
    shape = BlockShape(groups=4, group_heads=4, head_dim=16, channels=48, hidden=256)
    everything = structured.scope(1, set())
    sizes = everything.weights([shape])
    made = structured.plan([shape], everything, layer_sparsities("uniform", 0.1875, sizes, None, 0.1))
    assert (made.groups, made.channels) == (3, (48,))
    assert sum(made.removed([shape])) == shape.group_weights > 0.1875 * sum(sizes)


@settings(max_examples=60, deadline=None)
@given(
    shapes=stacks(), sparsity=st.floats(0.05, 0.95), allocation=st.sampled_from(["uniform", "depth"]), data=st.data()
)
def test_the_overall_sparsity_is_met_to_within_half_a_step(shapes, sparsity, allocation, data):
    skipped = data.draw(st.sets(st.integers(0, len(shapes) - 1), max_size=len(shapes) - 1))
    may_go = structured.scope(len(shapes), skipped)
    sizes = may_go.weights(shapes)
    shares = layer_sparsities(allocation, sparsity, sizes, None, 0.1)
    try:
        made = structured.plan(shapes, may_go, shares)
    except UserError as error:
        assert "at most" in str(error) or "too low" in str(error)
        return
    removed = made.removed(shapes)
    step = max(shape.channel_step * shape.channel_weights for shape in shapes)
    too_much = sum(removed) - sparsity * sum(sizes)
    a_group = sum(shape.group_weights for shape in shapes)
    in_channels = sum(
        shape.channel_weights * (shape.channels - shape.channel_step)
        for layer, shape in enumerate(shapes)
        if layer in may_go.channel_layers
    )
    without_the_last = (shapes[0].groups - made.groups - 1) * a_group + in_channels
    if made.groups < shapes[0].groups and without_the_last < sparsity * sum(sizes) and too_much > step / 2 + 1:
        assert sum(removed) == (shapes[0].groups - made.groups) * a_group, "no channel goes beside such a group"
    else:
        assert abs(too_much) <= step / 2 + 1
    assert 1 <= made.groups <= shapes[0].groups
    assert all(shape.channel_step <= kept <= shape.channels for shape, kept in zip(shapes, made.channels, strict=True))
    assert all(
        shape.channels == kept
        for layer, (shape, kept) in enumerate(zip(shapes, made.channels, strict=True))
        if layer in skipped
    )
    if skipped:
        assert made.groups == shapes[0].groups


SHAPES = [BlockShape(4, 2, 8, 160, 64)] * 3


def test_heads_are_rounded_down_and_channels_take_the_rest():
    may_go = structured.scope(3)
    for sparsity, groups in ((0.2, 4), (0.3, 3), (0.5, 2), (0.7, 2), (0.8, 1)):
        assert structured.plan(SHAPES, may_go, [sparsity] * 3).groups == groups, sparsity
    assert structured.plan(SHAPES, may_go, [0.0] * 3) == UnitsKept(4, (160, 160, 160))


def test_heads_go_beyond_their_share_where_channels_alone_cannot_do_it():
    shapes = [BlockShape(8, 1, 32, 16, 256)]
    may_go = structured.scope(1)
    assert structured.plan(shapes, may_go, [0.8]).groups == 1


def test_what_the_last_block_cannot_lose_goes_from_the_others():
    shapes = [*SHAPES[:2], replace(SHAPES[2], channels=16)]
    may_go = structured.scope(3, (), ("q_proj",))
    assert structured.plan(shapes, may_go, [0, 0, 15 / 16]).channels == (152, 160, 8)


def test_what_stays_dense_decides_what_may_go():
    assert structured.scope(3, (), ("k_proj",)) == Scope(False, frozenset({0, 1, 2}))
    assert structured.scope(3, (), ("up_proj",)) == Scope(True, frozenset())
    assert structured.scope(3, (1,)) == Scope(False, frozenset({0, 2}))
    heads_only = structured.scope(3, (), ("down_proj",))
    assert heads_only.weights(SHAPES) == [4 * SHAPES[0].group_weights] * 3
    assert structured.plan(SHAPES, heads_only, [0.4] * 3) == UnitsKept(2, (160, 160, 160))


def test_impossible_sparsities_say_what_is_possible():
    with pytest.raises(UserError, match=r"at most") as caught:
        structured.plan(SHAPES, structured.scope(3), [0.95] * 3)
    most = float(str(caught.value).split("allows ")[1].split(" ")[0])
    made = structured.plan(SHAPES, structured.scope(3), [most] * 3)
    assert made == UnitsKept(1, (8, 8, 8))
    with pytest.raises(UserError, match="too low"):
        structured.plan(SHAPES, structured.scope(3, (), ("up_proj",)), [0.05] * 3)


def test_blocks_of_another_shape_are_refused(tmp_path):
    config = transformers.GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    model = open_cpu(tmp_path)
    with pytest.raises(UserError, match="Llama only"):
        structured.block_shape(model.blocks[0], model.geometry)


# --- other code -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "channels", "opens"),
    [(2, (48, 48), True), (1, (48, 48), True), (3, (48, 40), False), (5, (32, 32), False)],
)
def test_what_is_said_of_transformers_is_so(groups, channels, opens, tmp_path):
    """A Llama of hidden size 48 with 6 groups: transformers takes 2 heads or 1, not 5, and no uneven MLPs."""
    sizes = {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 6, "intermediate_size": 64}
    folder = save_tiny(tmp_path / "dense", transformers.LlamaForCausalLM, transformers.LlamaConfig, **sizes)
    model = open_cpu(folder)
    made = UnitsKept(groups, channels)
    smaller = replace(model, network=copy.deepcopy(model.network))
    for block, shape, count in zip(smaller.blocks, shapes_of(model), channels, strict=True):
        structured.slice_(block, shape, structured.choose(block, shape, groups, count, None))
    saved(model, smaller, made, tmp_path / "sliced")
    config = open_cpu(tmp_path / "sliced").checkpoint.config
    said = structured.elsewhere(model.architecture, config)
    assert ("opens this checkpoint" in said) == opens, said
    if opens:
        theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "sliced")
        torch.testing.assert_close(theirs(TOKENS).logits, smaller.predict(TOKENS), rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(Exception, match=r"size mismatch|not a multiple|mismatched"):
            transformers.LlamaForCausalLM.from_pretrained(tmp_path / "sliced")


@pytest.mark.parametrize("name", GOLDENS)
def test_the_authors_code_needs_the_heads_its_hidden_size_implies(name):
    model = open_cpu(GOLDEN / name)
    shapes = shapes_of(model)
    config = model.checkpoint.config

    def said(made: UnitsKept) -> str:
        return structured.elsewhere(
            model.architecture, {**config, **structured.config_changes(model.architecture, shapes, made)}
        )

    whole = shapes[0].groups
    assert "opens" in said(UnitsKept(whole, (160, 160, 160)))
    assert "opens" in said(UnitsKept(whole, (80, 80, 80)))
    assert "number of heads" in said(UnitsKept(1, (80, 80, 80)))
    assert "differ in width" in said(UnitsKept(whole, (80, 72, 80)))


def test_a_list_of_widths_that_does_not_fit_is_one_sentence(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "llada-gqa", folder)
    for widths in ([160, 160], ["a", 2, 3], [160, 152, 160]):
        edit_config(folder, mlp_per_block=widths)
        with pytest.raises(UserError) as caught:
            open_cpu(folder)
        assert "\n" not in str(caught.value)
