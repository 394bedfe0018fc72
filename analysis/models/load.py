"""Loading a checkpoint into a model that can be run step by step and observed."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import init_empty_weights
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    DiffusionGemmaForBlockDiffusion,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from analysis import attention, outputs
from analysis.errors import ModelChanged, UserError
from analysis.models import canvas, encoders, experts, mdlm, native_code
from analysis.models import checkpoint as checkpoints
from analysis.models import loaded as devices
from analysis.models.before_loading import need_of
from analysis.models.canvas import attach_readers
from analysis.models.checkpoint import Checkpoint, read_json
from analysis.models.checks import check_finite, check_fits, check_types, refused_field, shown, state
from analysis.models.families import ARCHITECTURES
from analysis.models.files import names_in_files, require, tensors_of
from analysis.models.loaded import LoadedModel, OpenedModel
from analysis.models.tokenizer import tokenizer_of
from analysis.specs import ModelSpec
from cache.environment import gigabytes

_NATIVE_CLASSES: tuple[Any, ...] = (
    *native_code.CLASSES,
    *experts.CLASSES,
    DiffusionGemmaForBlockDiffusion,
    mdlm.MDLM,
    mdlm.BD3LM,
    *encoders.CLASSES,
)
# Whose configs go by the class: their model types are also those of the dense LLaDA and of transformers' own classes.
_SHARED_TYPES: tuple[type[PreTrainedModel], ...] = (experts.LLaDAMoEModelLM, *encoders.CLASSES)
# Besides the weights a forward needs activations and logits; a twentieth covers them at the sizes used here.
_HEADROOM = 1.05


def register() -> None:
    """Make our configs, classes and attention known to transformers' Auto classes. May be called again."""
    attention.register()
    disable_progress_bar()  # jobs report their own progress
    set_verbosity_error()  # and their own refusals
    # By class and not by model type, which a mixture of experts shares with a dense model.
    for class_name, conversions in experts.CONVERSIONS.items():
        register_checkpoint_conversion_mapping(class_name, conversions, overwrite=True)
    for network in _NATIVE_CLASSES:
        config = network.config_class
        if network not in _SHARED_TYPES and any(config.model_type == row.model_type for row in ARCHITECTURES.values()):
            AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModelForCausalLM.register(config, network, exist_ok=True)


def load(
    spec: ModelSpec,
    progress: Callable[[str], None] = lambda phase: None,
    held: "LoadedModel | None" = None,
    release: Callable[[], None] = lambda: None,
    check: Callable[[OpenedModel], None] = lambda opened: None,
) -> LoadedModel:
    """Load a model, checking everything that can be checked before any memory is taken.

    held: a model that calling `release` would free; that is called only once all checks have passed, and only if its
    memory is needed. check: raises UserError for a model that is unfit for its purpose. Raises UserError for every kind
    of bad input.
    """
    register()
    device = devices.pick_device(spec.device)
    reclaimable = _reclaimable(held, device)
    width = width_in_memory(spec, device)
    checkpoint = fetched(spec, progress, held)
    config = config_of(checkpoint)
    # The logits of a canvas are large whatever is written; the cache grows with the text.
    need = int(checkpoints.weight_bytes(checkpoint, width) * _HEADROOM) + need_of(checkpoint, spec, 0).logits
    device_map = devices.placement(need, device, reclaimable, spec)
    opened = opened_model(spec, checkpoint, config)
    check(opened)
    if reclaimable and need > devices.free_bytes(device):
        release()
    progress("reading weights")
    content = checkpoints.fingerprint(checkpoint)
    network = _network(checkpoint, config, width, device_map, devices.free_bytes(device), device)
    if checkpoints.fingerprint(checkpoint) != content:
        raise ModelChanged(spec.source)
    check_finite(state(network), f"The weights in '{checkpoint.folder}' cannot be used")
    model = LoadedModel(spec, checkpoint, opened.tokenizer, opened.mask_token, network, content)
    make_bidirectional(model)
    if model.architecture.noise == "uniform":
        attach_readers(network)
    return replace(model, windows=_observed_windows(model))


def opened_model(spec: ModelSpec, checkpoint: Checkpoint, config: Any) -> OpenedModel:
    """Return the facts on a model without its weights. Raises UserError for a foreign tokenizer or mask token."""
    tokenizer = tokenizer_of(checkpoint, config)
    return OpenedModel(spec, checkpoint, tokenizer, mask_token_of(checkpoint, config, tokenizer))


def require_opens(folder: Path) -> None:
    """Raise UserError if `load` would refuse this folder. Names and shapes are compared; no weight is read."""
    register()
    checkpoint = checkpoints.open_folder(folder)
    config = config_of(checkpoint)
    opened_model(ModelSpec(source=str(folder)), checkpoint, config)
    _network(checkpoint, config, None, {"": "meta"})


