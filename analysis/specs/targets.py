"""Which positions an ablation blocks: the sinks, and the controls beside them."""

from dataclasses import dataclass

from analysis.registry import Registry


@dataclass(frozen=True)
class Target:
    """A way of choosing the positions that no token may attend to; what it chooses is computed in `CHOOSERS`
    (analysis/recording/ablation.py).

    title: as in 'blocking …'. help: which positions these are, as in 'beside …'. control: what the others are compared
    with.
    """

    name: str
    title: str
    help: str
    control: bool = True


TARGETS: Registry[Target] = Registry(
    Target("sinks", "strongest sinks", "the strongest sinks of each step", control=False),
    Target("random", "random positions", "as many random positions"),
    Target("others", "heaviest non-sinks", "as many of the heaviest non-sinks"),
    Target("first", "first token alone", "the first token alone"),
)
