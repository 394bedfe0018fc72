"""Masked language models of transformers (BERT, RoBERTa, DistilBERT, ModernBERT) as denoisers.

Embeddings, masks, rotary embeddings and heads are transformers' own. The blocks are written anew on the native
matrices, under the names that all families share (self_attn.q_proj … mlp.down_proj): the native blocks fuse several
projections into one matrix (ModernBERT), or call three of them `dense` (BERT). Shapes: B sequences, S positions, D
features.
"""

import re
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask, create_bidirectional_sliding_window_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert import modeling_bert
from transformers.models.distilbert import modeling_distilbert
from transformers.models.modernbert import modeling_modernbert
from transformers.models.modernbert.modeling_modernbert import (
    ModernBertEncoderLayer,
    ModernBertModel,
    apply_rotary_pos_emb,
)
from transformers.models.roberta import modeling_roberta

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines of the positions."""


class Attention(nn.Module):
    """Multi-head attention in which every query sees every key, or those at most `window` − 1 tokens away."""

    def __init__(
        self, config: PreTrainedConfig, layer_idx: int, heads: int, projections: list[nn.Linear], window: int = 0
    ) -> None:
        """Take the projections of queries, keys, values and output. window: 0 where every query sees all keys."""
        super().__init__()
        self.config, self.layer_idx, self.heads, self.window = config, layer_idx, heads, window
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = projections
        self.is_causal, self.scaling = False, (projections[0].out_features // heads) ** -0.5

    def forward(
        self, states: torch.Tensor, mask: torch.Tensor | None, rotation: Rotation | None = None, **options: Any
    ) -> torch.Tensor:
        """Map states (B, S, D) to states (B, S, D)."""
        shape = (*states.shape[:-1], self.heads, -1)
        query, key, value = (
            projection(states).view(shape).transpose(1, 2) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if rotation is not None:
            query, key = apply_rotary_pos_emb(query, key, *rotation)
        attend = ALL_ATTENTION_FUNCTIONS[str(self.config._attn_implementation)]
        told = {"sliding_window": self.window} if self.window else {}
        output, _ = attend(self, query, key, value, mask, scaling=self.scaling, **told, **options)
        return self.o_proj(output.reshape(*states.shape[:-1], -1))


class MLP(nn.Module):
    """Two layers with biases; with a third, whose output gates the activations."""

    def __init__(self, activation: nn.Module, up: nn.Linear, down: nn.Linear, gate: nn.Linear | None = None) -> None:
        super().__init__()
        if gate is not None:
            self.gate_proj = gate
        self.up_proj, self.down_proj, self.act_fn = up, down, activation

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Map states (B, S, D) to states (B, S, D)."""
        gate = getattr(self, "gate_proj", None)
        up = self.up_proj(states)
        inner = self.act_fn(up) if gate is None else self.act_fn(gate(states)) * up
        return self.down_proj(inner)


class PostNormBlock(nn.Module):
    """A block of BERT, RoBERTa or DistilBERT: each norm comes after the residual sum."""

    def __init__(self, attention: Attention, attention_norm: nn.Module, mlp: MLP, norm: nn.Module) -> None:
        super().__init__()
        self.self_attn, self.mlp = attention, mlp
        self.attention_norm, self.mlp_norm = attention_norm, norm

    def forward(
        self, states: torch.Tensor, attention_mask: torch.Tensor | None = None, *others: Any, **options: Any
    ) -> torch.Tensor:
        """Map states (B, S, D) to states (B, S, D). others: arguments of cross-attention, which an encoder lacks."""
        for name in ("encoder_hidden_states", "encoder_attention_mask", "cache"):
            options.pop(name, None)
        states = self.attention_norm(states + self.self_attn(states, attention_mask, **options))
        return self.mlp_norm(states + self.mlp(states))


