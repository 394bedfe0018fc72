"""Samplers that write text: one class each, and the table of all of them."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from analysis.specs import writing
from analysis.specs.base import DLLM_SOURCE, DREAM_SOURCE, FAST_DLLM_SOURCE, LLADA_SOURCE, MDLM_SOURCE, Spec, parameter
from analysis.specs.block_sampling import (
    BD3LMSampling,
    DiffusionGemmaSampling,
    FastDLLMSampling,
    FirstHittingSampling,
    LLaDA2Sampling,
    NemotronSampling,
    SDARSampling,
)

_BY_BLOCKS = "New tokens ({}) must be a multiple of the block length ({})."
_SHARED = "Denoising steps ({}) must be a multiple of the number of blocks ({})."


class _WholeText(writing.Writing):
    """Properties of samplers of whole texts, which some also write block by block."""

    @property
    def block(self) -> int:
        """Tokens per block."""
        return getattr(self, "block_length", None) or self.gen_length

    @property
    def open_ended(self) -> bool:
        """True if the number of forwards depends on the text that is written."""
        return getattr(self, "threshold", None) is not None

    @property
    def keeps_keys(self) -> bool:
        """True if a forward reuses keys of an earlier one."""
        return getattr(self, "cache", "none") != "none"


class LLaDASampling(_WholeText):
    """LLaDA's sampler: each step uncovers a fixed number of tokens, block by block; with a threshold or a factor
    (Fast-dLLM), all tokens confident enough.
    """

    sampler: Literal["llada"] = "llada"
    steps: int = writing.steps("Forward passes in all, shared equally among the blocks.", LLADA_SOURCE)
    block_length: int | None = writing.block_length(
        "Blocks are denoised from left to right; inside a block any position may be uncovered. Empty: one block.",
        LLADA_SOURCE,
    )
    temperature: float = writing.temperature()
    cfg: float = writing.guidance(LLADA_SOURCE)
    remasking: writing.Remasking = writing.remasking(LLADA_SOURCE)
    threshold: float | None = writing.threshold(None, FAST_DLLM_SOURCE, " The number of steps is then ignored.")
    factor: float | None = parameter(
        None,
        "Factor",
        "A step writes the n most confident predictions as long as the n-th is at least 1 − factor / (n + 1). Replaces "
        "the threshold; the number of steps is ignored.",
        empty="none",
        gt=0,
        le=16,
        step=0.1,
        source=FAST_DLLM_SOURCE,
    )
    cache: writing.Cache = writing.cache()

    @model_validator(mode="after")
    def _blocks_fit(self) -> "LLaDASampling":
        if self.gen_length % self.block:
            raise ValueError(_BY_BLOCKS.format(self.gen_length, self.block))
        blocks = self.gen_length // self.block
        if not self.open_ended and self.steps % blocks:
            raise ValueError(_SHARED.format(self.steps, blocks))
        if self.threshold is not None and self.factor is not None:
            raise ValueError("A step uses a confidence threshold or a factor, not both. Leave one of them empty.")
        if self.open_ended and self.remasking == "random":
            raise ValueError("A confidence threshold or a factor needs the remasking 'low-confidence'.")
        return self

    @property
    def open_ended(self) -> bool:
        """True if the number of forwards depends on the text that is written."""
        return super().open_ended or self.factor is not None

    @property
    def same_alone(self) -> bool:
        """True if a batch writes the same text as one sequence alone, in as many forwards."""
        return self.temperature == 0 and self.remasking == "low-confidence" and not self.open_ended

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        usual = {"steps": self.gen_length, "factor": None, "cache": "none", "remasking": "low-confidence"}
        return {**usual, "threshold": threshold}

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes until nothing is left to decide, at most. open_before: [MASK] tokens in the prompt, which the
        first block fills too. A model that writes [MASK] itself takes more, up to `steps`.
        """
        if self.open_ended:
            return self.gen_length + open_before
        block, blocks = self.block, self.gen_length // self.block
        each = self.steps // blocks
        return min(each, block + open_before) + (blocks - 1) * min(each, block)


