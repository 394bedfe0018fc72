"""Settings of preview and pruning, drawn from their specs, and the source of the numbers on Prune, headline and figures
alike: the current study, or the runs here. Where no spec can run, one sentence says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.run_pairs import RunPair, has_setting
from analysis.models.checkpoint import Checkpoint, checkpoint_of
from analysis.models.family import why_no_experts_are_cut
from analysis.specs import (
    ALLOCATIONS,
    CALIBRATION_PRESETS,
    METHODS,
    NOISES,
    PATTERNS,
    QUANTIZERS,
    CalibrateSpec,
    CalibrationParams,
    DiscountParams,
    ModelSpec,
    PruneSpec,
    QuantizationParams,
    Reader,
    Spec,
    StepParams,
    TuneParams,
    sentence,
    setting_key,
)
from analysis.specs.messages import why_nothing_goes
from analysis.specs.pruning import only_read
from pages.parts import address, controls
from pages.parts.accuracy.choice import evaluations
from pages.parts.controls import fold, keys_of, settings_of
from pages.parts.plain import plain
from pages.parts.pruning.runs import draw_seeds, sweeps_at_work
from pages.parts.session import EXPECTED, not_in_address, why
from pages.parts.study.choice import OfStudy, found_by_study
from pages.parts.tuning.preview import actions, key_of, remember, sliders, stored_settings

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


_Params = TypeVar("_Params", bound=Spec)
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_STRENGTH = "discount_strength"
_BASE, _OWN = "prune_base", "As chosen under Advanced"
_CALIBRATION = ("data", "samples", "seq_len", "seed", "diffusion_steps", "step_interval", "noise", "noise_eps")


@dataclass(frozen=True)
class Asked:
    """Values of the controls. specs: one per method; problem: why none is run, or ''. calibration, setting: of the
    preview, and of every pruning that reads them. stored: fields of `StatisticsParams` other than the calibration.
    discounts: whether some method discounts sinks. seeds: calibration seeds to prune with."""

    specs: list[PruneSpec]
    problem: str
    calibration: CalibrationParams
    setting: TuneParams
    stored: Mapping[str, Any]
    discounts: bool
    seeds: int = 1


def prune_settings(model: ModelSpec) -> Asked:
    """Draw the controls: one set for the preview, the prunings and all that follows."""
    checkpoint = found(model)
    if isinstance(checkpoint, str):
        return Asked([], checkpoint, DEFAULT_CALIBRATION, TuneParams(), {}, discounts=False)
    _take_old_steps()
    method = st.container(key="prune_method_place")
    place, strength = st.container(key="prune_sparsity_place"), st.container(key="prune_strength_place")
    number, first = st.container(key="prune_seeds_place"), st.container(key="prune_first_place", gap="small")
    advanced = st.expander("Advanced", key="fold_prune_advanced")
    with advanced:
        methods = _methods(checkpoint, method)
        quantization = _quantization(checkpoint)
    rows: list[Reader] = [METHODS[method] for method in methods]
    rows += [QUANTIZERS[quantization.quantizer]] if quantization.active else []
    with first:
        discount = _discount(rows, strength)
        calibration = _calibration(rows, checkpoint)
    with advanced:
        steps = _steps(rows, calibration, refused=first)
        what = _what(checkpoint, place)
        cuts_experts = what["pattern"] in PATTERNS and PATTERNS[what["pattern"]].cuts_experts
        more = _more(checkpoint, cuts_experts, what["allocation"])
        stored = stored_settings()
    setting = TuneParams(discount=discount, sparsity=what["sparsity"], **steps.model_dump())
    discounts = any(METHODS[method].discounted for method in methods)
    if discounts:
        remember(setting)
        with advanced.expander("Presets, undo, A and B", key="fold_prune_tried"):
            actions()
    chosen = {**what, **more, "calibration": calibration, "steps": steps, "discount": discount}
    chosen["quantization"] = quantization
    specs, problem = _specs(model, methods, chosen, checkpoint)
    with number:
        seeds = draw_seeds() if any(spec.calibrated for spec in specs) else 1
    return Asked(specs, problem, calibration, setting, stored, discounts, seeds)


def _specs(
    model: ModelSpec, methods: list[str], chosen: dict[str, Any], checkpoint: Checkpoint | None
) -> tuple[list[PruneSpec], str]:
    """Return one spec per chosen method, and why none is to run: settings conflict, or change nothing."""
    if not methods:
        return [], "Choose at least one method."
    refused = pattern_refused(checkpoint, chosen["pattern"])
    if refused:
        return [], refused
    given = {name: value.model_dump() if isinstance(value, Spec) else value for name, value in chosen.items()}
    try:
        specs = [PruneSpec.model_validate(only_read({**given, "model": model, "method": name})) for name in methods]
    except EXPECTED as error:
        return [], why(error)
    if any(spec.changes_nothing for spec in specs):
        return [], "Without pruning, at 16 bits, the model stays as it is. Set fewer bits, or leave that method out."
    if idle := next(filter(None, map(why_nothing_goes, specs)), ""):
        return specs, idle
    same = [spec.method for spec in specs if spec.discount.discount_strength == 0 and METHODS[spec.method].discounted]
    if any(METHODS[method].control in methods for method in same):
        return specs, "λ = 0 is no discount: the model would be the same with and without it. Raise λ."
    return specs, ""


def _take_old_steps() -> None:
    """Read the noise steps of an old address, such as 5-50, from before they had their own fields."""
    stated = st.query_params.pop("tune_steps", "")
    first, _, last = stated.partition("-")
    if first.isdigit() and last.isdigit():
        for name, value in (("first_step", int(first)), ("last_step", int(last))):
            st.session_state[key_of(name)] = min(value, 1000)
    elif stated:
        not_in_address(f"no noise steps “{stated}”, which would read like 5-50.")


def patterns_not_offered(checkpoint: Checkpoint | None) -> list[str]:
    """Return the patterns that cut out whole experts, if the model is known to have none to cut."""
    if checkpoint is None or checkpoint.architecture.mixture:
        return []
    return [name for name, row in PATTERNS.items() if row.cuts_experts]


def pattern_refused(checkpoint: Checkpoint | None, *patterns: str) -> str:
    """Return why this model cannot take one of these patterns, as an address may name it; '' if none is known to be
    refused.
    """
    if checkpoint is None or not set(patterns) & set(patterns_not_offered(checkpoint)):
        return ""
    return why_no_experts_are_cut(checkpoint.architecture)


def found(model: ModelSpec) -> Checkpoint | str | None:
    """Return the model's checkpoint; None if it is not on disk, or why it cannot be used."""
    try:
        return checkpoint_of(model)
    except EXPECTED as error:
        return why(error)


