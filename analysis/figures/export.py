"""A page's figures and tables as one HTML file that needs no server and no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

_STYLE = """body{font-family:system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1c2433}
h2{margin:2rem 0 .2rem}pre{background:#f3f5f9;padding:1rem;overflow:auto}
table{border-collapse:collapse;font-size:.9rem}td,th{border:1px solid #d5dbe5;padding:.25rem .6rem;text-align:left}"""


@dataclass(frozen=True)
class Exhibit:
    """One figure or table with its title and sentence."""

    title: str
    sentence: str
    figure: go.Figure | None
    table: pd.DataFrame | None = None


def page_html(title: str, settings: Mapping[str, Any], exhibits: Sequence[Exhibit]) -> str:
    """The whole document, with Plotly's script inside. settings: what the page was set to, as JSON."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
    ]
    script = True  # Plotly's, once
    for exhibit in exhibits:
        parts.append(f"<h2>{escape(exhibit.title)}</h2><p>{escape(exhibit.sentence)}</p>")
        if exhibit.figure is not None:
            parts.append(
                exhibit.figure.to_html(full_html=False, include_plotlyjs=script, config={"displaylogo": False})
            )
            script = False
        if exhibit.table is not None:
            parts.append(exhibit.table.to_html(index=False, na_rep="", border=0, float_format="{:.4g}".format))
    text = json.dumps(settings, indent=2, ensure_ascii=False, default=str)
    parts.append(f"<h2>Settings</h2><pre>{escape(text)}</pre></body></html>")
    return "".join(parts)