def fetched(spec: ModelSpec, progress: Callable[[str], None], held: "LoadedModel | None") -> Checkpoint:
    """The model's checkpoint, downloaded where it is not on this disk and would fit into memory. held: see `load`.

    Raises UserError for a bad source, and where there is no room.
    """
    checkpoint = checkpoints.checkpoint_of(spec)
    if checkpoint is None:
        device = devices.pick_device(spec.device)
        progress("asking the hub")
        need = checkpoints.remote_bytes(spec, width_in_memory(spec, device))
        devices.placement(int(need * _HEADROOM), device, _reclaimable(held, device), spec)
        progress(f"downloading {gigabytes(need)}")
        checkpoint = checkpoints.download(spec)
    return checkpoint


def _reclaimable(held: "LoadedModel | None", device: str) -> int:
    return held.bytes if held is not None and held.device.type == device else 0


def width_in_memory(spec: ModelSpec, device: str) -> int | None:
    """Bytes of a weight in memory; None for those of the checkpoint."""
    return {"bfloat16": 2, "float32": 4, "auto": 4 if device == "cpu" else None}[spec.dtype]


def random_like(model: LoadedModel, seed: int) -> LoadedModel:
    """Return a model of the same shape with freshly drawn weights: the reference for every sink count.

    Raises UserError if there is no memory for it beside the model.
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
    family = checkpoint.architecture
    own = native_code.sliced_config(checkpoint.config) or next(
        (network.config_class for network in _SHARED_TYPES if network.__name__ in family.classes), None
    )
    model_type = checkpoint.config["model_type"]
    reader: Any = own
    if own is None and model_type in CONFIG_MAPPING:  # its `get` knows only entries that were accessed before
        reader = CONFIG_MAPPING[model_type]
    if reader is not None:
        check_types(checkpoint.config, reader)
    try:
        config = (own or AutoConfig).from_pretrained(checkpoint.folder, trust_remote_code=False)
        if checkpoint.architecture.mixture:
            experts.choose_implementation(config)
        if fits:
            check_fits(checkpoint, config)
        return config
    except UserError:
        raise
    except Exception as error:
        found = reader and refused_field(checkpoint.config, lambda fields: reader.from_dict(fields))
        why = f"'{found[0]}' is {shown(found[1])}" if found else "its sizes do not go together"
        raise UserError(
            f"The {checkpoint.architecture.name} config in '{checkpoint.folder}' cannot be run: {why}, which "
            f"transformers' {model_type} refuses ({type(error).__name__}). Compare it with "
            "the published config.json."
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
    if checkpoint.architecture.conditioned or checkpoint.architecture.encoder:
        return _assembled_network(checkpoint, config, width, device_map)
    dtype = {2: torch.bfloat16, 4: torch.float32, None: "auto"}[width]
    spread: dict[str, Any] = {}
    if device_map == "auto":
        # Tensors whose names in the files differ from the network's are rewritten, for the life of the process.
        spread["offload_folder"] = str(outputs.make_workplace(Path(tempfile.gettempdir()), "offload"))
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
            use_kernels=False,  # compiled code of the hub, whose numbers are not those of torch
            output_loading_info=True,
            **spread,
        )
    except Exception as error:
        raise UserError(
            f"The weights in '{checkpoint.folder}' do not load as {checkpoint.architecture.name}: transformers cannot "
            f"make its tensors of those in the files ({type(error).__name__}). The checkpoint is damaged, or of "
            "another architecture."
        ) from error
    # transformers' annotation covers only the call without `output_loading_info`.
    network, report = cast(tuple[PreTrainedModel, dict[str, set[Any]]], loaded)
    for kind in _PROBLEMS:
        # Rotary frequencies are computed from the config; old checkpoints hold them anyway.
        _refuse_names(checkpoint, kind, {str(name) for name in report[kind] if "inv_freq" not in str(name)})
    return network.eval()


_PROBLEMS = {
    "missing_keys": "its files lack '{}', which its config asks for",
    "mismatched_keys": "'{}' is of another shape than its config asks for",
    "unexpected_keys": "its files hold '{}', for which its config has no place",
}


def _refuse_names(checkpoint: Checkpoint, kind: str, names: set[str]) -> None:
    """Raise UserError for a kind of problem if any tensor names have it."""
    if names:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise UserError(
            f"The weights in '{checkpoint.folder}' do not fit its config: {_PROBLEMS[kind].format(min(names))}{more}. "
            "The checkpoint is incomplete, changed, or of another architecture."
        )


def _assembled_network(
    checkpoint: Checkpoint, config: Any, width: int | None, device_map: str | dict[str, Any]
) -> PreTrainedModel:
    """The network of a checkpoint whose tensors are not read one by one as they are: a conditioned one, its
    conditioning folded into the weights in float32, and one whose blocks go by other names or hold fused matrices.

    Raises UserError where the files lack a tensor, and where it does not fit one device.
    """
    if device_map == "auto":
        raise UserError(
            f"{checkpoint.architecture.name} is run on one device, and '{checkpoint.folder}' does not fit it. Choose "
            "bfloat16, or another device."
        )
    device = next(iter(device_map.values())) if isinstance(device_map, dict) else device_map
    dtype = dtype_of(checkpoint, width)
    with init_empty_weights(include_buffers=False):
        network = AutoModelForCausalLM.from_config(config, attn_implementation=attention.IMPLEMENTATION)
    network.tie_weights()  # creating it without memory untied them
    stored, wanted = tensors_of(checkpoint, network), names_in_files(checkpoint, network)
    require(stored, wanted)
    if checkpoint.architecture.encoder:
        known = {name for name, _ in (*network.named_parameters(remove_duplicate=False), *network.named_buffers())}
        others = {name for name in stored if name not in known and not encoders.left_out(name)}
        _refuse_names(checkpoint, "unexpected_keys", others)
    if device != "meta":
        # Buffers keep their precision: rotary frequencies in half precision would differ.
        state = {name: stored[name].native().to(dtype) for name in wanted}
        network.load_state_dict(state, strict=False, assign=True)
        network.tie_weights()
        network.to(device)
    return network.eval()


def dtype_of(checkpoint: Checkpoint, width: int | None) -> torch.dtype:
    """Return the precision of a width in bytes; None for that of the checkpoint."""
    stored = {"BF16": torch.bfloat16, "F16": torch.float16}.get(checkpoints.main_dtype(checkpoint), torch.float32)
    return {2: torch.bfloat16, 4: torch.float32}.get(width or 0, stored)


def mask_token_of(checkpoint: Checkpoint, config: Any, tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    if checkpoint.architecture.noise != "mask":
        return None
    if checkpoint.architecture.mask_token == "last":
        return checkpoint.geometry.vocabulary - 1
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
    """Make single blocks bidirectional as well; the config does so only for whole forwards.

    A family that attends by blocks gets its visibility as a mask.
    """
    if model.architecture.noise is not None:
        for module in model.blocks.modules():
            if hasattr(module, "is_causal"):
                # torch's types say that every attribute of a module is a tensor or a module.
                module.is_causal = False  # type: ignore[assignment]


def _observed_windows(model: LoadedModel) -> tuple[int, ...]:
    """The windows of the layers, as one forward of two tokens shows them; see `LoadedModel.windows`.

    Raises UserError where a layer does not pass through our attention function: its mass would be missing.
    """
    seen: dict[int, int] = {}

    def probe(layer: int, inputs: attention.AttentionInputs) -> None:
        inputs.shown_mass()
        seen[layer] = inputs.window

    name = model.architecture.name
    if getattr(model.network, "_supports_sdpa", True) is False:
        raise UserError(f"This {name} model does not run on plain softmax attention, so its attention is not observed.")
    try:
        tokens = torch.zeros(1, 2, dtype=torch.long)
        if model.architecture.noise == "uniform":
            canvas.show(model.network, tokens.to(model.device), probe)
        else:
            model.predict(tokens, probe)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The attention of this {name} model cannot be observed: a forward of two tokens fails "
            f"({type(error).__name__}). Compare its config.json with the published one."
        ) from error
    if len(seen) != model.geometry.layers:
        raise UserError(
            f"Only {len(seen)} of {model.geometry.layers} layers of this {name} model have attention that can be "
            "observed. SinkScope needs softmax attention in every layer."
        )
    windows = tuple(window for _, window in sorted(seen.items()))
    return windows if any(windows) else ()


def parameter_shapes(
    checkpoint: Checkpoint, config: Mapping[str, Any], every_name: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters by native name, as the class that runs `checkpoint` makes them from this
    config.

    every_name: list a shared parameter under its name in each module. Raises UserError for a config that the class
    refuses.
    """
    register()
    with tempfile.TemporaryDirectory(prefix="sinkscope-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
        read = config_of(replace(checkpoint, folder=Path(folder), config=dict(config)), fits=False)
    try:
        # By the device, transformers knows that there is nothing to initialize; by accelerate, tied weights are apart.
        with init_empty_weights(), torch.device("meta"):
            network = AutoModelForCausalLM.from_config(read)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"The sizes that a {checkpoint.architecture.name} config would have here do not go together "
            f"({type(error).__name__}). Choose another sparsity."
        ) from error
    parameters = network.named_parameters(remove_duplicate=not every_name)
    return {name: tuple(parameter.shape) for name, parameter in parameters}
