"""Samplers that write block by block, each block finished before the next begins."""

from math import ceil
from typing import Any, Literal, Self

from pydantic import model_validator

from analysis.specs import writing
from analysis.specs.base import (
    BD3LM_OWT_SOURCE,
    BD3LM_SOURCE,
    DIFFUSION_GEMMA_SOURCE,
    FAST_DLLM_V2_SOURCE,
    LLADA2_SOURCE,
    NEMOTRON_SOURCE,
    SDAR_SOURCE,
    parameter,
)

USUAL_BLOCK = 32
"""Tokens of a block where only the model knows them, which most families are trained on."""


class BlockWriting(writing.Writing):
    """Fields of samplers that write block by block, each finished before the next begins."""

    block_length: int | None = parameter(
        None,
        "Block length",
        "Blocks are written from left to right; inside a block any position may be decided. Empty: as the model was "
        "trained.",
        unit="tokens",
        empty="as trained",
        ge=1,
        le=1024,
    )

    @property
    def block(self) -> int:
        """Tokens a block, the usual number where the model's own is not filled in."""
        return self.block_length or USUAL_BLOCK

    @property
    def block_count(self) -> int:
        """Blocks that the new tokens fill, the last one perhaps in part."""
        return ceil(self.gen_length / self.block)

    def in_blocks_of(self, trained: int | None) -> Self:
        """The same with the block length that the model was trained on, where none is chosen."""
        return self.model_copy(update={"block_length": self.block_length or trained})

    @property
    def keeps_keys(self) -> bool:
        """True if a forward reuses keys of an earlier one."""
        return bool(getattr(self, "cached", False))

    def length(self, prompt_length: int) -> int:
        """Tokens of the whole text: as many whole blocks after the prompt as hold the new tokens."""
        return prompt_length + self.block_count * self.block

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, at most, where the prompt ends on a block's border; another border can take some more."""
        return self.block_count * self.block


def _steps_per_block(source: str) -> Any:
    return parameter(
        None,
        "Steps per block",
        "Forward passes per block, which share its tokens. Empty: one per token.",
        empty="one per token",
        ge=1,
        le=1024,
        source=source,
    )


def _cached(source: str) -> Any:
    return parameter(
        False,
        "Cached decoding",
        "Run the finished text once, keep its keys, and run only the open block in each step: the same text, "
        "faster. Only the open block's attention is recorded.",
        source=source,
    )


class BlocksFromStart(BlockWriting):
    """A sampler whose blocks are counted from the beginning of the text."""

    def length(self, prompt_length: int) -> int:
        """Tokens of the whole text: blocks are counted from its beginning, and the last one is whole."""
        return ceil((prompt_length + self.gen_length) / self.block) * self.block


class SDARSampling(BlocksFromStart):
    """SDAR's sampler: each step of a block writes a fixed number of tokens, or all above a confidence threshold."""

    sampler: Literal["sdar"] = "sdar"
    steps_per_block: int | None = _steps_per_block(SDAR_SOURCE)
    strategy: Literal["low-confidence-dynamic", "low-confidence-static", "sequential"] = parameter(
        "low-confidence-dynamic",
        "Strategy",
        "Which predictions a step writes: all above the threshold, but at least the step's number of most confident "
        "ones (low-confidence-dynamic); always that number (low-confidence-static); or the leftmost (sequential).",
        source=SDAR_SOURCE,
    )
    threshold: float = writing.threshold(0.85, SDAR_SOURCE)
    temperature: float = writing.temperature()
    top_p: float | None = writing.top_p()
    top_k: int | None = writing.top_k()
    cached: bool = _cached(SDAR_SOURCE)

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        sure = (1.0, "low-confidence-static") if threshold is None else (threshold, "low-confidence-dynamic")
        return {"threshold": sure[0], "strategy": sure[1], "steps_per_block": None, "cached": False}

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, at most, where the prompt ends on a block's border; another border can take some more."""
        return self.block_count * min(self.steps_per_block or self.block, self.block)


