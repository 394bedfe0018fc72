"""Start: what attention sinks are, whether they matter in this model, and what discounting them does, as one story."""

from typing import Any

import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.studies import new_study
from analysis.specs import SIZES, STUDY_PARTS, ModelSpec, StudySpec
from analysis.study import plans
from analysis.study.cost_estimate import foresee_study, lines, why_not
from analysis.study.findings import Findings
from pages.parts import address, controls
from pages.parts.asking import begin, cut_short, parts_progress, starting_button
from pages.parts.charts import start_exhibits
from pages.parts.controls import fold, keyed_columns, keys_of, settings_of
from pages.parts.frame import real_model, run
from pages.parts.plain import model_called, plain
from pages.parts.session import EXPECTED, LOOK, REDRAW, engine, model_in_use, told, why
from pages.parts.study import choice, presentation
from pages.parts.study.story import ASKING, behind, share, story, without_study

_AGE = 60  # seconds for which times of earlier jobs are taken as they were


def main() -> None:
    """Draw the page: the story of a study, its slides, or the settings of a new study."""
    start_exhibits()
    if address.presenting():
        _present()
        return
    if address.opens(ASKING):
        _ask()
        return
    shown = choice.shown_study()
    if shown is None:
        without_study()
    elif isinstance(shown, JobRecord):
        _state(shown)
        if shown.ended:
            _draw(shown.id)
            _await_masks(shown.id)
        else:
            st.fragment(_draw, run_every=REDRAW)(shown.id)
    else:
        _told(shown, choice.EXAMPLE)


def _present() -> None:
    """Draw the slides of the study in the address, with its results so far."""
    shown = choice.shown_study(boxed=False)
    if isinstance(shown, JobRecord):
        with told():
            presentation.present(choice.of_record(shown))
    elif shown is not None:
        presentation.present(shown)


def _state(record: JobRecord) -> None:
    if not record.ended:
        st.fragment(parts_progress, run_every=LOOK)(record.id, lambda name: STUDY_PARTS[name].title)
    elif record.state != "done":
        cut_short(record, "study", "parts")


@told()
def _draw(study_id: str) -> None:
    record = engine().job(study_id)
    if record is not None:
        _told(choice.of_record(record), study_id)


def _await_masks(study_id: str) -> None:
    """Draw the story anew once its masks are compared."""
    record = engine().job(study_id)
    if record is not None and choice.compares_masks(record):
        st.fragment(_until_compared, run_every=LOOK)(study_id)


def _until_compared(study_id: str) -> None:
    record = engine().job(study_id)
    if record is None or not choice.compares_masks(record):
        st.rerun()
    st.caption(":material/hourglass_empty: Comparing masks. Their finding appears here when it is done.")


def _told(findings: Findings, name: str) -> None:
    """Draw the answer first, then the findings behind it, their basis, and files to take away. name: of the study in
    the address.
    """
    story(findings, name)
    behind(findings)
    share(findings)


# --- a new study -------------------------------------------------------------------------------------------------


def _ask() -> None:
    """Draw the settings of a study of the model in use, its cost, and its button."""
    st.title("Run this study on your model", anchor=False)
    st.button("Back to the story", icon=":material/arrow_back:", type="tertiary", on_click=address.drop, args=(ASKING,))
    offer, model = real_model(), model_in_use()
    if offer:
        st.caption(offer)
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
        help=plain(problem) or "You can cancel it and resume later. Earlier results are reused.",
        args=(spec,),
    )


@st.cache_data(ttl=_AGE, max_entries=16, show_spinner="Planning…")
def _planned(spec: StudySpec) -> tuple[list[dict[str, str]], str, list[str]]:
    """Return the table, how to read it, and cheaper studies if times are known."""
    noise, every = plans.noise_of(spec, choice.example()), plans.sizes_of(engine(), spec.model, choice.example(), spec)
    computed = any(one.computed for one in every if one.spec == spec)
    more = plans.designs_in_words(spec, plans.designs(spec, noise)) if computed else []
    return plans.sizes_table(every), plans.how_planned(noise), more


def _spec(model: ModelSpec, size: str) -> tuple[StudySpec | None, str]:
    """Return the requested study, or why there is none."""
    defaults = new_study(model, size)
    keys = keys_of(f"study_{size}", ("difference", "prompts", "limit", "seed", "sparsities", "seeds"))
    presets = {name: getattr(defaults, name) for name in keys}
    words = {"limit": "items per task {}", "sparsities": "sparsities {}", "seeds": "calibration seeds {}"}
    place, drawn = fold("Settings", "fold_study", settings_of(StudySpec, keys, words, words, **presets))
    values: dict[str, Any] = dict(presets)
    if drawn:
        with place:
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
    """Draw what it can show, a row per size, and the time, memory and disk it is known to take."""
    forecast = lines(foresee_study(engine(), spec, choice.example()))
    rows, how, more = _planned(spec)
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    for line in (how, *more, " ".join(forecast)):
        st.caption(plain(line))


def _launch(spec: StudySpec) -> None:
    """Start the study. A callback, so that no other rerun can lose the click."""
    choice.show(begin("study", spec).id)
    address.drop(ASKING)


if __name__ == "__main__":
    run(main)
