"""The settings of a sweep, drawn from its specs: its axes, and the settings all points share."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import streamlit as st

from analysis.models.checkpoint import Checkpoint
from analysis.models.registry import MODELS
from analysis.pruned.report_file import both_titles
from analysis.specs import (
    AS_STORED,
    METHODS,
    PATTERNS,
    POLICIES,
    QUANTIZERS,
    CalibrationParams,
    DiscountParams,
    EvaluateSpec,
    ModelSpec,
    PruneSpec,
    QuantizationParams,
    Reader,
    Spec,
    StepParams,
    SweepSpec,
    choices,
)
from pages.parts import controls
from pages.parts.accuracy.choice import draw_tasks
from pages.parts.controls import fold, keyed_columns, keys_of, settings_of
from pages.parts.plain import plain
from pages.parts.pruning.runs import SEEDS
from pages.parts.pruning.settings import (
    CALIBRATION_IN_WORDS,
    found,
    noise_of,
    pattern_refused,
    patterns_not_offered,
    unfit_noises,
)
from pages.parts.session import EXPECTED, why

_FIRST = ("sparsities", "seeds", "strengths")
_CHOSEN, _WRITTEN = ("patterns", "quantizers", "bits"), ("stds", "step_ranges")  # axes that are rarely changed
_SEEDS = f"0-{SEEDS - 1}"
_CALIBRATION = ("data", "samples", "seq_len", "diffusion_steps", "step_interval", "noise", "noise_eps")
_IN_WORDS = CALIBRATION_IN_WORDS | {"allocation": "sparsity over layers {}"}
_ALWAYS = ("data", "samples", "seq_len", "allocation")  # told in the fold's title
_BY_AXES = {"bits", "quantizer", "discount_strength", "sink_std", "first_step", "last_step"}
_EVICTION = ("policies", "budgets")
_SAMPLES, _LENGTH = 64, 128  # minutes on a laptop


def asked_by_address() -> bool:
    """Return whether the address sets up a new sweep."""
    parts = (SweepSpec, EvaluateSpec, CalibrationParams, DiscountParams, StepParams, QuantizationParams)
    fields = {name for spec in parts for name in spec.model_fields} | {"allocation", "models"}
    return any(f"sweep_{name}" in st.query_params for name in fields)


def sweep_settings(model: ModelSpec) -> tuple[SweepSpec | None, str]:
    """Draw the controls. Return their sweep, or None and why, in one sentence."""
    checkpoint = found(model)
    checkpoint = None if isinstance(checkpoint, str) else checkpoint  # the sweep says why when it is begun
    axes = _axes(patterns_not_offered(checkpoint))
    pruning = _shared_pruning(axes, checkpoint)
    evaluation = draw_tasks("sweep", keyed_columns([2, 1, 1, 1], "sweep_tasks"))
    more = _more(model)
    refused = pattern_refused(checkpoint, *axes["patterns"])
    if refused:
        return None, refused
    try:
        spec = SweepSpec(
            model=model,
            pruning=PruneSpec(
                calibration=CalibrationParams(**pruning[CalibrationParams]),
                discount=DiscountParams(**pruning[DiscountParams]),
                steps=StepParams(**pruning[StepParams]),
                quantization=QuantizationParams(**pruning[QuantizationParams]),
                **pruning[PruneSpec],
                out="",
            ),
            evaluation=EvaluateSpec(**evaluation),
            **axes,
            **more,
        )
    except EXPECTED as error:
        return None, why(error)
    return spec, ""


def _axes(not_offered: list[str]) -> dict[str, Any]:
    """Draw what differs between points; return it by the field of the spec."""
    methods = controls.draw_several(SweepSpec, "methods", "sweep_methods", METHODS, wrap=True, format_func=both_titles)
    axes = {"methods": methods, **_written(_FIRST, "sweep_listed")}
    keys = keys_of("sweep", (*_CHOSEN, *_WRITTEN, *_EVICTION))
    place, drawn = fold("More axes", "fold_sweep_axes", settings_of(SweepSpec, keys))
    if drawn:
        with place:
            axes |= _more_axes(not_offered)
    else:
        axes |= {name: SweepSpec.model_fields[name].default for name in (*_CHOSEN, *_WRITTEN)}
    quantizers = axes["quantizers"] if any(bits != AS_STORED for bits in axes["bits"]) else ()
    chosen: list[tuple[Reader, Mapping[str, Reader]]] = [(METHODS[name], METHODS) for name in methods]
    chosen += [(QUANTIZERS[name], QUANTIZERS) for name in quantizers]
    for row, table in chosen:
        if row.control is not None and row.control not in (*methods, *quantizers):
            st.caption(
                f":material/info: Without *{plain(table[row.control].title)}* a gain of {plain(row.title)} cannot be "
                "attributed to the sinks."
            )
    return axes


def _written(names: Sequence[str], key: str) -> dict[str, Any]:
    """Draw axes whose values are written with commas between. key: of their row."""
    return {
        name: controls.draw_list(SweepSpec, name, f"sweep_{name}", column, [_SEEDS] if name == "seeds" else None)
        for column, name in zip(keyed_columns(len(names), key), names, strict=True)
    }


def _more_axes(not_offered: list[str]) -> dict[str, Any]:
    """Draw the axes that are rarely changed. not_offered: patterns that the model cannot take."""
    axes: dict[str, Any] = {}
    choices_of: dict[str, tuple[list[Any], Callable[[Any], str]]] = {
        "patterns": (
            [name for name in PATTERNS if name not in not_offered],
            lambda name: PATTERNS[name].title if name in PATTERNS else name,
        ),
        "quantizers": (list(QUANTIZERS), lambda name: QUANTIZERS[name].title),
        "bits": (list(choices(QuantizationParams.model_fields["bits"])), str),
    }
    for column, (name, (options, title)) in zip(keyed_columns(3, "sweep_chosen"), choices_of.items(), strict=True):
        axes[name] = controls.draw_several(
            SweepSpec,
            name,
            f"sweep_{name}",
            options,
            column,
            wrap=True,
            format_func=title,
            accept_new_options=name == "patterns",
        )
    return axes | _written(_WRITTEN, "sweep_written") | _eviction()


def _eviction() -> dict[str, Any]:
    """Draw policies and budgets of the dense model's keys and values."""
    columns = keyed_columns([3, 2], "sweep_eviction")
    asked = {name: row for name, row in POLICIES.items() if row.asked}
    described = SweepSpec.model_fields["policies"].description or ""
    policies = controls.draw_several(
        SweepSpec,
        "policies",
        "sweep_policies",
        asked,
        columns[0],
        wrap=True,
        format_func=lambda name: POLICIES[name].title,
        help=" ".join([described, *(f"{row.title}: {row.help}" for row in asked.values())]),
    )
    budgets = controls.draw_list(SweepSpec, "budgets", "sweep_budgets", columns[1])
    return {"policies": policies, "budgets": budgets}


