"""How large an exported page is. What it holds is tested with what is shared, and that it draws, in a browser."""

import base64
import gzip
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures import sinks as figures
from analysis.figures.dynamics import Series, curves
from analysis.figures.export import Card, Exhibit, page_html

STEPS, LAYERS, HEADS, POSITIONS = 64, 8, 8, 72  # of the bundled pair's longest recording by default
LIMIT = 2_000_000  # bytes


def exhibits() -> list[Exhibit]:
    """As many figures of a recording's shape as the page Explore draws, of numbers that pack worse than real ones."""
    rng = np.random.default_rng(0)
    mass = rng.gamma(0.5, size=(STEPS, POSITIONS)).astype(np.float32)
    labels = [f"word{position}" for position in range(POSITIONS)]
    steps = np.arange(STEPS)
    return [
        Exhibit("Heads", "A grid.", figures.head_grid(rng.random((LAYERS, HEADS)), "strength")),
        Exhibit("Head", "Its map.", figures.attention_map(mass, labels)),
        Exhibit("Token", "Its mass.", curves([Series("mass", steps, mass.T)], "step", "mass")),
        Exhibit("Map", "A map.", figures.attention_map(rng.dirichlet(np.ones(POSITIONS), POSITIONS), labels)),
    ]


def test_a_page_of_a_recording_takes_at_most_two_megabytes():
    html = page_html("Sinks", {"prompt": "mia has a dog ."}, exhibits(), [Card("Sinks", "2.50")])
    assert 1_000_000 < len(html.encode()) <= LIMIT


def test_figures_are_packed_and_are_the_same_when_they_are_unpacked():
    evil = "</script><b>"
    given = [exhibits()[1].figure, go.Figure(go.Bar(y=[1], name=evil))]
    html = page_html(
        "Sinks", {}, [Exhibit(name, "Its mass.", figure) for name, figure in zip("ab", given, strict=True)]
    )
    found = re.findall(
        r'<script class="figure" data-name="(.)" type="text/plain" data-size="(\d+)">([^<]*)</script>', html
    )
    assert [name for name, _, _ in found] == ["a", "b"]
    figures_ = [
        json.loads(gzip.decompress(base64.a85decode(packed.replace("v", "<"))[: int(size)]))
        for _, size, packed in found
    ]
    numbers = 5 / 4 * given[0].data[0].z.nbytes  # in base 85: they are random, so they hardly pack
    assert len(found[0][2]) < 1.2 * numbers, "what stands beside the numbers takes little room"
    assert [trace["type"] for trace in figures_[0]["data"]] == [trace.type for trace in given[0].data]
    assert figures_[1]["data"][0]["name"] == evil


def test_what_a_table_lacks_is_left_empty_and_times_are_to_the_minute():
    made = pd.to_datetime(["2026-11-26 06:34:55.909304", None])
    table = pd.DataFrame({"run": ["a", None], "size": [1.23456, None], "made": made})
    html = page_html("Runs", {}, [Exhibit("Runs", "All.", table=table)])
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert cells == ["a", "1.23", "2026-11-26 06:34", "", "", ""]
