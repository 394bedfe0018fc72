"""MDLM's diffusion transformer (arXiv 2406.07524) on transformers' native StarCoder2 blocks.

Its conditioning is folded into the weights (`files.py`). Shapes: B sequences, S positions, D features.
"""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.models.starcoder2.modeling_starcoder2 import Starcoder2ForCausalLM

from analysis.models.native_code import FlatRope


class MDLMConfig(FlatRope):
    """The published config. Its MLPs are four times as wide as its states."""

    model_type = "mdlm"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "hidden_dim",
        "num_hidden_layers": "n_blocks",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_heads",
        "max_position_embeddings": "model_length",
    }
    vocab_size: int = 50258
    hidden_dim: int = 768
    n_blocks: int = 12
    n_heads: int = 12
    cond_dim: int = 128
    model_length: int = 1024
    dropout: float = 0.1
    time_conditioning: bool = False
    hidden_act: str = "gelu_pytorch_tanh"
    norm_epsilon: float = 1e-5
    rope_theta: float = 10000.0
    use_bias: bool = False
    sliding_window: int | None = None
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.return_dict = True  # published as false, for another calling convention

    @property
    def intermediate_size(self) -> int:
        """Width of the MLPs."""
        return 4 * self.hidden_dim


class TwoLayerMLP(nn.Module):
    """An MLP without a gate, with biases."""

    def __init__(self, config: MDLMConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_dim, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_dim)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States (B, S, D) to (B, S, D)."""
        return self.down_proj(self.act_fn(self.up_proj(states)))


class MDLM(Starcoder2ForCausalLM):
    """Named as the authors' class. Its head has a bias, its attention none."""

    config: MDLMConfig  # type: ignore[assignment]

    def __init__(self, config: MDLMConfig) -> None:
        super().__init__(config)  # type: ignore[arg-type] # its attribute map answers to StarCoder2's
        for layer in self.model.layers:
            layer.mlp = TwoLayerMLP(config)
        self.lm_head = nn.Linear(config.hidden_dim, config.vocab_size)
        self.init_weights()  # initializes only the new parameters


class BD3LMConfig(MDLMConfig):
    """BD3LM's published config (arXiv 2503.09573): the same transformer, which attends by blocks."""

    model_type = "bd3lm"
    block_size: int = 1
    cross_attn: bool = True
    adaln: bool = True
    causal: bool = False


class BD3LM(MDLM):
    """Named as the authors' class."""

    config: BD3LMConfig  # type: ignore[assignment]


# The authors' parameter names as patterns, and the native ones.
NAMES = (
    (r"^backbone\.vocab_embed\.embedding$", "model.embed_tokens.weight"),
    (r"^backbone\.output_layer\.norm_final\.", "model.norm."),
    (r"^backbone\.output_layer\.linear\.", "lm_head."),
    (r"^backbone\.blocks\.", "model.layers."),
    (r"\.attn_qkv\.", ".self_attn.query_key_value."),
    (r"\.attn_out\.", ".self_attn.o_proj."),
    (r"\.mlp\.0\.", ".mlp.up_proj."),
    (r"\.mlp\.2\.", ".mlp.down_proj."),
    (r"\.norm1\.", ".input_layernorm."),
    (r"\.norm2\.", ".post_attention_layernorm."),
)
