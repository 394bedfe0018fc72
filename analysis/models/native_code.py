"""Diffusion language models on transformers' native code, under the authors' own config and parameter names.

A config's rotary embeddings are written back as the published code reads them, which runs on transformers 4.

LLaDA and MMaDA: the published remote code does not run on transformers 5. Its blocks are Llama's, so the config keeps
the authors' field names (an attribute map gives the native code the Llama names) and weights are renamed on load and
back on save.

Dream: Qwen2's code and parameter names; its config differs when written back.

Models trained block by block: SDAR on Qwen3, Fast-dLLM v2 on Qwen2, Nemotron on Ministral3. Parameter names are the
native ones, except Nemotron's, which are renamed on load and back on save. Every forward gets its mask (`layout.py`),
so the classes differ from their relatives only in the config.

Autoregressive models turned into diffusion models (`a2d-*`, the dLLM project): parameter names and logits are the
native model's; only the attention mask differs, which is not causal.

Models that lost whole heads or MLP channels to structured pruning: their configs differ from their whole relatives' in
two fields. `head_dim` is explicit, because hidden / heads no longer gives it, and where the MLPs of the blocks differ
in width `mlp_per_block` lists them. All blocks have the same number of heads.
"""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import transformers
from torch import nn
from transformers import Ministral3Config, Ministral3ForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from analysis.errors import UserError

MLP_PER_BLOCK = "mlp_per_block"


class SlicedMLPs(PreTrainedModel):
    """Comes before a native class: every block's MLP gets the width its config lists, if it lists any."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        widths = getattr(config, MLP_PER_BLOCK, None)
        if widths is None:
            return
        blocks = self.model.layers
        if len(widths) != len(blocks):
            raise UserError(
                f"'{MLP_PER_BLOCK}' lists {len(widths)} widths for {len(blocks)} blocks. Correct its config.json."
            )
        for block, width in zip(blocks, widths, strict=True):
            narrow = copy.copy(config)
            narrow.intermediate_size = width
            block.mlp = type(block.mlp)(narrow)
        self.init_weights()  # initializes only the new parameters


class AnyHeads:
    """Comes before Llama's config, which refuses a hidden size that is no multiple of the heads, `head_dim` or not."""

    def validate_architecture(self) -> None:
        """Nothing: a head size that does not fit the weights is found when they load."""


