"""What samplers of every kind have in common."""

from typing import Any, Self

from analysis.specs.base import Spec, parameter


def temperature() -> Any:
    """The field of a sampler that draws tokens by a temperature."""
    return parameter(
        0.0, "Temperature", "0 takes the likeliest token; higher values sample more freely.", ge=0, le=2, step=0.1
    )


def top_p() -> Any:
    """The field of a sampler that draws from the likeliest tokens up to a sum."""
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
    """The field of a sampler that draws from so many likeliest tokens."""
    return parameter(None, "Top-k", "Keep only this many likeliest tokens. Empty keeps all.", empty="all", ge=1)


def guidance(source: str) -> Any:
    """The field of a sampler with classifier-free guidance, as `source` has it."""
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


class Writing(Spec):
    """What every sampler has."""

    gen_length: int = parameter(
        64, "New tokens", "How many tokens are written after the prompt.", unit="tokens", ge=1, le=4096
    )

    @property
    def by_chance(self) -> bool:
        """Whether chance decides how many forwards a text takes."""
        return False

    def in_blocks_of(self, trained: int | None) -> Self:
        """The same with the block length that the model was trained on, where it has one and none is chosen."""
        return self

    def length(self, prompt_length: int) -> int:
        """Tokens of the whole text, at most, after a prompt of so many."""
        return prompt_length + self.gen_length
