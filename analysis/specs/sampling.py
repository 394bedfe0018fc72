"""How text is written: one class a sampler."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from analysis.specs.base import DREAM_SOURCE, LLADA_SOURCE, Spec, parameter


def _gen_length() -> Any:
    return parameter(64, "New tokens", "How many tokens are written after the prompt.", unit="tokens", ge=1, le=4096)


def _temperature() -> Any:
    return parameter(
        0.0, "Temperature", "0 takes the likeliest token; higher values sample more freely.", ge=0, le=2, step=0.1
    )


def _top_p() -> Any:
    return parameter(
        None,
        "Top-p",
        "Keep only the smallest set of likeliest tokens whose probabilities reach this sum. Empty keeps all.",
        empty="all",
        gt=0,
        le=1,
        step=0.05,
    )


def _top_k() -> Any:
    return parameter(None, "Top-k", "Keep only this many likeliest tokens. Empty keeps all.", empty="all", ge=1)


class LLaDASampling(Spec):
    """LLaDA's sampler: a fixed number of tokens is uncovered in every step, block by block."""

    sampler: Literal["llada"] = "llada"
    gen_length: int = _gen_length()
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
    temperature: float = _temperature()
    cfg: float = parameter(
        0.0,
        "Guidance scale",
        "Classifier-free guidance g: logits u + (g + 1)(c − u), c with the prompt and u with the prompt masked. "
        "0 switches it off; only the pass with the prompt is observed.",
        ge=0,
        le=10,
        step=0.5,
        source=LLADA_SOURCE,
    )
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


class DreamSampling(Spec):
    """Dream's sampler: the number of tokens uncovered follows a noise schedule from 1 to eps."""

    sampler: Literal["dream"] = "dream"
    gen_length: int = _gen_length()
    steps: int = parameter(64, "Denoising steps", "Forward passes in all.", ge=1, le=4096, source=DREAM_SOURCE)
    temperature: float = _temperature()
    top_p: float | None = _top_p()
    top_k: int | None = _top_k()
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


class AutoregressiveSampling(Spec):
    """Plain left-to-right decoding, one token a step, a full forward every time."""

    sampler: Literal["autoregressive"] = "autoregressive"
    gen_length: int = _gen_length()
    temperature: float = _temperature()
    top_p: float | None = _top_p()
    top_k: int | None = _top_k()

    def forwards(self, open_before: int = 0) -> int:
        """Forward passes, one a new token; fewer where the text ends before."""
        return self.gen_length


SAMPLINGS: dict[str, type[LLaDASampling | DreamSampling | AutoregressiveSampling]] = {
    "llada": LLaDASampling,
    "dream": DreamSampling,
    "autoregressive": AutoregressiveSampling,
}
Sampling = Annotated[LLaDASampling | DreamSampling | AutoregressiveSampling, Field(discriminator="sampler")]


class Replay(Spec):
    """Not a sampler: forwards over inputs that were there already.

    inputs: those of a recording, or its finished text noised as calibration does. weights: the model's own or random.
    """

    sampler: Literal["replay"] = "replay"
    inputs: Literal["recording", "noised"]
    weights: Literal["own", "random"]
