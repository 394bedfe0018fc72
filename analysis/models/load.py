"""Loading a checkpoint into a model that can be run step by step and observed."""

import atexit
import inspect
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.pytorch_utils import Conv1D
from transformers.utils.logging import disable_progress_bar

from analysis import attention
from analysis.errors import ModelChanged, UserError, first_line
from analysis.models import blockwise, canvas, converted, devices, dream, llada, mixtures, sliced
from analysis.models import checkpoint as checkpoints
from analysis.models.canvas_blocks import attach_readers
from analysis.models.checkpoint import Checkpoint, read_json
from analysis.models.experts import ExpertMatrix, expert_matrices
from analysis.models.families import ARCHITECTURES, SUPPORTED, Architecture, Geometry
from analysis.models.last_positions import only_last_positions
from analysis.models.layout import Layout, layout_of, visible
from analysis.models.memory import need_of
from analysis.models.soundness import check_finite, check_fits, check_logits, state
from analysis.models.tokenizer import encode_prompt, load_tokenizer, uses_chat
from analysis.specs import ModelSpec

_NATIVE_CLASSES = (
    (llada.LLaDAConfig, llada.LLaDAModelLM),
    (llada.MMaDAConfig, llada.MMadaModelLM),
    (dream.DreamConfig, dream.DreamModel),
    (converted.A2DLlamaConfig, converted.A2DLlamaLMHeadModel),
    (converted.A2DQwen2Config, converted.A2DQwen2LMHeadModel),
    (converted.A2DQwen3Config, converted.A2DQwen3LMHeadModel),
    (blockwise.SDARConfig, blockwise.SDARForCausalLM),
    (blockwise.FastDLLMConfig, blockwise.Fast_dLLM_QwenForCausalLM),
    (blockwise.NemotronConfig, blockwise.NemotronLabsDiffusionModel),
    (mixtures.LLaDA2MoeConfig, mixtures.LLaDA2MoeModelLM),
    (mixtures.LLaDAMoEConfig, mixtures.LLaDAMoEModelLM),
    (mixtures.SDARMoeConfig, mixtures.SDARMoeForCausalLM),
    (DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion),
    (sliced.LlamaConfig, sliced.LlamaForCausalLM),
    (sliced.Qwen2Config, sliced.Qwen2ForCausalLM),
    (sliced.Qwen3Config, sliced.Qwen3ForCausalLM),
)
# Beside the weights a forward needs activations and logits; a twentieth covers them for the sizes recorded here.
_HEADROOM = 1.05
_ROUTER = "router"  # DiffusionGemma's, the only one that holds a Linear

