"""Claims of the current study, as a table: each with its outcome and the numbers behind it."""

import pandas as pd
import streamlit as st

from analysis.study import rules
from analysis.words import in_sentence, model_title
from pages.parts.charts import table
from pages.parts.session import engine
from pages.parts.study.found import example, of_record
from pages.parts.study.in_hand import ADDRESS, studies, study_in_hand
from pages.parts.user_errors import told


@told()
def claims(expanded: bool) -> None:
    """Draw the table in an expander; nothing without a study. expanded: whether it starts open."""
    there = studies()
    name = study_in_hand(there)
    if name is None:
        return
    record = there[name]
    with st.expander("Claims of the current study", icon=":material/fact_check:", key="claims", expanded=expanded):
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
