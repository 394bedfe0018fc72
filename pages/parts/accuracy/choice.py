"""What pruning cost: the dense model and finished runs of it on benchmark tasks, compared as the items come in."""

from datetime import datetime
from typing import Any

import streamlit as st

from analysis.engine import JobRecord
from analysis.evaluation.presets import PRESETS
from analysis.specs import METHODS, EvaluateSpec, ModelSpec, PruneSpec, told_apart
from pages.parts import controls
from pages.parts.accuracy.panel import accuracy_panel
from pages.parts.plain import plain
from pages.parts.session import engine, submit
from pages.parts.trouble import EXPECTED, refusal_kept, say_refusal, why

_PLACE, _PRESELECTED, _CHOSEN = "evaluate", "accuracy_preselected", "accuracy_chosen"
_RUNS = "accuracy_runs"
_LIMIT = 64  # items a task that are preset: minutes on a laptop, and enough to see large differences
MOST = 6  # models compared at once that are preselected


def prune_accuracy(model: ModelSpec) -> None:
    """Draws the choice of runs and tasks, and the evaluation asked for last or named in the address."""
    runs = _runs(model)
    st.subheader("Accuracy")
    if runs:
        _question(model, runs)
    else:
        st.caption("When a pruning of this model has finished, compare its accuracy with the dense model here.")
    shown = _shown()
    if shown is not None:
        accuracy_panel(shown)


def _question(model: ModelSpec, runs: dict[str, tuple[str, str]]) -> None:
    _preselect(runs)
    chosen = st.multiselect(
        "Compare the dense model with",
        list(runs),
        key=_RUNS,
        persist_state="session",
        help="Every model gets the same items and the same masks, so differences are paired.",
    )
    st.session_state[_CHOSEN] = chosen
    columns = st.columns([2, 1, 1, 1])
    tasks = columns[0].multiselect(
        "Tasks",
        ["bundled", "paper", *PRESETS],
        default=["bundled"],
        key="accuracy_tasks",
        bind="query-params",
        accept_new_options=True,
        help=EvaluateSpec.model_fields["tasks"].description,
        format_func=lambda name: PRESETS[name].title if name in PRESETS else name,
    )
    values = {}
    for column, name in zip(columns[1:], ("limit", "draws", "seed"), strict=True):
        with column:
            default = _LIMIT if name == "limit" else None
            values[name] = controls.draw(EvaluateSpec, name, f"accuracy_{name}", default=default, bind="query-params")
    values |= _more()
    spec, problem = None, "" if tasks else "Choose at least one task."
    try:
        spec = EvaluateSpec(
            model=model,
            compare=tuple(ModelSpec(source=runs[name][1], device=model.device, dtype=model.dtype) for name in chosen),
            names=("dense", *(runs[name][0] for name in chosen)),
            tasks=tuple(tasks) or ("bundled",),
            **values,
        )
    except EXPECTED as error:
        problem = why(error)
    if problem:
        st.error(plain(problem))
    st.button(
        "Compare accuracy",
        key="compare_accuracy",
        type="primary",
        icon=":material/monitoring:",
        disabled=bool(problem),
        help=plain(problem) or None,
        on_click=_evaluate,
        args=(spec,),
    )
    say_refusal(_PLACE)


def _more() -> dict:
    """How the items are put to the models, where it is not to be as the tasks say."""
    values = {}
    with st.expander("More: examples, guidance, written answers, your own tasks"):
        columns = st.columns(4)
        for column, name in zip(columns, ("shots", "guidance", "gen_length", "chat_template"), strict=True):
            with column:
                values[name] = controls.draw(EvaluateSpec, name, f"accuracy_{name}", bind="query-params")
        # Not from the address: functions in the folder are run, and nobody is to be led there by a link.
        values["include_path"] = (
            controls.draw(EvaluateSpec, "include_path", "accuracy_include_path", persist_state="session") or None
        )
    return values


