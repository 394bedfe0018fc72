"""Base of every spec: strict models whose fields know how to be drawn and told in words; and of every job on a model:
its checkpoint, device and precision.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Self, Union, cast, get_args, get_origin

import annotated_types
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from analysis.errors import shorten
from analysis.registry import Registry
from cache.environment import parse_size


class Bounds(NamedTuple):
    """Smallest and largest value; None for no bound. excludes_low: `low` lies inside a bound that is itself
    excluded.
    """

    low: float | None
    high: float | None
    excludes_low: bool


def bounds(field: FieldInfo, inside: float) -> Bounds:
    """Return the range of a number. inside: distance of its ends from bounds that the field excludes."""
    low: float | None = None
    high: float | None = None
    excludes_low = False
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            low = cast(float, rule.ge)
        elif isinstance(rule, annotated_types.Gt):
            low, excludes_low = cast(float, rule.gt) + inside, True
        elif isinstance(rule, annotated_types.Le):
            high = cast(float, rule.le)
        elif isinstance(rule, annotated_types.Lt):
            high = cast(float, rule.lt) - inside
    return Bounds(low, high, excludes_low)


def extra(field: FieldInfo) -> dict[str, Any]:
    """Return the metadata that `parameter` got for drawing the field: unit, source, step, empty, share."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


LLADA_SOURCE = "LLaDA, arXiv 2502.09992"
DREAM_SOURCE = "Dream 7B, arXiv 2508.15487"
DLLM_SOURCE = "the dLLM project's sampler of masked diffusion models"
MDLM_SOURCE = "MDLM, arXiv 2406.07524"
SDAR_SOURCE = "SDAR, arXiv 2510.06303"
BD3LM_SOURCE = "BD3LM, arXiv 2503.09573, as in the dLLM project"
BD3LM_OWT_SOURCE = "BD3LM, arXiv 2503.09573, the sampler published with it"
LLADA2_SOURCE = "LLaDA2.0 and 2.1, the samplers published with them"
DIFFUSION_GEMMA_SOURCE = "DiffusionGemma, transformers' own generate()"
FAST_DLLM_SOURCE = "Fast-dLLM, arXiv 2505.22618"
FAST_DLLM_V2_SOURCE = "Fast-dLLM v2, arXiv 2509.26328"
NEMOTRON_SOURCE = "the sampler published with Nemotron-Labs-Diffusion"
SINK_AWARE_SOURCE = "Sink-Aware Pruning, arXiv 2602.17664"


class Spec(BaseModel):
    """Immutable, and strict about names: an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _is_text(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(given)
        except UnicodeEncodeError as error:  # of a name, or where text is one of several
            raise ValueError("A name or a value holds half a character. Type it anew.") from error

    @model_validator(mode="before")
    @classmethod
    def _sizes_take_units(cls, given: Any) -> Any:
        for name in _sizes(cls) if isinstance(given, dict) else ():
            if not isinstance(given.get(name), str):
                continue
            try:
                given = {**given, name: parse_size(given[name])}
            except ValueError as error:
                title = cls.model_fields[name].title
                raise ValueError(
                    f"{title}: '{shorten(given[name])}' is no size. Expected one such as 2GB or 512MiB."
                ) from error
        return given


@cache
def _sizes(spec: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name in spec.model_fields if in_bytes(spec, name))


def in_bytes(spec: type[BaseModel], name: str) -> bool:
    """Return True if a field of a spec is a size, which can be given as text with a unit."""
    return extra(spec.model_fields[name]).get("unit") == "bytes"


def parameter(
    default: Any,
    label: str,
    help: str,
    *,
    unit: str = "",
    source: str = "",
    step: float | None = None,
    empty: str = "",
    share: bool = False,
    **bounds: Any,
) -> Any:
    """Return a field that knows how to be drawn: `label` and `help` for people, the rest for widgets.

    empty: meaning of no value, shown in the empty widget. share: a slider shows it in per cent.
    """
    declared: JsonDict = {"unit": unit, "source": source, "step": step, "empty": empty, "share": share}
    return Field(default, title=label, description=help, json_schema_extra=declared, **bounds)


def like(spec: type[BaseModel], name: str, default: Any = ...) -> Any:
    """Return a field like one of another spec. default: in place of that field's."""
    field = copy(spec.model_fields[name])
    field.metadata = [*field.metadata]
    if default is not ...:
        field.default = default
    return field


