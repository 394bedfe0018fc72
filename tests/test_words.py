"""Numbers as people read them, on pages and in exported files."""

import numpy as np
import pandas as pd

from analysis.figures.export import table_html
from analysis.words import column_formats, glued, p_value, p_words


def test_a_p_is_told_down_to_a_thousandth():
    assert [p_value(p) for p in (1.8e-74, 0.0009, 0.0123, 1.0)] == ["< 0.001", "< 0.001", "0.012", "1.000"]
    assert [p_words(p) for p in (1.8e-74, 0.0123)] == ["p < 0.001", "p = 0.012"]


def test_no_line_breaks_between_a_number_and_its_unit_or_interval():
    assert glued("costs 21 points [18, 24]") == "costs 21\u00a0points\u00a0[18,\u00a024]"
    assert glued("strength λ = 1 (") == "strength λ\u00a0=\u00a01 ("
    assert glued("in layer 2, layers 6 and 7 (layer 5: 57 %)") == (
        "in layer\u00a02, layers\u00a06 and 7 (layer\u00a05:\u00a057\u00a0%)"
    )
    told = glued("2 seeds: +0.1 [−0.7, +0.9] at 50 % of 3 models")
    assert told.split(" ") == ["2\u00a0seeds:", "+0.1\u00a0[−0.7,\u00a0+0.9]", "at", "50\u00a0%", "of", "3", "models"]


def test_a_value_has_the_digits_its_interval_supports():
    frame = pd.DataFrame(
        {
            "task": ["a", "b"],
            "nats per token": [1.82953, -0.4028],
            "low": [1.4303, np.nan],
            "high": [2.2287, np.nan],
            "clusters": [60.0, np.nan],
            "share": [0.123456, 12345.6],
            "p (Holm)": [1.8e-74, None],
        }
    )
    formats = column_formats(frame)
    written = {name: [write(value) for value in frame[name]] for name, write in formats.items()}
    assert written == {
        "nats per token": ["1.83", "−0.40"],
        "low": ["1.43", ""],
        "high": ["2.23", ""],
        "clusters": ["60", ""],
        "share": ["0.123", "12,346"],
        "p (Holm)": ["< 0.001", ""],
    }
    html = table_html(frame)
    assert "&lt; 0.001" in html and "1.83" in html and "e-74" not in html


def test_a_column_of_differences_has_the_sign_of_minus_and_sorts_as_numbers():
    frame = pd.DataFrame({"to dense": [-2.84, 0.51, -0.04, np.nan]})
    write = column_formats(frame, signed=("to dense",))["to dense"]
    assert [write(value) for value in frame["to dense"]] == ["−2.8", "+0.5", "+0.0", ""]
    assert frame.style.format({"to dense": write}).data["to dense"].dtype.kind == "f"