Projection = nn.Linear | Conv1D | ExpertMatrix
"""What has one weight matrix: (out, in) in a Linear and for an expert, (in, out) in GPT-2's Conv1D."""


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory and everything needed to denoise with it and look inside.

    spec: as asked for. dtype: precision of the weights. mask_token: None for autoregressive models, and for those whose
    noise is random tokens.
    """

    spec: ModelSpec
    checkpoint: Checkpoint
    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    fingerprint: str
    mask_token: int | None

    @property
    def architecture(self) -> Architecture:
        return self.checkpoint.architecture

    @property
    def geometry(self) -> Geometry:
        return self.checkpoint.geometry

    @property
    def device(self) -> torch.device:
        """Where input tokens go."""
        embedding = self.network.get_input_embeddings()
        device = embedding.get_parameter("weight").device
        # What is offloaded lies nowhere, and is run where accelerate's hook brings it.
        hook = getattr(embedding, "_hf_hook", None)
        return torch.device(hook.execution_device) if device.type == "meta" and hook is not None else device

    @property
    def dtype(self) -> str:
        return str(self.network.dtype).removeprefix("torch.")

    @property
    def bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self.network.get_memory_footprint()

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
        """The weight matrices of one block by their name in it: those a pruning method may touch. A router chooses
        experts, and is none of them.
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
        """Logits (B, S, V) for tokens (B, S), in the model's precision. edit: what is changed about attention.

        keep: only the last so many positions, (B, keep, V); the others' logits, and states in the last block, are never
        computed where the class can leave them out. For diffusion models logits[:, i] are about the token at i (Dream's
        are shifted so that they are); for autoregressive ones about the token at i + 1. layout: the blocks of the text,
        for families that attend by them; by default blocks of the model's own size from position 0, none of them open.
        aligned False: shifted logits stay where the network gives them. Raises UserError where they are not finite.
        """
        self._require_one_text()
        given = {"attn_observer": observer, "attn_edit": edit}
        options = self._placing(tokens, layout) | {name: value for name, value in given.items() if value is not None}
        shift = self.architecture.shift if aligned else 0
        keep = None if keep is None or keep >= tokens.shape[1] else keep
        with ExitStack() as last_block:
            if keep is not None and self._leaves_out_logits:
                options["logits_to_keep"] = keep + shift
                unseen = observer is None and edit is None
                last_block.enter_context(only_last_positions(self.network, keep + shift, queries=unseen))
            logits = self.network(input_ids=tokens.to(self.device), use_cache=False, **options).logits
        check_logits(logits, self.dtype)
        if shift:
            logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
        return logits if keep is None else logits[:, -keep:]

    def _require_one_text(self) -> None:
        """Raises UserError for a family that runs forwards over a noised canvas beside what its encoder has read."""
        if self.architecture.noise == "uniform":
            raise UserError(
                f"{self.architecture.name} denoises a canvas of random tokens beside what its encoder has read. This "
                "asks for a forward over one text with [MASK] in it, which it does not have."
            )

    def _placing(self, tokens: torch.Tensor, layout: Layout | None) -> dict[str, Any]:
        """What queries see, (1, 1, S, S) bool, and positions; empty where the network's own class knows them."""
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
        options = self._placing(tokens, layout) | ({} if observer is None else {"attn_observer": observer})
        return self.network.base_model(input_ids=tokens.to(self.device), use_cache=False, **options).last_hidden_state

    def encode(self, prompt: str, chat_template: str) -> tuple[list[int], bool]:
        """Token ids of a prompt, and whether the chat template was applied. Raises UserError without a tokenizer."""
        if self.tokenizer is None:
            raise UserError(f"'{self.spec.source}' has no tokenizer, so it cannot read text. Add its tokenizer files.")
        chat = uses_chat(self.spec.source, self.tokenizer, chat_template)
        return encode_prompt(self.tokenizer, prompt, chat), chat


def register() -> None:
    """Make our configs, classes and attention known to transformers' Auto classes. May be called again."""
    attention.register()
    disable_progress_bar()  # jobs report their own progress
    # By class and not by model type, which a mixture of experts shares with a dense model.
    for kind in (llada.LLaDAModelLM, llada.MMadaModelLM):
        register_checkpoint_conversion_mapping(kind.__name__, llada.RENAMES, overwrite=True)
    register_checkpoint_conversion_mapping(
        blockwise.NemotronLabsDiffusionModel.__name__, blockwise.NEMOTRON_RENAMES, overwrite=True
    )
    for class_name, conversions in mixtures.CONVERSIONS.items():
        register_checkpoint_conversion_mapping(class_name, conversions, overwrite=True)
    for config, network in _NATIVE_CLASSES:
        shared = config is mixtures.LLaDAMoEConfig  # its type stays the dense LLaDA's
        if not shared and any(config.model_type == row.model_type for row in ARCHITECTURES.values()):
            AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModelForCausalLM.register(config, network, exist_ok=True)