class BD3LMSampling(BlockWriting):
    """The sampler of block diffusion (BD3LM): each step of a block writes the most confident share of its tokens."""

    sampler: Literal["bd3lm"] = "bd3lm"
    steps_per_block: int | None = _steps_per_block(BD3LM_SOURCE)
    temperature: float = writing.temperature()
    cfg: float = writing.guidance(BD3LM_SOURCE)
    cached: bool = _cached(BD3LM_SOURCE)

    def length(self, prompt_length: int) -> int:
        """Tokens of the whole text; the last block may be short."""
        return prompt_length + self.gen_length

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, fewer where the text ends before."""
        steps = self.steps_per_block or self.block
        whole, rest = divmod(self.gen_length, self.block)
        return whole * min(steps, self.block) + min(steps, rest)


class FirstHittingSampling(BlocksFromStart):
    """The sampler published with BD3LM: a forward writes one token, at a place picked at random in the open block."""

    sampler: Literal["first-hitting"] = "first-hitting"
    first_hitting: bool = parameter(
        True,
        "First hitting",
        "Every forward writes exactly one token, at a random place. Off: each [MASK] is written by chance, in steps of "
        "time.",
        source=BD3LM_OWT_SOURCE,
    )
    steps_per_block: int | None = parameter(
        None,
        "Steps per block",
        "Steps of time for each block, where first hitting is off. Empty: one per token.",
        empty="one per token",
        ge=2,
        le=1024,
        source=BD3LM_OWT_SOURCE,
    )
    top_p: float | None = parameter(
        None,
        "Top-p",
        "Keep the likeliest tokens up to this sum of probabilities, without the one that crosses it. Empty keeps all.",
        empty="all",
        gt=0,
        le=1,
        step=0.05,
        source=BD3LM_OWT_SOURCE,
    )
    cached: bool = _cached(BD3LM_OWT_SOURCE)


class FastDLLMSampling(BlockWriting):
    """Fast-dLLM v2's sampler: a block's first token is the likeliest after the text so far; then small blocks, from
    left to right, each step writing all tokens above a confidence threshold.
    """

    sampler: Literal["fast-dllm-v2"] = "fast-dllm-v2"
    small_block_length: int = parameter(
        8,
        "Small block length",
        "Tokens per part of a block; parts are finished from left to right.",
        unit="tokens",
        ge=1,
        le=1024,
        source=FAST_DLLM_V2_SOURCE,
    )
    threshold: float = writing.threshold(0.9, FAST_DLLM_V2_SOURCE)
    cached: bool = _cached(FAST_DLLM_V2_SOURCE)

    @model_validator(mode="after")
    def _parts_fit(self) -> "FastDLLMSampling":
        if self.block_length is not None and self.block_length % self.small_block_length:
            raise ValueError(
                f"The block length ({self.block_length}) must be a multiple of the small block length "
                f"({self.small_block_length})."
            )
        return self

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        return {"threshold": 1.0 if threshold is None else threshold, "cached": False}

    def length(self, prompt_length: int) -> int:
        """Tokens of the whole text: as many blocks as the new tokens fill, and one token more.

        Blocks are counted from the text's beginning, so that the first of them may have begun in the prompt.
        """
        return (prompt_length // self.block + self.block_count) * self.block + 1

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, at most: one a token."""
        return self.block_count * self.block + 1