def _methods(checkpoint: Checkpoint | None, above: DeltaGenerator) -> list[str]:
    """Draw the methods one by one, and above them the one that is pruned with and without the discount; return them."""
    causal = checkpoint is not None and checkpoint.architecture.noise is None
    names = [name for name, method in METHODS.items() if not (causal and method.noised)]
    key = "prune_methods_causal" if causal else "prune_methods"
    methods = st.multiselect(
        "Every method",
        names,
        default=[name for name in with_and_without() if name in names] or [_published()],
        key=key,
        bind="query-params",
        format_func=lambda name: METHODS[name].title,
        help="\n\n".join(f"**{METHODS[name].title}** {METHODS[name].help}" for name in names),
    )
    _base(names, methods, key, above)
    if causal:
        above.caption("This model has no mask token, so methods that read noised text are left out.")
    for method in methods:
        row = METHODS[method]
        if row.control is not None and row.control != row.published and row.control not in methods:
            above.caption(
                f":material/info: Without *{plain(METHODS[row.control].title)}* a gain of {plain(row.title)} cannot be "
                "attributed to the sinks."
            )
    return methods


def _base(names: list[str], methods: list[str], key: str, place: DeltaGenerator) -> None:
    """Draw the choice of a method by its published name, which stands for itself with the discount and its control.
    names: that the model takes. methods: that are chosen, in the widget of that key."""
    bases = {
        str(row.published): [name for name in (row.name, row.control) if name in names] or [str(row.published)]
        for row in METHODS.values()
        if row.discounted and row.tokens == "sinks" and row.published in names
    }
    chosen = next((name for name, group in bases.items() if set(group) == set(methods)), None)
    if chosen is None and len(methods) == 1 and not METHODS[methods[0]].discounted:
        bases, chosen = bases | {methods[0]: methods}, methods[0]
    st.session_state[_BASE] = chosen or _OWN

    def choose() -> None:
        st.session_state[key] = bases.get(st.session_state[_BASE], methods)

    place.selectbox(
        "Method",
        [*bases, *([] if chosen else [_OWN])],
        key=_BASE,
        format_func=lambda name: _OWN if name == _OWN else METHODS[name].title,
        on_change=choose,
        help="Pruned with the sink discount and without it, all else equal. Advanced has every method.",
    )


def _published() -> str:
    """Return the published baseline of the default method, for models that the method does not support."""
    return METHODS[PruneSpec.model_fields["method"].default].published or "wanda"


def with_and_without() -> list[str | None]:
    """Return the default method, and the same without its discount."""
    default = PruneSpec.model_fields["method"].default
    return [default, METHODS[default].control]


