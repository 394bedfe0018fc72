"""Identification of a checkpoint by its config.json and its name: its row of `ARCHITECTURES`. Loads nothing.

Class names (`architectures`) take precedence over `model_type`: families share a type, and block-diffusion models use
causal class names. An unknown family is refused, never guessed.

`FOREIGN` lists diffusion language models that are known but not supported, so that a refusal can name them. Many use a
causal class name, or the model type of another family. Its rows are checked once class and type match no supported
family, so unsupported classes of supported models are listed too.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis.errors import UserError, shorten
from analysis.models.families import ARCHITECTURES, GPT2_FIELDS, NATIVE_BIDIRECTIONAL
from analysis.models.family import SUPPORTED, Architecture, Config, Paradigm

_BLOCKS = "It attends and writes block by block, so the samplers here would show attention it was not trained for."
_EXPERTS = "Its blocks are mixtures of experts, which are not Llama's."
_IMAGES = "It reads images beside text."


@dataclass(frozen=True)
class Foreign:
    """pattern: a regular expression searched, ignoring case, in class names, model type, and names of code and source.

    why: one sentence on what distinguishes it.
    """

    name: str
    pattern: str
    why: str


# The more specific comes first.
FOREIGN = (
    Foreign(
        "SDAR with experts under another class",
        r"sdar[-_]?moe|(?<![a-z])sdar.*-a\d+b",
        "It is run as SDARMoeForCausalLM of type 'sdar_moe' alone.",
    ),
    Foreign(
        "SDAR under another class", r"(?<![a-z])(sdar|trado-\d)", "It is run as SDARForCausalLM of type 'sdar' alone."
    ),
    Foreign(
        "Fast-dLLM v2 under another class",
        r"fast[-_]?dllm[-_]?(qwen|v2)",
        "It is run as Fast_dLLM_QwenForCausalLM of type 'Fast_dLLM_Qwen' alone.",
    ),
    Foreign(
        "a DFlash drafter",
        r"dflash",
        "It drafts for a target model, whose states and head it needs; alone it writes nothing.",
    ),
    Foreign(
        "CoDA",
        r"(?<![a-z])coda(?![a-z])|^codalanguagemodel",
        "It runs as a class of its own, which was not checked here.",
    ),
    Foreign(
        "SDLM",
        r"(?<![a-z])sdlm",
        "It writes runs of tokens of any length after a causal text, by a sampler of its own.",
    ),
    Foreign(
        "TwoTower",
        r"two[-_]?tower",
        "One network reads the text and another denoises beside it, and one is all that is run here.",
    ),
    Foreign("DPLM", r"(?<![a-z])dplm|^esmfordplm", "It writes proteins, with ESM's blocks."),
    Foreign("WeDLM", r"wedlm", "Its causal attention runs over reordered positions."),
    Foreign("ReFusion", r"refusion", "It writes slots in any order and the tokens of a slot from left to right."),
    Foreign(
        "I-DLM", r"(?<![a-z0-9])i[-_]?dlm|introspective[-_]?diffusion", "It writes strides under causal attention."
    ),
    Foreign("Nemotron diffusion that reads images", r"nemotron.*diffusion.*vlm", _IMAGES),
    Foreign(
        "Nemotron diffusion under another class",
        r"nemotron.*diffusion",
        "It is run as NemotronLabsDiffusionModel of type 'nemotron_labs_diffusion' alone.",
    ),
    Foreign("Efficient-DLM", r"efficient[-_]?dlm", _BLOCKS),
    Foreign(
        "LLaDA2 under another class", r"llada-?2\.|llada2", "It is run as LLaDA2MoeModelLM of type 'llada2_moe' alone."
    ),
    Foreign("LLaDA-MoE under another class", r"llada[-_]?moe", "It is run as LLaDAMoEModelLM of type 'llada' alone."),
    Foreign(
        "DiffusionGemma under another class",
        r"diffusion[-_]?gemma",
        "It is run as DiffusionGemmaForBlockDiffusion of type 'diffusion_gemma' alone.",
    ),
    Foreign("DreamReasoner", r"^DreamForCausalLM$|dream[-_]?reasoner", _BLOCKS),
    Foreign(
        "LFM2 diffusion", r"lfm2.*diffusion", "Most of its layers are convolutions, which have no attention to observe."
    ),
    Foreign("RND1", r"(?<![a-z])rnd1", _EXPERTS),
    Foreign(
        "Stable-DiffCoder",
        r"diff[-_]?coder",
        "It runs Llama's blocks under attention in blocks of 4, by a class of its own that is not built in here.",
    ),
    Foreign("a multimodal LLaDA", r"llava[-_]?llada|lladaformultimodal|llada-v(?![a-z0-9])|lavida|dimoo", _IMAGES),
    Foreign("Dimple", r"(?<![a-z])dimple", _IMAGES),
    Foreign(
        "BD3LM under another class", r"bd3[-_]?lm", "It is run as BD3LM of type 'bd3lm' or of an a2d-* class alone."
    ),
    Foreign("MDLM under another class", r"^mdlm$", "It is run as MDLM of type 'mdlm' alone."),
    Foreign(
        "Duo or UDLM", r"^(duo|udlm)(?![a-z])", "Its noise is random tokens, and its blocks are told the noise level."
    ),
    Foreign(
        "SEDD", r"(?<![a-z])sedd(?![a-z])", "Its blocks are told the noise level, and it predicts ratios, not tokens."
    ),
    Foreign("DiffuLLaMA or DiffuGPT", r"diffu[-_]?(llama|gpt)", "Its causal class is run without its causal mask."),
)


def foreign(names: Iterable[str]) -> Foreign | None:
    """The row that one of these names belongs to, or None."""
    names = list(names)
    return next((row for row in FOREIGN for name in names if re.search(row.pattern, name, re.IGNORECASE)), None)


# Families that can never be a causal reference, whatever their config; the refusal names them.
_ENCODERS = {"albert", "electra", "deberta", "deberta-v2", "xlm-roberta"}
# Names of checkpoints with a masked language model's class and a diffusion model's training.
_WRITERS = re.compile(r"mdlm|diffusion|(?<![a-z])chat(?![a-z])", re.IGNORECASE)

# Fields of models trained to write block by block, whatever their class name; the first give the size.
_BLOCK_SIZES = re.compile(r"block_size|bd_size")
_BLOCK_FIELDS = re.compile(r"block_size|bd_size|canvas_length|(.*_)?(dlm|dllm|bd3lm|wedlm)(_.*)?")
# Fields that no autoregressive model has, beside those.
_DIFFUSION_FIELDS = re.compile(r"mask_token(_id)?|mask_id|(.*_)?(diffusion|mdlm)(_.*)?")


def identify(config: Config, name: str = "", paradigm: str = "auto") -> Architecture:
    """Return the architecture of a checkpoint by its config and its name. Raises UserError if it is not supported.

    name: hub id or folder, used if the config does not state the training. paradigm: of `ModelSpec.paradigm`, used if
    neither does; ignored by families with one training.
    """
    model_type, classes = config.get("model_type"), _class_names(config)
    if not isinstance(model_type, str):
        _check_untyped(config, name)
        raise UserError(f"The config has no 'model_type', so its architecture is unknown. Supported: {SUPPORTED}.")
    if not isinstance(config.get("is_causal"), bool | None):
        raise UserError(
            f"'is_causal' of the config is {_short(config['is_causal'])}; true or false was expected. Correct its "
            "config.json."
        )
    names = [text for text in (config.get("_name_or_path"), name) if isinstance(text, str)]
    rows = [
        row
        for row in ARCHITECTURES.values()
        if model_type == row.model_type and (not classes or set(classes) & set(row.classes))
    ]
    if rows:
        several = any(row.paradigm is not None for row in rows)
        family = _by_training(rows, config, classes, names, paradigm) if several else rows[0]
        return _as_configured(family, config, classes)
    known = foreign([*classes, model_type])
    if known is not None:
        raise _refused_by_name(known, classes, model_type)
    for row in ARCHITECTURES.values():
        if row.encoder and model_type == row.model_type:
            raise UserError(
                f"The class {_called(classes)} of type '{model_type}' is not supported: of this type {row.classes[0]} "
                f"alone is run, whose head fills in masks. Supported: {SUPPORTED}."
            )
        if model_type == row.model_type or set(classes) & set(row.classes):
            raise _contradiction(row, classes, model_type)
    if config.get("is_causal") is False:
        if model_type not in NATIVE_BIDIRECTIONAL:
            raise UserError(f"Bidirectional '{model_type}' is not supported. Supported: {SUPPORTED}.")
        family = NATIVE_BIDIRECTIONAL[model_type]
        if classes and not set(classes) & set(family.classes):
            raise _contradiction(family, classes, model_type)
        _check_name(classes, names)
        _check_no_own_code(config, classes)
        return _as_configured(family, config, classes)
    is_causal = any(name.endswith(("CausalLM", "LMHeadModel")) for name in classes)
    if model_type in _ENCODERS or config.get("is_encoder_decoder") or not is_causal:
        # Another class of the type may be supported.
        what = f"The class {_called(classes)} of type '{model_type}'" if classes else f"The architecture '{model_type}'"
        raise UserError(f"{what} is not supported. Supported: {SUPPORTED}.")
    _check_autoregressive(config, classes, names)
    fields = GPT2_FIELDS if "n_head" in config and "num_attention_heads" not in config else {}
    return Architecture(
        f"{model_type}, causal",
        "autoregressive",
        attention="causal",
        noise=None,
        fields=fields,
        model_type=model_type,
        classes=classes,
    )


def _check_untyped(config: Config, name: str) -> None:
    """Raise UserError for a SEDD checkpoint, whose config states no types, only its training noise."""
    graph = config.get("graph")
    if isinstance(graph, Mapping) and "noise" in config:
        kind = {"absorb": "[MASK]", "uniform": "random tokens"}.get(str(graph.get("type")), _short(graph.get("type")))
        raise UserError(
            f"This is SEDD ('graph' of its config: its noise is {kind}), which is not supported. Its blocks are told "
            f"the noise level, and it predicts ratios, not tokens. Supported: {SUPPORTED}."
        )
    known = foreign([_last_part(name)])
    if known is not None:
        raise _refused_by_name(known, (), name)


def _class_names(config: Config) -> tuple[str, ...]:
    classes = config.get("architectures")
    if classes is None:
        return ()
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"'architectures' of the config is {_short(classes)}; a list of class names was expected.")
    return tuple(classes)


def _contradiction(family: Architecture, classes: tuple[str, ...], model_type: str) -> UserError:
    """Class name and model type must both be the family's; either alone may belong to another model."""
    return UserError(
        f"The config's class {_called(classes)} and its model type '{model_type}' do not belong together: "
        f"{family.name} is {' or '.join(family.classes)} of type '{family.model_type}'. Supported: {SUPPORTED}."
    )


