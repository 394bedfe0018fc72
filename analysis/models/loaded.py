"""A model in memory: its device, chosen by free memory, its forwards, blocks and weight matrices.

If only the last positions' logits are requested, the last block computes only those. Values that cost a computation are
kept within a bound: those that were used last.
"""

import inspect
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import psutil
import torch
from torch import nn
from torch.nn.functional import pad
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer
from transformers.models.starcoder2.modeling_starcoder2 import Starcoder2DecoderLayer
from transformers.pytorch_utils import Conv1D

from analysis import attention
from analysis.errors import NotEnoughMemory, UserError
from analysis.machine.process import allotted_memory
from analysis.models.checkpoint import Checkpoint
from analysis.models.checks import check_logits
from analysis.models.experts import ExpertMatrix, expert_matrices
from analysis.models.family import Architecture, Geometry
from analysis.models.layout import Layout, layout_of, visible
from analysis.models.tokenizer import encode_prompt, uses_chat
from analysis.specs import ModelSpec
from cache.environment import gigabytes

BYTES = 64 * 2**20


class Remembered:
    """Cache of values by a key that holds all they depend on, up to a number of bytes; the least recently used goes
    first.
    """

    def __init__(self, most: int = BYTES) -> None:
        self.most, self.bytes = most, 0
        self._held: dict[Hashable, tuple[Any, int]] = {}

    def get(self, key: Hashable) -> Any | None:
        """Return the value of a key, None where it is not held."""
        if key not in self._held:
            return None
        self._held[key] = held = self._held.pop(key)  # to the end
        return held[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of so many bytes, if it fits at all."""
        if size > self.most:
            return
        self.bytes += size - self._held.pop(key, (None, 0))[1]
        self._held[key] = value, size
        while self.bytes > self.most:
            self.bytes -= self._held.pop(next(iter(self._held)))[1]


# Their queries, output projection and MLP act on each position separately.
_BLOCKS = (LlamaDecoderLayer, Qwen2DecoderLayer, Qwen3DecoderLayer, Starcoder2DecoderLayer)


@contextmanager
def only_last_positions(network: nn.Module, count: int, queries: bool) -> Iterator[None]:
    """Make the last block of a network compute only its last `count` positions; the others' states are unusable.

    queries False: those of all positions are computed, for observers of attention. A network whose blocks are not
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
    """Feed a module only the last `count` positions of its input (B, S, F), and pad its output with zeros for the
    others.
    """
    missing = 0

    def shorten(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        nonlocal missing
        missing = max(0, inputs[0].shape[1] - count)
        return (inputs[0][:, missing:],)

    def lengthen(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return pad(output, (0, 0, missing, 0))

    for handle in (module.register_forward_pre_hook(shorten), module.register_forward_hook(lengthen)):
        hooks.callback(handle.remove)


NEVER = 1e6  # taken from a logit, whose token then has no probability and a finite one; as MDLM's authors do
_ROUTER = "router"  # DiffusionGemma's, the only one that holds a Linear

Projection = nn.Linear | Conv1D | ExpertMatrix
"""Module with one weight matrix: (out, in) in a Linear and for an expert, (in, out) in GPT-2's Conv1D."""


@dataclass(frozen=True)
class OpenedModel:
    """Facts on a model before its weights are read: enough to refuse unsupported uses.

    spec: as requested. mask_token: None for autoregressive models, and for those whose noise is random tokens.
    """

    spec: ModelSpec
    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase | None
    mask_token: int | None

    @property
    def architecture(self) -> Architecture:
        return self.checkpoint.architecture

    @property
    def geometry(self) -> Geometry:
        return self.checkpoint.geometry

    def encode(self, prompt: str, chat_template: str) -> tuple[list[int], bool]:
        """Return the token ids of a prompt, and whether the chat template was applied. Raises UserError without a
        tokenizer.
        """
        tokenizer = self.require_tokenizer()
        chat = uses_chat(self.spec.source, tokenizer, chat_template)
        return encode_prompt(tokenizer, prompt, chat), chat

    def require_known(self, tokens: Sequence[int]) -> None:
        """Raise UserError for a token id that is not in the vocabulary."""
        vocabulary = self.geometry.vocabulary
        if not all(0 <= token < vocabulary for token in tokens):
            raise UserError(f"A token lies outside this model's vocabulary of {vocabulary} tokens.")

    def require_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer. Raises UserError if there is none."""
        if self.tokenizer is None:
            other = self.architecture.tokenizer
            files = f"the tokenizer files of {other} to its folder" if other else "its tokenizer files"
            raise UserError(f"'{self.spec.source}' has no tokenizer, so it cannot read text. Add {files}.")
        return self.tokenizer


@dataclass(frozen=True)
class LoadedModel(OpenedModel):
    """A model in memory and everything needed to denoise with it and look inside.

    dtype: precision of the weights. windows: tokens each layer sees back, 0 for all; empty if all layers see all.
    """

    network: PreTrainedModel
    fingerprint: str
    windows: tuple[int, ...] = ()

    @cached_property
    def remembered(self) -> Remembered:
        """Cached results of its forwards, by question; kept as long as the model is in memory."""
        return Remembered()

    @property
    def device(self) -> torch.device:
        """Device for input tokens."""
        embedding = self.network.get_input_embeddings()
        device = embedding.get_parameter("weight").device
        # Offloaded weights are on no device, and run where accelerate's hook moves them.
        hook = getattr(embedding, "_hf_hook", None)
        return torch.device(hook.execution_device) if device.type == "meta" and hook is not None else device

    @property
    def dtype(self) -> str:
        return str(self.network.dtype).removeprefix("torch.")

    @property
    def bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self.network.get_memory_footprint()

    @property
    def streamed(self) -> bool:
        """True if its blocks are read from their files one at a time, so that none holds its weights."""
        return any(weight.is_meta for weight in self.blocks[0].parameters())

    @cached_property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        if self.architecture.native:
            return cast(nn.ModuleList, self.network.get_submodule(self.architecture.blocks))
        for module in self.network.modules():
            if isinstance(module, nn.ModuleList) and len(module) == self.geometry.layers:
                return module
        raise UserError(f"No list of {self.geometry.layers} blocks was found in this {self.architecture.name} model.")

    @staticmethod
    def projections(block: nn.Module) -> dict[str, Projection]:
        """Return the weight matrices of one block by name: those a pruning method may change. A router chooses experts,
        and is not one of them.
        """
        matrices = {
            name: module
            for name, module in block.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and _ROUTER not in name.split(".")
        }
        return {**matrices, **expert_matrices(block)}

    @cached_property
    def projection_names(self) -> tuple[str, ...]:
        """The names of the projections of all blocks, which with experts in some of them differ."""
        return tuple(dict.fromkeys(name for block in self.blocks for name in self.projections(block)))

    @torch.no_grad()
    def predict(
        self,
        tokens: torch.Tensor,
        observer: attention.Observer | None = None,
        edit: attention.Edit | None = None,
        keep: int | None = None,
        layout: Layout | None = None,
        aligned: bool = True,
    ) -> torch.Tensor:
        """Return logits (B, S, V) for tokens (B, S), in the model's precision. edit: a change to attention.

        keep: only the last so many positions, (B, keep, V); the others' logits, and states in the last block, are never
        computed if the class can leave them out. For diffusion models logits[:, i] are for the token at i (Dream's are
        shifted accordingly); for autoregressive ones for the token at i + 1. layout: the blocks of the text, for
        families that attend by them; by default blocks of the model's own size from position 0, none of them open.
        aligned False: shifted logits stay where the network gives them. Raises UserError if they are not finite.
        """
        self._require_one_text()
        options = self._placing(tokens, layout) | {"attn_observer": observer, "attn_edit": edit}
        shift = self.architecture.shift if aligned else 0
        keep = None if keep is None or keep >= tokens.shape[1] else keep
        with ExitStack() as last_block:
            if keep is not None and self._leaves_out_logits:
                options["logits_to_keep"] = keep + shift
                unseen = observer is None and edit is None
                last_block.enter_context(only_last_positions(self.network, keep + shift, queries=unseen))
            logits = self.network(input_ids=tokens.to(self.device), use_cache=False, **options).logits
        check_logits(logits, self.dtype)
        logits = shifted(without_masks(self, logits), shift)
        return logits if keep is None else logits[:, -keep:]

    def _require_one_text(self) -> None:
        """Raise UserError for a family whose forwards run over a noised canvas beside its encoder's text."""
        if self.architecture.noise == "uniform":
            raise UserError(
                f"{self.architecture.name} denoises a canvas of random tokens beside what its encoder has read. This "
                "asks for a forward over one text with [MASK] in it, which it does not have."
            )

    def _placing(self, tokens: torch.Tensor, layout: Layout | None) -> dict[str, Any]:
        """Return the mask, (1, 1, S, S) bool, and positions; empty if the network's own class knows them."""
        if not self.architecture.by_blocks:
            return {}
        layout, length = layout or layout_of(self.architecture, 0), tokens.shape[1]
        placing = {"attention_mask": visible(self.architecture, length, layout, self.device)[None, None]}
        if layout.beside_clean:
            placing["position_ids"] = torch.arange(length // 2, device=self.device).repeat(2)[None]
        return placing

    @cached_property
    def _leaves_out_logits(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.network.forward).parameters

    @torch.no_grad()
    def hidden(
        self, tokens: torch.Tensor, observer: attention.Observer | None = None, layout: Layout | None = None
    ) -> torch.Tensor:
        """The last block's states (B, S, hidden) for tokens (B, S), without the language-model head. See `predict`."""
        self._require_one_text()
        options = self._placing(tokens, layout) | {"attn_observer": observer}
        return self.network.base_model(input_ids=tokens.to(self.device), use_cache=False, **options).last_hidden_state


def shifted(logits: torch.Tensor, shift: int) -> torch.Tensor:
    """Logits (B, S, V) of a network that gives them `shift` positions before their token, 0 or 1, at their token; the
    first position, about which it says nothing, holds those of the next.
    """
    return torch.cat([logits[:, :shift], logits[:, : logits.shape[1] - shift]], dim=1) if shift else logits


def without_masks(model: OpenedModel, logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, S, V) in which [MASK] has no probability, of a family whose predictions leave it out; in place."""
    if model.architecture.subs:
        logits[..., model.mask_token] -= NEVER
    return logits


def pick_device(device: str) -> str:
    """cuda, mps or cpu. Raises UserError for a device this machine lacks."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, available in there.items() if available)
    if not there[device]:
        names = ", ".join(name for name, available in there.items() if available)
        raise UserError(f"This machine has no {device} device that torch can use. Available: {names}.")
    return device


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its work, as before reading the clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _free_by_gpu() -> list[int]:
    return [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]


def free_bytes(device: str) -> int:
    """Bytes free on a kind of device; for CUDA the most on any one GPU."""
    if device == "cuda":
        return max(_free_by_gpu())
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    # A container's limit is not in the machine's figure.
    limit = allotted_memory() - psutil.Process().memory_info().rss
    return max(0, min(psutil.virtual_memory().available, limit))


def placement(need: int, device: str, reclaimable: int, spec: ModelSpec) -> str | dict[str, Any]:
    """A device map for `need` bytes: one device where it fits, else spread over all GPUs and the CPU's memory, and
    where the spec says so the disk.

    Raises UserError, with both figures, when there is not enough.
    """
    there = free_bytes(device) + reclaimable
    if need <= there:
        if device == "cuda":
            frees = _free_by_gpu()
            return {"": frees.index(max(frees))}
        return {"": device}
    if device == "cuda":
        there = sum(_free_by_gpu()) + free_bytes("cpu") + reclaimable
        if need <= there:
            return "auto"
    if spec.offload == "disk" and device != "mps":
        return "auto"
    halves = spec.dtype == "auto" and device == "cpu" and need / 2 <= there
    hint = "Choose bfloat16, which needs half." if halves else "Choose a smaller model or a larger machine."
    raise NotEnoughMemory(
        f"Not enough memory for '{spec.source}': it needs {gigabytes(need)} on {device} and there are "
        f"{gigabytes(there)}. {hint}"
    )
