"""What SinkScope is, the model in use, and what to do next."""

import streamlit as st

from analysis.models.checkpoint import find
from pages.parts.frame import run
from pages.parts.plain import plain
from pages.parts.recordings.recording import finished_recordings, recording_title
from pages.parts.session import model_entry, model_in_use
from pages.parts.trouble import EXPECTED, why


def main() -> None:
    """Draws the page."""
    st.title("SinkScope")
    st.markdown(
        "Diffusion language models write by filling in a masked text, step by step. A few tokens soak up most of the "
        "attention: **attention sinks**. In these models they move from step to step. SinkScope records attention "
        "over the whole denoising trajectory and shows where the sinks are, how strong they are and how they move; and "
        "it prunes models with and without a discount on sinks, and compares what becomes of them."
    )
    _next_steps()
    left, right = st.columns([2, 3], gap="large")
    with left:
        _model()
    with right:
        _recordings()


def _next_steps() -> None:
    record, look, move = st.columns(3, gap="medium")
    ready = bool(finished_recordings())
    hint = None if ready else "Record a prompt first."
    with record.container(border=True, height="stretch"):
        st.subheader("1 · Record", anchor=False)
        st.markdown("Give the model a prompt and watch it denoise. Every step's attention is kept.")
        st.page_link("pages/denoise.py", label="**Record a prompt**", icon=":material/play_circle:")
    with look.container(border=True, height="stretch"):
        st.subheader("2 · Find the sinks", anchor=False)
        st.markdown("See which layers and heads feed the sinks, and open any head down to its full attention map.")
        st.page_link(
            "pages/sinks.py", label="**Look at its sinks**", icon=":material/grid_view:", disabled=not ready, help=hint
        )
    with move.container(border=True, height="stretch"):
        st.subheader("3 · Follow them", anchor=False)
        st.markdown("See how sinks come and go over the steps, beside random weights and an autoregressive model.")
        st.page_link(
            "pages/dynamics.py",
            label="**See how they move**",
            icon=":material/timeline:",
            disabled=not ready,
            help=hint,
        )
    tune, prune, masks = st.columns(3, gap="medium")
    with tune.container(border=True, height="stretch"):
        st.subheader("4 · Discount them", anchor=False)
        st.markdown("Let sinks count less when weights are scored, and see at once which weights that spares.")
        st.page_link("pages/tuning.py", label="**Tune the discount**", icon=":material/tune:")
    with prune.container(border=True, height="stretch"):
        st.subheader("5 · Prune", anchor=False)
        st.markdown("Prune with and without the discount, and compare the accuracy of the pruned models.")
        st.page_link("pages/pruning.py", label="**Prune the model**", icon=":material/content_cut:")
        st.page_link("pages/accuracy.py", label="**Compare the accuracy**", icon=":material/monitoring:")
    with masks.container(border=True, height="stretch"):
        st.subheader("6 · Compare masks", anchor=False)
        st.markdown("See where two pruned models keep different weights, and what becomes of the sinks.")
        st.page_link("pages/masks.py", label="**Compare two masks**", icon=":material/grid_on:")


def _model() -> None:
    st.subheader("Model in use", anchor=False)
    spec = model_in_use()
    known = model_entry(spec)
    try:
        checkpoint = find(spec.source, spec.paradigm)
    except EXPECTED as error:
        st.error(plain(why(error)))
        return
    facts = {
        "Model": known.name,
        "Source": "ships with SinkScope" if known.name.startswith("bundled") else known.source,
    }
    if checkpoint is None:
        st.info(
            "This model is not on this disk yet. It is downloaded from the Hugging Face hub at the first recording."
        )
    else:
        geometry, architecture = checkpoint.geometry, checkpoint.architecture
        facts |= {
            "Architecture": architecture.name,
            "Attention": architecture.attends,
            "Layers × heads": f"{geometry.layers} × {geometry.heads}",
            "Vocabulary": f"{geometry.vocabulary:,} tokens",
            "Longest text": f"{geometry.max_length:,} tokens",
        }
    told = {"": [plain(name) for name in facts], " ": [plain(fact) for fact in facts.values()]}
    st.table(told, border="horizontal", hide_index=True, hide_header=True)
    if checkpoint is not None and checkpoint.architecture.note:
        st.caption(plain(checkpoint.architecture.note))
    if known.summary:
        st.caption(plain(known.summary))
    st.caption("Change it in the sidebar: LLaDA, Dream, converted Qwen models, a local folder or any hub id.")


def _recordings() -> None:
    st.subheader("Recordings", anchor=False)
    records = finished_recordings()
    if not records:
        st.info("Nothing recorded yet. Your recordings appear here and stay after a restart.")
        return
    for record in records[:6]:
        row, link = st.columns([5, 1], vertical_alignment="center")
        row.text(recording_title(record))
        link.page_link("pages/denoise.py", label="**Open**", query_params={"recording": record.id})


if __name__ == "__main__":
    run(main)
