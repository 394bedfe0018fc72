"""Kinds of sinks by layer in the shipped study, on the page Evidence while no set was recorded."""

from streamlit.delta_generator import DeltaGenerator

from analysis.exhibits.study import shares_of_each, sinks_of_each
from analysis.findings import finding_of
from analysis.words import TWIN_TOLD
from pages.parts.plain import plain
from pages.parts.recordings.by_layer import beside_each_other, next_steps, say
from pages.parts.study.found import example


def layers_of_study(answer: DeltaGenerator, beneath: DeltaGenerator) -> bool:
    """Draw what the shipped study found; False where it holds nothing. answer, beneath: where its sentences go, and a
    caption.
    """
    study = example()
    shown = [] if study is None else sinks_of_each(study)
    if study is None or not shown:
        return False
    shares = shares_of_each(study)
    first, *others = finding_of("kinds of layers", shares)
    with answer:
        say(first, others)
    beneath.caption(
        f"This is the shipped study; your own recordings take its place. {TWIN_TOLD}",
        help=plain(finding_of("rarer untrained", next(iter(shares.values())).leads())) or None,
    )
    beside_each_other([figure.title for figure in shown], shown, "study_layers")
    next_steps()
    return True