def _as_configured(family: Architecture, config: Config, classes: tuple[str, ...]) -> Architecture:
    """The family with the block size that the config says.

    Raises UserError for a family without blocks whose config says that it was trained by blocks, and for a variant.
    """
    if config.get("is_causal"):
        raise UserError(
            f"The config says 'is_causal' = True, and a checkpoint of its class ({_called(classes)}, {family.name}) is "
            f"run otherwise: {family.attends}. Remove the field from its config.json, or correct 'architectures'."
        )
    differing = [
        f"'{field}' = {_short(config[field])}"
        for field, allowed in family.requires.items()
        if config.get(field) is not None and config[field] not in allowed
    ]
    layers = config.get("layer_types")
    if "use_sliding_window" in family.requires and isinstance(layers, list) and "sliding_attention" in layers:
        differing.append("'layer_types' with sliding_attention")
    if differing:
        raise UserError(
            f"This {family.name} checkpoint ({_called(classes)}) is of a variant that is not supported: "
            f"{', '.join(differing)}. Supported: {SUPPORTED}."
        )
    field = _field(config, _BLOCK_FIELDS, but=(*family.block_fields, *family.requires))
    if field is not None and (family.paradigm is not None or not family.by_blocks):
        raise UserError(
            f"This {family.name} checkpoint ({_called(classes)}) carries '{field}' = {_short(config[field])}: it was "
            "trained to write block by block, and run with every query seeing every key it would show attention it "
            f"never had. Supported: {SUPPORTED}."
        )
    if family.paradigm is not None:
        family = _with_shift(family, config)
    return _with_block_size(family, config) if family.by_blocks else family


