"""Charts with one sentence on what they show, the formula behind a help icon, and the numbers in a table beneath.

A figure is a component of our own: it is changed in place, where Streamlit's chart is rebuilt with each change, and it
reports which point was clicked, also in heatmaps. Charts and tables drawn in a run are collected, so that the page can
be exported as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, TypeVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from plotly.io.json import to_json_plotly
from streamlit.delta_generator import DeltaGenerator

from analysis.figures.export import Card, Exhibit, page_html
from analysis.figures.style import with_tool_bar
from analysis.table_files import csv_of_table, parquet_of_table
from analysis.words import column_formats, file_name
from pages.parts import plotly_script
from pages.parts.plain import escaped, plain

_PLOT_JS = with_tool_bar(Path(__file__).with_name("plot.js").read_text(encoding="utf-8"))
_plot = st.components.v2.component(
    "sinkscope_plot", js=_PLOT_JS.replace("%SCRIPT%", plotly_script.address()), isolate_styles=False
)


def plots_will_come() -> None:
    """Have the browser load the plot library in idle time: call it where a page waits for its figures."""
    _plot(key="plots_will_come")


class Point(NamedTuple):
    """A clicked point: its coordinates, and its trace's custom data."""

    x: Any
    y: Any
    customdata: Any

    @property
    def cell(self) -> tuple[int, int]:
        """Return the row and the column of a heatmap's cell, as of the array that it draws."""
        return int(self.y), int(self.x)


def plot(
    figure: go.Figure,
    key: str,
    alt: str,
    config: Mapping[str, Any] | None = None,
    on_click: Callable[[Point], None] | None = None,
) -> None:
    """Draw a figure in the colours of the visitor's theme. alt: what it shows, for people who cannot see it. config: as
    Plotly's own. on_click: called with the clicked point, before the page is redrawn.
    """

    def clicked() -> None:
        point = st.session_state[key]["click"]
        if on_click is not None:
            on_click(Point(point["x"], point["y"], point["customdata"]))

    content = figure.to_dict()
    content["layout"].pop("template", None)  # the browser's, who knows the theme
    told = json.dumps({"alt": alt, "config": dict(config or {}), "clicks": on_click is not None})
    data = f'{told[:-1]}, "figure": {to_json_plotly(content)}}}'.encode()
    _plot(key=key, data=data, on_click_change=clicked)


_FORMAT, _FORMATS = "figure_format", ("PNG", "SVG")
_SCALE = 3  # pixels of a saved PNG for one on the screen
_STYLE = """
button, input { font: inherit; color: inherit; box-sizing: border-box; width: 100%; border-radius: .5rem;
  border: 1px solid var(--st-border-color); background: transparent; padding: .35rem .6rem; min-height: 2.4rem;
  font-size: .875rem }
button { cursor: pointer }
button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color) }
input { margin-top: .3rem }
span { display: block; min-height: 1.3em; font-size: .85rem; opacity: .8 }
div { font-family: var(--st-font); color: var(--st-text-color) }
"""
_copy = st.components.v2.component(
    "sinkscope_copy_link", js=Path(__file__).with_name("copy_link.js").read_text(encoding="utf-8"), css=_STYLE
)


def share_panel() -> None:
    """Draw the button that copies the address, and the choice of a format for figures."""
    st.divider()
    st.markdown("**Share**")
    _copy(key="copy_link")
    st.segmented_control(
        "Save figures as",
        _FORMATS,
        default=_FORMATS[0],
        required=True,
        key=_FORMAT,
        persist_state="session",
        help="What the camera above each figure saves, named after the figure.",
    )


def copy_button(label: str, text: str, key: str) -> None:
    """Draw a button that copies a text. key: of this text alone."""
    _copy(key=key, data={"label": label, "text": text})


def saving(title: str) -> dict[str, Any]:
    """Return the options of Plotly's tool bar for saving a figure: the format chosen, and a file named by title."""
    chosen = str(st.session_state.get(_FORMAT, _FORMATS[0])).lower()
    return {"toImageButtonOptions": {"format": chosen, "filename": file_name(title), "scale": _SCALE}}


