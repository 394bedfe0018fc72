"""What no usable config says: numbers that leave a model without meaning. They are refused before anything is read."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.errors import UserError

_EPSILON = re.compile(r"(.*_)?(eps|epsilon)")
_ROPE_BASE = re.compile(r"(.*_)?(rope_theta|rope_base|rotary_emb_base|rope_local_base_freq)")
_ROPE = ("rope_parameters", "rope_scaling")
_TOKEN = re.compile(r"(mask|eos|bos|pad)_token_id")


def check_config(config: Mapping[str, Any]) -> None:
    """Raises UserError naming a field whose value cannot be meant.

    Epsilons of norms must lie in [0, 1), bases of rotary embeddings above 1, other numbers of theirs be finite, and
    token ids be whole numbers from 0. Quantized weights are refused, too: what is measured here is about plain ones.
    """
    for name, value in config.items():
        if value is None:
            continue
        if _EPSILON.fullmatch(name) and not (_is_number(value) and 0 <= value < 1):
            raise _refused(name, value, "a number from 0 to 1")
        several = isinstance(value, list) and name == "eos_token_id"  # a text may end in several ways
        tokens = value if several else [value]
        if _TOKEN.fullmatch(name) and not all(map(_is_token, tokens)):
            raise _refused(name, value, "a token id, a whole number from 0")
    for path, name, value in _rope_fields(config):
        if _ROPE_BASE.fullmatch(name) and not (_is_number(value) and value > 1):
            raise _refused(path, value, "a number above 1")
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(path, value, "a finite number")
    method = config.get("quantization_config") or config.get("quantization")
    if method:
        called = method.get("quant_method") if isinstance(method, dict) else method
        raise UserError(
            f"The weights are quantized ({called or 'quantization_config'} in the config). SinkScope measures and "
            "prunes plain float weights: take the checkpoint it was made from."
        )


def _rope_fields(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Where, what and how much: bases at the top level, and every number of the rotary embeddings' own dicts."""
    for name, value in config.items():
        if _ROPE_BASE.fullmatch(name) and value is not None:
            yield name, name, value
    for outer in _ROPE:
        groups = config.get(outer)
        if not isinstance(groups, dict):
            continue
        for name, value in groups.items():
            # Models with windows have one dict a kind of layer.
            inner = value.items() if isinstance(value, dict) else [(name, value)]
            yield from ((f"{outer}.{inside}", inside, number) for inside, number in inner if number is not None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_token(value: Any) -> bool:
    # transformers writes −1 for a token that a model does not have.
    return isinstance(value, int) and not isinstance(value, bool) and value >= -1


def _refused(name: str, value: Any, expected: str) -> UserError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:59] + "…"
    return UserError(f"'{name}' of the config is {shown}; {expected} was expected. Correct its config.json.")
