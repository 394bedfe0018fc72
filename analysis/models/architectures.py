"""What a checkpoint is, by its config.json and its name: family, sampler, head geometry. Loads nothing.

An architecture is one row of `ARCHITECTURES`. Class names (`architectures`) decide before `model_type`: families share
a type, and block-diffusion models wear causal class names. What is no known family is refused, never guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis.errors import UserError
from analysis.models.foreign import Foreign, foreign


@dataclass(frozen=True)
class Geometry:
    """Sizes of a checkpoint. heads: query heads a layer; kv_heads: key/value heads they share; max_length in tokens.

    vocabulary: rows of the embedding, which is what token ids must stay below.
    """

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    max_length: int


@dataclass(frozen=True)
class Architecture:
    """How a family is run.

    sampler: key of `analysis.specs.SAMPLINGS`. shifted: the logits at i − 1 predict the token at i.
    bidirectional: every query sees every key. fields: config names of the sizes, where they differ from Llama's.
    classes: class names its checkpoints carry. two_trainings: the same class was also trained block by block (BD3LM).
    calibration_noise: of `CalibrationParams.noise`, that of the published pruning of this family.
    """

    name: str
    sampler: str
    bidirectional: bool = True
    shifted: bool = False
    fields: Mapping[str, str] = ()  # type: ignore[assignment]
    classes: tuple[str, ...] = ()
    two_trainings: bool = False
    calibration_noise: str = "steps"

    def field(self, size: str) -> str:
        """The config's name for a size: layers, heads, kv_heads, hidden, mlp, vocabulary, rows or max_length."""
        return dict(_LLAMA_FIELDS, **dict(self.fields))[size]

    def geometry(self, config: Mapping[str, Any]) -> Geometry:
        """Reads the sizes. Raises UserError naming the field a config lacks."""

        def read(size: str, default: int | None = None) -> int:
            name = self.field(size)
            value = config.get(name)
            value = default if value is None else value
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(
                    f"This {self.name} config has no usable '{name}' ({config.get(name)!r}). It is "
                    f"incomplete, or of a variant that is not supported. Supported: {SUPPORTED}."
                )
            return value

        heads = read("heads")
        layers, kv_heads, hidden = read("layers"), read("kv_heads", heads), read("hidden")
        vocabulary = read("vocabulary")
        # A LLaDA's embedding may have more rows than its vocabulary has tokens; its logits are about all of them.
        rows = config.get(self.field("rows"))
        if isinstance(rows, int) and not isinstance(rows, bool):
            vocabulary = max(vocabulary, rows)
        return Geometry(layers, heads, kv_heads, hidden, vocabulary, read("max_length", 2**31))


_LLAMA_FIELDS = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "vocabulary": "vocab_size",
    "rows": "",
    "max_length": "max_position_embeddings",
}
_LLADA_FIELDS = {
    "layers": "n_layers",
    "heads": "n_heads",
    "kv_heads": "n_kv_heads",
    "hidden": "d_model",
    "mlp": "mlp_hidden_size",
    "rows": "embedding_size",
    "max_length": "max_sequence_length",
}
_GPT2_FIELDS = {"layers": "n_layer", "heads": "n_head", "hidden": "n_embd", "max_length": "n_positions"}