def load(
    spec: ModelSpec,
    progress: Callable[[str], None] = lambda phase: None,
    held: "LoadedModel | None" = None,
    release: Callable[[], None] = lambda: None,
) -> LoadedModel:
    """Loads a model, checking everything that can be checked before any memory is taken.

    held: a model that calling `release` would free; it is called only once all checks have passed, and only if its
    room is needed. Raises UserError for every kind of bad input.
    """
    register()
    device = devices.pick_device(spec.device)
    reclaimable = _reclaimable(held, device)
    width = _width(spec, device)
    checkpoint = fetched(spec, progress, held)
    config = config_of(checkpoint)
    # The logits of a canvas are no small part, and come whatever is written; the cache grows with the text.
    need = int(checkpoints.weight_bytes(checkpoint, width) * _HEADROOM) + need_of(checkpoint, spec, 0).logits
    device_map = devices.placement(need, device, reclaimable, spec)
    tokenizer = load_tokenizer(checkpoint.folder, config)
    mask_token = mask_token_of(checkpoint, config, tokenizer)
    if reclaimable and need > devices.free_bytes(device):
        release()
    progress("reading weights")
    content = checkpoints.fingerprint(checkpoint)
    network = _network(checkpoint, config, width, device_map, devices.free_bytes(device), device)
    if checkpoints.fingerprint(checkpoint) != content:
        raise ModelChanged(spec.source)
    check_finite(state(network), f"The weights in '{checkpoint.folder}' cannot be used")
    model = LoadedModel(spec, checkpoint, network, tokenizer, content, mask_token)
    make_bidirectional(model)
    if model.architecture.noise == "uniform":
        attach_readers(network)
    _check_observable(model)
    return model


def require_opens(folder: Path) -> None:
    """Raises UserError where `load` would refuse this folder. Names and shapes are compared; no weight is read."""
    register()
    checkpoint = checkpoints.open_folder(folder)
    config = config_of(checkpoint)
    mask_token_of(checkpoint, config, load_tokenizer(folder, config))
    _network(checkpoint, config, None, {"": "meta"})


def fetched(
    spec: ModelSpec, progress: Callable[[str], None] = lambda phase: None, held: "LoadedModel | None" = None
) -> Checkpoint:
    """The model's checkpoint, downloaded where it is not on this disk and would fit into memory. held: see `load`.

    Raises UserError for a bad source, and where there is no room.
    """
    checkpoint = checkpoints.find(spec.source, spec.paradigm)
    if checkpoint is None:
        device = devices.pick_device(spec.device)
        progress("asking the hub")
        need = checkpoints.remote_bytes(spec.source, _width(spec, device), spec.paradigm)
        devices.placement(int(need * _HEADROOM), device, _reclaimable(held, device), spec)
        progress(f"downloading {need / 1e9:.1f} GB")
        checkpoint = checkpoints.download(spec.source, spec.paradigm)
    return checkpoint


def _reclaimable(held: "LoadedModel | None", device: str) -> int:
    return held.bytes if held is not None and held.device.type == device else 0


def _width(spec: ModelSpec, device: str) -> int | None:
    """Bytes of a weight in memory; None for those of the checkpoint."""
    return {"bfloat16": 2, "float32": 4, "auto": 4 if device == "cpu" else None}[spec.dtype]


def random_like(model: LoadedModel, seed: int) -> LoadedModel:
    """A model of the same shape with freshly drawn weights: the reference every sink count stands beside.

    Raises UserError when there is no memory for it beside the model.
    """
    devices.placement(int(model.bytes * _HEADROOM), model.device.type, 0, model.spec)
    torch.manual_seed(seed)
    with torch.device(model.device):
        network = AutoModelForCausalLM.from_config(
            model.network.config, dtype=model.network.dtype, attn_implementation=attention.IMPLEMENTATION
        )
    drawn = replace(model, network=network.eval(), fingerprint=f"random-{seed}-{model.fingerprint[:16]}")
    make_bidirectional(drawn)
    return drawn


def config_of(checkpoint: Checkpoint, fits: bool = True) -> Any:
    """The config as its class holds it. Raises UserError for one it refuses, or that does not fit the files.

    fits False: for a folder that holds a config and no weights.
    """
    try:
        config_class = sliced.config_class(checkpoint.config) or mixtures.config_class(checkpoint.architecture)
        if config_class is None:
            config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
        else:
            config = config_class.from_pretrained(checkpoint.folder)
        if checkpoint.architecture.mixture:
            mixtures.choose_implementation(config)
        if fits:
            check_fits(checkpoint, config)
        return config
    except UserError:
        raise
    except Exception as error:
        model_type, name = checkpoint.config.get("model_type"), checkpoint.architecture.name
        raise UserError(
            f"The {name} config in '{checkpoint.folder}' cannot be run: {first_line(error)} (model type "
            f"'{model_type}'). Supported: {SUPPORTED}."
        ) from error


