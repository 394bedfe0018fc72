"""Ablating sinks over a set of prompts that are denoised one by one: the interventions, and the positions they act on,
sinks and controls.
"""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from analysis.registry import Choice, Registry
from analysis.specs.base import ChatTemplate, JobSpec, OneOf, parameter, random_seed, require_keys
from analysis.specs.sampling import LLaDASampling, Sampling
from analysis.specs.sinks import SinkParams
from analysis.words import percent


@dataclass(frozen=True)
class Target(Choice):
    """A way of choosing positions of a step, a `Chooser` (analysis/recording/ablation.py).

    title: as in 'hiding …'. help: describes these positions, as in 'beside …'. control: targets are compared with it.
    for_sets: chosen only for an ablation over many prompts, as it looks at kinds or at the run as a whole.
    """

    control: bool = True
    for_sets: bool = False


MASS_TOLERANCE = 0.1  # largest relative difference in attention between equal-mass positions and the target
TEXT_DRAWS = 32  # masked sets by which the likelihood of a text is estimated
QUARTERS = tuple(f"divergence_{quarter}" for quarter in range(1, 5))
"""Names of the divergence over each quarter of the steps in the rows of an ablation."""
EARLY_SHARE = "share_early"
"""Name of the share of attention over the first half of the steps in these rows."""


TARGETS: Registry[Target] = Registry(
    Target(
        "sinks",
        "sinks",
        "the sinks of each step, by the definition in use",
        control=False,
        implementation="analysis.recording.ablation:choose_sinks",
    ),
    Target(
        "random",
        "random positions",
        "as many random positions of the same state",
        for_sets=True,
        implementation="analysis.recording.ablation:choose_random",
    ),
    Target(
        "others",
        "heaviest non-sinks",
        "as many of the heaviest non-sinks",
        implementation="analysis.recording.ablation:choose_others",
    ),
    Target(
        "first", "first token alone", "the first token alone", implementation="analysis.recording.ablation:choose_first"
    ),
    Target(
        "moving",
        "sinks that vary most",
        "of the sinks of a step, the half whose share varies most over the steps of the untouched run",
        control=False,
        for_sets=True,
        implementation="analysis.recording.ablation:choose_moving",
    ),
    Target(
        "steady",
        "sinks that vary least",
        "of the sinks of a step, the half whose share varies least over the steps of the untouched run",
        control=False,
        for_sets=True,
        implementation="analysis.recording.ablation:choose_steady",
    ),
    Target(
        "most-variable",
        "most variable sinks at equal attention",
        "of the half of a step's sinks whose share varies most, those that draw together as much attention, within "
        f"{percent(MASS_TOLERANCE, 0)}, as the least variable sinks at equal attention",
        control=False,
        for_sets=True,
        implementation="analysis.recording.ablation:choose_most_variable",
    ),
    Target(
        "least-variable",
        "least variable sinks at equal attention",
        "of the half of a step's sinks whose share varies least, those that draw together as much attention as the "
        "most variable sinks at equal attention",
        control=False,
        for_sets=True,
        implementation="analysis.recording.ablation:choose_least_variable",
    ),
    Target(
        "undecided",
        "heaviest [MASK] tokens",
        "as many of the heaviest undecided positions",
        control=False,
        for_sets=True,
        implementation="analysis.recording.ablation:choose_undecided",
    ),
    Target(
        "punctuation",
        "heaviest punctuation",
        "as many of the heaviest punctuation marks",
        control=False,
        for_sets=True,
        implementation="analysis.recording.ablation:choose_punctuation",
    ),
    Target(
        "words",
        "heaviest words",
        "as many of the heaviest words",
        control=False,
        for_sets=True,
        implementation="analysis.recording.ablation:choose_words",
    ),
)


@dataclass(frozen=True)
class Control(Choice):
    """Random positions that a target is compared with.

    title: ends 'against …'. help: describes these positions. masked: [MASK] tokens, drawn for sinks alone and in models
    that have them. One without a `ControlChooser` (analysis/recording/ablation.py) is computed from another control's
    positions.
    """

    masked: bool = False

    @property
    def drawn(self) -> bool:
        """True if it acts on its own positions."""
        return self.implementation is not None


CONTROLS: Registry[Control] = Registry(
    Control(
        "matched",
        "as many random tokens",
        "as many random tokens of the same state, and no sinks where there are enough others",
        implementation="analysis.recording.ablation:control_by_state",
    ),
    Control(
        "masked",
        "other masked positions",
        "random masked positions that are no sinks and draw as much attention, or all of them in a step that has less",
        masked=True,
        implementation="analysis.recording.ablation:control_masked",
    ),
    Control(
        "mass",
        "random tokens of equal attention",
        f"random tokens that draw as much attention, within {percent(MASS_TOLERANCE, 0)}: no sinks, and of the same "
        "states where there are enough",
        implementation="analysis.recording.ablation:control_by_mass",
    ),
    Control(
        "unit",
        "per unit of attention",
        "as many random tokens of the same state, with their effect scaled up linearly, an extrapolation, to the "
        "attention that the target draws",
    ),
)


