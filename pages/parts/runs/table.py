"""The table of runs: filters, columns to sort by, and which runs are ticked, in the table or by name."""

from collections import Counter
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from analysis.engine.runs import Run
from analysis.words import counted, listed
from pages.parts import address
from pages.parts.charts import table
from pages.parts.keyed import keyed_columns
from pages.parts.run_rows import COLUMNS, MOST_RUNS, RUNS_ASKED, method_title, row
from pages.parts.session import not_in_address

_HEIGHT = 215  # pixels of the table at most, so that what is compared is seen beneath it
_CHOSEN, _SHOWN = "runs_chosen", "runs_shown"


def runs_table(runs: list[Run]) -> list[Run]:
    """Draws filters, table and box, and returns the runs that are chosen."""
    by_id = {run.id: run for run in runs}
    _from_address(by_id)
    place = st.container()
    beneath, filters = keyed_columns([5, 1], "runs_chosen", vertical_alignment="bottom")
    with filters.popover("Filter", icon=":material/filter_list:", key="runs_filter", width="stretch"):
        shown = _filtered(runs)
    st.session_state[_SHOWN] = [run.id for run in shown]
    if shown:
        # Ticks are of places in the table, so another choice of rows is another table.
        key = f"runs_table_{abs(hash(tuple(run.id for run in shown))):x}"
        with place:
            table(
                _counted(shown, runs),
                "Tick one to open it, two to eight to compare them. Accuracy: newest evaluation, mean over its tasks, "
                "95 % interval over items; calibration seeds add noise that it leaves out.",
                pd.DataFrame(row(run) for run in shown),
                key,
                on_select=lambda: _ticked(key, by_id),
                selection_mode="multi-row",
                height=min(38 + 35 * len(shown), _HEIGHT),
                column_config=COLUMNS,
            )
    else:
        place.caption(f"0 of {len(runs):,} runs match. Clear a filter to see them.")
    chosen = beneath.multiselect(
        "Ticked",
        list(by_id),
        key=_CHOSEN,
        max_selections=MOST_RUNS,
        format_func=lambda run_id: by_id[run_id].name,
        placeholder="Tick rows above, or choose by name",
        on_change=lambda: _follow(by_id),
    )
    if chosen:
        st.query_params[RUNS_ASKED] = chosen
    elif RUNS_ASKED in st.query_params:
        del st.query_params[RUNS_ASKED]
    return [by_id[run_id] for run_id in chosen]


def _counted(shown: list[Run], runs: list[Run]) -> str:
    """Return how many runs are shown, and where that is all of them, of what kinds they are."""
    if len(shown) < len(runs):
        return f"{len(shown):,} of {counted(len(runs), 'run')}"
    kinds = Counter(run.kind for run in runs)
    return f"{counted(len(runs), 'run')}: {listed([f'{count:,} {kind}' for kind, count in kinds.items()])}"


def _from_address(by_id: dict[str, Run]) -> None:
    """What is chosen at first stands in the address; a run that is gone is no choice any more."""
    if _CHOSEN not in st.session_state:
        names = st.query_params.get_all(RUNS_ASKED)
        if any(run_id not in by_id for run_id in names):
            not_in_address("a run that is not in the store.")
        st.session_state[_CHOSEN] = [run_id for run_id in names if run_id in by_id][:MOST_RUNS]
    else:
        st.session_state[_CHOSEN] = [run_id for run_id in st.session_state[_CHOSEN] if run_id in by_id]


def _ticked(key: str, by_id: Mapping[str, Run]) -> None:
    shown = st.session_state[_SHOWN]
    places = st.session_state[key].selection.rows
    st.session_state[_CHOSEN] = [shown[place] for place in places if place < len(shown)][:MOST_RUNS]
    _follow(by_id)


def _follow(by_id: Mapping[str, Run]) -> None:
    """Shows the runs that are ticked now, and no evaluation or masks that were chosen before."""
    address.drop("evaluation")
    pair = [run_id for run_id in st.session_state[_CHOSEN] if by_id[run_id].has_masks][:2]
    for key, run_id in zip(("first", "second"), pair if len(pair) > 1 else (), strict=False):
        st.session_state[key] = run_id
    st.session_state.pop("runs", None)  # of several masks: chosen anew from what is ticked


def _filtered(runs: list[Run]) -> list[Run]:
    text = st.text_input("Search", key="runs_words", placeholder="name, model, tag or note", bind="query-params")
    kinds = list(dict.fromkeys(method_title(run) for run in runs))
    chosen = st.multiselect("Methods", kinds, key="runs_methods", placeholder="all", bind="query-params")
    starred = st.toggle("Starred only", key="runs_starred", bind="query-params")
    wanted = text.lower().split()
    return [
        run
        for run in runs
        if all(word in _words(run) for word in wanted)
        and (not chosen or method_title(run) in chosen)
        and (run.label.star or not starred)
    ]


def _words(run: Run) -> str:
    return " ".join([run.name, run.automatic, run.model, method_title(run), *run.label.tags, run.label.note]).lower()