ARCHITECTURES: dict[str, Architecture] = {
    "llada": Architecture("LLaDA", "llada", fields=_LLADA_FIELDS, classes=("LLaDAModelLM",)),
    "mmada": Architecture("MMaDA", "llada", fields=_LLADA_FIELDS, classes=("MMadaModelLM",)),
    "Dream": Architecture("Dream", "dream", shifted=True, calibration_noise="uniform", classes=("DreamModel",)),
    "a2d-llama": Architecture(
        "Llama turned into a diffusion model", "llada", classes=("A2DLlamaLMHeadModel",), two_trainings=True
    ),
    "a2d-qwen2": Architecture(
        "Qwen2 turned into a diffusion model", "llada", classes=("A2DQwen2LMHeadModel",), two_trainings=True
    ),
    "a2d-qwen3": Architecture(
        "Qwen3 turned into a diffusion model", "llada", classes=("A2DQwen3LMHeadModel",), two_trainings=True
    ),
}
# Native classes that run bidirectionally when their config says `is_causal: false`.
NATIVE_BIDIRECTIONAL = {
    "llama": Architecture("Llama, bidirectional", "llada", classes=("LlamaForCausalLM",)),
    "qwen2": Architecture("Qwen2, bidirectional", "llada", classes=("Qwen2ForCausalLM",)),
    "qwen3": Architecture("Qwen3, bidirectional", "llada", classes=("Qwen3ForCausalLM",)),
}
# What a causal reference can never be, whatever its config: named, so that the refusal can be too.
_ENCODERS = {"bert", "roberta", "distilbert", "albert", "electra", "deberta", "deberta-v2", "modernbert", "xlm-roberta"}

SUPPORTED = (
    "LLaDA, MMaDA and Dream checkpoints, Llama/Qwen2/Qwen3 turned into diffusion models (a2d-* trained as MDLM, or "
    "saved with is_causal: false and a mask token), and causal language models of transformers"
)

# Fields of models that are trained to write block by block, whatever their class is called.
_BLOCK_FIELDS = re.compile(r"block_size|bd_size|canvas_length|(.*_)?(dlm|dllm|bd3lm|wedlm)(_.*)?")
# Fields that no autoregressive model has, beside those.
_DIFFUSION_FIELDS = re.compile(r"mask_token(_id)?|mask_id|(.*_)?(diffusion|mdlm)(_.*)?")


def identify(config: Mapping[str, Any], name: str = "") -> Architecture:
    """The architecture of a checkpoint by its config and its name. Raises UserError for one that cannot be run here.

    name: what the checkpoint is called (hub id or folder), for where its config does not say how it was trained.
    """
    model_type, classes = config.get("model_type"), _class_names(config)
    if not isinstance(model_type, str):
        raise UserError(f"The config has no 'model_type', so its architecture is unknown. Supported: {SUPPORTED}.")
    names = [text for text in (config.get("_name_or_path"), name) if isinstance(text, str)]
    known = foreign([*classes, model_type])
    if known is not None:
        raise _refused_by_name(known, classes, model_type)
    for own_type, family in ARCHITECTURES.items():
        if model_type == own_type or set(classes) & set(family.classes):
            _check_class(family, own_type, classes, model_type)
            _check_no_blocks(family, config, classes)
            return _with_training(family, classes, names) if family.two_trainings else family
    if not isinstance(config.get("is_causal", True), bool | None):
        raise UserError(f"'is_causal' of the config is {config['is_causal']!r}; true or false was expected.")
    if config.get("is_causal") is False:
        if model_type not in NATIVE_BIDIRECTIONAL:
            raise UserError(f"Bidirectional '{model_type}' is not supported. Supported: {SUPPORTED}.")
        family = NATIVE_BIDIRECTIONAL[model_type]
        _check_class(family, model_type, classes, model_type)
        _check_no_blocks(family, config, classes)
        _check_name(classes, names)
        _check_no_own_code(config, classes)
        return family
    if model_type in _ENCODERS or config.get("is_encoder_decoder") or not _claims_causal_lm(classes):
        raise UserError(f"The architecture '{model_type}' is not supported. Supported: {SUPPORTED}.")
    _check_autoregressive(config, classes, names)
    fields = _GPT2_FIELDS if "n_head" in config and "num_attention_heads" not in config else {}
    return Architecture(f"{model_type}, causal", "autoregressive", bidirectional=False, fields=fields, classes=classes)


def _class_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    classes = config.get("architectures")
    if classes is None:
        return ()
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes):
        raise UserError(f"'architectures' of the config is {_short(classes)}; a list of class names was expected.")
    return tuple(classes)