def _network(
    checkpoint: Checkpoint,
    config: Any,
    width: int | None,
    device_map: str | dict[str, Any],
    room: int = 0,
    device: str = "",
) -> PreTrainedModel:
    """The network where the device map says. room: bytes free on the device, where only a part of it fits."""
    dtype = {2: torch.bfloat16, 4: torch.float32, None: "auto"}[width]
    spread: dict[str, Any] = {}
    if device_map == "auto":
        # What the files hold under other names than the network is written anew, for as long as the process lives.
        spread["offload_folder"] = tempfile.mkdtemp(prefix="sinkscope-offload-")
        atexit.register(shutil.rmtree, spread["offload_folder"], ignore_errors=True)
        if device == "cpu":
            spread["max_memory"] = {"cpu": int(room / _HEADROOM)}
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=dtype,
            device_map=device_map,
            attn_implementation=attention.IMPLEMENTATION,
            trust_remote_code=False,
            output_loading_info=True,
            **spread,
        )
    except Exception as error:
        raise UserError(
            f"The weights in '{checkpoint.folder}' do not load as {checkpoint.architecture.name}: {first_line(error)}"
        ) from error
    # transformers' annotation knows the call without `output_loading_info` only.
    network, report = cast(tuple[PreTrainedModel, dict[str, set[Any]]], loaded)
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        # Rotary frequencies are computed from the config; old checkpoints carry them all the same.
        names = sorted(str(name) for name in report[kind] if "inv_freq" not in str(name))
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"The weights in '{checkpoint.folder}' do not fit its config: {kind.replace('_', ' ')} {names[0]}"
                f"{more}. The checkpoint is incomplete, changed, or of another architecture."
            )
    return network.eval()


def mask_token_of(checkpoint: Checkpoint, config: Any, tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    if checkpoint.architecture.noise != "mask":
        return None
    token = getattr(config, "mask_token_id", None)
    generation = checkpoint.folder / "generation_config.json"
    if token is None and generation.is_file():
        fields = read_json(generation)
        token = fields.get("mask_token_id") if isinstance(fields, dict) else None
    if token is None and tokenizer is not None:
        token = tokenizer.mask_token_id
    if token is None:
        token = checkpoint.architecture.mask_token
    if token is None:
        raise UserError(
            f"'{checkpoint.folder}' is a diffusion model but names no mask token, in its config or generation config "
            "(mask_token_id) or tokenizer, so it cannot be denoised."
        )
    if not isinstance(token, int) or isinstance(token, bool):
        raise UserError(
            f"The mask token of '{checkpoint.folder}' is {token!r}; a token id, a whole number, was expected."
        )
    if not 0 <= token < checkpoint.geometry.vocabulary:
        raise UserError(
            f"The mask token {token} lies outside the vocabulary of {checkpoint.geometry.vocabulary} tokens."
        )
    return int(token)


def make_bidirectional(model: LoadedModel) -> None:
    """The config frees whole forwards of causality; this frees a block called on its own, too.

    What a family that attends by blocks sees is given to it as a mask.
    """
    if model.architecture.noise is not None:
        for module in model.blocks.modules():
            if hasattr(module, "is_causal"):
                # torch has it that every attribute of a module is a tensor or a module.
                module.is_causal = False  # type: ignore[assignment]


def _check_observable(model: LoadedModel) -> None:
    """One forward of two tokens: every layer must pass through our attention function, or masses would be missing."""
    observer = attention.MassObserver()
    name = model.architecture.name
    if getattr(model.network, "_supports_sdpa", True) is False:
        raise UserError(f"This {name} model does not run on plain softmax attention, so its attention is not observed.")
    try:
        tokens = torch.zeros(1, 2, dtype=torch.long)
        if model.architecture.noise == "uniform":
            seen = canvas.observable_layers(model.network, tokens.to(model.device))
        else:
            model.predict(tokens, observer)
            seen = observer.take().mass.shape[1]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"The attention of this {name} model cannot be observed: {first_line(error)}") from error
    if seen != model.geometry.layers:
        raise UserError(
            f"Only {seen} of {model.geometry.layers} layers of this {name} model have attention that can be observed. "
            "SinkScope needs softmax attention in every layer."
        )
