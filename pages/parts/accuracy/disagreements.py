"""The items on which two models disagree: a table to filter, and one item's choices in full."""

import pandas as pd
import streamlit as st

from analysis.evaluation import tables
from analysis.evaluation.results import Results
from pages.parts.charts import table
from pages.parts.keyed import keyed_columns
from pages.parts.plain import plain

_ALL, _ANYONE, _NEITHER = "all", "anyone", "neither"


def disagreements(results: Results) -> None:
    """Draw the two models, the filters and the items in a fold."""
    named = any(name.startswith("disagree_") for name in st.query_params)
    with st.expander("Items on which two models disagree", key="fold_disagreements", expanded=named):
        _items(results)


def _items(results: Results) -> None:
    names = list(results.names)
    one, other, of, who, words = keyed_columns([4, 4, 3, 4, 4], "disagree")
    first = one.selectbox("First", names, key="disagree_first", bind="query-params")
    others = [name for name in names if name != first]
    second = other.selectbox("Second", others, key="disagree_second", bind="query-params")
    titles = {_ALL: "all"} | {benchmark.name: benchmark.title for benchmark in results.accuracies}
    task = of.selectbox("Task", list(titles), format_func=titles.__getitem__, key="disagree_task", bind="query-params")
    side = who.selectbox("Right", [_ANYONE, first, second, _NEITHER], key="disagree_right", bind="query-params")
    text = words.text_input("Search", key="disagree_text", placeholder="Words of the question", bind="query-params")
    models = names.index(first), names.index(second)
    rows = results.once(tables.disagreements, *models, None if task == _ALL else task)
    shown = tables.filtered(rows, side if side != _ANYONE else None, text)
    if not shown:
        st.caption(f"0 of {len(rows):,} items.")
        return
    picked = table(
        f"{len(shown):,} of {len(rows):,} items",
        "Tick a row to see its item in full. Log-likelihoods are in nats, in the order of the choices.",
        pd.DataFrame(shown),
        "disagreements",
        export=False,
        height=min(38 + 35 * len(shown), 320),
        column_config={"question": st.column_config.TextColumn(width="large")},
        on_select="rerun",
        selection_mode="single-row",
    )
    chosen = picked.selection.rows
    if chosen and chosen[0] < len(shown):
        _item(results, shown[chosen[0]], *models)


def _item(results: Results, row: dict, first: int, second: int) -> None:
    with st.container(border=True):
        st.markdown(f"**{plain(row['task'])} · {plain(row['item'])}**")
        st.text(row["question"])
        choices = tables.choice_table(results, row["item"], first, second)
        if choices:
            number = st.column_config.NumberColumn(format="%.2f", help="In nats.")
            st.dataframe(
                pd.DataFrame(choices),
                hide_index=True,
                key="disagreement_choices",
                column_config={f"{results.names[model]} log-likelihood": number for model in (first, second)},
            )
        else:
            st.dataframe(
                pd.DataFrame(
                    {
                        "who": ["right", results.names[first], results.names[second]],
                        "answer": [row["right"], *(row[f"{results.names[model]} chose"] for model in (first, second))],
                    }
                ),
                hide_index=True,
                key="disagreement_answers",
            )
