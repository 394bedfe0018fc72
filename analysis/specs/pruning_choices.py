"""What a pruning can be told by name: methods, patterns, allocations and noises, each a row that says what it can do.

Page, command line and docs list them from here, and rules ask the row, never its name. What a row does is attached to
its name where it is computed: `ALGORITHMS` (analysis/pruning/methods.py), `PREFERENCES`
(analysis/pruning/allocation.py), `MASKINGS` (analysis/calibration/noise.py). A pattern is no more than its row.
"""

from dataclasses import dataclass

from analysis.registry import Registry


@dataclass(frozen=True)
class Method:
    """How the weights that go are chosen.

    calibrated: it reads text. noised: it reads noised text, so the model needs a mask token. discounted: it reads the
    discount parameters. layerwise: it runs the blocks one after the other, each fed by the pruned ones before it, which
    needs blocks that attend alike. weighs_steps: its scores are sums over noise steps, which `StepParams` choose and
    weigh. structured: it scores the features of a projection's input, or asks the weights alone, so that whole units
    can be cut out. control: the method that differs in the discount alone. published: the one that it was published
    against. reads: fields of `PruneSpec` that this method looks at and others do not.
    """

    name: str
    title: str
    help: str
    calibrated: bool = True
    noised: bool = False
    discounted: bool = False
    layerwise: bool = False
    weighs_steps: bool = False
    structured: bool = False
    control: str | None = None
    published: str | None = None
    reads: tuple[str, ...] = ()


METHODS: Registry[Method] = Registry(
    Method(
        "magnitude",
        "Magnitude",
        "The smallest weights go. Looks at no text.",
        calibrated=False,
        structured=True,
        reads=("magnitude_over",),
    ),
    Method(
        "wanda",
        "Wanda",
        "|W|·‖X‖ on clean text, layer by layer, each fed by the pruned ones before it.",
        layerwise=True,
        structured=True,
    ),
    Method(
        "wanda-noised",
        "Wanda, noised (control)",
        "Sink-Wanda without its discount: the same noised text, order and norm. What differs is the sinks alone.",
        noised=True,
        weighs_steps=True,
        structured=True,
    ),
    Method(
        "sink-wanda",
        "Sink-Wanda",
        "|W|·s on noised text of the dense model, with tokens that are attention sinks discounted.",
        noised=True,
        discounted=True,
        weighs_steps=True,
        structured=True,
        control="wanda-noised",
        published="wanda",
    ),
    Method(
        "sparsegpt",
        "SparseGPT",
        "Removes what the Hessian of clean inputs says costs least; the weights left make up for it.",
        layerwise=True,
    ),
    Method(
        "sink-sparsegpt",
        "Sink-SparseGPT",
        "SparseGPT with clean tokens weighted by how little of a sink they were on noised text.",
        noised=True,
        discounted=True,
        layerwise=True,
        control="sparsegpt",
        published="sparsegpt",
    ),
)


@dataclass(frozen=True)
class Pattern:
    """Which weights may go: any, some of every `group` neighbours of a row, of which `kept` stay, or whole units.

    cuts_units: head groups and MLP channels are cut out, which only a `structured` method can choose.
    """

    name: str
    title: str
    help: str
    kept: int | None = None
    group: int | None = None
    cuts_units: bool = False

    @property
    def sparsity(self) -> float | None:
        """The share of weights that the pattern itself removes; None where that is a free choice."""
        return None if self.kept is None or self.group is None else 1 - self.kept / self.group


PATTERNS: Registry[Pattern] = Registry(
    Pattern("unstructured", "unstructured", "Any weights: the most accurate, and no faster to run."),
    Pattern("2:4", "2:4", "Two of every four neighbours of a row stay, which GPUs from Ampere on can use.", 2, 4),
    Pattern("4:8", "4:8", "Four of every eight neighbours of a row stay: freer than 2:4.", 4, 8),
    Pattern(
        "structured",
        "structured",
        "Whole key/value head groups and MLP channels are cut out, so the model gets smaller and faster.",
        cuts_units=True,
    ),
)


@dataclass(frozen=True)
class Allocation:
    """How the sparsity is shared out over the layers.

    even: every layer gets the same, and every matrix is rounded as its method's authors round it; else the overall
    sparsity is met to one weight. needs_outliers: it is told the outlier ratio of every layer. reads: fields of
    `PruneSpec` that it looks at.
    """

    name: str
    title: str
    help: str
    even: bool = False
    needs_outliers: bool = False
    reads: tuple[str, ...] = ("allocation_range",)


ALLOCATIONS: Registry[Allocation] = Registry(
    Allocation("uniform", "uniform", "The same sparsity in every layer.", even=True, reads=()),
    Allocation(
        "owl",
        "by outliers (OWL)",
        "Less where more scores are outliers (arXiv 2310.05175).",
        needs_outliers=True,
        reads=("allocation_range", "owl_threshold"),
    ),
    Allocation("depth", "by depth", "A linear ramp: earlier layers sparser (reported to help: 2605.06366)."),
)


@dataclass(frozen=True)
class Noise:
    """How calibration text is masked. title: follows `noised`. by_step: a step says how much is masked, so that steps
    can be told apart.
    """

    name: str
    title: str
    help: str
    by_step: bool = True


NOISES: Registry[Noise] = Registry(
    Noise("steps", "by steps", "Step t masks tokens with p = (1 − ε)·t/T + ε, as the authors' script for LLaDA does."),
    Noise(
        "uniform",
        "uniformly, its ends kept",
        "Each sequence and step draws u from [0, 1) and masks with p = (1 − ε)·u + ε, but never the first and the "
        "last token, as their script for Dream does; there the steps are mere repetitions.",
        by_step=False,
    ),
)
