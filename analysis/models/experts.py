"""Mixtures of experts: the families that have them on native code, and the matrices, routed tokens and inputs of single
experts.

LLaDA2.x runs on GLM-4.5's blocks, LLaDA-MoE and SDAR with experts on Qwen3-MoE's, under their published config fields.
Their files hold one matrix per expert, and LLaDA2's one for query, key and value; the native code keeps all experts of
a layer in two 3-D tensors. Files are converted on load and back on save.

Shapes: B sequences, S positions, K experts per token, E experts, H features of a token, I inside an expert.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import nn
from transformers import Glm4MoeForCausalLM, PreTrainedConfig, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.core_model_loading import Concatenate, MergeModulelist, Split, WeightConverter, WeightRenaming

from analysis.attention import stack_layers
from analysis.errors import UserError
from analysis.models.native_code import RENAMED, FlatRope, PlainRope


@dataclass(eq=False)
class ExpertMatrix:
    """One weight matrix (out, in) of one expert: a view of rows of a packed tensor, so writing into it changes that."""

    _packed: nn.Parameter
    _expert: int
    _rows: slice

    @property
    def weight(self) -> torch.Tensor:
        """(out, in), a view."""
        return self._packed.data[self._expert, self._rows]

    @property
    def in_features(self) -> int:
        return self._packed.shape[-1]


@dataclass(frozen=True)
class Routed:
    """Input of a layer's experts: states (B, S, H) of all tokens, and the experts of each, (B, S, K) int64.

    weights (B, S, K): factors of their outputs; None if not kept.
    """

    states: torch.Tensor
    experts: torch.Tensor
    weights: torch.Tensor | None = None


@dataclass(frozen=True)
class ExpertInput:
    """Input of one expert from B sequences, each sending at most M tokens: states (B, M, H), the input of its down
    projection, (B, M, I), and positions in the text, (B, M) int64. Sequences that sent fewer are padded with zeros, at
    positions of other tokens.
    """

    expert: int
    states: torch.Tensor
    inner: torch.Tensor
    positions: torch.Tensor


@dataclass(frozen=True)
class Routing:
    """experts (B, M, S, K) int64: the experts of each token, by decreasing weight; weights (B, M, S, K) float32, the
    factors of their outputs. M layers with experts, K chosen of each. On the CPU.
    """

    experts: torch.Tensor
    weights: torch.Tensor


def packed_name(block: nn.Module) -> str | None:
    """The name in a block of the module that holds all its experts; None for a block without experts."""
    for name, module in block.named_modules():
        packed = getattr(module, "gate_up_proj", None)
        if isinstance(packed, nn.Parameter) and packed.dim() == 3:
            return name
    return None


def expert_matrices(block: nn.Module) -> dict[str, ExpertMatrix]:
    """Every matrix of every expert of a block, under the names that published files give them."""
    name, matrices = packed_name(block), {}
    if name is not None:
        module: Any = block.get_submodule(name)
        experts, width = len(module.gate_up_proj), module.down_proj.shape[-1]
        parts = (
            ("gate_proj", module.gate_up_proj, slice(0, width)),  # gate rows come first
            ("up_proj", module.gate_up_proj, slice(width, 2 * width)),
            ("down_proj", module.down_proj, slice(None)),
        )
        for expert in range(experts):
            for part, packed, rows in parts:
                matrices[f"{name}.{expert}.{part}"] = ExpertMatrix(packed, expert, rows)
    return matrices


def routed(arguments: tuple[Any, ...], rows: int) -> Routed:
    """Return the input of a packed module, in which `rows` sequences are concatenated."""
    states, chosen, weights = arguments[:3]
    return Routed(*(given.view(rows, -1, given.shape[-1]) for given in (states, chosen, weights)))


@torch.no_grad()
def expert_inputs(module: Any, given: Routed) -> Iterator[ExpertInput]:
    """Yield the input of each expert in turn; M is 0 for one that no token reached."""
    for expert in range(len(module.gate_up_proj)):
        reached = (given.experts == expert).any(dim=-1)
        most = int(reached.sum(dim=1).max())
        positions = (~reached).long().argsort(dim=1, stable=True)[:, :most]
        there = reached.gather(1, positions)[..., None]
        states = given.states.gather(1, positions[..., None].expand(-1, -1, given.states.shape[-1]))
        states = states.masked_fill(~there, 0)
        gate, up = nn.functional.linear(states, module.gate_up_proj[expert]).chunk(2, dim=-1)
        yield ExpertInput(expert, states, module.act_fn(gate) * up, positions)


def packed_experts(block: nn.Module) -> nn.Module | None:
    """The module of a block that holds all its experts in 3-D tensors; None for a block without experts."""
    name = packed_name(block)
    return None if name is None else block.get_submodule(name)


def expert_layers(blocks: nn.ModuleList) -> tuple[int, ...]:
    """The layers that have experts, in order."""
    return tuple(layer for layer, block in enumerate(blocks) if packed_experts(block) is not None)


class RoutingObserver(ExitStack):
    """Watches the blocks while it is entered. Other forwards in between do no harm: only the last one is kept."""

    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__()
        self._blocks = blocks
        self._chosen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __enter__(self) -> Self:
        for layer, block in enumerate(self._blocks):
            module = packed_experts(block)
            if module is not None:
                self.callback(module.register_forward_pre_hook(partial(self._keep, layer)).remove)
        return self

    def _keep(self, layer: int, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        _, chosen, weights = arguments[:3]
        self._chosen[layer] = (chosen.detach(), weights.detach())

    def take(self, rows: int, batch: int) -> Routing | None:
        """The first `rows` of the `batch` sequences of the last forward; None for a model without experts."""
        if not self._chosen:
            return None
        experts, weights = {}, {}
        for layer, (chosen, weight) in self._chosen.items():
            weight, order = weight.float().sort(dim=-1, descending=True, stable=True)
            experts[layer], weights[layer] = (
                part.view(batch, -1, part.shape[-1])[:rows] for part in (chosen.gather(-1, order), weight)
            )
        self._chosen = {}
        return Routing(stack_layers(experts), stack_layers(weights))


class LLaDA2MoeConfig(FlatRope):
    """The published config; an attribute map gives the native code GLM's names."""

    model_type = "llada2_moe"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_local_experts": "num_experts",
        "n_routed_experts": "num_experts",
        "n_shared_experts": "num_shared_experts",
        "attention_bias": "use_qkv_bias",
    }
    vocab_size: int = 157184
    hidden_size: int = 2048
    intermediate_size: int = 5120
    num_hidden_layers: int = 20
    num_attention_heads: int = 16
    num_key_value_heads: int = 4
    head_dim: int = 128
    hidden_act: str = "silu"
    max_position_embeddings: int = 32768
    rms_norm_eps: float = 1e-6
    rope_theta: float = 600000.0
    partial_rotary_factor: float = 0.5
    use_qk_norm: bool = True
    use_qkv_bias: bool = False
    first_k_dense_replace: int = 1
    moe_intermediate_size: int = 512
    num_experts: int = 256
    num_experts_per_tok: int = 8
    num_shared_experts: int = 1
    n_group: int = 8
    topk_group: int = 4
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 2.5
    output_router_logits: bool = False
    tie_word_embeddings: bool = False


