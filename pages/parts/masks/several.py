"""Pairwise overlap of the pruned weights of several runs."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from analysis.engine.runs import Run
from analysis.figures import masks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.pruned import compare, masks_file
from pages.parts.charts import chart
from pages.parts.linked import meant
from pages.parts.masks import measures as mask_measures
from pages.parts.masks.choice import ALIKE
from pages.parts.masks.pruned_models import Pruned, open_pruned, read_address, run_of, short_labels, titled
from pages.parts.masks.shown_measures import OURS, table_of
from pages.parts.plain import plain

_RUNS = "runs"


def several_runs(first: Pruned, second: Pruned, known: dict[str, Run], ticked: Sequence[str] = ()) -> None:
    """Draw the overlap of every pair of runs. known: the runs of the store, by id. ticked: those to start with."""
    options = list(dict.fromkeys([first.id, second.id, *known]))
    called, read = titled(known), read_address(known)
    if _RUNS in st.session_state:
        chosen = st.session_state[_RUNS]
    else:
        reports = {run_id: run_of(run.folder) for run_id, run in known.items() if run.folder is not None}
        alike = [run_id for run_id, report in reports.items() if report.budget() == first.run.budget()]
        likely = list(ticked) if len(ticked) > 2 else list(dict.fromkeys([first.id, second.id, *alike]))[:8]
        chosen = st.query_params.get_all(_RUNS) or likely
    st.session_state[_RUNS] = list(dict.fromkeys(meant(each, options, called, read) for each in chosen))
    chosen = st.multiselect(
        "Runs",
        options,
        key=_RUNS,
        format_func=called,
        accept_new_options=True,
        persist_state="session",
        max_selections=12,
        placeholder="choose runs, or type the paths of folders",
    )
    st.query_params[_RUNS] = chosen
    runs = []
    for run_id in chosen:
        pruned = first if run_id == first.id else second if run_id == second.id else open_pruned(run_id, known)
        problem = masks_file.why_not_comparable(first.masks, pruned.masks) if pruned is not None else ""
        if problem:
            st.caption(f"Left out: {plain(called(run_id))}. {plain(problem)}")
        elif pruned is not None:
            runs.append(pruned)
    if len(runs) < 2:
        st.info("Choose at least two runs of one architecture.")
        return
    counts = mask_measures.overlap(runs)
    similarity, chance = compare.jaccard(counts), compare.independent_jaccard(counts)
    labels = short_labels(runs)
    titles = [pruned.label for pruned in runs]
    table = table_of(counts, None, "first", "second").assign(jaccard=similarity.ravel(), chance=chance.ravel())
    table = table[table["first"] < table["second"]].rename(columns={"chance": "jaccard, independent masks"})
    for side in ("first", "second"):
        table[side] = [titles[index] for index in table[side]]
    p, _ = compare.sparsities(counts)
    spread = float(np.ptp(np.diag(p)))
    if spread > ALIKE:
        st.warning(
            f"These runs' sparsities lie up to {100 * spread:.1f} points apart. Masks of different sparsity overlap "
            "less for that reason alone; compare each cell with the independent masks of its own sparsities."
        )
    low, high = (f"{end:.2f}" for end in (np.nanmin(chance), np.nanmax(chance)))
    reach = low if low == high else f"{low} to {high}"
    chart(
        Exhibit(
            "Overlap of the pruned weights",
            "The Jaccard index of every two runs: 1 where they prune the same weights (our measure). "
            f"Independent masks of their sparsities: {reach}.",
            figures.overlap_matrix(similarity, labels, figures.overlap_lines(similarity, chance, titles)),
            table,
            formula="$$J = \\frac{|A \\cap B|}{|A \\cup B|}, \\quad \\text{independent masks: } "
            f"\\frac{{pq}}{{p + q - pq}}$$\n\nover all projections. {OURS}",
            finding=finding_of("overlap", similarity, chance, labels),
        ),
        "overlap",
    )
