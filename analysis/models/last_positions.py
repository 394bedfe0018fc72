"""Leaving out what nobody reads: where the last positions' logits are asked for, the last block works on them alone.

Keys and values of all positions are still computed, so the logits asked for are the same.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.functional import pad
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer
from transformers.models.starcoder2.modeling_starcoder2 import Starcoder2DecoderLayer

# Their queries, output projection and MLP turn each position's states into that position's alone.
_BLOCKS = (LlamaDecoderLayer, Qwen2DecoderLayer, Qwen3DecoderLayer, Starcoder2DecoderLayer)


@contextmanager
def only_last_positions(network: nn.Module, count: int, queries: bool) -> Iterator[None]:
    """While it lasts, the last block of a network computes its last `count` positions; the others' states are unusable.

    queries False: those of all positions are computed, for who looks at attention. A network whose blocks are not
    Llama's or Qwen's computes everything.
    """
    blocks = getattr(getattr(network, "model", None), "layers", None)
    block = blocks[-1] if isinstance(blocks, nn.ModuleList) and len(blocks) else None
    with ExitStack() as hooks:
        if isinstance(block, _BLOCKS):
            for module in [block.self_attn.q_proj] * queries + [block.self_attn.o_proj, block.mlp]:
                _restrict(module, count, hooks)
        yield


def _restrict(module: nn.Module, count: int, hooks: ExitStack) -> None:
    """Gives a module the last `count` positions of its input (B, S, F), and zeros for what it says of the others."""
    missing = 0

    def shorten(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        nonlocal missing
        missing = max(0, inputs[0].shape[1] - count)
        return (inputs[0][:, missing:],)

    def lengthen(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return pad(output, (0, 0, missing, 0))

    for handle in (module.register_forward_pre_hook(shorten), module.register_forward_hook(lengthen)):
        hooks.callback(handle.remove)