def _shared_pruning(axes: dict[str, Any], checkpoint: Checkpoint | None) -> dict[type[Spec], dict[str, Any]]:
    """Draw the settings common to every point. Return them by spec."""
    quantizes = any(bits != AS_STORED for bits in axes["bits"])
    rows: list[Reader] = [METHODS[name] for name in axes["methods"]]
    rows += [QUANTIZERS[name] for name in axes["quantizers"]] if quantizes else []
    noise_key, noise = noise_of("sweep", checkpoint)
    presets: dict[str, Any] = {"samples": _SAMPLES, "seq_len": _LENGTH, "noise": noise}
    parts: dict[type[Spec], list[str]] = {
        CalibrationParams: list(_CALIBRATION),
        PruneSpec: ["allocation"],
        DiscountParams: _not_by_axes(DiscountParams) if any(row.discounted for row in rows) else [],
        StepParams: _not_by_axes(StepParams) if any(row.weighs_steps for row in rows) else [],
        QuantizationParams: _not_by_axes(QuantizationParams) if quantizes else [],
    }
    keys = {spec: keys_of("sweep", names) for spec, names in parts.items()}
    keys[CalibrationParams]["noise"] = noise_key
    settings = [one for spec in parts for one in settings_of(spec, keys[spec], _ALWAYS, _IN_WORDS, **presets)]
    place, drawn = fold("The same for every point", "fold_sweep", settings)
    if not drawn:
        return {spec: {name: presets[name] for name in names if name in presets} for spec, names in parts.items()}
    columns = cycle(keyed_columns(4, "sweep_text", place))
    # Of the noise alone: other fields have choices of these names.
    unfit: dict[type[Spec], list[str]] = {CalibrationParams: unfit_noises(checkpoint)}
    return {spec: controls.draw_each(spec, keys[spec], columns, presets, without=unfit.get(spec, ())) for spec in parts}


def _not_by_axes(spec: type[Spec]) -> list[str]:
    return [name for name in spec.model_fields if name not in _BY_AXES]


def _more(model: ModelSpec) -> dict[str, Any]:
    """Draw what each point keeps and measures, and other models. Return what is not preset."""
    drawn_each = keys_of("sweep", ("keep", "decompose", "footprints"))
    keys = drawn_each | {"other_models": "sweep_models"}
    words = {
        "keep": "keep {}",
        "decompose": "take the recipe apart: {}",
        "footprints": "size and speed {}",
        "other_models": "other models: {}",
    }
    place, drawn = fold("More settings", "fold_sweep_more", settings_of(SweepSpec, keys, words=words))
    if not drawn:
        return {}
    *columns, last = keyed_columns(4, "sweep_more", place, vertical_alignment="bottom")
    more = controls.draw_each(SweepSpec, drawn_each, columns)
    others = controls.draw_several(
        SweepSpec,
        "other_models",
        keys["other_models"],
        [name for name in MODELS if name != model.source],
        last,
        wrap=True,
        accept_new_options=True,
        help=f"{SweepSpec.model_fields['other_models'].description} Names, hub ids or folders.",
    )
    more["other_models"] = tuple(ModelSpec(source=name, device=model.device, dtype=model.dtype) for name in others)
    return more
