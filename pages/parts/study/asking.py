"""Running a study: its size, its questions, its cost, and the button that starts it."""

import pandas as pd
import streamlit as st

from analysis.engine.studies import new_study
from analysis.specs import SIZES, ModelSpec, StudySpec
from analysis.study import plans
from analysis.study.cost_estimate import foresee_study, lines, why_not
from pages.parts import address, controls
from pages.parts.asking import begin, starting_button
from pages.parts.controls import keyed_columns, keys_of, settings_of, titled
from pages.parts.plain import model_called, plain
from pages.parts.session import EXPECTED, engine, told, why
from pages.parts.study import choice
from pages.parts.study.choice import example
from pages.parts.study.story import ASKING

_AGE = 60  # seconds for which times of earlier jobs are taken as they were


def sizes(spec: StudySpec) -> None:
    """Draw a row per size, and one for the settings if they match no size. Raises UserError for a bad model
    source.
    """
    rows, how, more = _planned(spec)
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(plain(how))
    for line in more:
        st.caption(plain(line))


@st.cache_data(ttl=_AGE, max_entries=16, show_spinner="Planning…")
def _planned(spec: StudySpec) -> tuple[list[dict[str, str]], str, list[str]]:
    """Return the table, how to read it, and cheaper studies if times are known."""
    noise, every = plans.noise_of(spec, example()), plans.sizes_of(engine(), spec.model, example(), spec)
    computed = any(one.computed for one in every if one.spec == spec)
    more = plans.designs_in_words(spec, plans.designs(spec, noise)) if computed else []
    return plans.sizes_table(every), plans.how_planned(noise), more


def ask_study(model: ModelSpec) -> None:
    """Draw the settings of a study of the model in use, its cost, and its button."""
    st.caption(f"Model: {model_called(model.source)}. Choose another one in the sidebar.")
    size = controls.segments("Size", SIZES, "study_size", format_func=lambda name: SIZES[name].title)
    st.caption(plain(SIZES[size].help))
    spec, problem = _spec(model, size)
    if spec is not None:
        _plan(spec)
        problem = _why_not(spec)
    if problem:
        st.error(plain(problem))
    starting_button(
        "Start the study",
        "study_start",
        _launch,
        type="primary",
        icon=":material/science:",
        disabled=bool(problem),
        help=plain(problem) or "It can be stopped and goes on where it was. What was computed before is read.",
        args=(spec,),
    )


def _spec(model: ModelSpec, size: str) -> tuple[StudySpec | None, str]:
    """Return the requested study, or why there is none."""
    defaults = new_study(model, size)
    keys = keys_of(f"study_{size}", ("difference", "prompts", "limit", "seed", "sparsities", "seeds"))
    presets = {name: getattr(defaults, name) for name in keys}
    words = {"limit": "items per task {}", "sparsities": "sparsities {}", "seeds": "calibration seeds {}"}
    with titled("Settings", "fold_study", settings_of(StudySpec, keys, words, words, **presets)):
        columns = keyed_columns(4, "study")
        lists = dict(zip(("sparsities", "seeds"), keyed_columns(2, "study_lists"), strict=True))
        single = {name: key for name, key in keys.items() if name not in lists}
        values = controls.draw_each(StudySpec, single, columns, presets)
        for name, column in lists.items():
            values[name] = controls.draw_list(StudySpec, name, keys[name], column, presets[name])
    try:
        return new_study(model, size, **values), ""
    except EXPECTED as error:
        return None, why(error)


@st.cache_data(ttl=60, max_entries=16, show_spinner="Asking the Hugging Face hub…")
def _why_not(spec: StudySpec) -> str:
    return why_not(spec)


@told()
def _plan(spec: StudySpec) -> None:
    """Draw what it can show, and the time, memory and disk it is known to take."""
    forecast = lines(foresee_study(engine(), spec, example()))
    sizes(spec)
    st.caption(plain(" ".join(forecast)))


def _launch(spec: StudySpec) -> None:
    """Start the study. A callback, so that no other rerun can lose the click."""
    choice.show(begin("study", spec).id)
    address.drop(ASKING)
