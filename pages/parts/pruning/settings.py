"""The settings of a pruning, drawn from its specs: what is to run, or one sentence on why it cannot."""

from typing import Any

import streamlit as st
from pydantic import ValidationError

from analysis.models.checkpoint import Checkpoint, find
from analysis.models.families import why_no_experts_are_cut
from analysis.specs import (
    ALLOCATIONS,
    METHODS,
    PATTERNS,
    CalibrationParams,
    DiscountParams,
    ModelSpec,
    PruneSpec,
    StepParams,
    sentence,
)
from analysis.specs.what_is_read import only_read
from pages.parts import controls
from pages.parts.folds import fold, settings_of
from pages.parts.keyed import keyed_columns
from pages.parts.plain import plain
from pages.parts.pruning.calibration_presets import CALIBRATION_IN_WORDS, draw_noise, noise_note, noise_of, preset_box
from pages.parts.trouble import EXPECTED, why

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_CALIBRATION = ("data", "samples", "seq_len", "seed", "diffusion_steps", "step_interval", "noise", "noise_eps")


def prune_settings(model: ModelSpec) -> tuple[list[PruneSpec], str]:
    """Draws the controls. One spec a chosen method, and why there is none where settings do not go together."""
    checkpoint = found(model)
    if isinstance(checkpoint, str):
        return [], checkpoint
    methods = _methods(checkpoint)
    chosen = {
        **_what(checkpoint),
        "calibration": _calibration(methods, checkpoint),
        "steps": _steps(methods),
        "discount": _discount(methods),
    }
    if not methods:
        return [], "Choose at least one method."
    refused = pattern_refused(checkpoint, chosen["pattern"])
    if refused:
        return [], refused
    try:
        specs = [PruneSpec(model=model, method=method, **chosen) for method in methods]
        return [PruneSpec.model_validate(only_read(spec.model_dump())) for spec in specs], ""
    except EXPECTED as error:
        return [], why(error)


def patterns_not_offered(checkpoint: Checkpoint | None) -> list[str]:
    """Those that cut out whole experts, where the model is known to have none that can be."""
    if checkpoint is None or not why_no_experts_are_cut(checkpoint.architecture):
        return []
    return [name for name, row in PATTERNS.items() if row.cuts_experts]


def pattern_refused(checkpoint: Checkpoint | None, *patterns: str) -> str:
    """Why one of these patterns, as an address can name it, is not for this model; '' where none is known not to be."""
    if checkpoint is None or not set(patterns) & set(patterns_not_offered(checkpoint)):
        return ""
    return why_no_experts_are_cut(checkpoint.architecture)


def found(model: ModelSpec) -> Checkpoint | str | None:
    """What the model is; None where it is not on this disk, and why where it cannot be used."""
    try:
        return find(model.source, model.paradigm)
    except EXPECTED as error:
        return why(error)


def _methods(checkpoint: Checkpoint | None) -> list[str]:
    causal = checkpoint is not None and checkpoint.architecture.noise is None
    names = [name for name, method in METHODS.items() if not (causal and method.noised)]
    methods = st.multiselect(
        "Methods",
        names,
        default=[name for name in _preselected() if name in names],
        key="prune_methods_causal" if causal else "prune_methods",
        bind="query-params",
        format_func=lambda name: METHODS[name].title,
        help="\n\n".join(f"**{METHODS[name].title}** {METHODS[name].help}" for name in names),
    )
    if causal:
        st.caption("This model has no mask token, so methods that read noised text are not offered.")
    for method in methods:
        row = METHODS[method]
        if row.control is not None and row.control != row.published and row.control not in methods:
            st.caption(
                f":material/info: Without *{plain(METHODS[row.control].title)}* a gain of {plain(row.title)} cannot be "
                "put down to the sinks: it differs from what it was published against in more than its discount."
            )
    return methods


def _preselected() -> list[str | None]:
    """The default method, what it was published against, and its control."""
    default = PruneSpec.model_fields["method"].default
    return [default, METHODS[default].published, METHODS[default].control]


def _what(checkpoint: Checkpoint | None) -> dict:
    """Sparsity, pattern, allocation and what is left dense."""
    columns = keyed_columns([2, 1, 1], "prune_sparsity")
    with columns[1]:
        pattern = controls.draw(
            PruneSpec, "pattern", "prune_pattern", without=patterns_not_offered(checkpoint), bind="query-params"
        )
    fixed = PATTERNS[pattern].sparsity if pattern in PATTERNS else None
    with columns[2]:
        if fixed is not None:
            allocation = next(name for name, row in ALLOCATIONS.items() if row.even)
            fixes = f"{plain(pattern)} fixes every layer's."
            st.selectbox("Sparsity over layers", [allocation], disabled=True, help=fixes)
        else:
            allocation = controls.draw(PruneSpec, "allocation", "prune_allocation", bind="query-params")
    with columns[0]:
        if fixed is not None:
            removes = f"{plain(pattern)} removes exactly {fixed:.4g} of the weights."
            st.slider("Sparsity", 0.0, 0.95, fixed, disabled=True, help=removes)
            sparsity = fixed
        else:
            sparsity = controls.draw_slider(PruneSpec, "sparsity", "prune_sparsity", bind="query-params")
    chosen = {"pattern": pattern, "allocation": allocation, "sparsity": sparsity}
    return chosen | _more(checkpoint, pattern in PATTERNS and PATTERNS[pattern].cuts_experts, allocation)


