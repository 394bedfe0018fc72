"""Published calibrations, and which of them fits the model."""

from typing import Any

import streamlit as st

from analysis.models.checkpoint import Checkpoint
from analysis.specs import CALIBRATION_PRESETS, NOISES, CalibrateSpec, CalibrationParams
from pages.parts.plain import plain

DEFAULT_CALIBRATION: CalibrationParams = CalibrateSpec.model_fields["calibration"].default
"""Initial calibration of the page, for the preview and the prunings alike: takes seconds on a laptop."""

CALIBRATION_IN_WORDS = {"data": "text {}", "samples": "{} sequences", "seq_len": "{} tokens each", "seed": "seed {}"}
"""Templates for the calibration in the title of an expander."""


def preset_box(prefix: str, checkpoint: Checkpoint | None) -> None:
    """Draw the choice of a preset, which sets the widgets `PREFIX_NAME` of the calibration: draw it before them."""

    def preset() -> None:
        chosen = st.session_state[f"{prefix}_preset"]
        if chosen:
            for name, value in _of(chosen, checkpoint).items():
                st.session_state[f"{prefix}_{name}"] = value

    st.selectbox(
        "Preset",
        list(CALIBRATION_PRESETS),
        index=None,
        key=f"{prefix}_preset",
        on_change=preset,
        persist_state="session",
        placeholder="Choose a preset",
        help="Sets the calibration as the authors' scripts do (arXiv 2602.17664): WikiText-2, 128 sequences of 4,096 "
        "tokens or as many as the model takes, and the noise of the family.",
    )


def noise_of(prefix: str, checkpoint: Checkpoint | None) -> tuple[str, str]:
    """Return the key of the noise's widget, and its preset."""
    if _random_tokens(checkpoint):  # a separate choice: those of other models do not fit
        return f"{prefix}_noise_random", next(name for name, row in NOISES.items() if row.random_tokens)
    return f"{prefix}_noise", CalibrationParams.model_fields["noise"].default


def unfit_noises(checkpoint: Checkpoint | None) -> list[str]:
    """Return the noises that do not suit the model; none if the model is unknown."""
    random_tokens = _random_tokens(checkpoint)
    return [] if checkpoint is None else [name for name, row in NOISES.items() if not row.fits(random_tokens)]


def _random_tokens(checkpoint: Checkpoint | None) -> bool:
    """Return whether the model's noise is random tokens."""
    return checkpoint is not None and checkpoint.architecture.noise == "uniform"


def noise_note(params: CalibrationParams, checkpoint: Checkpoint | None) -> None:
    """Say so if the noise is not the model's own, or not the one published for its family."""
    if checkpoint is None or checkpoint.architecture.noise is None:
        return
    published = checkpoint.architecture.calibration_noise
    random_tokens = _random_tokens(checkpoint)
    if not NOISES[params.noise].fits(random_tokens):
        st.caption(
            f":material/warning: The noise of {plain(checkpoint.architecture.name)} is "
            f"{'random tokens' if random_tokens else 'the mask token'}: methods that read noised text need "
            f"{'the noise *random-tokens*' if random_tokens else 'another noise'}."
        )
    elif params.noise != published:
        st.caption(
            f":material/info: The authors' script for {plain(checkpoint.architecture.name)} noises text "
            f"{NOISES[published].title}: choose the noise *{plain(published)}* to do the same."
        )


def _of(preset: str, checkpoint: Checkpoint | None) -> dict[str, Any]:
    values = CALIBRATION_PRESETS[preset].model_dump()
    if checkpoint is not None:
        values["seq_len"] = min(values["seq_len"], checkpoint.geometry.max_length)
    return values