def _what(checkpoint: Checkpoint | None, above: DeltaGenerator) -> dict:
    """Draw sparsity, which goes above, pattern and allocation; return their values."""
    below = st.container(key="prune_pattern_place")
    with below:
        pattern = controls.draw(PruneSpec, "pattern", "prune_pattern", without=patterns_not_offered(checkpoint))
    fixed = PATTERNS[pattern].sparsity if pattern in PATTERNS else None
    with below:
        if fixed is not None:
            allocation = next(name for name, row in ALLOCATIONS.items() if row.even)
            fixes = f"{plain(pattern)} fixes every layer's."
            st.selectbox("Sparsity over layers", [allocation], disabled=True, help=fixes)
        else:
            allocation = controls.draw(PruneSpec, "allocation", "prune_allocation")
    with above:
        if fixed is not None:
            removes = f"{plain(pattern)} removes exactly {fixed:.4g} of the weights."
            st.slider("Sparsity", 0.0, 0.95, fixed, format="percent", disabled=True, help=removes)
            sparsity = fixed
        else:
            sparsity = controls.draw_slider(PruneSpec, "sparsity", "prune_sparsity")
    return {"pattern": pattern, "allocation": allocation, "sparsity": sparsity}


def _more(checkpoint: Checkpoint | None, cuts_experts: bool, allocation: str) -> dict:
    """Draw what stays dense and how weights are ranked. Return what is not preset."""
    reads = ALLOCATIONS[allocation].reads
    linked = keys_of("prune", ("quota_scope", "ranking", "norm", *(["expert_worth"] if cuts_experts else []), *reads))
    kept = keys_of("prune", ("skip_layers", "skip_projections", "streaming"))
    settings = [*settings_of(PruneSpec, linked, always=reads), *settings_of(PruneSpec, kept, linked=False)]
    place, drawn = fold("More settings", "fold_prune_more", settings)
    if not drawn:
        return {}
    chosen: dict[str, Any] = {}
    with place:
        with st.container(key="prune_rest"):
            layers = range(checkpoint.geometry.layers if checkpoint is not None else 0)
            chosen["skip_layers"] = controls.draw_several(
                PruneSpec, "skip_layers", kept["skip_layers"], layers, persist_state="session"
            )
            chosen["skip_projections"] = controls.draw_several(
                PruneSpec,
                "skip_projections",
                kept["skip_projections"],
                _projections(checkpoint),
                accept_new_options=True,  # other families have other names
                persist_state="session",
            )
            chosen["streaming"] = controls.draw(PruneSpec, "streaming", kept["streaming"], persist_state="session")
        return chosen | controls.draw_each(PruneSpec, linked, [place])


def _projections(checkpoint: Checkpoint | None) -> tuple[str, ...]:
    """Return the usual names of projections to leave dense, and if there are experts, all of theirs at once."""
    experts = checkpoint is not None and checkpoint.geometry.experts
    return (*_PROJECTIONS, *(("experts", "shared_experts") if experts else ()))


def _quantization(checkpoint: Checkpoint | None) -> QuantizationParams:
    """Draw the bits of the remaining weights."""
    keys = keys_of("prune", QuantizationParams.model_fields)
    words = {"bits": "{} bits", "group": "groups of {}", "symmetric": "symmetric levels {}"}
    settings = settings_of(QuantizationParams, keys, words=words)
    place, drawn = fold("Quantization", "fold_prune_bits", settings)
    if not drawn:
        return QuantizationParams()
    causal = checkpoint is not None and checkpoint.architecture.noise is None
    without = [name for name, row in QUANTIZERS.items() if causal and row.noised]
    with place:
        params = QuantizationParams(**controls.draw_each(QuantizationParams, keys, [place], without=without))
        row = QUANTIZERS[params.quantizer]
        if params.active and row.control is not None:
            st.caption(
                f":material/info: Run *{plain(QUANTIZERS[row.control].title)}* too: without it a gain of "
                f"{plain(row.title)} cannot be attributed to the sinks."
            )
    return params


def _calibration(rows: list[Reader], checkpoint: Checkpoint | None) -> CalibrationParams:
    if rows and not any(row.calibrated for row in rows):
        st.caption("These methods look at the weights alone and need no calibration text.")
    noise_key, noise = noise_of("prune", checkpoint)
    longest = DEFAULT_CALIBRATION.seq_len if checkpoint is None else checkpoint.geometry.max_length
    seq_len = min(DEFAULT_CALIBRATION.seq_len, longest)
    preset = DEFAULT_CALIBRATION.model_copy(update={"seq_len": seq_len, "noise": noise})
    keys = keys_of("prune", _CALIBRATION) | {"noise": noise_key}
    settings = settings_of(CalibrationParams, keys, words=CALIBRATION_IN_WORDS, **preset.model_dump())
    place, drawn = fold("Calibration text", "fold_prune_calibration", settings)
    if not drawn:
        noise_note(preset, checkpoint)
        return preset
    with place:
        preset_box("prune", checkpoint)
    values = controls.draw_each(CalibrationParams, keys, [place], vars(preset), without=unfit_noises(checkpoint))
    params = _valid(CalibrationParams, values)
    noise_note(params, checkpoint)
    return params


