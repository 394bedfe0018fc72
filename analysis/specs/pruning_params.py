"""Inputs of a pruning and their weights and storage: calibration text, discount of sinks, noise steps, bits."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from analysis.specs.base import SINK_AWARE_SOURCE, OneOf, PathText, Spec, interval_fits, parameter, random_seed
from analysis.specs.pruning_choices import NOISES, QUANTIZERS

GPTQ_SOURCE = "GPTQ, arXiv 2210.17323"
AS_STORED = 16  # bits that mean no quantization


class CalibrationParams(Spec):
    """The text a method looks at, and how it is noised."""

    data: PathText = parameter(
        "bundled",
        "Calibration text",
        "bundled: text of the bundled grammar. wikitext2, c4: fetched from the hub. Or a .txt file, or a .jsonl file "
        "with `text` or `input_ids` on each line.",
        min_length=1,
    )
    samples: int = parameter(
        128,
        "Samples",
        "Number of sequences cut from the text.",
        unit="sequences",
        ge=1,
        le=4096,
        source=SINK_AWARE_SOURCE,
    )
    seq_len: int = parameter(
        2048,
        "Sequence length",
        "Tokens of each sequence; capped at what the model takes.",
        unit="tokens",
        ge=8,
        le=32768,
    )
    diffusion_steps: int = parameter(
        50, "Diffusion steps", "T of the noise schedule.", ge=1, le=1000, source=SINK_AWARE_SOURCE
    )
    step_interval: int = parameter(
        5, "Step interval", "Text is noised at every n-th of the T steps.", ge=1, source=SINK_AWARE_SOURCE
    )
    noise: Annotated[str, OneOf(NOISES)] = parameter(
        "steps", "Noise", "Which tokens are masked at each step.", source=SINK_AWARE_SOURCE
    )
    noise_eps: float = parameter(
        1e-3,
        "Noise ε",
        "The smallest share of tokens that is masked: ε in p.",
        ge=0,
        lt=1,
        step=1e-3,
        source=SINK_AWARE_SOURCE,
    )
    seed: int = random_seed("Fixes which text is taken and which tokens are masked.", "Calibration seed")

    _interval_fits = model_validator(mode="after")(interval_fits)


CALIBRATION_PRESETS: dict[str, CalibrationParams] = {
    "published, LLaDA": CalibrationParams(data="wikitext2", samples=128, seq_len=4096),
    "published, Dream": CalibrationParams(data="wikitext2", samples=128, seq_len=4096, noise="uniform"),
}
"""Calibrations of the authors' scripts, which give each model as many tokens as it takes."""


class DiscountParams(Spec):
    """The weight of a token: ω = 1 − λ·φ, φ = sigmoid(α·(M − (mean + k·std))) of its attention mass M."""

    sink_std: float = parameter(
        2.0,
        "k (standard deviations)",
        "φ is one half where a token's mass lies k population standard deviations above the mean of its step.",
        ge=0,
        le=6,
        step=0.1,
        source=SINK_AWARE_SOURCE,
    )
    sink_alpha: float = parameter(
        5.0,
        "α (sharpness)",
        "How steeply φ rises around the threshold. The mass is large, so α = 5 in its own units is almost a step.",
        gt=0,
        le=50,
        step=0.5,
        source=SINK_AWARE_SOURCE,
    )
    alpha_unit: Literal["raw", "std"] = parameter(
        "raw",
        "α counts in",
        "raw: units of the attention mass, as published. std: standard deviations of the step, so that α means the "
        "same whatever the model's size.",
        source=SINK_AWARE_SOURCE,
    )
    sink_score: Literal["soft", "hard"] = parameter(
        "soft",
        "Sink score",
        "soft: the sigmoid. hard: 1 above the threshold, 0 below, which changes masks a little.",
        source=SINK_AWARE_SOURCE,
    )
    discount_strength: float = parameter(
        1.0,
        "λ (discount strength)",
        "0 counts every token fully, 1 takes a certain sink out altogether.",
        ge=0,
        le=1,
        step=0.05,
        source=SINK_AWARE_SOURCE,
    )
    sink_scope: Literal["model", "layer"] = parameter(
        "model",
        "Sinks of",
        "model: the mass of all layers together finds one set of sinks. layer: each layer discounts its own sinks.",
        source=SINK_AWARE_SOURCE,
    )
    sink_steps: Literal["each", "mean"] = parameter(
        "each",
        "Score over steps",
        "each: every diffusion step has its own φ. mean: φ averaged over the steps of a sequence. sink-sparsegpt "
        "always takes the mean.",
        source=SINK_AWARE_SOURCE,
    )


class StepParams(Spec):
    """The noise steps that count where noised text is summed over its steps, and their weights."""

    first_step: int = parameter(0, "First step", "The cleanest noise step t that counts.", ge=0, le=1000)
    last_step: int = parameter(1000, "Last step", "The noisiest noise step t that counts.", ge=0, le=1000)
    step_weighting: Literal["even", "noisy", "clean"] = parameter(
        "even",
        "Steps count",
        "even: all the same, as published. noisy: in proportion to t, the noisier the more. clean: in proportion to "
        "T + 1 − t, the cleaner the more.",
        source=SINK_AWARE_SOURCE,
    )

    @model_validator(mode="after")
    def _steps_in_order(self) -> "StepParams":
        if self.first_step > self.last_step:
            raise ValueError(f"The first step ({self.first_step}) must not exceed the last ({self.last_step}).")
        return self


def _as_int(value: Any) -> Any:
    """Return the number that a word names, as the command line and addresses give it."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


Bits = Annotated[Literal[16, 8, 4, 3], BeforeValidator(_as_int)]
"""Bits of a weight's code; 16 leaves weights as they are stored."""


class QuantizationParams(Spec):
    """Bits of the weights that stay: each is rounded to one of 2^bits evenly spaced levels of its row or group."""

    bits: Bits = parameter(
        AS_STORED,
        "Bits",
        "Bits per weight of the pruned projections. 16 leaves them as stored. Below 16, dequantized values are "
        "written (fake quantization): they show what quality is left, and run as fast as before.",
        unit="bits",
        source=GPTQ_SOURCE,
    )
    group: Annotated[Literal[0, 32, 64, 128], BeforeValidator(_as_int)] = parameter(
        0,
        "Group",
        "Neighbouring weights of a row that share a scale and a zero point. 0: the whole row, one output channel.",
        unit="weights",
        source=GPTQ_SOURCE,
    )
    quantizer: Annotated[str, OneOf(QUANTIZERS)] = parameter(
        "rtn", "Quantizer", "What decides to which level a weight is rounded.", source=GPTQ_SOURCE
    )
    symmetric: bool = parameter(
        False,
        "Symmetric levels",
        "Put as many levels below zero as above it, without a zero point. Otherwise levels span the least to the "
        "largest weight and include zero, GPTQ's default.",
        source=GPTQ_SOURCE,
    )

    @property
    def active(self) -> bool:
        """True if weights are quantized."""
        return self.bits < AS_STORED

    @property
    def title(self) -> str:
        """Description in a few words, such as `4-bit GPTQ g64`; '' if nothing is quantized."""
        if not self.active:
            return ""
        words = [f"{self.bits}-bit", QUANTIZERS[self.quantizer].title.partition(" (")[0].replace(",", "")]
        words += [f"g{self.group}"] if self.group else []
        return " ".join([*words, "symmetric"] if self.symmetric else words)
