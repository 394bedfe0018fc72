"""Sizes of a study, side by side: what each shows, rules out and costs."""

import pandas as pd
import streamlit as st

from analysis.specs import StudySpec
from analysis.study import plans
from pages.parts.plain import plain
from pages.parts.session import engine
from pages.parts.study.found import example

_AGE = 60  # seconds for which times of earlier jobs are taken as they were


def sizes(spec: StudySpec) -> None:
    """Draw a row per size, and one for the settings if they match no size. Raises UserError for a bad model
    source.
    """
    rows, how, more = _planned(spec.model_dump_json())
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(plain(how))
    for line in more:
        st.caption(plain(line))


@st.cache_data(ttl=_AGE, max_entries=16, show_spinner="Planning…")
def _planned(asked: str) -> tuple[list[dict[str, str]], str, list[str]]:
    """Return the table, how to read it, and cheaper studies if times are known. asked: a `StudySpec` as JSON."""
    spec = StudySpec.model_validate_json(asked)
    noise, every = plans.noise_of(spec, example()), plans.sizes_of(engine(), spec.model, example(), spec)
    computed = any(one.computed for one in every if one.spec == spec)
    more = plans.designs_in_words(spec, plans.designs(spec, noise)) if computed else []
    return plans.sizes_table(every), plans.how_planned(noise), more
