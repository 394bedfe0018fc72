"""Every parameter a user can set: range, default, unit, help text and source, in one place.

The pages draw widgets from these models, the command line draws flags from them, docs/parameters.md is written
from them, and a job carries one of them. Adding a parameter is one field here.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

LLADA_SOURCE = "LLaDA, arXiv 2502.09992"
DREAM_SOURCE = "Dream 7B, arXiv 2508.15487"
SINK_AWARE_SOURCE = "Sink-Aware Pruning, arXiv 2602.17664"


class Spec(BaseModel):
    """Immutable, and strict about names: an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parameter(
    default: Any,
    label: str,
    help: str,
    *,
    unit: str = "",
    source: str = "",
    step: float | None = None,
    empty: str = "",
    **bounds: Any,
) -> Any:
    """A field that knows how to be drawn: `label` and `help` for people, the rest for widgets.

    empty: what no value means, shown in the empty widget.
    """
    extra = {"unit": unit, "source": source, "step": step, "empty": empty}
    return Field(default, title=label, description=help, json_schema_extra=extra, **bounds)


def sentence(error: ValidationError) -> str:
    """One readable line for a validation error: which parameter, what is wrong with it."""
    lines = []
    for issue in error.errors():
        message = issue["msg"].removeprefix("Value error, ")
        name = ".".join(_label(str(part)) for part in issue["loc"] if part not in SAMPLINGS)
        lines.append(f"{name}: {message}" if name and issue["type"] != "value_error" else message)
    return "; ".join(lines)


def _label(name: str) -> str:
    """The label of the parameter with this field name, or the name itself."""
    specs = (ModelSpec, SinkParams, *SAMPLINGS.values(), *JOB_SPECS.values())
    return next((spec.model_fields[name].title or name for spec in specs if name in spec.model_fields), name)


# --- models -----------------------------------------------------------------------------------------------------


class ModelSpec(Spec):
    """Which checkpoint, and where and how precisely it runs."""

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


# --- sampling ---------------------------------------------------------------------------------------------------


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
        64, "Denoising steps", "Forward passes in all, shared equally among the blocks.", ge=1, le=4096,
        source=LLADA_SOURCE,
    )  # fmt: skip
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


class AutoregressiveSampling(Spec):
    """Plain left-to-right decoding, one token a step, a full forward every time."""

    sampler: Literal["autoregressive"] = "autoregressive"
    gen_length: int = _gen_length()
    temperature: float = _temperature()
    top_p: float | None = _top_p()
    top_k: int | None = _top_k()