class DreamSampling(_WholeText):
    """Dream's sampler: the number of tokens unmasked follows a noise schedule from 1 to eps; with a threshold
    (Fast-dLLM) every token that is confident enough is unmasked instead.
    """

    sampler: Literal["dream"] = "dream"
    steps: int = writing.steps("Forward passes in all.", DREAM_SOURCE)
    temperature: float = writing.temperature()
    top_p: float | None = writing.top_p()
    top_k: int | None = writing.top_k()
    alg: Literal["origin", "maskgit_plus", "topk_margin", "entropy"] = parameter(
        "entropy",
        "Remasking",
        "Which predictions are kept in a step: random ones (origin), or those with the highest probability "
        "(maskgit_plus), the widest margin over the runner-up (topk_margin) or the lowest entropy (entropy).",
        source=DREAM_SOURCE,
    )
    alg_temp: float = parameter(
        0.0,
        "Remasking temperature",
        "0 keeps the best predictions; above 0 the kept positions are drawn at random, favouring good ones.",
        ge=0,
        le=10,
        step=0.1,
        source=DREAM_SOURCE,
    )
    eps: float = parameter(
        1e-3, "Last noise level", "Where the noise schedule ends.", gt=0, lt=1, step=1e-3, source=DREAM_SOURCE
    )
    threshold: float | None = writing.threshold(
        None,
        FAST_DLLM_SOURCE,
        " Without a cache a step writes at most its even share of the text; with a cache the number of steps is "
        "ignored.",
    )
    cache: writing.Cache = writing.cache()
    block_length: int | None = writing.block_length(
        "With a cache the text is written in blocks from left to right; the forward that opens one writes its first "
        "token alone. Empty: one block.",
        FAST_DLLM_SOURCE,
    )

    @model_validator(mode="after")
    def _blocks_fit(self) -> "DreamSampling":
        if not self.keeps_keys:
            return self
        if self.gen_length % self.block:
            raise ValueError(_BY_BLOCKS.format(self.gen_length, self.block))
        if self.threshold is not None:
            return self
        if self.alg != "entropy":
            raise ValueError("Under a cache Dream ranks by entropy. Set the remasking to 'entropy', or a threshold.")
        blocks = self.gen_length // self.block
        if self.steps % blocks:
            raise ValueError(_SHARED.format(self.steps, blocks))
        if self.block > 1 and self.steps // blocks < 2:
            raise ValueError(
                f"Under a cache each of the {blocks} blocks takes at least 2 steps: one opens it. Ask for "
                f"{2 * blocks} or more."
            )
        return self

    @property
    def same_alone(self) -> bool:
        """True if a batch writes the same text as one sequence alone, in as many forwards."""
        return self.temperature == 0 and self.alg != "origin" and self.alg_temp == 0 and not self.open_ended

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        usual = {"cache": "none", "block_length": None, "alg": "entropy", "alg_temp": 0.0}
        if threshold is None:
            return {**usual, "threshold": 1.0, "steps": self.gen_length}
        return {**usual, "threshold": threshold, "steps": 1}  # the even share of one step is all of the text

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes that decide something, at most. open_before: [MASK] tokens in the prompt, filled as well. A
        model that writes [MASK] itself takes more, up to `steps`.
        """
        if self.open_ended:
            return self.gen_length + open_before
        if self.keeps_keys:
            blocks = self.gen_length // self.block
            return blocks * min(self.steps // blocks, self.block)
        return min(self.steps, self.gen_length + open_before)


class DLLMSampling(_WholeText):
    """The dLLM project's sampler of whole texts: LLaDA's rule, with a linear schedule for each block."""

    sampler: Literal["dllm"] = "dllm"
    steps: int = writing.steps(
        "Shared out among the blocks, rounded up. A step in which the schedule writes nothing takes no forward pass.",
        DLLM_SOURCE,
    )
    block_length: int | None = writing.block_length(
        "Blocks are denoised from left to right; the last may be short. Empty: one block.", DLLM_SOURCE
    )
    temperature: float = writing.temperature()
    cfg: float = writing.guidance(DLLM_SOURCE)
    remasking: writing.Remasking = writing.remasking(DLLM_SOURCE)
    threshold: float | None = writing.threshold(None, FAST_DLLM_SOURCE, " The number of steps is then ignored.")

    @model_validator(mode="after")
    def _threshold_ranks(self) -> "DLLMSampling":
        if self.threshold is not None and self.remasking == "random":
            raise ValueError("A confidence threshold needs the remasking 'low-confidence'.")
        return self

    @property
    def same_alone(self) -> bool:
        """True if a batch writes the same text as one sequence alone, in as many forwards."""
        return self.temperature == 0 and self.remasking == "low-confidence" and not self.open_ended

    def _by_confidence(self, threshold: float | None) -> dict[str, Any]:
        steps = min(4096, self.blocks()[0] * len(self.blocks()))
        return {"steps": steps, "remasking": "low-confidence", "threshold": threshold}

    def blocks(self) -> list[int]:
        """Tokens of each block."""
        return [min(self.block, self.gen_length - start) for start in range(0, self.gen_length, self.block)]

    @property
    def steps_per_block(self) -> int:
        """Maximum number of steps per block."""
        return -(-self.steps // len(self.blocks()))

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes until nothing is left to decide. open_before: [MASK] tokens in the prompt, which the first
        block fills too.
        """
        if self.open_ended:
            return self.gen_length + open_before
        first, *others = self.blocks()
        return sum(len(writing.linear_shares(count, self.steps_per_block)) for count in (first + open_before, *others))


