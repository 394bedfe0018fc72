"""The table of runs, with filters, sortable columns and ticks, and the results on this disk: their size, removing them,
and importing lm-eval results.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine.runs import Run, Stored, known_runs, remove, score, stored_results
from analysis.errors import UserError
from analysis.evaluation.lm_eval_results import models_in
from analysis.exhibits.scored_runs import EXPLAINED
from analysis.jobs import JOBS
from analysis.specs import ImportSpec
from analysis.statistics.differences import Difference
from analysis.words import counted
from cache.keys import content_key
from pages.parts import address
from pages.parts.asking import acting_button, cancel_button, job_title, progress_bar
from pages.parts.charts import table
from pages.parts.controls import draw_list, parts_of
from pages.parts.plain import plain
from pages.parts.run_rows import MOST_RUNS, ROWS, RUNS_ASKED, by_sparsity, method_title, table_of_runs
from pages.parts.session import LOOK, engine, not_in_address, submit

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
    runs: list[Run],
    filtered: list[Run],
    place: DeltaGenerator,
    differences: Mapping[str, Difference] | None = None,
    export: bool = True,
) -> list[Run]:
    """Draw the table, and return the runs that are ticked. filtered: as of `filter_runs`. place: of its title, as the
    tool bar of the table covers what stands above its right end. differences: to the dense model, by run. export: it is
    in the exported page.
    """
    by_id = {run.id: run for run in runs}
    _from_address(by_id)
    first = st.session_state.get(_FIRST, ())  # to be seen without scrolling
    shown = sorted(by_sparsity(filtered), key=lambda run: run.id not in first)
    st.session_state[_SHOWN] = [run.id for run in shown]
    chosen = st.session_state[_CHOSEN]
    if shown:
        _table(shown, by_id, place, differences, export)
    else:
        place.caption(f"0 of {len(runs):,} runs match. Clear a filter to see them.")
    hidden = len([run_id for run_id in chosen if run_id not in st.session_state[_SHOWN]])
    if hidden:
        st.caption(f"The filter hides {counted(hidden, 'ticked run')}.")
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
    shown: list[Run],
    by_id: Mapping[str, Run],
    heading: DeltaGenerator,
    differences: Mapping[str, Difference] | None,
    export: bool,
) -> None:
    counts = {found.items for run in shown if (found := score(run)) is not None}
    # Ticks are of places in the table, so another choice of rows is another table.
    key = f"runs_table_{content_key(runs=[run.id for run in shown], again=st.session_state.get(_AGAIN, 0))[:8]}"
    chosen = st.session_state[_CHOSEN]
    ticked = st.session_state.setdefault(_TICKED + key, [place for place, run in enumerate(shown) if run.id in chosen])
    table_of_runs(
        _counted(shown, list(by_id.values())),
        f"{EXPLAINED} Accuracy: newest evaluation, mean over its tasks. Intervals are over clusters of items; another "
        "calibration seed adds noise that they leave out. On the keyboard, Shift+Space ticks a row. Pointing at the "
        "table shows a tool bar with more columns.",
        shown,
        key,
        ticked,
        hint=_hint(len(chosen)),
        rows=ROWS if st.session_state.get(_FIRST) else _ROWS,
        differences=differences,
        left_out=("made", "dense, %", "chance, %", *(() if len(counts) > 1 else ("items",))),
        above=heading,
        export=export,
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
    pair = [run for run in by_sparsity([by_id[run_id] for run_id in st.session_state[_CHOSEN]]) if run.has_masks][:2]
    for key, run in zip(("first", "second"), pair if len(pair) > 1 else (), strict=False):
        st.session_state[key] = run.id
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


_FOLDER, _MINE = "import_folder", "imports_asked"
_LISTED = ("filters", "metrics")


def import_runs() -> None:
    """Draw the field and, during an import, its progress."""
    with st.expander("Import lm-eval results", icon=":material/upload_file:", key="import_drawer"):
        st.caption(
            "A folder that lm-eval wrote with --output_path and --log_samples, on any machine. Its models become runs, "
            "compared with others on the items that both were asked. Nothing in it is executed."
        )
        # Neither is from the address: a link must not choose what is read from this disk.
        left, *others = st.columns([3, 1, 1])
        left.text_input("Folder of results", key=_FOLDER, placeholder="/path/to/output", persist_state="session")
        for column, name in zip(others, _LISTED, strict=True):
            example = "the first" if name == "filters" else "acc, exact_match"
            draw_list(ImportSpec, name, f"import_{name}", column, placeholder=example, persist_state="session")
        acting_button("Import", "import_start", icon=":material/upload_file:", on_click=_ask)
        _under_way()


def _ask() -> None:
    """Submit each folder of results by itself, as models scored on other tasks share no items. A callback, so that no
    rerun loses the click.
    """
    listed = {name: parts_of(st.session_state[f"import_{name}"]) for name in _LISTED}
    written = st.session_state[_FOLDER].strip()
    if not written:
        raise UserError("Give the folder that lm-eval wrote its results to.")
    engine().authorizer.check_folder(written)
    folders = dict.fromkeys(str(model.folder) for model in models_in(Path(written)))
    st.session_state[_MINE] = [submit("import", ImportSpec(folders=(folder,), **listed)).id for folder in folders]


def _under_way() -> None:
    records = [record for job in st.session_state.get(_MINE, ()) if (record := engine().job(job)) is not None]
    if any(not record.ended for record in records):
        st.fragment(_progress, run_every=LOOK)()
        return
    for record in records:
        if record.state == "failed":
            st.error(plain(record.reason))
    read = sum(record.state == "done" for record in records)
    if read:
        folders = "1 folder was" if read == 1 else f"{read} folders were"
        st.caption(f":material/check_circle: {folders} read, into the list of runs above.")


def _progress() -> None:
    running = [record for job in st.session_state.get(_MINE, ()) if (record := engine().job(job)) and not record.ended]
    if not running:
        st.rerun()
    for record in running:
        progress_bar(record)
        cancel_button(record, f"cancel_{record.id}")


_DISK_TICKED = "disk_ticked"


def disk() -> None:
    """Draw the list of stored results in a fold, once it opens, and the button that removes ticked ones."""
    place = st.expander("Disk use", icon=":material/hard_drive:", key="fold_disk", on_change="rerun")
    if not place.open:
        return
    with place:
        everything = stored_results(engine())
        if not everything:
            st.caption("Nothing is stored yet.")
            return
        total = sum(stored.bytes for stored in everything)
        kinds = list(dict.fromkeys(stored.record.kind for stored in everything))
        kind = st.selectbox(
            "Of jobs",
            ["all", *kinds],
            key="disk_kind",
            format_func=lambda name: JOBS[name].title if name in JOBS else name,
            width=320,
        )
        shown = [stored for stored in everything if kind in ("all", stored.record.kind)]
        names = {run.id: run.name for run in known_runs(engine())}
        picked = table(
            f"{_megabytes(sum(stored.bytes for stored in shown))} of {_megabytes(total)}",
            "Results of finished jobs, largest first. Tick rows to remove them (on the keyboard: Shift+Space). Pruned "
            "models stay until then; everything else is evicted, least recently used first, once the store exceeds its "
            "limit.",
            pd.DataFrame(_row(stored, names) for stored in shown),
            f"disk_{kind}_{len(shown)}",
            export=False,
            on_select="rerun",
            selection_mode="multi-row",
            height=min(38 + 35 * len(shown), 320),
            column_config={
                "MB": st.column_config.NumberColumn(format="%.1f"),
                "made": st.column_config.DatetimeColumn(format="D MMM HH:mm"),
                "what": st.column_config.TextColumn(width="large"),
            },
        )
        ticked = [shown[place] for place in picked.selection.rows if place < len(shown)]
        if ticked:
            freed = _megabytes(sum(stored.bytes for stored in ticked))
            with st.popover(f"Remove {len(ticked)} ({freed})", icon=":material/delete:", key=_DISK_TICKED):
                st.caption("Removed results have to be computed again. Jobs that asked the same are removed too.")
                acting_button("Remove for good", "disk_remove", on_click=_remove, args=(ticked,))


def _remove(ticked: list[Stored]) -> None:
    remove(engine(), [stored.record for stored in ticked])


def _row(stored: Stored, names: dict[str, str]) -> dict[str, object]:
    what = names.get(stored.record.id)
    return {
        "what": f"{JOBS[stored.record.kind].title} · {what}" if what else job_title(stored.record),
        "model": stored.record.spec.get("model", {}).get("source", ""),
        "MB": stored.bytes / 1e6,
        "made": datetime.fromtimestamp(stored.record.created),
    }


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
