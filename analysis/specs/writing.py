"""Fields common to all samplers."""

from typing import Any, Literal, Self

from pydantic import ValidationError

from analysis.specs.base import FAST_DLLM_SOURCE, Spec, parameter

Remasking = Literal["low-confidence", "random"]
"""Predictions that a step keeps, in samplers by LLaDA's rule."""

Cache = Literal["none", "prefix", "dual"]
"""Keys of a block's first forward that are kept while the block is written, in a model that sees all of its text."""

THRESHOLD = 0.9
"""The confidence threshold published with Fast-dLLM."""


def steps(meaning: str, source: str) -> Any:
    """Return the field of a sampler with a given number of steps."""
    return parameter(64, "Denoising steps", meaning, ge=1, le=4096, source=source)


def block_length(meaning: str, source: str) -> Any:
    """Return the field of a sampler of whole texts, which can also go block by block."""
    return parameter(None, "Block length", meaning, unit="tokens", empty="one block", ge=1, source=source)


def remasking(source: str) -> Any:
    """Return the field of a sampler that keeps the most confident predictions, or random ones."""
    return parameter(
        "low-confidence",
        "Remasking",
        "Which predictions are kept in a step: the most confident, or random ones. The rest stay [MASK].",
        source=source,
    )


def temperature() -> Any:
    """Return the field of a sampler that draws tokens by a temperature."""
    return parameter(
        0.0, "Temperature", "0 takes the likeliest token; higher values sample more freely.", ge=0, le=2, step=0.1
    )


def top_p() -> Any:
    """Return the field of a sampler that draws from the likeliest tokens up to a sum."""
    return parameter(
        None,
        "Top-p",
        "Keep only the smallest set of likeliest tokens whose probabilities reach this sum. Empty keeps all.",
        empty="all",
        gt=0,
        le=1,
        step=0.05,
    )


def top_k() -> Any:
    """Return the field of a sampler that draws from the k likeliest tokens."""
    return parameter(None, "Top-k", "Keep only this many likeliest tokens. Empty keeps all.", empty="all", ge=1)


def guidance(source: str) -> Any:
    """Return the field of a sampler with classifier-free guidance, as `source` has it."""
    return parameter(
        0.0,
        "Guidance scale",
        "Classifier-free guidance g: logits u + (g + 1)(c − u), c with the prompt and u with the prompt masked. "
        "0 switches it off; only the pass with the prompt is observed.",
        ge=0,
        le=10,
        step=0.5,
        source=source,
    )


def threshold(default: float | None, source: str, more: str = "") -> Any:
    """Return the field of a sampler that writes every confident prediction. more: additional help."""
    return parameter(
        default,
        "Confidence threshold",
        "A step writes every prediction at least this confident, or else the most confident one." + more,
        empty="none",
        ge=0,
        le=1,
        step=0.05,
        source=source,
    )


def cache() -> Any:
    """Return the field of a sampler of a model that sees all of its text, with the caches of Fast-dLLM."""
    return parameter(
        "none",
        "Cache",
        "Keys kept from the whole forward that opens each block. prefix: those before the block. dual: those behind "
        "it as well, so the block runs alone. Kept keys have seen the block as masks, so the text differs from the "
        "one without a cache. Only the attention of tokens that run is recorded.",
        source=FAST_DLLM_SOURCE,
    )


class Writing(Spec):
    """Fields of every sampler."""

    gen_length: int = parameter(
        64, "New tokens", "How many tokens are written after the prompt.", unit="tokens", ge=1, le=4096
    )

    @property
    def open_ended(self) -> bool:
        """True if the number of forwards depends on the text that is written."""
        return False

    @property
    def same_alone(self) -> bool:
        """True if a batch writes the same text as one sequence alone, in as many forwards: nothing is drawn at random,
        and no step depends on other sequences.
        """
        return False

    @property
    def keeps_keys(self) -> bool:
        """True if a forward reuses keys of an earlier one."""
        return False

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        """Return the fields for whole forwards that write every prediction at least this confident; for None, one token
        per forward, the most confident. Empty for a sampler without a threshold.
        """
        return {}

    def at_threshold(self, threshold: float | None) -> Self | None:
        """Return the same sampling by whole forwards that write every prediction at least this confident; None if the
        sampler has no threshold.
        """
        changes = self._by_confidence(threshold)
        return type(self).model_validate({**dict(self), **changes}) if changes else None

    def one_by_one(self) -> Self | None:
        """Return the same by whole forwards that each write one token, the most confident; None without a threshold."""
        return self.at_threshold(None)

    def in_blocks_of(self, trained: int | None) -> Self:
        """Return the same with the block length that the model was trained on, if it has one and none is chosen."""
        return self

    def of_length(self, length: int, steps: int) -> Self | None:
        """Return the same with so many new tokens, and so many steps if it has a number of them; None if it does not
        accept that.
        """
        changes = {"gen_length": length, "steps": steps} if "steps" in dict(self) else {"gen_length": length}
        try:
            return type(self).model_validate({**dict(self), **changes})
        except ValidationError:
            return None

    def length(self, prompt_length: int) -> int:
        """Return the maximum number of tokens of the whole text after a prompt of this length."""
        return prompt_length + self.gen_length


def linear_shares(count: int, steps: int) -> list[int]:
    """Split `count` tokens over the steps of a block: round(left / steps left), half to even, without zeros."""
    shares, left = [], count
    for step in range(steps, 0, -1):
        share = min(left, round(left / step))
        left -= share
        shares.append(share)
    return [share for share in shares if share]
