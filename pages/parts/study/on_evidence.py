"""The study on the page Evidence: kinds of sinks by layer while no set was recorded, and its claims as a table."""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.exhibits.study import shares_of_each, sinks_of_each
from analysis.findings import finding_of
from analysis.findings.layers import STANDS_OUT
from analysis.study import rules
from analysis.words import TWIN_TOLD, in_sentence, model_title
from pages.parts.charts import table
from pages.parts.plain import plain
from pages.parts.recordings.by_layer import beside_each_other, next_steps, say
from pages.parts.session import engine
from pages.parts.study.found import example, of_record
from pages.parts.study.in_hand import ADDRESS, studies, study_in_hand
from pages.parts.user_errors import told


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
        help=plain(f"{STANDS_OUT} {finding_of('rarer untrained', next(iter(shares.values())).leads())}".strip()),
    )
    beside_each_other([figure.title for figure in shown], shown, "study_layers")
    next_steps()
    return True


def claims(expanded: bool) -> None:
    """Draw the table in an expander; nothing without a study. expanded: whether it starts open."""
    there = studies()
    name = study_in_hand(there)
    if name is None:
        return
    record = there[name]
    with (
        st.expander("Claims of the current study", icon=":material/fact_check:", key="claims", expanded=expanded),
        told(),
    ):
        findings = example() if record is None else of_record(record)
        verdicts = [] if findings is None else rules.verdicts(findings)
        if findings is None or not verdicts:
            st.caption("No claims yet: a study makes them once its parts are done.")
        else:
            model = in_sentence(model_title(findings.spec["model"]["source"]))
            table(
                f"{len(verdicts)} claims about {model}",
                "Each claim with its rule, its numbers and what they leave out.",
                pd.DataFrame(
                    [
                        {
                            "claim": one.title,
                            "what the study shows": one.sentence,
                            "numbers": one.numbers,
                            "left out": one.left_out,
                        }
                        for one in verdicts
                    ]
                ),
                "study_claims",
                column_config={"what the study shows": st.column_config.TextColumn(width="large")},
            )
        if record is None or engine().job(record.id) is not None:
            st.page_link(
                "pages/start.py",
                label="**Open the study**",
                icon=":material/auto_stories:",
                query_params={ADDRESS: name},
            )