class LLaDA2Sampling(BlocksFromStart):
    """LLaDA2's sampler: each step of a block writes a fixed number of tokens, or all above a confidence threshold.
    LLaDA2.1 also edits: it replaces tokens of the open block while the model is more confident of others.
    """

    sampler: Literal["llada2"] = "llada2"
    steps_per_block: int | None = _steps_per_block(LLADA2_SOURCE)
    threshold: float = writing.threshold(0.95, LLADA2_SOURCE)
    editing_threshold: float | None = parameter(
        None,
        "Editing threshold",
        "Replace a token of the open block when another is likelier and at least this probable, until nothing "
        "changes. LLaDA2.1 is published with 0.5 and a confidence threshold of 0.7. Empty: tokens are written once, "
        "as in LLaDA2.0.",
        empty="no editing",
        ge=0,
        le=1,
        step=0.05,
        source=LLADA2_SOURCE,
    )
    editing_steps: int = parameter(
        16, "Editing steps", "Most steps that only edit, once a block is full.", ge=0, le=1024, source=LLADA2_SOURCE
    )
    stop: Literal["after-block", "at-once", "never"] = parameter(
        "after-block",
        "Stop at an end token",
        "After the block that holds one (after-block), as soon as nothing before it is undecided (at-once), or not at "
        "all (never).",
        source=LLADA2_SOURCE,
    )
    temperature: float = writing.temperature()
    top_p: float | None = writing.top_p()
    top_k: int | None = writing.top_k()

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        sure = 1.0 if threshold is None else threshold
        return {"threshold": sure, "steps_per_block": None, "editing_threshold": None}

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, at most, where the prompt ends on a block's border; another border can take some more."""
        editing = 0 if self.editing_threshold is None else self.editing_steps
        return self.block_count * (min(self.steps_per_block or self.block, self.block) + editing)


class DiffusionGemmaSampling(BlockWriting):
    """DiffusionGemma's sampler: a canvas of random tokens is drawn anew in every step where the model is not sure,
    until it is stable; its likeliest tokens are then the text, and the next canvas begins.
    """

    sampler: Literal["diffusion-gemma"] = "diffusion-gemma"
    steps_per_canvas: int = parameter(
        48,
        "Steps per canvas",
        "Forward passes for each canvas, at most; a canvas that is stable and sure ends before.",
        ge=1,
        le=1024,
        source=DIFFUSION_GEMMA_SOURCE,
    )
    entropy_bound: float = parameter(
        0.1,
        "Entropy bound",
        "A step accepts the most confident tokens whose entropies, without the largest, sum to at most this. Others "
        "become random again.",
        unit="nats",
        ge=0,
        le=100,
        step=0.05,
        source=DIFFUSION_GEMMA_SOURCE,
    )
    temperature_start: float = parameter(
        0.8,
        "First temperature",
        "Temperature of a canvas's first step.",
        gt=0,
        le=2,
        step=0.1,
        source=DIFFUSION_GEMMA_SOURCE,
    )
    temperature_end: float = parameter(
        0.4,
        "Last temperature",
        "What the temperature falls to, linearly.",
        gt=0,
        le=2,
        step=0.1,
        source=DIFFUSION_GEMMA_SOURCE,
    )
    stable_steps: int = parameter(
        1,
        "Stable steps",
        "A canvas may end once its likeliest tokens have been the same for this many steps.",
        ge=0,
        le=64,
        source=DIFFUSION_GEMMA_SOURCE,
    )
    sure_entropy: float = parameter(
        0.005,
        "Sure below an entropy of",
        "And once the mean entropy over the canvas is below this.",
        unit="nats",
        ge=0,
        le=100,
        source=DIFFUSION_GEMMA_SOURCE,
    )

    @property
    def keeps_keys(self) -> bool:
        """True: a canvas is denoised beside the keys of what was read before it."""
        return True

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes of the decoder, at most."""
        return self.block_count * self.steps_per_canvas


class NemotronSampling(BlockWriting):
    """Nemotron-Labs-Diffusion's sampler: a block's first token is the likeliest after the text so far, and the rest is
    shared among its steps, or written where it is above a confidence threshold.
    """

    sampler: Literal["nemotron"] = "nemotron"
    steps_per_block: int | None = _steps_per_block(NEMOTRON_SOURCE)
    threshold: float | None = writing.threshold(None, NEMOTRON_SOURCE)
    cached: bool = _cached(NEMOTRON_SOURCE)

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        return {"threshold": threshold, "steps_per_block": None, "cached": False}

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, at most: the first token's, and those of the rest."""
        return self.block_count * (1 + min(self.steps_per_block or self.block, self.block - 1))
