"""Jobs that load a model, record it or look inside, and kinds of attention by the keys a query sees."""

from typing import Any, Literal, Self

from pydantic import model_validator

from analysis.specs.base import (
    SINK_AWARE_SOURCE,
    ChatTemplate,
    JobSpec,
    Spec,
    interval_fits,
    like,
    parameter,
    random_seed,
)
from analysis.specs.pruning_params import CalibrationParams
from analysis.specs.sampling import LLaDASampling, Sampling
from analysis.specs.sinks import SinkParams

AttentionKind = Literal["bidirectional", "block-causal", "open-block", "causal"]
"""Keys that a query sees. bidirectional: every key. block-causal: its own block and those before it. open-block: the
keys up to its own, but in the open block, the last one, all of the block as well. causal: the keys up to its own.
"""


class LoadSpec(JobSpec):
    """Load a model into the worker, where it stays until another is needed."""


class UnloadSpec(Spec):
    """Free the memory of the model the worker holds."""


class Branch(Spec):
    """A change to another recording, from which its text is written on: what was before is repeated."""

    parent: str = parameter(..., "Parent", "Key of the recording's result, by which it is found.", min_length=1)
    step: int = parameter(..., "Step", "The step that writes the token, counted from 0.", ge=0)
    position: int = parameter(..., "Position", "Where it is written, counted from 0.", ge=0)
    token: int = parameter(..., "Token", "The id of the token that is written there.", ge=0)
    word: str = parameter(..., "Word", "Its text, for people.", max_length=200)
    tokens: tuple[int, ...] = parameter(
        ...,
        "Tokens",
        "Input token ids of the step. The branch is refused where repeating the steps before gives others.",
        min_length=1,
    )


class RecordSpec(JobSpec):
    """Denoise one prompt and record the attention mass of every step."""

    prompt: str = parameter(
        "",
        "Prompt",
        "The text the model continues. Write the model's mask token to let it fill a gap.",
        max_length=50_000,
    )
    chat_template: ChatTemplate = parameter(
        "auto",
        "Chat template",
        "Wrap the prompt as a user's turn. auto does so for models named Instruct, Chat or -it that have a template.",
    )
    sampling: Sampling = LLaDASampling()
    seed: int = random_seed("Fixes every random choice of the sampler.")
    observe: Literal["writer", "reader"] = parameter(
        "writer",
        "Observe",
        "For models with an encoder and a decoder, such as DiffusionGemma. writer: record the decoder's denoising "
        "steps. reader: record the encoder's causal pass over the prompt and each canvas.",
    )
    mass_dtype: Literal["auto", "float16", "float32"] = parameter(
        "auto",
        "Stored precision",
        "Precision of the attention mass in the file. auto takes float32 up to 64 MiB and float16 above; "
        "the file names its error bound.",
    )
    channels: int = parameter(
        0,
        "Residual channels kept",
        "How many of the largest residual channels to keep per layer and step, with their tokens: massive activations.",
        ge=0,
        le=32,
    )
    by_query: bool = parameter(
        False,
        "Mass by query state",
        "Also store the mass paid by undecided queries and by the prompt's: two more arrays of the same size. "
        "Written queries pay the rest.",
    )
    drift: bool = parameter(
        False,
        "Drift of keys and values",
        "Also store how far each token's key and value move per step and layer: cosine distance and relative change.",
    )
    branch: Branch | None = parameter(
        None,
        "Branch",
        "The recording that this one leaves, and by which token; none for a text of its own.",
        empty="none",
    )

    @model_validator(mode="after")
    def _branch_is_written(self) -> "RecordSpec":
        if self.branch is not None and self.observe == "reader":
            raise ValueError("A branch is written, and the encoder only reads. Observe the writer.")
        return self


def _block_length() -> Any:
    return parameter(
        None,
        "Block length",
        "Tokens per block, where the model attends by blocks. Empty: as it was trained.",
        unit="tokens",
        empty="as trained",
        ge=1,
        le=1024,
    )


class KeptForward(Spec):
    """A forward over a part of a text, and the whole one before it whose keys it reads (a cache of `writing.Cache`)."""

    tokens: tuple[int, ...] = parameter(
        ..., "Tokens", "Input token ids of the whole forward.", min_length=1, max_length=8192
    )
    queries: tuple[int, int] = parameter(..., "Queries", "The first token run and one past the last.")


class _InputSpec(JobSpec):
    """One input of a recorded model, and where its blocks are."""

    tokens: tuple[int, ...] = parameter(..., "Tokens", "Input token ids of the step.", min_length=1, max_length=8192)
    prompt_length: int = parameter(
        0, "Prompt length", "Tokens of the prompt, by which blocks may be placed.", unit="tokens", ge=0
    )
    block_length: int | None = _block_length()
    open_from: int | None = parameter(
        None, "Open block", "Where the open block begins, if the text has one.", empty="none", ge=0
    )


class _PartSpec(_InputSpec):
    """One input, of which a forward may have run a part alone."""

    kept: KeptForward | None = parameter(
        None, "Kept keys", "Where the step's other keys come from, if it ran a part alone.", empty="none"
    )

    @model_validator(mode="after")
    def _kept_fits(self) -> Self:
        if self.kept is not None:
            (first, end), length = self.kept.queries, len(self.tokens)
            if len(self.kept.tokens) != length or not 0 <= first < end <= length:
                raise ValueError("The whole forward and its queries do not fit the tokens of this step.")
        return self


class AttentionMapSpec(_PartSpec):
    """The full attention map of one head for one input."""

    layer: int = parameter(..., "Layer", "Counted from 0.", ge=0)
    head: int = parameter(..., "Head", "Counted from 0.", ge=0)