def random_seed(help: str, label: str = "Seed") -> Any:
    """Return the field of a seed. help: what it fixes."""
    return parameter(0, label, help, ge=0, le=2**31 - 1)


ChatTemplate = Literal["auto", "on", "off"]
"""Use of the model's chat template for prompts; auto: for instruct models."""


def interval_fits(spec: Any) -> Any:
    """Refuse a noise schedule without a step. Raises ValueError."""
    if spec.step_interval > spec.diffusion_steps:
        raise ValueError(
            f"The step interval ({spec.step_interval}) must not exceed the steps ({spec.diffusion_steps})."
        )
    return spec


def require_keys(keys: Sized, prompts: Sized) -> None:
    """Refuse keys unless there is one per prompt, or none at all. Raises ValueError."""
    if keys and len(keys) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(keys)} keys. Give one key per prompt.")


def require_folder(text: str | None) -> str | None:
    """Refuse an empty folder of tasks: it would mean the current one and run its code. Raises ValueError."""
    if text is not None and not text.strip():
        raise ValueError("The folder with your tasks has no name. Name one, such as ./my-tasks, or leave it out.")
    return text


def at_home(text: str) -> str:
    """Expand a first part `~` or `~user` of a path; return others as they are.

    Raises ValueError for an unknown user.
    """
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError as error:
        raise ValueError(f"'{text}' begins with a user unknown on this machine. Give the whole path.") from error


PathText = Annotated[str, AfterValidator(at_home)]
"""A file or folder in a field."""
PathTexts = Annotated[tuple[str, ...], AfterValidator(lambda texts: tuple(map(at_home, texts)))]
"""Several of them."""


@dataclass(frozen=True, eq=False)
class OneOf:
    """Mark a text field as the name of a registry's row: `Annotated[str, OneOf(METHODS)]`.

    Rows are looked up when a value is checked, so rows added later are choices too.
    """

    rows: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if name not in self.rows:
            known = either([*(f"'{row}'" for row in self.rows), *filter(None, [self.rows.beyond])])
            raise PydanticCustomError("literal_error", "Must be {expected}", {"expected": known})
        return name


def choices(field: FieldInfo) -> tuple[Any, ...]:
    """Return the choices of a field: the values of its Literal, or the names of its registry; empty without a list."""
    registry = _registry(field)
    if registry is not None:
        return tuple(registry)
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else (field.annotation,)
    return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


def help_text(field: FieldInfo) -> str:
    """Return the description of a field, with each row of its registry and its other values."""
    registry = _registry(field)
    rows = [] if registry is None else [f"{name}: {row.help}" for name, row in registry.items()]
    beyond = [] if registry is None or not registry.beyond else [f"Or {registry.beyond}."]
    return " ".join([field.description or "", *rows, *beyond])


def beyond_choices(field: FieldInfo) -> str:
    """Describe the values of a field besides its `choices`; empty if there are none."""
    registry = _registry(field)
    return "" if registry is None else registry.beyond


def _registry(field: FieldInfo) -> Registry[Any] | None:
    return next((rule.rows for rule in field.metadata if isinstance(rule, OneOf)), None)