class LLaDA2MoeModelLM(Glm4MoeForCausalLM):
    """Named as the authors' class, so that `architectures` is written back unchanged."""

    # Not a subclass of GLM's, whose fields it renames: its attribute map answers to GLM's names.
    config: LLaDA2MoeConfig  # type: ignore[assignment]


class LLaDA21MoeConfig(LLaDA2MoeConfig):
    """The same under the model type of the dLLM project's copies of LLaDA2.1."""

    model_type = "llada21_moe"


class LLaDA21MoeModelLM(LLaDA2MoeModelLM):
    """Named as its parent, by which such copies go."""

    config: LLaDA21MoeConfig


LLaDA21MoeModelLM.__name__ = LLaDA2MoeModelLM.__name__


class LLaDAMoEConfig(FlatRope):
    """The published config, whose model type is the dense LLaDA's: its class name identifies it."""

    model_type = "llada"
    attribute_map: ClassVar[dict[str, str]] = {
        "moe_intermediate_size": "expert_intermediate_size",
        "intermediate_size": "dense_intermediate_size",
    }
    vocab_size: int = 157184
    hidden_size: int = 2048
    dense_intermediate_size: int = 8192
    expert_intermediate_size: int = 1024
    num_hidden_layers: int = 16
    num_attention_heads: int = 16
    num_key_value_heads: int = 16
    hidden_act: str = "silu"
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5
    rope_theta: float = 50000.0
    attention_bias: bool = False
    moe_layer_freq: list[int] | int | None = None
    num_experts: int = 64
    num_experts_per_tok: int = 8
    output_router_logits: bool = False
    router_aux_loss_coef: float = 0.01
    sliding_window: int | None = None
    norm_topk_prob: bool | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        every = self.moe_layer_freq
        if isinstance(every, list) and len(every) != self.num_hidden_layers:
            raise UserError(
                f"'moe_layer_freq' lists {len(every)} layers of {self.num_hidden_layers} ('num_hidden_layers'). "
                "Correct its config.json."
            )
        if isinstance(every, int) and every != 1:
            raise UserError(f"'moe_layer_freq' is {every}; a list of one number per layer was expected.")

    @property
    def mlp_only_layers(self) -> list[int]:
        """The layers without experts."""
        every = self.moe_layer_freq
        return [layer for layer, experts in enumerate(every) if not experts] if isinstance(every, list) else []

    @property
    def decoder_sparse_step(self) -> int:
        return 1


