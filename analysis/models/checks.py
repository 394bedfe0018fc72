"""Checks made before any measurement: that config fields have the types their class declares, that weights belong to
their config, and that numbers are finite.

A refusal names the field. Parameters go by their names in the checkpoint's files and in the running model.
"""

import math
import re
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from math import prod
from types import UnionType
from typing import Any, ClassVar, Literal, Union, cast, get_args, get_origin, get_type_hints

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.activations import ACT2FN

from analysis import attention
from analysis.errors import UserError, shorten
from analysis.models import encoders, experts, mdlm, native_code
from analysis.models.checkpoint import Checkpoint, stored_shapes
from analysis.models.family import Architecture, Config
from analysis.models.weight_files import fused_of, packed_of, part_of_fused, same_tensor

# Conversions of the authors' parameter names to native ones, by class. Other families use the native names.
_NAMES = {
    **native_code.RENAMED,
    experts.LLaDA2MoeModelLM.__name__: experts.LLADA2_NAMES,
    mdlm.MDLM.__name__: mdlm.NAMES,
    mdlm.BD3LM.__name__: mdlm.NAMES,
    **encoders.NAMES,
}


def native_name(architecture: Architecture, name: str) -> str:
    """The running model's name of a tensor called `name` in the file."""
    for kind in architecture.classes:
        for theirs, native in _NAMES.get(kind, ()):
            name = re.sub(theirs, native, name)
    return name


def check_fits(checkpoint: Checkpoint, config: Any) -> None:
    """Compare config and files before any memory is taken: the model is built without weights and counted.

    Raises UserError if the config's sizes differ, the class that runs is not the one named in the config, or the model
    has more parameters than the files hold.
    """
    name, layers = checkpoint.architecture.name, getattr(config, "num_hidden_layers", checkpoint.geometry.layers)
    if layers != checkpoint.geometry.layers:
        raise UserError(
            f"The {name} config in '{checkpoint.folder}' says {checkpoint.geometry.layers} layers in one field and "
            f"{layers} in another. Remove the one that is wrong."
        )
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config, attn_implementation=attention.IMPLEMENTATION)
    runs, named = type(network).__name__, checkpoint.architecture.classes
    if named and runs.lower() not in {class_name.lower() for class_name in named}:
        raise UserError(
            f"The config in '{checkpoint.folder}' names the class {', '.join(named)}, and its model type "
            f"'{checkpoint.config['model_type']}' runs as {runs}, which is another model. Correct whichever is wrong."
        )
    shapes = stored_shapes(checkpoint)
    _check_shapes(checkpoint, network, shapes)
    _check_ties(checkpoint, network, shapes)
    wanted = sum(weight.numel() for weight in network.parameters())
    stored = sum(prod(shape) for _, shape in shapes.values())
    if wanted > stored:
        native = {native_name(checkpoint.architecture, stored_name) for stored_name in shapes}
        native |= {
            f"{network.base_model_prefix}.{parameter}" for parameter in native
        }  # files saved from the body alone
        lacking = next((parameter for parameter, _ in network.named_parameters() if parameter not in native), None)
        without = "" if lacking is None else f", without '{lacking}'"
        raise UserError(
            f"The weights in '{checkpoint.folder}' do not fit its config: a {name} model of these sizes has {wanted:,} "
            f"parameters and the files hold {stored:,}{without}. The checkpoint is incomplete, changed, or of another "
            "architecture."
        )


_Shapes = dict[str, tuple[str, tuple[int, ...]]]