def _valid(kind: type[_Params], values: dict[str, Any], place: Any = st) -> _Params:
    """Return the parameters; end the page after saying in `place` why they do not go together."""
    try:
        return kind(**values)
    except ValidationError as error:
        place.error(plain(sentence(error)))
        st.stop()


def _steps(rows: list[Reader], calibration: CalibrationParams, refused: DeltaGenerator) -> StepParams:
    """Draw which noise steps count. refused: where it is said why some do not go together."""
    if not any(row.weighs_steps for row in rows):
        return StepParams()
    if not NOISES[calibration.noise].by_step:
        st.caption("This noise masks the same share at every step, so all steps weigh the same.")
        return StepParams()
    keys = keys_of("prune", StepParams.model_fields)
    place, drawn = fold("Noise steps that count", "fold_prune_steps", settings_of(StepParams, keys))
    if not drawn:
        return StepParams()
    with place:
        weighing = [plain(row.title) for row in rows if row.weighs_steps]
        st.caption(f"In the scores of {' and '.join(weighing)}. The paper weights all steps equally.")
    return _valid(StepParams, controls.draw_each(StepParams, keys, [place]), refused)


def _discount(rows: list[Reader], above: DeltaGenerator) -> DiscountParams:
    """Draw how strongly sinks are discounted, which goes above; which tokens are sinks is in a fold."""
    if not any(row.discounted for row in rows):
        return DiscountParams()
    label = "Discount strength λ"
    with above:
        strength = controls.draw_slider(DiscountParams, _STRENGTH, key_of(_STRENGTH), label)
    values = {_STRENGTH: strength}
    keys = keys_of("prune", (name for name in DiscountParams.model_fields if name != _STRENGTH))
    place, drawn = fold("Which tokens are sinks", "fold_prune_discount", settings_of(DiscountParams, keys))
    if drawn:
        with place:
            for name, key in keys.items():
                draw = controls.draw_slider if name in sliders() else controls.draw
                values[name] = draw(DiscountParams, name, key)
    return DiscountParams(**values)


_STUDY, _RUNS = "Study", "Runs here"  # as the address holds them
_SOURCE, _PRESET, _STARTED = "prune_source", "prune_source_preset", "prune_started"


def choose_source(specs: Sequence[PruneSpec], pairs: Sequence[RunPair]) -> OfStudy | None:
    """Draw the choice between the current study and the runs here, where both have the settings; return the study where
    it is shown, None where the runs are. Preset is the one with more calibration seeds, and the runs once they were
    started here or the address says so. pairs: of `matched_pairs`.
    """
    discounted = next((spec for spec in specs if METHODS[spec.method].control is not None), None)
    study = None if discounted is None else found_by_study(discounted)
    here = sum(has_setting(pair, specs) for pair in pairs)  # calibration seeds
    if discounted is not None and here and sweeps_at_work():  # whose runs stay shown when it ends
        st.session_state[_STARTED] = st.session_state.get(_STARTED, set()) | {setting_key(discounted)}
    started = discounted is not None and setting_key(discounted) in st.session_state.get(_STARTED, ())
    scored = address.named("evaluation") or any(not record.ended for record in evaluations())
    first = started or scored or sweeps_at_work() or st.query_params.get(_SOURCE) == _RUNS
    if study is None or not (here or first):
        return study
    preset = _RUNS if first or study.contrast.effect.seeds < here else _STUDY
    chosen = st.session_state.get(_SOURCE, st.query_params.get(_SOURCE))
    if chosen not in (_STUDY, _RUNS) or st.session_state.get(_PRESET, preset) != preset:
        st.session_state[_SOURCE] = preset
    st.session_state[_PRESET] = preset
    shown = st.segmented_control(
        "Source of the numbers",
        [_STUDY, _RUNS],
        required=True,
        key=_SOURCE,
        bind="query-params",
        label_visibility="collapsed",
    )
    return study if shown == _STUDY else None


def note_start(specs: Sequence[PruneSpec]) -> None:
    """Remember that these prunings were started here, so that their runs are shown."""
    st.session_state[_STARTED] = {setting_key(spec) for spec in specs}
    st.session_state[_SOURCE] = _RUNS
