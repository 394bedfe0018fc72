"""Uploading a pruned folder to the Hugging Face hub: what would go is shown before anything does."""

from pathlib import Path

import streamlit as st

from analysis.engine.publishing import Upload, planned_upload, upload
from analysis.engine.runs import Run
from cache.sizes import gigabytes
from pages.parts.plain import plain
from pages.parts.session import engine
from pages.parts.user_errors import told

_UPLOADED = "pushed_to"  # the address of the last upload, by run


def push_fold(run: Run) -> None:
    """Draws the name of a repository, what would go there, and the button that uploads it."""
    if run.kind != "pruned" or not run.runs or run.folder is None or not engine().authorizer.may("push"):
        return
    with st.expander("Push to the Hugging Face hub", icon=":material/cloud_upload:"), told():
        name = st.text_input("Repository", placeholder="me/my-model", key=f"push_to_{run.id}")
        public = st.checkbox("Public", key=f"push_public_{run.id}", help="A new repository is private without it.")
        if not name:
            st.caption("The upload uses the token of this server: HF_TOKEN, or a log-in with `hf auth login`.")
            return
        plan = planned_upload(run.folder, name, engine())
        kept = "public" if public else "private"
        st.caption(plain(f"{len(plan.files) + 1} files, {gigabytes(plan.bytes)}, into a {kept} repository."))
        st.code(plan.card, language="markdown", height=260)
        if st.button("Push", key=f"push_{run.id}", icon=":material/cloud_upload:"):
            with st.spinner("Uploading…"):
                st.session_state[_UPLOADED] = {run.id: _pushed(plan, run.folder, public)}
        address = st.session_state.get(_UPLOADED, {}).get(run.id)
        if address:
            st.success(plain(f"Uploaded: {address}"))


def _pushed(plan: Upload, folder: Path, public: bool) -> str:
    """Upload in the name of the visitor. Raises UserError for one who may not, and where the hub refuses."""
    engine().authorizer.demand("push")
    engine().authorizer.check_folder(str(folder))
    return upload(plan, private=not public)