if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

_FILES: dict[str, Callable[[pd.DataFrame], str | bytes]] = {"CSV": csv_of_table, "Parquet": parquet_of_table}
"""The files a table can be downloaded as: the label, which is the ending too, and its content."""
_TYPES = {
    "csv": "text/csv",
    "html": "text/html",
    "journal": "application/jsonl",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "zip": "application/zip",
}
"""Types of files by their endings."""
_EXHIBITS = "exhibits"
_CARDS = "exhibited_cards"
_SELECTION = "exhibited_selection"
_EXPORTED_ROWS, _EXPORTED_COLUMNS = 100, 12  # larger tables are for the CSV, not for a page
_WRITTEN_CELLS = 1_500  # of a table
PER_CENT_CELLS = "%.1f %%"
"""The format of a column of shares, in the configuration of columns: `as_percent` makes per cent of them."""
_KEPT = 24  # figures of a function
_Given = ParamSpec("_Given")
_Drawn = TypeVar("_Drawn", go.Figure, Exhibit)


def kept(function: Callable[_Given, _Drawn]) -> Callable[_Given, _Drawn]:
    """Cache a function's figures for later runs, by the content of all arguments. All visitors share them, so nobody
    may change one: not for charts that are clicked.
    """
    keeping: Callable[_Given, _Drawn] = st.cache_resource(max_entries=_KEPT, show_spinner=False)(function)
    return keeping


def chart(exhibit: Exhibit, key: str, hint: str = "", on_click: Callable[[Point], None] | None = None) -> None:
    """Draw an exhibit's title, finding, sentence and figure, and its table with the downloads.

    hint: what a visitor can do with it, which an exported page leaves out, as it does large tables. on_click: called
    with a point that was clicked.
    """
    heading(exhibit.title, exhibit.sentence, exhibit.formula, exhibit.finding, hint)
    table, told = exhibit.table, exhibit.told
    plot(exhibit.figure, key, f"{exhibit.title}. {told}", saving(exhibit.title), on_click)
    put_into_export(_exported(exhibit), key)
    if len(table.columns):
        _table(table, key)


def chart_in_fold(title: str, fold_key: str, exhibit: Callable[[], Exhibit], key: str) -> DeltaGenerator:
    """Draw an exhibit in a fold, made once that is open; an exported page has it anyway. Return the fold."""
    fold = st.expander(title, key=fold_key, on_change="rerun")
    if fold.open:
        with fold:
            chart(exhibit(), key)
    else:
        export_later(lambda: [exhibit()], key)
    return fold


def export_later(made: Callable[[], Sequence[Exhibit]], key: str) -> None:
    """Put exhibits into the exported page that are made only as that is."""
    st.session_state.setdefault(_EXHIBITS, {})[key] = lambda: [_exported(exhibit) for exhibit in made()]


def _exported(exhibit: Exhibit) -> Exhibit:
    """Return an exhibit as an exported page shows it: without a large table."""
    small = len(exhibit.table) <= _EXPORTED_ROWS and len(exhibit.table.columns) <= _EXPORTED_COLUMNS
    return Exhibit(exhibit.title, exhibit.told, exhibit.figure, exhibit.table if small else pd.DataFrame())


def heading(title: str, sentence: str, formula: str | None, finding: str = "", hint: str = "") -> None:
    """Draw title, finding and explanation of a chart or table as plain text; its formula is Markdown.

    The help icon holds the explanation and the formula. The finding's first clause is large, below a small title;
    without a finding, the first sentence of the explanation follows the title. hint: what a visitor can do, always
    shown, beside the title where nothing else follows it.
    """
    first, rest = ("", sentence) if finding else _split(sentence, _SENTENCE)
    explained = "\n\n".join(filter(None, (plain(rest), formula)))
    if finding:
        news, more = _split(finding, f"{_SENTENCE}|{_CLAUSE}")
        st.markdown(
            f":small[:gray[**{plain(title)}**]]  \n**{plain(news)}**" + (f" {plain(more)}" if more else ""),
            help=explained or None,
        )
        below = f"{first} {hint}".strip()
    else:
        beside = f" · :small[:gray[{plain(hint)}]]" if hint and not first else ""
        st.markdown(f"**{plain(title)}**{beside}", help=explained or None)
        below = f"{first} {hint}".strip() if first else ""
    if below:
        st.caption(plain(below))