SAMPLINGS: dict[str, type[Spec]] = {
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


# --- sinks ------------------------------------------------------------------------------------------------------


class SinkParams(Spec):
    """What counts as an attention sink. Each definition reads its own threshold."""

    definition: Literal["std", "mean-attention", "above-others"] = parameter(
        "std",
        "Sink definition",
        "std: attention mass above mean + k·std over the positions of a step. mean-attention: mean attention, over "
        "the queries that can see the token, above a level. above-others: mass above the mean of the others by ε.",
    )
    k: float = parameter(
        2.0,
        "k (standard deviations)",
        "A token is a sink when its attention mass lies more than k population standard deviations above the mean.",
        ge=0,
        le=6,
        step=0.1,
        source=SINK_AWARE_SOURCE,
    )
    attention_level: float = parameter(
        0.3,
        "Mean attention above",
        "A token is a sink when the queries that can see it pay it more than this share of their attention on average.",
        ge=0,
        le=1,
        step=0.05,
        source="Gu et al., arXiv 2410.10781",
    )
    epsilon: float = parameter(
        3.0,
        "ε above the others",
        "A token is a sink when its mass, averaged over the chosen heads, exceeds the mean of all other tokens by ε. "
        "Uniform attention gives every token a mass of 1.",
        ge=0,
        le=64,
        step=0.5,
        source="Rulli et al., arXiv 2510.15731",
    )


# --- jobs -------------------------------------------------------------------------------------------------------


class LoadSpec(Spec):
    """Load a model into the worker, where it stays until another is needed."""

    model: ModelSpec = ModelSpec()


class UnloadSpec(Spec):
    """Free the memory of the model the worker holds."""


class RecordSpec(Spec):
    """Denoise one prompt and record the attention mass of every step."""

    model: ModelSpec = ModelSpec()
    prompt: str = parameter(
        "",
        "Prompt",
        "The text the model continues. Write the model's mask token to let it fill a gap.",
        max_length=50_000,
    )
    chat_template: Literal["auto", "on", "off"] = parameter(
        "auto",
        "Chat template",
        "Wrap the prompt as a user's turn. auto does so for models named Instruct or Chat that have a template.",
    )
    sampling: Sampling = LLaDASampling()
    seed: int = parameter(0, "Seed", "Fixes every random choice of the sampler.", ge=0, le=2**31 - 1)
    mass_dtype: Literal["auto", "float16", "float32"] = parameter(
        "auto",
        "Stored precision",
        "Precision of the attention mass in the file. auto takes float32 up to 64 MiB and float16 above; "
        "the file names its error bound.",
    )


class AttentionMapSpec(Spec):
    """The full attention map of one head for one input."""

    model: ModelSpec = ModelSpec()
    tokens: tuple[int, ...] = parameter(..., "Tokens", "Input token ids of the step.", min_length=1, max_length=8192)
    layer: int = parameter(..., "Layer", "Counted from 0.", ge=0)
    head: int = parameter(..., "Head", "Counted from 0.", ge=0)


class ReferenceSpec(Spec):
    """The same inputs through a model of the same shape with random weights."""

    model: ModelSpec = ModelSpec()
    inputs: tuple[tuple[int, ...], ...] = parameter(..., "Inputs", "Token ids of each step.", min_length=1)
    prompt_length: int = parameter(..., "Prompt length", "Tokens of the prompt.", unit="tokens", ge=0)
    seed: int = parameter(0, "Seed", "Fixes the random weights.", ge=0, le=2**31 - 1)


class NoiseSpec(Spec):
    """Finished text noised forward, as calibration sees it, through the model."""

    model: ModelSpec = ModelSpec()
    tokens: tuple[int, ...] = parameter(..., "Tokens", "Token ids of the finished text.", min_length=1)
    prompt_length: int = parameter(..., "Prompt length", "Tokens of the prompt.", unit="tokens", ge=0)
    diffusion_steps: int = parameter(
        50, "Diffusion steps", "T of the noise schedule.", ge=1, le=1000, source=SINK_AWARE_SOURCE
    )
    step_interval: int = parameter(
        5, "Step interval", "Text is noised at every so many of the T steps.", ge=1, source=SINK_AWARE_SOURCE
    )
    noise_eps: float = parameter(
        1e-3, "Noise ε", "Tokens are masked with p = (1 − ε)·t/T + ε.", ge=0, lt=1, step=1e-3, source=SINK_AWARE_SOURCE
    )
    seed: int = parameter(0, "Seed", "Fixes which tokens are masked.", ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _interval_fits(self) -> "NoiseSpec":
        if self.step_interval > self.diffusion_steps:
            raise ValueError(
                f"The step interval ({self.step_interval}) must not exceed the steps ({self.diffusion_steps})."
            )
        return self


class AblateSpec(Spec):
    """Denoise a prompt again with attention to its sinks blocked, and with the controls."""

    model: ModelSpec = ModelSpec()
    prompt: tuple[int, ...] = parameter(..., "Prompt", "Token ids of the prompt.")
    sampling: Sampling = LLaDASampling()
    count: int = parameter(
        1, "Positions blocked", "How many of the strongest sinks no token may attend to, in every step.", ge=1, le=3
    )
    sinks: SinkParams = SinkParams()
    seed: int = parameter(0, "Seed", "Fixes the sampler and the random control.", ge=0, le=2**31 - 1)


JOB_SPECS: dict[str, type[Spec]] = {
    "load": LoadSpec,
    "unload": UnloadSpec,
    "record": RecordSpec,
    "attention_map": AttentionMapSpec,
    "reference": ReferenceSpec,
    "noise": NoiseSpec,
    "ablate": AblateSpec,
}
