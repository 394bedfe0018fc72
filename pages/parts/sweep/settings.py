"""The settings of a sweep, drawn from its specs: its axes, and what all its points share."""

from typing import Any

import streamlit as st

from analysis.evaluation.presets import PRESETS
from analysis.models.checkpoint import Checkpoint
from analysis.models.registry import MODELS
from analysis.specs import (
    METHODS,
    PATTERNS,
    CalibrationParams,
    DiscountParams,
    EvaluateSpec,
    ModelSpec,
    PruneSpec,
    StepParams,
    SweepSpec,
    help_text,
)
from pages.parts import controls
from pages.parts.plain import plain
from pages.parts.pruning.calibration_presets import draw_noise
from pages.parts.pruning.settings import found, pattern_refused, patterns_not_offered
from pages.parts.trouble import EXPECTED, why

_LISTED = ("sparsities", "seeds", "strengths", "stds", "step_ranges")
_CALIBRATION = ("data", "samples", "seq_len", "diffusion_steps", "step_interval", "noise", "noise_eps")
_BY_AXES = {"discount_strength", "sink_std", "first_step", "last_step"}
_SAMPLES, _LENGTH, _LIMIT = 64, 128, 64  # minutes on a laptop


def sweep_settings(model: ModelSpec) -> tuple[SweepSpec | None, str]:
    """Draws the controls. The sweep they ask for, or why there is none, in one sentence."""
    checkpoint = found(model)
    checkpoint = None if isinstance(checkpoint, str) else checkpoint  # the sweep says why when it is begun
    axes = _axes(patterns_not_offered(checkpoint))
    with st.expander("Calibration, discount, allocation: the same for every point"):
        pruning = _shared_pruning(axes["methods"], checkpoint)
    evaluation = _evaluation()
    columns = st.columns(3)
    with columns[0]:
        keep = controls.draw(SweepSpec, "keep", "sweep_keep", bind="query-params")
    with columns[1]:
        footprints = controls.draw(SweepSpec, "footprints", "sweep_footprints", bind="query-params")
    others = columns[2].multiselect(
        SweepSpec.model_fields["other_models"].title or "",
        [name for name in MODELS if name != model.source],
        key="sweep_models",
        bind="query-params",
        accept_new_options=True,
        help=f"{SweepSpec.model_fields['other_models'].description} Names, hub ids or folders.",
    )
    refused = pattern_refused(checkpoint, *axes["patterns"])
    if refused:
        return None, refused
    try:
        spec = SweepSpec(
            model=model,
            other_models=tuple(ModelSpec(source=name, device=model.device, dtype=model.dtype) for name in others),
            pruning=PruneSpec(
                calibration=CalibrationParams(**pruning["calibration"]),
                discount=DiscountParams(**pruning["discount"]),
                steps=StepParams(**pruning["steps"]),
                allocation=pruning["allocation"],
                out="",
            ),
            evaluation=EvaluateSpec(**evaluation),
            keep=keep,
            footprints=footprints,
            **axes,
        )
    except EXPECTED as error:
        return None, why(error)
    return spec, ""


def _axes(not_offered: list[str]) -> dict[str, Any]:
    columns = st.columns([3, 2])
    field = SweepSpec.model_fields["methods"]
    methods = columns[0].multiselect(
        field.title or "",
        list(METHODS),
        default=list(field.default),
        key="sweep_methods",
        bind="query-params",
        format_func=lambda name: METHODS[name].title,
        help=help_text(field),
    )
    field = SweepSpec.model_fields["patterns"]
    patterns = columns[1].multiselect(
        field.title or "",
        [name for name in PATTERNS if name not in not_offered],
        default=list(field.default),
        key="sweep_patterns",
        bind="query-params",
        format_func=lambda name: PATTERNS[name].title if name in PATTERNS else name,
        accept_new_options=True,
        help=help_text(field),
    )
    axes: dict[str, Any] = {"methods": tuple(methods), "patterns": tuple(patterns)}
    for column, name in zip(st.columns(len(_LISTED)), _LISTED, strict=True):
        field = SweepSpec.model_fields[name]
        text = column.text_input(
            field.title or "",
            value=", ".join(map(str, field.default)),
            key=f"sweep_{name}",
            bind="query-params",
            help=f"{field.description} With commas between.",
        )
        axes[name] = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in methods:
        row = METHODS[name]
        if row.control is not None and row.control not in methods:
            st.caption(
                f":material/info: Without *{plain(METHODS[row.control].title)}* a gain of {plain(row.title)} cannot be "
                "put down to the sinks."
            )
    return axes


def _shared_pruning(methods: tuple[str, ...], checkpoint: Checkpoint | None) -> dict:
    shared: dict = {"calibration": {}, "discount": {}, "steps": {}}
    presets = {"samples": _SAMPLES, "seq_len": _LENGTH}
    columns = st.columns(4)
    for index, name in enumerate(_CALIBRATION):
        with columns[index % 4]:
            if name == "noise":
                shared["calibration"][name] = draw_noise("sweep", checkpoint)
                continue
            shared["calibration"][name] = controls.draw(
                CalibrationParams, name, f"sweep_{name}", default=presets.get(name), bind="query-params"
            )
    with columns[3]:
        shared["allocation"] = controls.draw(PruneSpec, "allocation", "sweep_allocation", bind="query-params")
    rows = [METHODS[name] for name in methods]
    for part, spec, read in (
        ("discount", DiscountParams, any(row.discounted for row in rows)),
        ("steps", StepParams, any(row.weighs_steps for row in rows)),
    ):
        if read:
            names = [name for name in spec.model_fields if name not in _BY_AXES]
            for index, name in enumerate(names):
                with columns[index % 4]:
                    shared[part][name] = controls.draw(spec, name, f"sweep_{name}", bind="query-params")
    return shared


def _evaluation() -> dict:
    columns = st.columns([2, 1, 1, 1])
    tasks = columns[0].multiselect(
        "Tasks",
        ["bundled", "paper", *PRESETS],
        default=["bundled"],
        key="sweep_tasks",
        bind="query-params",
        accept_new_options=True,
        help=EvaluateSpec.model_fields["tasks"].description,
        format_func=lambda name: PRESETS[name].title if name in PRESETS else name,
    )
    values: dict = {"tasks": tuple(tasks)}
    for column, name in zip(columns[1:], ("limit", "draws", "seed"), strict=True):
        with column:
            default = _LIMIT if name == "limit" else None
            values[name] = controls.draw(EvaluateSpec, name, f"sweep_{name}", default=default, bind="query-params")
    return values
