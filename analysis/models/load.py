"""Loading a checkpoint into a model that can be run step by step and observed."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.utils.logging import disable_progress_bar

from analysis import attention
from analysis.errors import ModelChanged, UserError, first_line
from analysis.models import blockwise, canvas, converted, devices, dream, llada, mixtures, sliced
from analysis.models import checkpoint as checkpoints
from analysis.models.canvas_blocks import attach_readers
from analysis.models.checkpoint import Checkpoint, read_json
from analysis.models.families import ARCHITECTURES, SUPPORTED
from analysis.models.loaded import LoadedModel
from analysis.models.memory import need_of
from analysis.models.soundness import check_finite, check_fits, state
from analysis.models.tokenizer import load_tokenizer
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
