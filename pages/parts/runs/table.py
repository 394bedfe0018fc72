"""The table of runs: filters, columns to sort by, and which runs are ticked."""

from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.runs import Run, score
from analysis.exhibits.scored_runs import EXPLAINED
from analysis.statistics.differences import Difference
from analysis.words import counted
from cache.keys import content_key
from pages.parts import address
from pages.parts.run_rows import MOST_RUNS, ROWS, RUNS_ASKED, by_sparsity, method_title, table_of_runs
from pages.parts.session import not_in_address

_CHOSEN, _FIRST, _SHOWN, _AGAIN = "runs_chosen", "runs_chosen_by_address", "runs_shown", "runs_cleared"
_ROWS = 200  # of the table, beyond which it scrolls; of one beneath which the run in the address is opened, `ROWS`
_METHODS = "runs_methods"  # the filter of methods, in the address
_TICKED = "ticked_in_"  # and a table's key: what was ticked as it was first drawn


def filter_runs(runs: list[Run], place: DeltaGenerator) -> list[Run]:
    """Draw the filters and return the runs that they leave."""
    with place.popover("Filter", icon=":material/filter_list:", key="runs_filter"):
        return _filtered(runs)


def methods_chosen() -> bool:
    """Return whether the filter names methods."""
    return bool(st.session_state.get(_METHODS))


def runs_table(
    runs: list[Run], filtered: list[Run], place: DeltaGenerator, differences: Mapping[str, Difference] | None = None
) -> list[Run]:
    """Draw the table, and return the runs that are ticked. filtered: as of `filter_runs`. place: of its title, as the
    tool bar of the table covers what stands above its right end. differences: to the dense model, by run.
    """
    by_id = {run.id: run for run in runs}
    _from_address(by_id)
    first = st.session_state.get(_FIRST, ())  # to be seen without scrolling
    shown = sorted(by_sparsity(filtered), key=lambda run: run.id not in first)
    st.session_state[_SHOWN] = [run.id for run in shown]
    chosen = st.session_state[_CHOSEN]
    if shown:
        _table(shown, by_id, place, differences)
    else:
        place.caption(f"0 of {len(runs):,} runs match. Clear a filter to see them.")
    hidden = len([run_id for run_id in chosen if run_id not in st.session_state[_SHOWN]])
    if hidden:
        st.caption(f"{counted(hidden, 'ticked run')} not in this table, as the filter leaves them out.")
    if chosen:
        st.query_params[RUNS_ASKED] = chosen
    elif RUNS_ASKED in st.query_params:
        del st.query_params[RUNS_ASKED]
    return [by_id[run_id] for run_id in chosen]


def clear_button(place: DeltaGenerator, runs: list[Run]) -> None:
    """Draw the button that unticks all runs."""
    by_id = {run.id: run for run in runs}
    place.button(
        "Clear ticks", key="runs_clear", type="tertiary", icon=":material/close:", on_click=_clear, args=(by_id,)
    )


def _table(
    shown: list[Run], by_id: Mapping[str, Run], heading: DeltaGenerator, differences: Mapping[str, Difference] | None
) -> None:
    counts = {found.items for run in shown if (found := score(run)) is not None}
    # Ticks are of places in the table, so another choice of rows is another table.
    key = f"runs_table_{content_key(runs=[run.id for run in shown], again=st.session_state.get(_AGAIN, 0))[:8]}"
    chosen = st.session_state[_CHOSEN]
    ticked = st.session_state.setdefault(_TICKED + key, [place for place, run in enumerate(shown) if run.id in chosen])
    table_of_runs(
        _counted(shown, list(by_id.values())),
        f"{EXPLAINED} Accuracy: newest evaluation, mean over its tasks. Intervals are over clusters of items; another "
        "calibration seed adds noise that they leave out. The tool bar of the table has more columns.",
        shown,
        key,
        ticked,
        hint=_hint(len(chosen)),
        rows=ROWS if st.session_state.get(_FIRST) else _ROWS,
        differences=differences,
        left_out=("made", "dense, %", "chance, %", *(() if len(counts) > 1 else ("items",))),
        above=heading,
        on_select=lambda: _follow_ticks(key, by_id),
        selection_mode="multi-row",
    )


def _hint(ticked: int) -> str:
    """Say what ticking does, and where that is."""
    if not ticked:
        return "Tick to open or compare."
    return f"{ticked} ticked: {'compared' if ticked > 1 else 'opened'} beneath the table and in the views above."


def _counted(shown: list[Run], runs: list[Run]) -> str:
    """Return how many runs are shown."""
    every = counted(len(runs), "run")
    if len(shown) < len(runs):
        return f"{len(shown):,} of {every}"
    return f"All {every}" if len(runs) > 1 else every


def _from_address(by_id: dict[str, Run]) -> None:
    """Take the first choice from the address, and drop runs that are gone."""
    if _CHOSEN not in st.session_state:
        names = st.query_params.get_all(RUNS_ASKED)
        if any(run_id not in by_id for run_id in names):
            not_in_address("a run that is not in the store.")
        st.session_state[_CHOSEN] = [run_id for run_id in names if run_id in by_id][:MOST_RUNS]
        st.session_state[_FIRST] = st.session_state[_CHOSEN]
    else:
        st.session_state[_CHOSEN] = [run_id for run_id in st.session_state[_CHOSEN] if run_id in by_id]


def _follow_ticks(key: str, by_id: Mapping[str, Run]) -> None:
    """Keep ticked runs that a filter hides, and take the table's ticks."""
    shown = st.session_state[_SHOWN]
    places = st.session_state[key].selection.rows
    kept = [run_id for run_id in st.session_state[_CHOSEN] if run_id not in shown]
    choose(by_id, [*kept, *(shown[place] for place in places if place < len(shown))])


def _clear(by_id: Mapping[str, Run]) -> None:
    st.session_state[_AGAIN] = st.session_state.get(_AGAIN, 0) + 1
    choose(by_id, [])


def choose(by_id: Mapping[str, Run], ids: list[str]) -> None:
    """Tick runs, and show no evaluation or masks that were chosen before."""
    st.session_state[_CHOSEN] = ids[:MOST_RUNS]
    address.drop("evaluation")
    pair = [run_id for run_id in st.session_state[_CHOSEN] if by_id[run_id].has_masks][:2]
    for key, run_id in zip(("first", "second"), pair if len(pair) > 1 else (), strict=False):
        st.session_state[key] = run_id
    st.session_state.pop("runs", None)  # of several masks: chosen anew from what is ticked


def _filtered(runs: list[Run]) -> list[Run]:
    text = st.text_input("Search", key="runs_words", placeholder="name, model, tag or note", bind="query-params")
    kinds = list(dict.fromkeys(method_title(run) for run in runs))
    chosen = st.multiselect("Methods", kinds, key=_METHODS, placeholder="all", bind="query-params")
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
