"""What pruning cost: the dense model and finished runs of it on benchmark tasks, compared as the items come in."""

import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.errors import UserError
from analysis.evaluation.presets import PRESETS
from analysis.pruning.methods import METHODS
from analysis.specs import EvaluateSpec, ModelSpec, sentence
from pages.parts import controls
from pages.parts.accuracy import accuracy_panel
from pages.parts.session import engine, plain

_REFUSED = "evaluation_refused"
MOST = 6  # models compared at once that are preselected


def prune_accuracy(model: ModelSpec) -> None:
    """Draws the choice of runs and tasks, and the evaluation asked for last or named in the address."""
    runs = _runs(model)
    st.subheader("Accuracy")
    if not runs:
        st.caption("When a pruning of this model has finished, compare its accuracy with the dense model here.")
        return
    left, right = st.columns([3, 2])
    chosen = left.multiselect(
        "Compare the dense model with", list(runs), default=_newest_of_each(runs), key="accuracy_runs",
        persist_state="session", help="Every model gets the same items and the same masks, so differences are paired.",
    )  # fmt: skip
    tasks = right.multiselect(
        "Tasks", ["bundled", "paper", *PRESETS], default=["bundled"], key="accuracy_tasks",
        persist_state="session", accept_new_options=True, help=EvaluateSpec.model_fields["tasks"].description,
    )  # fmt: skip
    columns = st.columns(4)
    values = {}
    for column, name in zip(columns, ("limit", "draws", "seed"), strict=False):
        with column:
            default = 64 if name == "limit" else None
            values[name] = controls.draw(
                EvaluateSpec, name, f"accuracy_{name}", default=default, persist_state="session"
            )
    problem, spec = "", None
    try:
        models = tuple(ModelSpec(source=runs[name][1], device=model.device, dtype=model.dtype) for name in chosen)
        spec = EvaluateSpec(
            model=model,
            compare=models,
            names=("dense", *(runs[name][0] for name in chosen)),
            tasks=tuple(tasks),
            **values,
        )
    except ValidationError as error:
        problem = sentence(error)
    if problem:
        st.error(plain(problem))
    st.button(
        "Compare accuracy", key="compare_accuracy", type="primary", icon=":material/monitoring:",
        disabled=bool(problem) or not tasks, on_click=_evaluate, args=(spec,),
    )  # fmt: skip
    refused = st.session_state.pop(_REFUSED, "")
    if refused:
        st.error(plain(refused))
    shown = _shown()
    if shown is not None:
        accuracy_panel(shown)


def _evaluate(spec: EvaluateSpec) -> None:
    """A callback, so that no rerun that something else on the page asks for can lose the click."""
    try:
        st.query_params["evaluation"] = engine().submit("evaluate", spec).id
    except UserError as error:
        st.session_state[_REFUSED] = str(error)


def _shown() -> JobRecord | None:
    asked = st.query_params.get("evaluation")
    record = engine().job(asked) if asked else next(iter(engine().jobs("evaluate")), None)
    return record if record is not None and record.kind == "evaluate" else None


def _runs(model: ModelSpec) -> dict[str, tuple[str, str]]:
    """Finished runs of this model, newest first: label -> (name in the results, folder)."""
    found: dict[str, tuple[str, str]] = {}
    for record in engine().jobs("prune"):
        result = engine().result(record) if record.spec["model"]["source"] == model.source else None
        if result is None or result.folder is None:
            continue
        spec = record.spec
        name = f"{spec['method']} {spec['sparsity']:.0%}"
        if spec["pattern"] != "unstructured" or spec["allocation"] != "uniform":
            name += f" {spec['pattern']} {spec['allocation']}"
        label = f"{METHODS[spec['method']].title} · {name.partition(' ')[2]} · seed {spec['calibration']['seed']}"
        if label in found:  # the same but for a finer setting
            label, name = f"{label} · {record.id[:4]}", f"{name} {record.id[:4]}"
        if any(name == other for other, _ in found.values()):
            name = f"{name} seed {spec['calibration']['seed']}"
        found[label] = (name, str(result.folder))
    return found


def _newest_of_each(runs: dict[str, tuple[str, str]]) -> list[str]:
    """The newest run of each method."""
    newest: dict[str, str] = {}
    for label, (name, _) in runs.items():
        newest.setdefault(name.partition(" ")[0], label)
    return list(newest.values())[:MOST]
