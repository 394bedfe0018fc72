"""Models trained block by block, against what the authors' code computes on the same checkpoints (tests/golden)."""

import json
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import MistralConfig, MistralForCausalLM

from analysis.attention import MapObserver, MassObserver
from analysis.errors import UserError
from analysis.models.checkpoint import open_folder
from analysis.models.families import ARCHITECTURES
from analysis.models.layout import Layout, layout_of, visible
from analysis.models.load import load
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN, golden_model
from tests.helpers import TINY, edit_config, save_tiny, save_tokenizer

# What the golden tensors are named by, and the layout that gives their mask.
CASES = [
    ("sdar", "b4", Layout(4)),
    ("sdar", "b8", Layout(8)),
    ("a2d-qwen3", "b4", Layout(4)),
    ("a2d-qwen3", "b8", Layout(8)),
    ("fast-dllm-v2", "b4", Layout(4)),
    ("fast-dllm-v2", "b8", Layout(8)),
    ("llada2", "b4", Layout(4)),
    ("llada2", "b8", Layout(8)),
    ("llada21", "b4", Layout(4)),
    ("llada21", "b8", Layout(8)),
    ("nemotron", "causal", Layout(8)),
    ("nemotron", "open_last8", Layout(8, open_from=24)),
]
NAMES = ("sdar", "a2d-qwen3", "fast-dllm-v2", "nemotron", "llada2")


def opened(name: str, **options):
    if not options:
        return golden_model(name, "bd3lm")
    return load(ModelSpec(source=str(GOLDEN / name), device="cpu", paradigm="bd3lm", **options))


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return opened(request.param)


@pytest.mark.parametrize(("name", "key", "layout"), CASES)
def test_mask_logits_and_attention_mass_equal_the_authors(name, key, layout):
    model, expected = opened(name), load_file(GOLDEN / name / "golden.safetensors")
    length = expected["ids"].shape[1]
    assert torch.equal(visible(model.architecture, length, layout), expected[f"mask_{key}"])
    observer = MassObserver()
    logits = model.predict(expected["ids"], observer, layout=layout)
    reference = expected[f"logits_{key}"]
    if model.architecture.shift:
        reference = torch.cat([reference[:, :1], reference[:, :-1]], dim=1)
    assert (logits - reference).abs().max() < 1e-4
    mass = observer.take().mass
    assert (mass - expected[f"attention_mass_{key}"]).abs().max() < 1e-4
    assert torch.allclose(mass.sum(dim=-1), torch.tensor(float(length)), atol=1e-3)


def test_a_padded_prompt_is_a_text_whose_first_block_is_short():
    model, expected = opened("a2d-qwen3"), load_file(GOLDEN / "a2d-qwen3" / "golden.safetensors")
    block = 4
    for row, (ids, seen) in enumerate(zip(expected["ids_padded"], expected["mask_padded"], strict=True)):
        real = seen.any(dim=1)
        padding = int((~real).sum())
        text = ids[padding:]
        layout = Layout(block, border=-padding % block)
        assert torch.equal(visible(model.architecture, len(text), layout), seen[padding:, padding:])
        observer = MassObserver()
        logits = model.predict(text[None], observer, layout=layout)
        assert (logits[0] - expected["logits_padded"][row, padding:]).abs().max() < 1e-4
        mass = expected["attention_mass_padded"][row, :, :, padding:]
        assert (observer.take().mass[0] - mass).abs().max() < 1e-4


def test_the_converted_class_trained_on_whole_texts_equals_the_authors_too():
    model = load(ModelSpec(source=str(GOLDEN / "a2d-qwen3"), device="cpu", paradigm="mdlm"))
    expected = load_file(GOLDEN / "a2d-qwen3" / "golden.safetensors")
    observer = MassObserver()
    assert (model.predict(expected["ids"], observer) - expected["logits_full"]).abs().max() < 1e-4
    assert (observer.take().mass - expected["attention_mass_full"]).abs().max() < 1e-4


