"""Models that lost whole heads or MLP channels to structured pruning, on the same native code.

Their configs differ from their whole relatives' in two fields: `head_dim` is explicit, because hidden / heads no
longer gives it, and where the MLPs of the blocks differ in width `mlp_per_block` lists them. All blocks have the same
number of heads.
"""

import copy
from collections.abc import Mapping
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel

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


_NATIVE = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


def config_class(config: Mapping[str, Any]) -> type[PreTrainedConfig] | None:
    """The config class of a native checkpoint that transformers itself would refuse; None for every other."""
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    uneven = isinstance(heads, int) and isinstance(hidden, int) and heads > 0 and hidden % heads != 0
    if config.get(MLP_PER_BLOCK) is not None or uneven:
        return _NATIVE.get(config.get("model_type", ""))
    return None
