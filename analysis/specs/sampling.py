"""How text is written: one class a sampler, and the table of all of them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from analysis.specs import writing
from analysis.specs.base import DREAM_SOURCE, LLADA_SOURCE, MDLM_SOURCE, Spec, parameter
from analysis.specs.block_sampling import (
    BD3LMSampling,
    DiffusionGemmaSampling,
    FastDLLMSampling,
    FirstHittingSampling,
    LLaDA2Sampling,
    NemotronSampling,
    SDARSampling,
)


class LLaDASampling(writing.Writing):
    """LLaDA's sampler: a fixed number of tokens is uncovered in every step, block by block."""

    sampler: Literal["llada"] = "llada"
    steps: int = parameter(
        64,
        "Denoising steps",
        "Forward passes in all, shared equally among the blocks.",
        ge=1,
        le=4096,
        source=LLADA_SOURCE,
    )
    block_length: int | None = parameter(
        None,
        "Block length",
        "Blocks are denoised from left to right; inside a block any position may be uncovered. Empty: one block.",
        unit="tokens",
        empty="one block",
        ge=1,
        source=LLADA_SOURCE,
    )
    temperature: float = writing.temperature()
    cfg: float = writing.guidance(LLADA_SOURCE)
    remasking: Literal["low-confidence", "random"] = parameter(
        "low-confidence",
        "Remasking",
        "Which predictions are kept in a step: those the model is surest of, or random ones. The rest stay [MASK].",
        source=LLADA_SOURCE,
    )

    @model_validator(mode="after")
    def _blocks_fit(self) -> "LLaDASampling":
        block = self.block_length or self.gen_length
        if self.gen_length % block:
            raise ValueError(f"New tokens ({self.gen_length}) must be a multiple of the block length ({block}).")
        blocks = self.gen_length // block
        if self.steps % blocks:
            raise ValueError(f"Denoising steps ({self.steps}) must be a multiple of the number of blocks ({blocks}).")
        return self

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes until nothing is left to decide. open_before: [MASK] tokens in the prompt, which the first
        block fills too. A model that writes [MASK] itself takes more, up to `steps`.
        """
        block = self.block_length or self.gen_length
        blocks = self.gen_length // block
        each = self.steps // blocks
        return min(each, block + open_before) + (blocks - 1) * min(each, block)


class DreamSampling(writing.Writing):
    """Dream's sampler: the number of tokens uncovered follows a noise schedule from 1 to eps."""

    sampler: Literal["dream"] = "dream"
    steps: int = parameter(64, "Denoising steps", "Forward passes in all.", ge=1, le=4096, source=DREAM_SOURCE)
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

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes that decide something, at most. open_before: [MASK] tokens in the prompt, filled as well. A
        model that writes [MASK] itself takes more, up to `steps`.
        """
        return min(self.steps, self.gen_length + open_before)


class MDLMSampling(writing.Writing):
    """MDLM's sampler: every step each [MASK] is written by chance, and its token is drawn."""

    sampler: Literal["mdlm"] = "mdlm"
    steps: int = parameter(
        64,
        "Denoising steps",
        "Steps of time. In each a [MASK] is written with a chance that grows towards the end. A step after one in "
        "which nothing was written takes no forward pass.",
        ge=1,
        le=4096,
        source=MDLM_SOURCE,
    )
    updates: Literal["ddpm-cache", "ddpm", "analytic"] = parameter(
        "ddpm-cache",
        "Updates",
        "Which [MASK] tokens a step writes: any, by a chance that time alone decides (ddpm-cache, and ddpm with the "
        "noise schedule of training), or by the score of the model's prediction (analytic).",
        source=MDLM_SOURCE,
    )
    eps: float = parameter(1e-5, "Last noise level", "Where time ends.", gt=0, lt=1, step=1e-5, source=MDLM_SOURCE)

    @property
    def by_chance(self) -> bool:
        """Whether chance decides how many forwards a text takes."""
        return True

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, at most: one for each step that can write something, and one for what is left. open_before:
        [MASK] tokens in the prompt, filled as well.
        """
        return min(self.steps + 1, self.gen_length + open_before)


class AutoregressiveSampling(writing.Writing):
    """Plain left-to-right decoding, one token a step, a full forward every time."""

    sampler: Literal["autoregressive"] = "autoregressive"
    temperature: float = writing.temperature()
    top_p: float | None = writing.top_p()
    top_k: int | None = writing.top_k()

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, one a new token; fewer where the text ends before."""
        return self.gen_length


AnySampling = (
    LLaDASampling
    | DreamSampling
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
SAMPLINGS: dict[str, type[AnySampling]] = {
    "llada": LLaDASampling,
    "dream": DreamSampling,
    "mdlm": MDLMSampling,
    "autoregressive": AutoregressiveSampling,
    "sdar": SDARSampling,
    "bd3lm": BD3LMSampling,
    "first-hitting": FirstHittingSampling,
    "fast-dllm-v2": FastDLLMSampling,
    "llada2": LLaDA2Sampling,
    "diffusion-gemma": DiffusionGemmaSampling,
    "nemotron": NemotronSampling,
}
Sampling = Annotated[AnySampling, Field(discriminator="sampler")]


class Replay(Spec):
    """Not a sampler: forwards over inputs that were there already.

    inputs: those of a recording, or its finished text noised as calibration does. weights: the model's own or random.
    """

    sampler: Literal["replay"] = "replay"
    inputs: Literal["recording", "noised"]
    weights: Literal["own", "random"]