def controls_drawn(target: str, masks: bool = True) -> list[str]:
    """Return the controls that act on positions of their own beside a target. masks: the model has [MASK]."""
    return [name for name, row in CONTROLS.items() if row.drawn and (not row.masked or (masks and target == "sinks"))]


@dataclass(frozen=True)
class Intervention(Choice):
    """Action on the chosen positions; makes the `Edit` (analysis/recording/interventions.py).

    title: for tables and legends. help: the action, as the end of a sentence. keeps: the chosen positions stay, and the
    rest of the prefix is acted on. first_step: positions are chosen in the first step, for all of them.
    """

    keeps: bool = False
    first_step: bool = False


INTERVENTIONS: Registry[Intervention] = Registry(
    Intervention(
        "attention",
        "key and value hidden",
        "no token attends to them: what they had is shared among the others.",
        implementation="analysis.recording.interventions:BlockedKeys",
    ),
    Intervention(
        "key",
        "key alone replaced",
        "their keys become the mean key of the other positions: they draw no more than an average token, and what they "
        "say is still read.",
        implementation="analysis.recording.interventions:MeanKeys",
    ),
    Intervention(
        "value",
        "value alone set to zero",
        "they draw as much attention as before, and nothing is read from them.",
        implementation="analysis.recording.interventions:ZeroValues",
    ),
    Intervention(
        "hold",
        "key and value held from the first step",
        "their keys and values stay those of the first step, as a cache that is not renewed would have them.",
        first_step=True,
        implementation="analysis.recording.interventions:HeldKeys",
    ),
    Intervention(
        "keep",
        "only they and the last tokens kept in the prefix",
        "of the text before the first undecided token only they and the last tokens can be attended to, as caching "
        "methods evict it (arXiv 2602.02159, 2602.14209).",
        keeps=True,
        implementation="analysis.recording.interventions:BlockedKeys",
    ),
)


Text = Annotated[str, Field(max_length=50_000)]
MOST_PROMPTS = 1000


class PromptsSpec(JobSpec):
    """Prompts that are denoised one by one, each a draw of its cluster."""

    prompts: tuple[Text | tuple[int, ...], ...] = parameter(
        ..., "Prompts", "The texts that the model continues, or their token ids.", min_length=2, max_length=MOST_PROMPTS
    )
    keys: tuple[str, ...] = parameter(
        (),
        "Keys",
        "One key per prompt; prompts with the same key form one cluster. Empty: each is its own cluster.",
        max_length=MOST_PROMPTS,
    )
    chat_template: ChatTemplate = parameter(
        "auto", "Chat template", "Wrap prompts given as text as a user's turn. auto does so for instruct models."
    )
    sampling: Sampling = LLaDASampling()
    seed: int = random_seed("Fixes the sampler and the random controls.")

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        require_keys(self.keys, self.prompts)
        return self


class AblateSetSpec(PromptsSpec):
    """Denoise every prompt of a set with attention to chosen positions changed, and with matched controls."""

    targets: tuple[Annotated[str, OneOf(TARGETS)], ...] = parameter(
        ("sinks", "moving", "steady"),
        "Positions",
        "Which positions are acted on. Each is compared with as many random tokens of the same state, and with "
        "random tokens that draw as much attention; sinks also with other masked positions.",
        min_length=1,
    )
    interventions: tuple[Annotated[str, OneOf(INTERVENTIONS)], ...] = parameter(
        ("attention",), "What is done to them", "Each is done to each choice of positions.", min_length=1
    )
    count: int | None = parameter(
        None,
        "Most positions per step",
        "The largest number of positions chosen in a step. Empty: as many as there are sinks.",
        empty="all sinks",
        ge=1,
        le=32,
    )
    first_layer: int = parameter(
        0, "From layer", "The first layer in which sinks are judged and acted on, counted from 0.", ge=0
    )
    last_layer: int | None = parameter(
        None, "To layer", "The last layer in which sinks are judged and acted on.", empty="last", ge=0
    )
    window: int = parameter(
        4,
        "Last tokens kept",
        "Last tokens of the prefix that stay visible, where only the chosen positions of it are kept.",
        unit="tokens",
        ge=1,
        le=4096,
    )
    random_model: bool = parameter(
        False, "Random weights beside", "Also do the same to a model with random weights, which takes as long again."
    )
    sinks: SinkParams = SinkParams()

    @model_validator(mode="after")
    def _fits(self) -> "AblateSetSpec":
        if self.last_layer is not None and self.last_layer < self.first_layer:
            raise ValueError(f"The layers end at {self.last_layer}, before they begin at {self.first_layer}.")
        for name in ("targets", "interventions"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"The {name} name one twice.")
        return self
