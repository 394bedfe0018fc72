"""The finished job over prompts that an address names, which is then shown as it was asked, whatever recording is
looked at.
"""

import streamlit as st

from analysis.engine import JobRecord
from pages.parts.session import engine, not_in_address

ABLATION_ASKED = "ablation_job"  # in the address: the id of an ablation over prompts
EVICTION_ASKED = "eviction_job"  # the same of an eviction
_KINDS = {ABLATION_ASKED: ("ablate_set", "an ablation"), EVICTION_ASKED: ("evict", "an eviction")}


def stated_job(asked: str) -> JobRecord | None:
    """The job that the address names under `asked`; None where there is none, after saying so where it is not in the
    store.
    """
    stated = st.query_params.get(asked)
    if not stated:
        return None
    kind, what = _KINDS[asked]
    job = engine().job(stated)
    if job is None or job.kind != kind or not engine().has_result(job):
        not_in_address(f"{what} that is not in the store.")
        return None
    return job