def _check_shapes(checkpoint: Checkpoint, network: nn.Module, shapes: _Shapes) -> None:
    """Raise UserError for the first tensor whose shape differs from the config's, naming field and both shapes."""
    asked = {name: tuple(weight.shape) for name, weight in network.named_parameters(remove_duplicate=False)}
    for name, (_, shape) in shapes.items():
        native = native_name(checkpoint.architecture, name)
        wanted = _asked_shape(native, asked)
        if wanted is None or wanted == shape:
            continue
        fields = _asking_fields(checkpoint, native, shape, wanted)
        named = ", ".join(f"'{field}' = {size:,}" for field, size in fields.items())
        by = f" ({named})" if named else ""
        raise UserError(
            f"The weights in '{checkpoint.folder}' do not fit its config: '{shorten(name)}' is {_times(shape)} in its "
            f"file, and {_times(wanted)} by the config{by}. Correct the field, or take the files that belong to it."
        )


def _asked_shape(native: str, asked: dict[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of a tensor of the files by those of the network; None for one that it knows under no such name."""
    if native in asked:
        return asked[native]
    found = fused_of(native)
    if found is not None:
        parts = [asked.get(part_of_fused(native, part)) for part in found[1]]
        known = [part for part in parts if part is not None]
        return (sum(part[0] for part in known), *known[0][1:]) if len(known) == len(parts) else None
    packed = packed_of(native)
    if packed is None or packed not in asked:
        return None
    _, rows, width = asked[packed]
    return (rows // 2 if packed.endswith("gate_up_proj") else rows, width)


def _asking_fields(
    checkpoint: Checkpoint, native: str, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> dict[str, int]:
    """Return the config's fields that disagree with a tensor's size; empty where none does."""
    if len(shape) != len(wanted):
        return {}
    place = next(place for place, (there, asked) in enumerate(zip(shape, wanted, strict=True)) if there != asked)
    sizes = {name: size for name, size in checkpoint.config.items() if isinstance(size, int) and size > 1}
    field, kind = checkpoint.architecture.field, native.split(".")[-2] if "." in native else ""
    by_heads = {("q_proj", 0): "heads", ("k_proj", 0): "kv_heads", ("v_proj", 0): "kv_heads", ("o_proj", 1): "heads"}
    if (kind, place) in by_heads:
        return {name: sizes[name] for name in (field(by_heads[kind, place]), "head_dim") if name in sizes}
    likely = [field(size) for size in ("vocabulary", "mlp", "hidden")]
    found = next((name for name in (*likely, *sizes) if sizes.get(name) == wanted[place]), None)
    return {} if found is None else {found: sizes[found]}


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "a single number"


def names_of_parameters(network: nn.Module) -> list[list[str]]:
    """The names of each parameter: several where modules share it."""
    groups: dict[int, list[str]] = {}
    for name, weight in network.named_parameters(remove_duplicate=False):
        groups.setdefault(id(weight), []).append(name)
    return list(groups.values())


def _check_ties(checkpoint: Checkpoint, network: nn.Module, shapes: _Shapes) -> None:
    """Raise UserError if tensors that the config ties, such as an embedding and its head, differ in the files: the
    class they were written for reads one of them, and nothing says which was meant.
    """
    stored = {native_name(checkpoint.architecture, name): name for name in shapes}
    for group in names_of_parameters(network):
        kept, *others = [stored[name] for name in sorted(group, key=_is_head) if name in stored] or [""]
        for other in others:
            if not same_tensor(checkpoint.weight_files, kept, other):
                field = next((name for name in _TYING if checkpoint.config.get(name)), _TYING[0])
                raise UserError(
                    f"The config in '{checkpoint.folder}' says '{field}' = true, and '{kept}' and '{other}' differ in "
                    f"its files. Set '{field}' to false if '{other}' is a head of its own; else remove that tensor."
                )


def _is_head(name: str) -> tuple[bool, str]:
    return "embed" not in name, name


_TYING = ("tie_word_embeddings", "weight_tying")


@torch.no_grad()
def check_finite(tensors: Iterable[tuple[str, torch.Tensor]], where: str) -> None:
    """Raise UserError naming the first of these tensors that holds NaN or infinity. Those without memory are skipped.

    where: their origin, as named in the message.
    """
    for name, tensor in tensors:
        if not tensor.is_meta and tensor.is_floating_point() and not is_finite(tensor):
            raise UserError(
                f"{where}: '{name}' holds values that are not finite (NaN or infinite). The checkpoint is damaged; "
                "download or write it again."
            )


def is_finite(tensor: torch.Tensor) -> bool:
    """Return True if a floating-point tensor holds neither NaN nor infinity.

    Its sum shows this at memory speed and without a copy; only a sum that overflows takes a second look.
    """
    if bool(torch.isfinite(tensor.sum())):
        return True
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor))


def check_logits(logits: torch.Tensor, dtype: str) -> None:
    """Raise UserError for predictions with NaN or infinity. Minus infinity is valid: a token that is ruled out."""
    if not bool(torch.isfinite(logits.sum())) and not bool(torch.isfinite(logits.amax())):
        raise UserError(
            f"The model's predictions are not finite (NaN or infinite) in {dtype}: its numbers overflow, or its "
            "weights are damaged. Run in float32, or check the checkpoint."
        )


def state(network: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    """Yield parameters and buffers by name."""
    yield from network.named_parameters()
    yield from network.named_buffers()


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}

_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function")


def check_types(config: Config, reader: type[PreTrainedConfig]) -> None:
    """Raise UserError naming the first field whose value has no type that `reader` declares for it.

    Names in its `attribute_map` count too. A null is an absent field. Integers are accepted as floats, booleans are not
    numbers, and numbers must be finite.
    """
    declared, names = _declared(cast(Hashable, reader)), getattr(reader, "attribute_map", {})
    for name, value in config.items():
        kinds = declared.get(names.get(name, name))
        if kinds is None or value is None or _is_one_of(value, kinds):
            continue
        expected = " or ".join(_WORDS[kind] for kind in kinds)
        raise UserError(
            f"'{shorten(name)}' of the config is {shown(value)}; {expected} was expected. Correct its config.json."
        )
    _check_activations(config)


def _check_activations(config: Config) -> None:
    for name in _ACTIVATIONS:
        value = config.get(name)
        if isinstance(value, str) and value not in ACT2FN:
            raise UserError(
                f"'{name}' of the config is {shown(value)}, which is no activation that transformers knows. Correct "
                "its config.json."
            )


def refused_field(config: Config, make: Callable[[dict[str, Any]], PreTrainedConfig]) -> tuple[str, Any] | None:
    """Return the first field, with its value, without which `make` accepts a config that it refuses, or None."""
    for name, value in config.items():
        try:
            make({other: kept for other, kept in config.items() if other != name})
        except Exception:
            continue
        return name, value
    return None


def shown(value: Any) -> str:
    """A config's value for a message: as JSON writes it, shortened."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else shorten(repr(value), 60)


@lru_cache(maxsize=32)
def _declared(reader: Hashable) -> dict[str, tuple[type, ...]]:
    """The kinds of values of each field whose annotation says them all, by name."""
    fields = {}
    for name, hint in get_type_hints(reader, localns={"torch": torch}).items():
        kinds = _kinds(hint)
        if kinds:
            fields[name] = kinds
    return fields


def _kinds(hint: Any) -> tuple[type, ...]:
    """Return the JSON types of an annotation; empty if a part of it is not one."""
    if get_origin(hint) is ClassVar:
        return ()
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = {_kind(part) for part in parts if part is not type(None)}
    return () if None in kinds else tuple(kind for kind in _WORDS if kind in kinds)


def _kind(hint: Any) -> type | None:
    origin = get_origin(hint) or hint
    if origin is Literal:
        return str if all(isinstance(value, str) for value in get_args(hint)) else None
    if origin is tuple:
        return list
    return origin if origin in _WORDS else dict if getattr(origin, "__total__", None) is not None else None


def _is_one_of(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kinds) or (isinstance(value, int) and float in kinds)