def _evaluate(spec: EvaluateSpec) -> None:
    """A callback, so that no rerun that something else on the page asks for can lose the click."""
    with refusal_kept(_PLACE):
        st.query_params["evaluation"] = submit("evaluate", spec).id


# --- the evaluation shown ---------------------------------------------------------------------------------------


def _shown() -> JobRecord | None:
    """The evaluation in the address, else the newest; with the others to choose from."""
    records = {record.id: record for record in engine().jobs("evaluate")}
    asked = st.query_params.get("evaluation")
    if asked and asked not in records:
        instead = " Here is the newest one instead." if records else ""
        st.warning(f"The evaluation in this address is not in the store.{instead}")
    if not records:
        return None
    shown = asked if asked in records else next(iter(records))
    if len(records) > 1:
        st.session_state["evaluation_shown"] = shown
        shown = st.selectbox(
            "Evaluation",
            list(records),
            key="evaluation_shown",
            on_change=_choose,
            format_func=lambda job: _title(records[job]),
        )
    else:
        st.caption(plain(_title(records[shown])))
    return records[shown]


def _choose() -> None:
    st.query_params["evaluation"] = st.session_state["evaluation_shown"]


def _title(record: JobRecord) -> str:
    """An evaluation in one line: when, which models, which tasks, how many items."""
    spec = record.parameters(EvaluateSpec)
    when = datetime.fromtimestamp(record.created).strftime("%d %b %H:%M:%S")
    names = ", ".join(spec.names or (model.source for model in spec.models))
    limit = f"{spec.limit} items a task" if spec.limit else "all items"
    return f"{when} · {names} · {', '.join(spec.tasks)} · {limit} · seed {spec.seed}"


# --- runs to compare --------------------------------------------------------------------------------------------


def _runs(model: ModelSpec) -> dict[str, tuple[str, str]]:
    """Finished runs of this model, newest first: label -> (name in the results, folder)."""
    records = [record for record in engine().jobs("prune") if record.spec["model"]["source"] == model.source]
    finished = [(record, result.folder) for record in records if (result := engine().result(record)) is not None]
    kept = [(record, folder) for record, folder in finished if folder is not None]
    named = [_name_and_label(record.spec) for record, _ in kept]
    details = told_apart([label for _, label in named], [record.spec for record, _ in kept], PruneSpec)
    found: dict[str, tuple[str, str]] = {}
    for (record, folder), (name, label), detail in zip(kept, named, details, strict=True):
        if detail:  # others read the same but for a finer setting
            label, name = f"{label} · {detail}", f"{name} {detail}"
        if label in found:
            label, name = f"{label} · {record.id[:4]}", f"{name} {record.id[:4]}"
        if any(name == other for other, _ in found.values()):
            name = f"{name} seed {record.spec['calibration']['seed']}"
        found[label] = (name, str(folder))
    return found


def _name_and_label(spec: dict[str, Any]) -> tuple[str, str]:
    """What a run is called in results, and in the box to choose it from."""
    name = f"{spec['method']} {spec['sparsity']:.0%}"
    if any(spec[part] != PruneSpec.model_fields[part].default for part in ("pattern", "allocation")):
        name += f" {spec['pattern']} {spec['allocation']}"
    return name, f"{METHODS[spec['method']].title} · {name.partition(' ')[2]} · seed {spec['calibration']['seed']}"


def _preselect(runs: dict[str, tuple[str, str]]) -> None:
    """Chooses the newest run of each method. As runs finish it grows, until this visitor chooses otherwise."""
    newest: dict[str, str] = {}
    for label, (name, _) in runs.items():
        newest.setdefault(name.partition(" ")[0], label)
    labels = [newest[method] for method in METHODS if method in newest][:MOST]
    chosen, before = st.session_state.get(_CHOSEN), st.session_state.get(_PRESELECTED)
    if chosen is None or chosen == before:
        st.session_state[_RUNS] = labels
    st.session_state[_PRESELECTED] = labels
