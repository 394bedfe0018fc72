"""The finished ablation that an address names, which is then shown as it was asked, whatever recording is looked at."""

import streamlit as st

from analysis.engine import JobRecord
from pages.parts.session import engine, not_in_address

ABLATION_ASKED = "ablation_job"  # in the address: the id of an ablation over prompts


def stated_ablation() -> JobRecord | None:
    """The ablation in the address; None where there is none, after saying so where it is not in the store."""
    stated = st.query_params.get(ABLATION_ASKED)
    if not stated:
        return None
    job = engine().job(stated)
    if job is None or job.kind != "ablate_set" or not engine().has_result(job):
        not_in_address("an ablation that is not in the store.")
        return None
    return job