_SENTENCE = r"(?<=[.!?]) +(?=[A-Z0-9])"
_CLAUSE = r"(?<=;) +(?![^()\[\]]*[)\]])"  # not within brackets


def _split(text: str, at: str) -> tuple[str, str]:
    """Split a text where it first matches, such as behind a sentence, into what is before and the rest."""
    first, *rest = re.split(at, text.strip(), maxsplit=1)
    return first, "".join(rest)


def reproduce(command: str, note: str = "") -> None:
    """Draw the equivalent command in a fold. note: further remarks, as Markdown."""
    with st.expander("Reproduce from the command line", icon=":material/terminal:", key="fold_reproduce"):
        st.code(command, language=None, wrap_lines=True)
        if note:
            st.caption(note)


def table(
    title: str,
    sentence: str,
    frame: pd.DataFrame,
    key: str,
    formula: str | None = None,
    export: bool = True,
    finding: str = "",
    hint: str = "",
    shares: Collection[str] = (),
    signed: Collection[str] = (),
    above: DeltaGenerator | None = None,
    missing: str = "",
    **options: Any,
) -> Any:
    """Draw title, sentence and a table with its download. options go to `st.dataframe`. above: container of the title.

    export: include it in the exported page. hint: what a visitor can do with it, which an exported page leaves out.
    shares: columns written in per cent. signed: columns of differences in points. missing: in place of a value that is
    not there.
    """
    with above or nullcontext():
        heading(title, sentence, formula, finding, hint)
    told = f"{finding} {sentence}".strip()
    written = options.get("column_config", {})
    shown = as_read(as_percent(frame, written), set(written) - set(signed), shares, signed, missing)
    event = st.dataframe(shown, hide_index=True, key=key, placeholder=missing, alt=f"{title}. {told}", **options)
    download_buttons(frame, key, type="tertiary")
    if export:
        exhibit_table(title, told, frame, key)
    return event


