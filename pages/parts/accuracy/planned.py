"""What a comparison can show and what it would need, before anything runs."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import streamlit as st

from analysis.evaluation import planning
from analysis.evaluation.planning import Noise
from analysis.evaluation.task_sizes import known_sizes
from analysis.specs import PlanParams
from pages.parts import controls
from pages.parts.plain import plain

_ASSUMED = ("disagreement", "alike", "changing", "seed_spread")


def planned(names: Sequence[str], limit: int | None, compared: int, measured: Noise | None) -> None:
    """Draws the plan for these tasks and so many items of each. compared: models besides the first. measured: the noise
    that an evaluation of this model had, None where there is none.
    """
    tasks, unknown = known_sizes(names)
    if not compared or not tasks:
        return
    tests = compared * (len(tasks) + (len(tasks) > 1))
    shown, place = st.container(), st.expander("How many items and seeds?", icon=":material/calculate:")
    with place:
        columns = st.columns(len(_ASSUMED) + 1)
        with columns[0]:
            target = controls.draw(PlanParams, "target", "plan_target", bind="query-params")
        values = {"target": target}
        if measured is None:
            for column, name in zip(columns[1:], _ASSUMED, strict=True):
                with column:
                    values[name] = controls.draw(PlanParams, name, f"plan_{name}", bind="query-params")
        params = PlanParams(**values)
        noise = measured or planning.assumed(params)
        one_seed, wanted, source = _sentences(tuple(names), astuple(noise), params.target / 100, limit, tests)
        st.markdown(f"{plain(wanted)} {plain(source)}")
        if unknown:
            st.caption(f"How many items there are is not known before they are read: {plain(', '.join(unknown))}.")
    shown.caption(f":material/calculate: {plain(one_seed)}")


@st.cache_data(max_entries=64, show_spinner=False)
def _sentences(
    names: tuple[str, ...], noise: tuple[Any, ...], target: float, limit: int | None, tests: int
) -> list[str]:
    """Searching the sizes takes half a second. noise: the fields of a `Noise`; else as of `planning.sentences`."""
    tasks, _ = known_sizes(names)
    return list(planning.sentences(tasks, Noise(*noise), target, limit, 1, tests))
