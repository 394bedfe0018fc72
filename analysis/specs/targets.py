"""What an ablation does, and to which positions: the sinks, and the controls beside them."""

from dataclasses import dataclass

from analysis.registry import Registry


@dataclass(frozen=True)
class Target:
    """A way of choosing positions of a step, computed in `CHOOSERS` (analysis/recording/ablation.py).

    title: as in 'blocking …'. help: which positions these are, as in 'beside …'. control: what the others are compared
    with. for_sets: chosen only where an ablation over many prompts asks for it, as it looks at kinds or at the run as
    a whole.
    """

    name: str
    title: str
    help: str
    control: bool = True
    for_sets: bool = False


TARGETS: Registry[Target] = Registry(
    Target("sinks", "strongest sinks", "the strongest sinks of each step", control=False),
    Target("random", "random positions", "as many random positions"),
    Target("others", "heaviest non-sinks", "as many of the heaviest non-sinks"),
    Target("first", "first token alone", "the first token alone"),
    Target(
        "moving",
        "sinks that vary most",
        "of the heaviest positions of a step, those whose share varies most over the steps of the untouched run",
        control=False,
        for_sets=True,
    ),
    Target(
        "steady",
        "sinks that vary least",
        "of the heaviest positions of a step, those whose share varies least over the steps of the untouched run",
        control=False,
        for_sets=True,
    ),
    Target("undecided", "heaviest [MASK] tokens", "the heaviest undecided positions", control=False, for_sets=True),
    Target("punctuation", "heaviest punctuation", "the heaviest punctuation marks", control=False, for_sets=True),
    Target("words", "heaviest words", "the heaviest words", control=False, for_sets=True),
)


@dataclass(frozen=True)
class Intervention:
    """What is done to the positions chosen; the `Edit` is made in `EDITS` (analysis/recording/interventions.py).

    title: for tables and legends. help: what is done, as the end of a sentence. keeps: what is chosen stays, and the
    rest of the prefix is acted on. first_step: positions are chosen in the first step, for all of them.
    """

    name: str
    title: str
    help: str
    keeps: bool = False
    first_step: bool = False


INTERVENTIONS: Registry[Intervention] = Registry(
    Intervention(
        "attention", "key and value blocked", "no token attends to them: what they had is shared among the others."
    ),
    Intervention(
        "key",
        "key alone replaced",
        "their keys become the mean key of the other positions: they draw no more than an average token, and what they "
        "say is still read.",
    ),
    Intervention(
        "value", "value alone set to zero", "they draw as much attention as before, and nothing is read from them."
    ),
    Intervention(
        "hold",
        "key and value held from the first step",
        "their keys and values stay those of the first step, as a cache that is not renewed would have them.",
        first_step=True,
    ),
    Intervention(
        "keep",
        "only they and the last tokens kept in the prefix",
        "of the text before the first undecided token only they and the last tokens can be attended to, as caching "
        "methods evict it (arXiv 2602.02159, 2602.14209).",
        keeps=True,
    ),
)