def _claims_causal_lm(classes: tuple[str, ...]) -> bool:
    return any(one.endswith(("CausalLM", "LMHeadModel")) for one in classes)


def _check_class(family: Architecture, own_type: str, classes: tuple[str, ...], model_type: str) -> None:
    """Class name and model type must both be the family's; either alone may belong to another model."""
    if model_type != own_type or (classes and not set(classes) & set(family.classes)):
        raise UserError(
            f"The config's class {_called(classes)} and its model type '{model_type}' do not belong together: "
            f"{family.name} is {' or '.join(family.classes)} of type '{own_type}'. Supported: {SUPPORTED}."
        )


def _check_no_blocks(family: Architecture, config: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    """Raises UserError where the config says that the model was trained block by block."""
    field = _field(config, _BLOCK_FIELDS)
    if field is not None:
        raise UserError(
            f"This {family.name} checkpoint ({_called(classes)}) carries '{field}' = {_short(config[field])}: it was "
            "trained to write block by block, and run with every query seeing every key it would show attention it "
            f"never had. Supported: {SUPPORTED}."
        )


def _check_name(classes: tuple[str, ...], names: list[str]) -> None:
    """Raises UserError for a checkpoint that is called what is not supported."""
    known = foreign(_last_part(text) for text in names)
    if known is not None:
        raise _refused_by_name(known, classes, names[-1])


def _with_training(family: Architecture, classes: tuple[str, ...], names: list[str]) -> Architecture:
    """A family of two trainings by its name: refused as BD3LM, and where the name says neither, said to be assumed."""
    _check_name(classes, names)
    if any("mdlm" in _last_part(text).lower() for text in names):
        return family
    return replace(family, name=f"{family.name} (taken for MDLM, its files do not say)")


def _check_autoregressive(config: Mapping[str, Any], classes: tuple[str, ...], names: list[str]) -> None:
    """Raises UserError for a causal class that is trained or run as something else."""
    _check_name(classes, names)
    _check_no_own_code(config, classes)
    field = _field(config, _BLOCK_FIELDS) or _field(config, _DIFFUSION_FIELDS)
    if field is None:
        return
    hint = ""
    if _DIFFUSION_FIELDS.fullmatch(field) and config["model_type"] in NATIVE_BIDIRECTIONAL:
        hint = " If every query is to see every key, say 'is_causal': false in its config.json."
    raise UserError(
        f"The class {_called(classes)} is causal, but its config carries '{field}' = {_short(config[field])}, which no "
        f"autoregressive model has: it is a diffusion model that is not known here.{hint} Supported: {SUPPORTED}."
    )


def _check_no_own_code(config: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    """Raises UserError for a checkpoint that names its own code."""
    own_code = config.get("auto_map")
    if not own_code:
        return
    targets = [str(target) for target in (own_code.values() if isinstance(own_code, dict) else [own_code])]
    known = foreign(targets)
    if known is not None:
        raise _refused_by_name(known, classes, str(config["model_type"]))
    raise UserError(
        f"The class {_called(classes)} is run by code of its own ('auto_map' of the config: "
        f"{_short(targets[-1])}), which SinkScope never runs. If transformers' own class computes the "
        f"same, remove 'auto_map' from its config.json. Supported: {SUPPORTED}."
    )


def _refused_by_name(known: Foreign, classes: tuple[str, ...], told_by: str) -> UserError:
    shown = _called(classes) if classes else f"'{_short(told_by)}'"
    return UserError(f"This is {known.name} ({shown}), which is not supported. {known.why} Supported: {SUPPORTED}.")


def _field(config: Mapping[str, Any], pattern: re.Pattern[str]) -> str | None:
    """The first field of the config with such a name and a value."""
    return next((name for name, value in config.items() if value is not None and pattern.fullmatch(name)), None)


def _last_part(name: str) -> str:
    return name.rstrip("/\\").replace("\\", "/").split("/")[-1]


def _called(classes: tuple[str, ...]) -> str:
    return _short(", ".join(classes)) if classes else "(none named)"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