class ModernBertBlock(nn.Module):
    """A block of ModernBERT: norms before, a gated MLP, and attention to all keys or to those in its window.

    It takes the masks and rotations of both kinds, so that all blocks are called the same way.
    """

    def __init__(self, native: ModernBertEncoderLayer) -> None:
        super().__init__()
        config, attention = native.config, native.attn
        self.attention_type = native.attention_type
        self.attn_norm, self.mlp_norm = native.attn_norm, native.mlp_norm
        projections = [*_split(attention.Wqkv, 3), attention.Wo]
        window = attention.sliding_window or 0
        assert native.layer_idx is not None
        self.self_attn = Attention(config, native.layer_idx, config.num_attention_heads, projections, window)
        gate, up = _split(native.mlp.Wi, 2)
        self.mlp = MLP(native.mlp.act, up, native.mlp.Wo, gate)

    def forward(
        self,
        states: torch.Tensor,
        attention_mask: dict[str, torch.Tensor | None],
        position_embeddings: dict[str, Rotation],
        **options: Any,
    ) -> torch.Tensor:
        """Map states (B, S, D) to states (B, S, D)."""
        kind = self.attention_type
        states = states + self.self_attn(
            self.attn_norm(states), attention_mask[kind], position_embeddings[kind], **options
        )
        return states + self.mlp(self.mlp_norm(states))


def _split(fused: nn.Linear, parts: int) -> list[nn.Linear]:
    """Split a fused matrix, whose parts are consecutive rows."""
    biases = [None] * parts if fused.bias is None else list(fused.bias.chunk(parts))
    made = []
    for rows, bias in zip(fused.weight.chunk(parts), biases, strict=True):
        with torch.device("meta"):
            linear = nn.Linear(fused.in_features, len(rows), bias=bias is not None)
        linear.weight = nn.Parameter(rows.detach().clone(), requires_grad=False)
        if bias is not None:
            linear.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        made.append(linear)
    return made


class _ModernBertBody(ModernBertModel):
    """ModernBERT's encoder, which passes every block the masks and rotations of both kinds."""

    def __init__(self, config: modeling_modernbert.ModernBertConfig) -> None:
        super().__init__(config)
        native = cast(nn.ModuleList, self.get_submodule("layers"))
        self.layers = nn.ModuleList(ModernBertBlock(cast(ModernBertEncoderLayer, layer)) for layer in native)

    def forward(  # type: ignore[override] # the native signature is wrapped by decorators
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **options: Any,
    ) -> BaseModelOutput:
        """Map token ids (B, S) to states (B, S, D)."""
        states = self.embeddings(input_ids=input_ids, inputs_embeds=inputs_embeds)
        if position_ids is None:
            position_ids = torch.arange(states.shape[1], device=states.device)[None]
        asked = {"config": self.config, "inputs_embeds": states, "attention_mask": attention_mask}
        masks = {
            "full_attention": create_bidirectional_mask(**asked),
            "sliding_attention": create_bidirectional_sliding_window_mask(**asked),
        }
        rotations = {kind: self.rotary_emb(states, position_ids, kind) for kind in set(self.config.layer_types)}
        for layer in self.layers:
            states = layer(states, attention_mask=masks, position_embeddings=rotations, **options)
        return BaseModelOutput(last_hidden_state=self.final_norm(states))


# Named as the native classes, so that `architectures` is written back unchanged and tokenizers are found.
class BertConfig(modeling_bert.BertConfig):
    pass


class RobertaConfig(modeling_roberta.RobertaConfig):
    pass


class DistilBertConfig(modeling_distilbert.DistilBertConfig):
    pass


class ModernBertConfig(modeling_modernbert.ModernBertConfig):
    pass


class BertForMaskedLM(modeling_bert.BertForMaskedLM):
    config: BertConfig

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert.encoder.layer = nn.ModuleList(_bert_block(layer, config) for layer in self.bert.encoder.layer)


class RobertaForMaskedLM(modeling_roberta.RobertaForMaskedLM):
    config: RobertaConfig

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        encoder = self.roberta.encoder
        encoder.layer = nn.ModuleList(_bert_block(layer, config) for layer in encoder.layer)