class MDLMSampling(writing.Writing):
    """MDLM's sampler: every step each [MASK] is written by chance, and its token is drawn."""

    sampler: Literal["mdlm"] = "mdlm"
    steps: int = writing.steps(
        "Steps of time. In each a [MASK] is written with a chance that grows towards the end. A step after one in "
        "which nothing was written takes no forward pass.",
        MDLM_SOURCE,
    )
    updates: Literal["ddpm-cache", "ddpm", "analytic"] = parameter(
        "ddpm-cache",
        "Updates",
        "Which [MASK] tokens a step writes: random ones, at a rate set by time alone (ddpm-cache, and ddpm with the "
        "noise schedule of training), or by the score of the model's prediction (analytic).",
        source=MDLM_SOURCE,
    )
    eps: float = parameter(1e-5, "Last noise level", "Where time ends.", gt=0, lt=1, step=1e-5, source=MDLM_SOURCE)

    @property
    def open_ended(self) -> bool:
        """True if the number of forwards depends on the text that is written."""
        return True

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, at most: one for each step that can write something, and one for what is left. open_before:
        [MASK] tokens in the prompt, filled as well.
        """
        return min(self.steps + 1, self.gen_length + open_before)


class AutoregressiveSampling(writing.Writing):
    """Plain left-to-right decoding, one token and one full forward per step."""

    sampler: Literal["autoregressive"] = "autoregressive"
    temperature: float = writing.temperature()
    top_p: float | None = writing.top_p()
    top_k: int | None = writing.top_k()

    @property
    def same_alone(self) -> bool:
        """True if a batch writes the same text as one sequence alone, in as many forwards."""
        return self.temperature == 0

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, one a new token; fewer where the text ends before."""
        return self.gen_length


AnySampling = (
    LLaDASampling
    | DreamSampling
    | DLLMSampling
    | MDLMSampling
    | AutoregressiveSampling
    | SDARSampling
    | BD3LMSampling
    | FirstHittingSampling
    | FastDLLMSampling
    | LLaDA2Sampling
    | DiffusionGemmaSampling
    | NemotronSampling
)
SAMPLINGS: dict[str, type[AnySampling]] = {kind.model_fields["sampler"].default: kind for kind in get_args(AnySampling)}
Sampling = Annotated[AnySampling, Field(discriminator="sampler")]


class Replay(Spec):
    """Not a sampler: forwards over inputs that were there already.

    inputs: those of a recording, or its finished text noised as calibration does. weights: the model's own, or random
    with equally sharp attention.
    """

    sampler: Literal["replay"] = "replay"
    inputs: Literal["recording", "noised"]
    weights: Literal["own", "matched"]