class LLaDAMoEModelLM(Qwen3MoeForCausalLM):
    """Named as the authors' class."""

    config: LLaDAMoEConfig  # type: ignore[assignment]

    def __init__(self, config: LLaDAMoEConfig) -> None:
        super().__init__(config)  # type: ignore[arg-type]
        for layer in self.model.layers:
            if hasattr(layer.mlp, "gate") and hasattr(layer.mlp, "experts"):
                # The authors' code never renormalises the weights of the chosen experts, whatever its config says.
                layer.mlp.gate.norm_topk_prob = False


class SDARMoeConfig(PlainRope, Qwen3MoeConfig):
    """Qwen3-MoE's config plus mask token and block size."""

    model_type = "sdar_moe"
    block_size: int = 4
    mask_token_id: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields of config.json, with the number of experts under its published name."""
        fields = super().to_dict()
        return fields | {"num_experts": fields.pop("num_local_experts", self.num_experts)}


class SDARMoeForCausalLM(Qwen3MoeForCausalLM):
    """Named as the authors' class."""

    config: SDARMoeConfig


CLASSES = (LLaDA2MoeModelLM, LLaDA21MoeModelLM, LLaDAMoEModelLM, SDARMoeForCausalLM)


def choose_implementation(config: PreTrainedConfig) -> None:
    """Run experts one by one if their widths are no multiple of the 16 bytes that grouped products need."""
    text = config.get_text_config()
    if text.hidden_size % 8 or text.moe_intermediate_size % 8:
        config._experts_implementation = "eager"


# LLaDA2's published names as patterns, and the native ones, of tensors that are the same in both.
LLADA2_NAMES = (
    (r"^model\.word_embeddings\.", "model.embed_tokens."),
    (r"\.attention\.", ".self_attn."),
    (r"\.self_attn\.dense\.", ".self_attn.o_proj."),
    (r"\.self_attn\.query_layernorm\.", ".self_attn.q_norm."),
    (r"\.self_attn\.key_layernorm\.", ".self_attn.k_norm."),
    (r"\.mlp\.gate\.expert_bias", ".mlp.gate.e_score_correction_bias"),
)
# In the native tensor, gate rows precede up rows.
EXPERTS: list[WeightConverter | WeightRenaming] = [
    WeightConverter(
        ["mlp.experts.*.gate_proj.weight", "mlp.experts.*.up_proj.weight"],
        "mlp.experts.gate_up_proj",
        operations=[MergeModulelist(dim=0), Concatenate(dim=1)],
    ),
    WeightConverter("mlp.experts.*.down_proj.weight", "mlp.experts.down_proj", operations=[MergeModulelist(dim=0)]),
]
CONVERSIONS: dict[str, list[WeightConverter | WeightRenaming]] = {
    **{name: [WeightRenaming(*pair) for pair in pairs] for name, pairs in RENAMED.items()},
    LLaDA2MoeModelLM.__name__: [
        *EXPERTS,
        *(WeightRenaming(*pair) for pair in LLADA2_NAMES[:2]),
        WeightConverter("query_key_value", ["q_proj", "k_proj", "v_proj"], operations=[Split(dim=0)]),
        *(WeightRenaming(*pair) for pair in LLADA2_NAMES[2:]),
    ],
    LLaDAMoEModelLM.__name__: EXPERTS,
    SDARMoeForCausalLM.__name__: EXPERTS,
}
"""Conversions of each class's files to native tensors, by its name."""