class DistilBertForMaskedLM(modeling_distilbert.DistilBertForMaskedLM):
    config: DistilBertConfig

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        body = self.distilbert.transformer
        body.layer = nn.ModuleList(_distilbert_block(number, layer, config) for number, layer in enumerate(body.layer))


class ModernBertForMaskedLM(modeling_modernbert.ModernBertForMaskedLM):
    config: ModernBertConfig

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = _ModernBertBody(config)
        self.tie_weights()  # the head was tied to the body replaced


def _bert_block(native: Any, config: PreTrainedConfig) -> PostNormBlock:
    """Build a block on the matrices and norms of a native BertLayer or RobertaLayer."""
    inside, output = native.attention.self, native.attention.output
    projections = [inside.query, inside.key, inside.value, output.dense]
    attention = Attention(config, inside.layer_idx, config.num_attention_heads, projections)
    mlp = MLP(ACT2FN[config.hidden_act], native.intermediate.dense, native.output.dense)
    return PostNormBlock(attention, output.LayerNorm, mlp, native.output.LayerNorm)


def _distilbert_block(number: int, native: Any, config: DistilBertConfig) -> PostNormBlock:
    """Build a block on the matrices and norms of a native DistilBERT block."""
    inside, ffn = native.attention, native.ffn
    attention = Attention(config, number, config.n_heads, [inside.q_lin, inside.k_lin, inside.v_lin, inside.out_lin])
    mlp = MLP(ACT2FN[config.activation], ffn.lin1, ffn.lin2)
    return PostNormBlock(attention, native.sa_layer_norm, mlp, native.output_layer_norm)


CLASSES: tuple[type[PreTrainedModel], ...] = (
    BertForMaskedLM,
    RobertaForMaskedLM,
    DistilBertForMaskedLM,
    ModernBertForMaskedLM,
)


# The published parameter names as patterns, and those of the blocks above.
_BERT_NAMES = (
    (r"\.LayerNorm\.gamma$", ".LayerNorm.weight"),
    (r"\.LayerNorm\.beta$", ".LayerNorm.bias"),
    (r"\.attention\.self\.query\.", ".self_attn.q_proj."),
    (r"\.attention\.self\.key\.", ".self_attn.k_proj."),
    (r"\.attention\.self\.value\.", ".self_attn.v_proj."),
    (r"\.attention\.output\.dense\.", ".self_attn.o_proj."),
    (r"\.attention\.output\.LayerNorm\.", ".attention_norm."),
    (r"\.intermediate\.dense\.", ".mlp.up_proj."),
    (r"(\.layer\.\d+)\.output\.dense\.", r"\1.mlp.down_proj."),
    (r"(\.layer\.\d+)\.output\.LayerNorm\.", r"\1.mlp_norm."),
)
NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    BertForMaskedLM.__name__: _BERT_NAMES,
    RobertaForMaskedLM.__name__: _BERT_NAMES,
    DistilBertForMaskedLM.__name__: (
        (r"\.attention\.([qkv])_lin\.", r".self_attn.\1_proj."),
        (r"\.attention\.out_lin\.", ".self_attn.o_proj."),
        (r"\.sa_layer_norm\.", ".attention_norm."),
        (r"\.ffn\.lin1\.", ".mlp.up_proj."),
        (r"\.ffn\.lin2\.", ".mlp.down_proj."),
        (r"\.output_layer_norm\.", ".mlp_norm."),
    ),
    ModernBertForMaskedLM.__name__: (
        (r"\.attn\.Wqkv\.", ".self_attn.query_key_value."),
        (r"\.attn\.Wo\.", ".self_attn.o_proj."),
        (r"\.mlp\.Wi\.", ".mlp.gate_and_up."),
        (r"\.mlp\.Wo\.", ".mlp.down_proj."),
    ),
}
_OTHER_HEADS = re.compile(r"(bert|roberta)\.pooler\.|cls\.seq_relationship\.|.*\.position_ids$")


def left_out(name: str) -> bool:
    """Return True if a tensor of the files belongs to a head other than the one that fills in masks."""
    return _OTHER_HEADS.match(name) is not None