def test_what_a_query_does_not_see_changes_nothing_and_what_it_sees_does(model):
    length, block = 22, 4
    layout = Layout(block, border=2, open_from=18)
    seen = visible(model.architecture, length, layout)
    ids = torch.randint(0, 90, (1, length), generator=torch.Generator().manual_seed(1))
    plain = model.network(input_ids=ids, attention_mask=seen[None, None], use_cache=False).logits
    shift = model.architecture.shift
    for changed in (1, 5, 13, 17, 18, 21):
        other = ids.clone()
        other[0, changed] = (ids[0, changed] + 7) % 90
        logits = model.predict(other, layout=layout)
        if shift:
            logits = torch.cat([logits[:, 1:], logits[:, -1:]], dim=1)
        for query in range(length - shift):
            # Products grouped by expert round a token by what else its expert is given.
            rounding = 1e-4 if model.architecture.mixture else 0
            same = bool((logits[0, query] - plain[0, query]).abs().max() <= rounding)
            assert same == (not bool(seen[query, changed])), (changed, query)


def test_maps_and_masses_agree_and_hidden_keys_get_nothing(model):
    ids = torch.arange(20)[None]
    layout = Layout(4, open_from=16)
    seen = visible(model.architecture, 20, layout)
    observer, look = MassObserver(), MapObserver(1, 2)
    model.predict(ids, observer, layout=layout)
    model.predict(ids, look, layout=layout)
    assert (look.map[~seen] == 0).all()
    assert (look.map[seen] > 0).all()
    assert torch.allclose(look.map.sum(dim=0), observer.take().mass[0, 1, 2], atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(prompt=st.integers(0, 30), block=st.integers(1, 9), length=st.integers(1, 40))
def test_blocks_begin_where_the_family_anchors_them(prompt, block, length):
    for name, border in (("sdar", 0), ("a2d-qwen3-bd3lm", prompt % block), ("nemotron", prompt)):
        layout = layout_of(ARCHITECTURES[name], prompt, block)
        assert (layout.block, layout.border) == (block, border)
        for position in range(length):
            start = layout.start(position)
            assert start <= position < start + block
            assert start == 0 or (start - border) % block == 0
    layout = layout_of(ARCHITECTURES["a2d-qwen3-bd3lm"], prompt, block)
    seen = visible(ARCHITECTURES["a2d-qwen3-bd3lm"], length, layout)
    for query in range(length):
        # As where the prompt is padded on its left to whole blocks.
        padding = -prompt % block
        assert seen[query].tolist() == [(key + padding) // block <= (query + padding) // block for key in range(length)]


def test_windows_are_those_that_layers_attend_through_whatever_fields_a_config_carries(tmp_path):
    llada2 = load(ModelSpec(source=str(GOLDEN / "llada2"), device="cpu"))
    assert llada2.checkpoint.config["sliding_window"] == 4096
    assert llada2.windows == ()
    config = MistralConfig(**TINY, sliding_window=6)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    assert load(ModelSpec(source=str(tmp_path), device="cpu")).windows == (6, 6)


def test_a_family_without_blocks_has_no_layout(bundled):
    with pytest.raises(ValueError, match="no blocks"):
        layout_of(bundled.architecture, 0)
    with pytest.raises(ValueError, match="by blocks"):
        visible(bundled.architecture, 4, Layout(2))


def test_saving_writes_the_published_names_and_config_back(model, tmp_path):
    source = model.checkpoint.folder
    model.network.save_pretrained(tmp_path)
    with (
        safe_open(source / "model.safetensors", "pt") as before,
        safe_open(tmp_path / "model.safetensors", "pt") as after,
    ):
        assert set(before.keys()) == set(after.keys())
        for name in before.keys():  # noqa: SIM118 - a safetensors handle is no mapping
            assert torch.equal(before.get_tensor(name), after.get_tensor(name)), name
    old = json.loads((source / "config.json").read_text())
    new = json.loads((tmp_path / "config.json").read_text())
    for field in ("model_type", "architectures", "rope_theta", "mask_token_id", "vocab_size", "block_size", "bd_size"):
        assert new.get(field) == old.get(field), field
    for field, value in (old.get("rope_parameters") or {}).items():
        assert new["rope_parameters"][field] == value, field
    again = load(ModelSpec(source=str(tmp_path), device="cpu", paradigm="bd3lm"))
    ids = torch.arange(20)[None]
    assert torch.equal(again.predict(ids), model.predict(ids))


def test_bfloat16_stays_close(model):
    rough = opened(model.checkpoint.folder.name, dtype="bfloat16")
    ids = torch.arange(24)[None]
    expected = model.predict(ids)
    assert rough.dtype == "bfloat16"
    # Where two experts are nearly as likely, rounding chooses the other.
    bound = 0.4 if model.architecture.mixture else 0.15
    assert (rough.predict(ids).float() - expected).std() < bound * expected.std()


def test_where_mask_tokens_are_read(tmp_path):
    found = {name: opened(name).mask_token for name in NAMES}
    assert found == {"sdar": 127, "a2d-qwen3": 127, "fast-dllm-v2": 127, "nemotron": 100, "llada2": 127}
    shutil.copytree(GOLDEN / "fast-dllm-v2", tmp_path / "plain")
    (tmp_path / "plain" / "generation_config.json").unlink()
    with pytest.raises(UserError, match="151665"):  # the authors' sampler's own, which this small vocabulary lacks
        load(ModelSpec(source=str(tmp_path / "plain"), device="cpu"))
    save_tokenizer(tmp_path / "plain", size=128)
    assert load(ModelSpec(source=str(tmp_path / "plain"), device="cpu")).mask_token == 1


@pytest.mark.parametrize("row", [row for row in ARCHITECTURES.values() if row.native], ids=lambda row: row.name)
def test_the_class_that_runs_is_the_one_the_row_names(row, tmp_path):
    import transformers

    from analysis.models.load import _NATIVE_CLASSES

    kind = next(
        each
        for each in _NATIVE_CLASSES
        if each.__name__ in row.classes and each.config_class.model_type == row.model_type
    )
    assert issubclass(kind, getattr(transformers, row.native))
    assert kind.config_class.model_type == row.model_type


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("sdar", {"use_sliding_window": True}, "'use_sliding_window' = True"),
        ("sdar", {"hidden_act": "gelu"}, "'hidden_act' = gelu"),
        ("sdar", {"block_size": 0}, "'block_size'"),
        ("sdar", {"block_size": "4"}, "'block_size'"),
        ("fast-dllm-v2", {"bd_size": True}, "'bd_size'"),
        ("nemotron", {"dlm_paradigm": "autoregressive"}, "'dlm_paradigm' = autoregressive"),
        ("nemotron", {"sliding_window": 128}, "'sliding_window' = 128"),
        ("a2d-qwen3", {"dlm_paradigm": "block_diff"}, "'dlm_paradigm' = block_diff"),
        ("a2d-qwen3", {"canvas_length": 32}, "'canvas_length' = 32"),
    ],
)
def test_odd_variants_are_refused_with_the_fields_that_differ(tmp_path, name, changes, said):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "odd")
    edit_config(folder, **changes)
    with pytest.raises(UserError) as caught:
        open_folder(folder, paradigm="bd3lm")
    assert said in str(caught.value)


@pytest.mark.parametrize("backbone", ["Llama", "Qwen2"])
def test_the_other_converted_backbones_attend_by_blocks_too(tmp_path, backbone):
    from analysis.models import native_code

    kind, config = (getattr(native_code, f"A2D{backbone}{ending}") for ending in ("LMHeadModel", "Config"))
    folder = save_tiny(tmp_path / "tiny-bd3lm", kind, config)
    model = load(ModelSpec(source=str(folder), device="cpu"))
    assert (model.architecture.attention, model.architecture.block_size) == ("block-causal", 32)
    ids = torch.arange(5, 29)[None]
    later = ids.clone()
    later[0, 12:] = 40
    layout = Layout(12)
    assert torch.equal(model.predict(later, layout=layout)[0, :12], model.predict(ids, layout=layout)[0, :12])
    assert not torch.equal(model.predict(later)[0, :12], model.predict(ids)[0, :12])