def _more(checkpoint: Checkpoint | None, cuts_experts: bool, allocation: str) -> dict:
    """What is left dense, and how weights are compared and ranked, where it is not as preset."""
    linked = [
        "quota_scope",
        "ranking",
        "norm",
        *(["expert_worth"] if cuts_experts else []),
        *ALLOCATIONS[allocation].reads,
    ]
    kept = ["skip_layers", "skip_projections", "streaming"]
    keys = {name: f"prune_{name}" for name in [*linked, *kept]}
    settings = [
        *settings_of(PruneSpec, {name: keys[name] for name in linked}, always=ALLOCATIONS[allocation].reads),
        *settings_of(PruneSpec, {name: keys[name] for name in kept}, linked=False),
    ]
    usually = "quota, ranking and norm as published, nothing left dense"
    place, drawn = fold("More", "fold_prune_more", settings, usually)
    if not drawn:
        return {}
    chosen: dict[str, Any] = {}
    with place:
        left, right = keyed_columns(2, "prune_rest")
        with left:
            layers = range(checkpoint.geometry.layers if checkpoint is not None else 0)
            chosen["skip_layers"] = tuple(
                st.multiselect(
                    "Layers left dense",
                    layers,
                    key=keys["skip_layers"],
                    persist_state="session",
                    help=PruneSpec.model_fields["skip_layers"].description,
                )
            )
            chosen["skip_projections"] = tuple(
                st.multiselect(
                    "Projections left dense",
                    _projections(checkpoint),
                    key=keys["skip_projections"],
                    accept_new_options=True,  # other families have other names
                    persist_state="session",
                    help=PruneSpec.model_fields["skip_projections"].description,
                )
            )
            chosen["streaming"] = controls.draw(PruneSpec, "streaming", keys["streaming"], persist_state="session")
        with right:
            for name in linked:
                chosen[name] = controls.draw(PruneSpec, name, keys[name], bind="query-params")
    return chosen


def _projections(checkpoint: Checkpoint | None) -> tuple[str, ...]:
    """The usual names of what can be left dense, and where there are experts, all of theirs at once."""
    experts = checkpoint is not None and checkpoint.geometry.experts
    return (*_PROJECTIONS, *(("experts", "shared_experts") if experts else ()))


def _calibration(methods: list[str], checkpoint: Checkpoint | None) -> CalibrationParams:
    if methods and not any(METHODS[method].calibrated for method in methods):
        st.caption("These methods look at the weights alone and need no calibration text.")
    longest = checkpoint.geometry.max_length if checkpoint is not None else None
    preset = CalibrationParams()
    if longest is not None:
        preset = preset.model_copy(update={"seq_len": min(preset.seq_len, longest)})
    noise_key, noise = noise_of("prune", checkpoint)
    preset = preset.model_copy(update={"noise": noise})
    keys = {name: f"prune_{name}" for name in _CALIBRATION} | {"noise": noise_key}
    settings = settings_of(CalibrationParams, keys, CALIBRATION_IN_WORDS, CALIBRATION_IN_WORDS, **preset.model_dump())
    place, drawn = fold("Calibration", "fold_prune_calibration", settings)
    if not drawn:
        noise_note(preset, checkpoint)
        return preset
    values: dict[str, Any] = {}
    with place:
        preset_box("prune", checkpoint)
        columns = keyed_columns(4, "prune_text")
        for index, name in enumerate(_CALIBRATION):
            with columns[index % 4]:
                if name == "noise":
                    values[name] = draw_noise("prune", checkpoint)
                    continue
                values[name] = controls.draw(
                    CalibrationParams, name, keys[name], default=getattr(preset, name), bind="query-params"
                )
    try:
        params = CalibrationParams(**values)
    except ValidationError as error:
        st.error(plain(sentence(error)))
        st.stop()
    noise_note(params, checkpoint)
    return params


def _steps(methods: list[str]) -> StepParams:
    if not any(METHODS[method].weighs_steps for method in methods):
        return StepParams()
    keys = {name: f"prune_{name}" for name in StepParams.model_fields}
    place, drawn = fold("Noise steps that count", "fold_prune_steps", settings_of(StepParams, keys), "all, even")
    if not drawn:
        return StepParams()
    with place:
        weighing = [plain(row.title) for row in METHODS.values() if row.weighs_steps]
        st.caption(f"In the scores of {' and '.join(weighing)}. The paper counts all steps alike.")
        values = {}
        for column, name in zip(keyed_columns(4, "prune_steps"), StepParams.model_fields, strict=False):
            with column:
                values[name] = controls.draw(StepParams, name, f"prune_{name}", bind="query-params")
    try:
        return StepParams(**values)
    except ValidationError as error:
        st.error(plain(sentence(error)))
        st.stop()


def _discount(methods: list[str]) -> DiscountParams:
    if not any(METHODS[method].discounted for method in methods):
        return DiscountParams()
    keys = {name: f"prune_{name}" for name in DiscountParams.model_fields}
    always = ("sink_std", "sink_alpha", "discount_strength")
    settings = settings_of(DiscountParams, keys, always)
    place, drawn = fold("Discount of sinks: ω = 1 − λ·φ", "fold_prune_discount", settings, linked=True)
    if not drawn:
        return DiscountParams()
    with place:
        columns = keyed_columns(4, "prune_discount")
        values = {}
        for index, name in enumerate(DiscountParams.model_fields):
            with columns[index % 4]:
                values[name] = controls.draw(DiscountParams, name, f"prune_{name}", bind="query-params")
        return DiscountParams(**values)
