"""Power and needs of a comparison, before anything runs."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import streamlit as st

from analysis.evaluation import plan_words, planning
from analysis.evaluation.planning import Noise
from analysis.evaluation.task_sizes import known_sizes
from analysis.specs import PlanParams
from pages.parts import controls
from pages.parts.expander import fold, keys_of, settings_of
from pages.parts.keyed import keyed_columns
from pages.parts.plain import plain

_ASSUMED = ("disagreement", "alike", "changing", "seed_spread")


def planned(names: Sequence[str], limit: int | None, compared: int, measured: Noise | None, seeds: int = 1) -> None:
    """Draw the plan for these tasks with `limit` items each. compared: models besides the first. measured: the noise in
    an earlier evaluation of this model, if any. seeds: calibration seeds; over several, one comparison is tested; with
    one, every task of every model is.
    """
    tasks, unknown = known_sizes(names)
    if not compared or not tasks:
        return
    tests = compared * (len(tasks) + (len(tasks) > 1)) if seeds == 1 else compared
    keys = keys_of("plan", ("target", *(_ASSUMED if measured is None else ())))
    words = {"target": "a difference of {} points"}
    shown = st.container()
    place, drawn = fold("How many items and seeds?", "fold_plan", settings_of(PlanParams, keys, ("target",), words))
    columns = keyed_columns(len(_ASSUMED) + 1, "plan", place) if drawn else ()
    params = PlanParams(**controls.draw_each(PlanParams, keys if drawn else {}, columns))
    noise = measured or planning.assumed(params)
    shows, wanted, source = _sentences(tuple(names), astuple(noise), params.target / 100, limit, seeds, tests)
    shown.caption(f":material/calculate: {plain(shows)} Noise: {plain(noise.source)}.")
    if drawn:
        place.markdown(f"{plain(wanted)} {plain(source)}")
        if unknown:
            missing = plain(", ".join(unknown))
            place.caption(f"How many items there are is not known before they are read: {missing}.")


@st.cache_data(max_entries=64, show_spinner=False)
def _sentences(
    names: tuple[str, ...], noise: tuple[Any, ...], target: float, limit: int | None, seeds: int, tests: int
) -> list[str]:
    """Return the plan's sentences, cached as searching sizes takes half a second. noise: the fields of a `Noise`; else
    as of `plan_words.sentences`.
    """
    tasks, _ = known_sizes(names)
    return list(plan_words.sentences(tasks, Noise(*noise), target, limit, seeds, tests))