class AlternativesSpec(_PartSpec):
    """The likeliest tokens at one position of one input, by one forward."""

    position: int = parameter(
        ..., "Position", "What is predicted, counted from 0; it may be the one after the tokens.", ge=0
    )
    count: int = parameter(10, "Alternatives", "How many of the likeliest tokens are told.", ge=1, le=100)

    @model_validator(mode="after")
    def _is_predicted(self) -> "AlternativesSpec":
        if self.kept is not None and not self.kept.queries[0] <= self.position < self.kept.queries[1]:
            raise ValueError(f"Position {self.position} was not run in this step. Choose one of the open block.")
        if self.position > len(self.tokens):
            raise ValueError(f"Position {self.position} lies beyond the {len(self.tokens)} tokens of the input.")
        return self


class ReferenceSpec(JobSpec):
    """The same inputs through a model of the same shape with random weights and equally sharp attention."""

    inputs: tuple[tuple[int, ...], ...] = parameter(..., "Inputs", "Token ids of each step.", min_length=1)
    states: tuple[tuple[int, ...], ...] = parameter(
        (), "States", "What each token of the inputs is: given, decided or not yet. Empty: told by the mask token."
    )
    open_blocks: tuple[tuple[int, int], ...] = parameter(
        (), "Open blocks", "The positions each step writes in, from and to. Empty: all after the prompt."
    )
    first_queries: tuple[int, ...] = parameter(
        (), "First queries", "The first position of each step that was a query. Empty: all were."
    )
    query_ends: tuple[int, ...] = parameter(
        (), "Ends of queries", "One past the last position of each step that was a query. Empty: up to the end."
    )
    prompt_length: int = parameter(..., "Prompt length", "Tokens of the prompt.", unit="tokens", ge=0)
    block_length: int | None = _block_length()
    seed: int = random_seed("Fixes the random weights.")

    @model_validator(mode="after")
    def _steps_match(self) -> "ReferenceSpec":
        lengths = [len(row) for row in self.inputs]
        if self.states and [len(row) for row in self.states] != lengths:
            raise ValueError("There must be one state for every token of the inputs.")
        for what, rows in (
            ("open block", self.open_blocks),
            ("first query", self.first_queries),
            ("end of queries", self.query_ends),
        ):
            if rows and len(rows) != len(lengths):
                raise ValueError(f"There must be one {what} for every step of the inputs.")
        if any(not 0 <= first < length for first, length in zip(self.first_queries, lengths, strict=False)):
            raise ValueError("A first query lies outside its step's inputs.")
        firsts = self.first_queries or (0,) * len(lengths)
        if any(not at < end <= size for at, end, size in zip(firsts, self.query_ends, lengths, strict=False)):
            raise ValueError("The queries of a step end outside its inputs.")
        return self


class GeometrySpec(JobSpec):
    """Dimensions that attention and token states occupy in given inputs, beside random weights."""

    inputs: tuple[tuple[int, ...], ...] = parameter(
        ..., "Inputs", "Token ids of each step looked at.", min_length=1, max_length=64
    )
    open_blocks: tuple[int, ...] = parameter(
        (), "Open blocks", "Where the open block of each step begins, of a model that attends by blocks."
    )
    prompt_length: int = parameter(0, "Prompt length", "Tokens of the prompt.", unit="tokens", ge=0)
    block_length: int | None = _block_length()
    random_models: int = parameter(
        3, "Random-weight models", "How many models of the same shape with random weights stand beside it.", ge=0, le=10
    )
    seed: int = parameter(0, "Seed", "Of the first model with random weights; the others follow.", ge=0, le=2**31 - 64)


class LensSpec(_InputSpec):
    """Prediction of each layer for the undecided tokens of an input."""

    positions: tuple[int, ...] = parameter(
        ..., "Positions", "Which tokens are looked at.", min_length=1, max_length=8192
    )
    becomes: tuple[int, ...] = parameter(..., "Becomes", "The token each of them becomes in the end.", min_length=1)

    @model_validator(mode="after")
    def _positions_fit(self) -> "LensSpec":
        if len(self.becomes) != len(self.positions):
            raise ValueError("There must be one token that each of the positions becomes.")
        if not all(0 <= position < len(self.tokens) for position in self.positions):
            raise ValueError("The positions must lie in the text.")
        return self


class NoiseSpec(JobSpec):
    """Finished text noised forward, as calibration sees it, through the model."""

    tokens: tuple[int, ...] = parameter(..., "Tokens", "Token ids of the finished text.", min_length=1)
    prompt_length: int = parameter(..., "Prompt length", "Tokens of the prompt.", unit="tokens", ge=0)
    diffusion_steps: int = like(CalibrationParams, "diffusion_steps")
    step_interval: int = like(CalibrationParams, "step_interval")
    noise_eps: float = parameter(
        1e-3, "Noise ε", "Tokens are masked with p = (1 − ε)·t/T + ε.", ge=0, lt=1, step=1e-3, source=SINK_AWARE_SOURCE
    )
    seed: int = random_seed("Fixes which tokens are masked.")

    _interval_fits = model_validator(mode="after")(interval_fits)


class AblateSpec(JobSpec):
    """Denoise a prompt again with its sinks hidden, and with the controls."""

    prompt: tuple[int, ...] = parameter(..., "Prompt", "Token ids of the prompt.")
    sampling: Sampling = LLaDASampling()
    count: int | None = parameter(
        None,
        "Positions hidden at most",
        "How many of the strongest sinks no token may attend to, in every step. Empty: all sinks of the step.",
        empty="all sinks",
        ge=1,
        le=32,
    )
    sinks: SinkParams = SinkParams()
    seed: int = random_seed("Fixes the sampler and the random control.")