def with_plain_rope(fields: dict[str, Any]) -> dict[str, Any]:
    """A config's fields with `rope_theta` and `rope_scaling`, without which that code would take base 10,000."""
    rope = fields.pop("rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        fields["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    fields["rope_theta"] = rope.get("rope_theta")
    return fields


class Denoiser(PreTrainedConfig):
    """A config of a model that sees what comes after a token, and whose forwards keep no keys by themselves."""

    use_cache: bool = False
    is_causal: bool = False


class FlatRope(Denoiser):
    """A config whose rotary embeddings stay in plain fields, as the authors' code reads them."""

    initializer_range: float = 0.02
    attention_dropout: float = 0.0
    pad_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    bos_token_id: int | None = None

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """As the native code reads them."""
        fields = {"rope_theta": self.rope_theta, "partial_rotary_factor": getattr(self, "partial_rotary_factor", None)}
        return {"rope_type": "default"} | {name: value for name, value in fields.items() if value is not None}

    @property
    def rope_scaling(self) -> None:
        """None: families with plain fields take no scaling."""

    @rope_scaling.setter
    def rope_scaling(self, value: Any) -> None:
        """transformers would move it into `rope_parameters`."""

    def convert_rope_params_to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing is moved: the native code would drop the plain fields."""
        return kwargs


class PlainRope(Denoiser):
    """Comes before a config class of transformers."""

    def to_dict(self) -> dict[str, Any]:
        """The fields of config.json."""
        return with_plain_rope(super().to_dict())


class LLaDAConfig(FlatRope):
    """The authors' config. Raises UserError for a checkpoint whose blocks are not Llama's."""

    model_type = "llada"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "intermediate_size": "mlp_hidden_size",
        "hidden_act": "activation_type",
        "max_position_embeddings": "max_sequence_length",
        "tie_word_embeddings": "weight_tying",
        "attention_bias": "include_qkv_bias",
        "mlp_bias": "include_bias",
    }
    d_model: int = 4096
    n_layers: int = 32
    n_heads: int = 32
    n_kv_heads: int | None = None
    mlp_hidden_size: int = 12288
    activation_type: str = "silu"
    max_sequence_length: int = 4096
    weight_tying: bool = False
    include_qkv_bias: bool = False
    include_bias: bool = False
    vocab_size: int = 126464
    embedding_size: int | None = None
    rms_norm_eps: float = 1e-5
    rope_theta: float = 500000.0
    pad_token_id: int | None = 126081
    eos_token_id: int | None = 126081
    mask_token_id: int = 126336

    _llama_shaped: ClassVar[dict[str, Any]] = {
        "block_type": "llama",
        "layer_norm_type": "rms",
        "activation_type": "silu",
        "rope": True,
        "alibi": False,
        "attention_layer_norm": False,
        "input_emb_norm": False,
        "scale_logits": False,
        "include_bias": False,
        "include_qkv_bias": False,
        "layer_norm_with_affine": True,
    }

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.n_kv_heads is None:
            self.n_kv_heads = self.n_heads
        odd = {
            name: getattr(self, name)
            for name, expected in self._llama_shaped.items()
            if getattr(self, name, expected) != expected
        }
        if self.embedding_size and self.embedding_size < self.vocab_size:
            odd["embedding_size"] = self.embedding_size
        if odd:
            listed = ", ".join(f"{name} = {value!r}" for name, value in odd.items())
            raise UserError(
                f"The config says {listed}, so its blocks are not Llama's, and no other LLaDA is run. Correct its "
                "config.json, or take another checkpoint."
            )


class MMaDAConfig(LLaDAConfig):
    """MMaDA's language model is a LLaDA with image tokens in its vocabulary."""

    model_type = "mmada"


class LLaDARotaryEmbedding(LlamaRotaryEmbedding):
    """Cosines and sines in float32 whatever the model's precision (the authors' `rope_full_precision`).

    The attention function casts query and key back. transformers finds the class by the suffix of its name.
    """

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().forward(x.new_empty(0, dtype=torch.float32), position_ids)


class LLaDAModelLM(SlicedMLPs, transformers.LlamaForCausalLM):
    """Named as the authors' class, so that `architectures` is written back unchanged."""

    # Not a subclass of Llama's, whose fields it renames: its attribute map answers to Llama's names.
    config: LLaDAConfig  # type: ignore[assignment]

    def __init__(self, config: LLaDAConfig) -> None:
        padding = config.pad_token_id
        if padding is not None and padding >= config.vocab_size:
            config.pad_token_id = None  # the native embedding refuses it; the authors' has no padding
        super().__init__(config)
        config.pad_token_id = padding
        self.model.rotary_emb = LLaDARotaryEmbedding(config)  # type: ignore[arg-type] # as above
        rows = config.embedding_size or config.vocab_size
        if rows != config.vocab_size:
            # The authors' embedding and head have so many rows, whatever the vocabulary: logits cover all of them.
            self.model.embed_tokens = nn.Embedding(rows, config.d_model)
            self.lm_head = nn.Linear(config.d_model, rows, bias=False)
            self.vocab_size = self.model.vocab_size = rows
            self.init_weights()  # initializes only the new parameters, and ties the head if the config does


class MMadaModelLM(LLaDAModelLM):
    """Named as the authors' class."""

    config: MMaDAConfig


# The authors' parameter names as patterns, and the native ones. Applied in order on load, reversed on save.
NAMES = (
    (r"^model\.transformer\.wte\.", "model.embed_tokens."),
    (r"^model\.transformer\.ln_f\.", "model.norm."),
    (r"^model\.transformer\.ff_out\.", "lm_head."),
    (r"^model\.transformer\.blocks\.", "model.layers."),
    (r"\.attn_out\.", ".self_attn.o_proj."),
    (r"\.q_proj\.", ".self_attn.q_proj."),
    (r"\.k_proj\.", ".self_attn.k_proj."),
    (r"\.v_proj\.", ".self_attn.v_proj."),
    (r"\.ff_proj\.", ".mlp.gate_proj."),
    (r"\.up_proj\.", ".mlp.up_proj."),
    (r"\.ff_out\.", ".mlp.down_proj."),
    (r"\.attn_norm\.", ".input_layernorm."),
    (r"\.ff_norm\.", ".post_attention_layernorm."),
)


class SDARConfig(PlainRope, transformers.Qwen3Config):
    """Qwen3's config plus mask token and block size."""

    model_type = "sdar"
    block_size: int = 4
    mask_token_id: int | None = None


class SDARForCausalLM(SlicedMLPs, transformers.Qwen3ForCausalLM):
    """Named as the authors' class, so that `architectures` is written back unchanged."""

    config: SDARConfig


class FastDLLMConfig(PlainRope, transformers.Qwen2Config):
    """Qwen2's config plus the block size. The mask token is in the authors' sampler."""

    model_type = "Fast_dLLM_Qwen"
    bd_size: int = 32


class Fast_dLLM_QwenForCausalLM(SlicedMLPs, transformers.Qwen2ForCausalLM):
    """Named as the authors' class."""

    config: FastDLLMConfig


class NemotronConfig(Ministral3Config):
    """Ministral3's config plus mask token and block size."""

    model_type = "nemotron_labs_diffusion"
    block_size: int = 32
    mask_token_id: int = 100
    use_cache: bool = False
    is_causal: bool = False


class NemotronLabsDiffusionModel(SlicedMLPs, Ministral3ForCausalLM):
    """Named as the authors' class."""

    config: NemotronConfig


RENAMED = {
    LLaDAModelLM.__name__: NAMES,
    MMadaModelLM.__name__: NAMES,
    NemotronLabsDiffusionModel.__name__: ((r"^encoder\.", "model."), (r"^diffusion_head\.", "lm_head.")),
}
"""The published parameter names as patterns, and the native ones, by class."""


class A2DLlamaConfig(PlainRope, AnyHeads, transformers.LlamaConfig):
    model_type = "a2d-llama"


class A2DQwen2Config(PlainRope, transformers.Qwen2Config):
    model_type = "a2d-qwen2"


class A2DQwen3Config(PlainRope, transformers.Qwen3Config):
    model_type = "a2d-qwen3"


class A2DLlamaLMHeadModel(SlicedMLPs, transformers.LlamaForCausalLM):
    config: A2DLlamaConfig


class A2DQwen2LMHeadModel(SlicedMLPs, transformers.Qwen2ForCausalLM):
    config: A2DQwen2Config


class A2DQwen3LMHeadModel(SlicedMLPs, transformers.Qwen3ForCausalLM):
    config: A2DQwen3Config


class DreamConfig(PlainRope, transformers.Qwen2Config):
    """Qwen2's config plus the mask token."""

    model_type = "Dream"
    mask_token_id: int = 151666

    def to_dict(self) -> dict[str, Any]:
        fields = super().to_dict()
        fields.pop("layer_types", None)
        return fields


class DreamModel(SlicedMLPs, transformers.Qwen2ForCausalLM):
    """Named as the authors' class, so that `architectures` is written back unchanged."""

    config: DreamConfig


# Named as the native classes, so that `architectures` is written back unchanged and tokenizers are found.
class LlamaConfig(AnyHeads, transformers.LlamaConfig):
    pass


class Qwen2Config(transformers.Qwen2Config):
    pass


class Qwen3Config(transformers.Qwen3Config):
    pass


class LlamaForCausalLM(SlicedMLPs, transformers.LlamaForCausalLM):
    config: LlamaConfig


class Qwen2ForCausalLM(SlicedMLPs, transformers.Qwen2ForCausalLM):
    config: Qwen2Config


class Qwen3ForCausalLM(SlicedMLPs, transformers.Qwen3ForCausalLM):
    config: Qwen3Config


CLASSES = (
    LLaDAModelLM,
    MMadaModelLM,
    DreamModel,
    A2DLlamaLMHeadModel,
    A2DQwen2LMHeadModel,
    A2DQwen3LMHeadModel,
    SDARForCausalLM,
    Fast_dLLM_QwenForCausalLM,
    NemotronLabsDiffusionModel,
    LlamaForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)
_NATIVE = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


def sliced_config(config: Mapping[str, Any]) -> type[PreTrainedConfig] | None:
    """The config class of a native checkpoint that transformers itself would refuse; None for every other."""
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    uneven = isinstance(heads, int) and isinstance(hidden, int) and heads > 0 and hidden % heads != 0
    if config.get(MLP_PER_BLOCK) is not None or uneven:
        return _NATIVE.get(config.get("model_type", ""))
    return None