def either(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def in_words(spec: Spec, always: Collection[str] = (), leave_out: Collection[str] = ()) -> str:
    """Describe a spec in one line, by the labels of its fields: those named in `always`, and all that differ from their
    defaults.

    Different specs read differently. leave_out: fields to omit.
    """
    values = {
        name: value
        for name, value in spec.model_dump(mode="json").items()
        if name not in leave_out and (name in always or getattr(spec, name) != type(spec).model_fields[name].default)
    }
    return " · ".join(f"{label} {value}" for label, value in _labelled(values, type(spec)).items())


def told_apart(names: Sequence[str], specs: Sequence[Mapping[str, Any]], kind: type[Spec]) -> list[str]:
    """Return, for each spec, the parameters in which it differs from others of its name, in words; "" if none.

    specs: as from `model_dump(mode="json")`, of the same `kind`.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[name].append(index)
    details = [""] * len(names)
    for members in groups.values():
        labelled = {index: _labelled(specs[index], kind) for index in members}
        labels = list(dict.fromkeys(label for values in labelled.values() for label in values))
        differing = [label for label in labels if len({values.get(label) for values in labelled.values()}) > 1]
        shown = {
            label: _without_folders([labelled[index].get(label, "unset") for index in members]) for label in differing
        }
        for place, index in enumerate(members):
            details[index] = " · ".join(f"{label} {texts[place]}" for label, texts in shown.items())
    return details


def _without_folders(texts: Sequence[str]) -> Sequence[str]:
    """Shorten paths to their last parts, unless that makes two of them equal."""
    short = [PurePath(text).name if PurePath(text).is_absolute() else text for text in texts]
    return short if len(set(short)) == len(set(texts)) else texts


def _labelled(spec: Mapping[str, Any], kind: type[Spec] | None) -> dict[str, str]:
    """Every parameter, those of nested specs too, as text by its label."""
    shown: dict[str, str] = {}
    for name, value in spec.items():
        field = kind.model_fields.get(name) if kind is not None else None
        nested = field.annotation if field is not None and isinstance(field.annotation, type) else None
        if isinstance(value, Mapping):
            shown |= _labelled(value, nested if nested is not None and issubclass(nested, Spec) else None)
        else:
            shown[short_label(name, field)] = _as_text(value)
    return shown


def short_label(name: str, field: FieldInfo | None) -> str:
    """Return a field's label without its brackets, for use within a sentence; its name if it has none."""
    label = (field.title if field is not None and field.title else name).partition(" (")[0]
    return f"{label[0].lower()}{label[1:]}"


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value)) or "none"
    return "unset" if value in (None, "") else f"{value:.12g}" if isinstance(value, float) else str(value)


class ModelSpec(Spec):
    """The checkpoint, and the device and precision it runs in."""

    source: str = parameter(
        "bundled", "Model", "A name of the registry, a Hugging Face hub id, or a local folder.", min_length=1
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = parameter(
        "auto", "Device", "auto takes a CUDA GPU, else Apple's MPS, else the CPU."
    )
    dtype: Literal["auto", "bfloat16", "float32"] = parameter(
        "auto",
        "Precision",
        "auto keeps the checkpoint's own precision on an accelerator and takes float32 on a CPU, "
        "where half precision is slower.",
    )
    paradigm: Literal["auto", "mdlm", "bd3lm"] = parameter(
        "auto",
        "Training",
        "How a converted model (a2d-*) was trained: on whole texts (mdlm) or block by block (bd3lm). auto takes it "
        "from the config or the name, and asks where neither says. Other models ignore it.",
    )
    offload: Literal["memory", "disk"] = parameter(
        "memory",
        "What does not fit",
        "Where to keep what does not fit the device. memory: in main memory, moved over in every step; a model that "
        "fits neither is refused, or pruned block by block. disk: the rest is read from disk in every step, which "
        "is slow.",
    )


class JobSpec(Spec):
    """The parameters of a job on a model."""

    model: ModelSpec = ModelSpec()


def named_fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a spec and of the specs inside it, with the models it names."""
    if isinstance(value, ModelSpec):
        yield name, value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from named_fields(getattr(value, field), field)
    elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        for item in value:
            yield from named_fields(item, name)
    else:
        yield name, value