def _with_shift(family: Architecture, config: Config) -> Architecture:
    """The family with logits at i − 1 about the token at i, where its config says so (`right_shift_logits`, as the
    dLLM project calls it). Raises UserError for a value that is neither true nor false.
    """
    shifted = config.get("right_shift_logits")
    if shifted not in (None, True, False):
        raise UserError(
            f"'right_shift_logits' of this {family.name} config is {_short(shifted)}; true or false was expected. "
            "Correct its config.json."
        )
    return replace(family, name=f"{family.name}, shifted logits", shift=1) if shifted else family


def _with_block_size(family: Architecture, config: Config) -> Architecture:
    field = next((field for field in family.block_fields if config.get(field) is not None), None)
    if field is None:
        return family
    size = config[field]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise UserError(
            f"'{field}' of this {family.name} config is {_short(size)}; the tokens of a block, a whole number from 1, "
            "were expected. Correct its config.json."
        )
    return replace(family, block_size=size)


def _check_name(classes: tuple[str, ...], names: list[str]) -> None:
    """Raise UserError for a checkpoint whose name is that of an unsupported family."""
    known = foreign(_last_part(text) for text in names)
    if known is not None:
        raise _refused_by_name(known, classes, names[-1])


def _by_training(
    rows: list[Architecture], config: Config, classes: tuple[str, ...], names: list[str], paradigm: str
) -> Architecture:
    """Return the row of a class with several trainings: by its config, its name, or otherwise as requested.

    Raises UserError if nothing decides, and if the request contradicts them.
    """
    stated = stated_paradigm(config, names)
    plain = next((row for row in rows if row.paradigm is None), None)  # the class with its usual training
    if plain is not None and stated is None and any(_WRITERS.search(_last_part(text)) for text in names):
        stated = "mdlm"
    if stated is not None and paradigm not in ("auto", stated):
        raise UserError(
            f"This {rows[0].name} ({_called(classes)}) was trained as {stated.upper()} by its config or name, and "
            f"{paradigm.upper()} was asked for. Leave the training at auto, or rename the folder."
        )
    training = stated if paradigm == "auto" else paradigm
    if training is None and plain is not None:
        return plain
    if training is None:
        raise UserError(
            f"Neither config nor name of this {rows[0].name} ({_called(classes)}) says how it was trained: on whole "
            "texts (MDLM) or block by block (BD3LM). Choose the training beside the model, or give --paradigm mdlm or "
            "--paradigm bd3lm."
        )
    row = next((row for row in rows if row.paradigm == training), None)
    if row is None:
        known = foreign([training])
        if known is None:
            raise UserError(f"The training '{training}' of {rows[0].name} is not supported. Supported: {SUPPORTED}.")
        raise _refused_by_name(known, classes, rows[0].model_type)
    return row