def as_percent(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table with the columns of shares in per cent whose format is `PER_CENT_CELLS`. columns: their
    configuration."""
    formats = {name: (column or {}).get("type_config", {}).get("format") for name, column in columns.items()}
    there = [name for name, written in formats.items() if written == PER_CENT_CELLS and name in frame]
    return frame.assign(**{name: 100 * frame[name] for name in there})


def as_read(
    frame: pd.DataFrame,
    written: Collection[str] = (),
    shares: Collection[str] = (),
    signed: Collection[str] = (),
    missing: str = "",
) -> pd.DataFrame | Styler:
    """Return a table whose numbers are written as people read them (`column_formats`); they sort as before.

    written: columns that are written in another way. shares: those in per cent. signed: those of differences. missing:
    as of `table`. Large tables stay as they are, as writing every cell takes long.
    """
    if frame.empty or frame.size > _WRITTEN_CELLS:
        return frame
    formats: dict[Any, Any] = {
        name: write for name, write in column_formats(frame, shares, signed).items() if name not in written
    }
    return frame.style.format(formats, na_rep=missing) if formats else frame


def cells(axes: Mapping[str, Sequence[Any]], values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return arrays over some axes as a table with a row per cell. axes: the places along each."""
    places = pd.MultiIndex.from_product(list(axes.values()), names=list(axes)).to_frame(index=False)
    return places.assign(**{name: array.ravel() for name, array in values.items()})


def download(label: str, content: Any, name: str, key: str, icon: str = "download", **options: Any) -> None:
    """Draw a button that downloads a file. content: it, or what returns it; a mapping is written as JSON. options: of
    `st.download_button`.
    """
    if isinstance(content, Mapping):
        content = partial(json.dumps, content, indent=2, ensure_ascii=False)
    mime = _TYPES.get(name.rpartition(".")[2])
    st.download_button(label, content, name, mime, key=key, icon=f":material/{icon}:", on_click="ignore", **options)


def download_buttons(
    frame: pd.DataFrame, key: str, name: str = "", type: Literal["tertiary", "secondary"] = "secondary"
) -> None:
    """Draw a table's download buttons. name: of the files, without extension; the key if empty."""
    with st.container(horizontal=True, gap="small", key=f"{key}_files"):
        for ending, content in _FILES.items():
            file = f"{name or key}.{ending.lower()}"
            download(ending, partial(content, frame), file, f"{key}_{ending.lower()}", type=type)


def put_into_export(exhibit: Exhibit, key: str) -> None:
    """Put an exhibit into the exported page without drawing it here."""
    st.session_state.setdefault(_EXHIBITS, {})[key] = exhibit
    _note_selection()


def exhibit_table(title: str, sentence: str, frame: pd.DataFrame, key: str) -> None:
    """Put a table into the exported page: for one in a fold that was not opened."""
    put_into_export(Exhibit(title, sentence, table=frame), key)


def exhibit_text(title: str, sentence: str, text: str, key: str) -> None:
    """Put a text into the exported page."""
    put_into_export(Exhibit(title, sentence, notes=(text,) if text else ()), key)


def _table(table: pd.DataFrame, key: str) -> None:
    shown = st.toggle("Table", key=f"{key}_table", bind="query-params", help="The numbers of this plot.")
    if not shown:
        return
    st.dataframe(as_read(table), hide_index=True, height=220)
    download_buttons(table, key)


def card(
    column: DeltaGenerator,
    label: str,
    value: str,
    change: str | None = None,
    *,
    note: str = "",
    help: str | None = None,
    delta_color: Literal["normal", "inverse", "off"] = "normal",
) -> None:
    """Draw one number in a column, with a note beneath it. change: against what it is compared with. help: Markdown."""
    column.metric(plain(label), escaped(value), change and escaped(change), help=help, delta_color=delta_color)
    if note:
        column.caption(plain(note))
    told = " · ".join(part for part in (change, note) if part)
    st.session_state.setdefault(_CARDS, {})[label] = Card(label, value, told)


def start_exhibits() -> None:
    """Forget the charts of the run before. Called once at the top of a page that can be exported."""
    st.session_state[_EXHIBITS], st.session_state[_CARDS] = {}, {}


def _note_selection() -> dict[str, Any]:
    """Return the page's address, in a dictionary that the next call fills anew."""
    selection: dict[str, Any] = st.session_state.setdefault(_SELECTION, {})
    selection.clear()
    selection.update(st.query_params.to_dict())
    return selection


def export_button(title: str, settings: Mapping[str, Any], subject: str) -> None:
    """Draw the button that downloads the cards and charts drawn so far, with their settings, as one HTML file.

    subject: what the page is about, such as the prompt; it appears beneath the title and in the file's name.

    The settings include the page's address, which holds everything chosen. Exhibits and address are read at the click,
    as a part of the page may have been drawn alone since.
    """
    exhibits, cards = (st.session_state.get(kind, {}) for kind in (_EXHIBITS, _CARDS))
    selection = _note_selection()
    name = title.removeprefix("SinkScope: ")
    if exhibits:
        download(
            "Export page (HTML)",
            lambda: page_html(
                title,
                {**settings, "selection": dict(selection)},
                [exhibit for each in list(exhibits.values()) for exhibit in (each() if callable(each) else [each])],
                list(cards.values()),
                subject=subject,
            ),
            f"{file_name(f'sinkscope {name} {subject}')}.html",
            "export_html",
            "ios_share",
            help="One file with these plots and their settings. It opens anywhere, without a server.",
        )
