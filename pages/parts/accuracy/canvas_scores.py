"""Scores of answers by models whose noise is random tokens, and what is not estimated for them."""

import streamlit as st

from analysis.evaluation.results import Results
from analysis.models.checkpoint import find
from analysis.specs import CANVAS_SCORES, NO_MASKED_ESTIMATE, EvaluateSpec, ModelSpec
from pages.parts import controls
from pages.parts.user_errors import EXPECTED


def choose_score(model: ModelSpec) -> dict[str, str]:
    """Draw the choice for such a model; nothing for any other."""
    if not _random_tokens(model):
        return {}
    chosen = controls.draw(EvaluateSpec, "canvas_score", "accuracy_canvas_score")
    st.caption(f":material/info: {CANVAS_SCORES[chosen].sentence} {NO_MASKED_ESTIMATE}")
    return {"canvas_score": chosen}


def say_scores(model: ModelSpec) -> None:
    """Say how such a model is scored, before there is anything to choose."""
    if _random_tokens(model):
        default = CANVAS_SCORES[EvaluateSpec.model_fields["canvas_score"].default]
        st.caption(f":material/info: {default.sentence} {NO_MASKED_ESTIMATE}")


def _random_tokens(model: ModelSpec) -> bool:
    try:
        checkpoint = find(model.source, model.paradigm)
    except EXPECTED:
        return False
    return checkpoint is not None and checkpoint.architecture.noise == "uniform"


def scores_of(results: Results) -> str:
    """Return what likelihoods of such models are, or ''."""
    kinds = dict.fromkeys(model.likelihood for model in results.header.models if model.likelihood in CANVAS_SCORES)
    return " ".join([*(CANVAS_SCORES[kind].sentence for kind in kinds), NO_MASKED_ESTIMATE]) if kinds else ""