def stated_paradigm(config: Config, names: list[str]) -> Paradigm | None:
    """Return the training of a class that has two, if the config or otherwise the name states it.

    Raises UserError if a block size contradicts a statement that there are no blocks.
    """
    field = _field(config, _BLOCK_SIZES)
    by_config: Paradigm | None = _PARADIGMS.get(str(config.get("dlm_paradigm"))) or (None if field is None else "bd3lm")
    called = " ".join(_last_part(text).lower() for text in names)
    by_name = next((training for word, training in _PARADIGMS.items() if word in called), None)
    if field is not None and "mdlm" in (by_config, by_name):
        other = "name" if by_config == "bd3lm" else "'dlm_paradigm'"
        raise UserError(
            f"The config carries '{field}' = {_short(config[field])}, as models trained block by block (BD3LM) do, and "
            f"its {other} says MDLM, on whole texts. Correct whichever is wrong."
        )
    return by_config or by_name


_PARADIGMS: dict[str, Paradigm] = {"bd3lm": "bd3lm", "mdlm": "mdlm"}


def _check_autoregressive(config: Config, classes: tuple[str, ...], names: list[str]) -> None:
    """Raise UserError for a causal class that is trained or run as something else."""
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


def _check_no_own_code(config: Config, classes: tuple[str, ...]) -> None:
    """Raise UserError for a checkpoint that names its own code."""
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


def _field(config: Config, pattern: re.Pattern[str], but: tuple[str, ...] = ()) -> str | None:
    """The first field of the config with such a name and a value, other than those of `but`."""
    named = (name for name, value in config.items() if value is not None and name not in but)
    return next((name for name in named if pattern.fullmatch(name)), None)


def _last_part(name: str) -> str:
    return name.rstrip("/\\").replace("\\", "/").split("/")[-1]


def _called(classes: tuple[str, ...]) -> str:
    return _short(", ".join(classes)) if classes else "(none named)"


def _short(value: Any) -> str:
    return shorten(value if isinstance(value, str) else repr(value), 60)
