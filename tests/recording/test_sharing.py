"""Recordings from elsewhere, and pages that leave as one file."""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from safetensors.numpy import save_file

from analysis.engine import Engine
from analysis.errors import UserError
from analysis.figures import sinks as figures
from analysis.figures.export import Card, Exhibit, page_html
from analysis.recording.trajectory_file import ARRAYS, open_trajectory, save


@pytest.fixture
def engine(store):
    made = Engine(store)
    yield made
    made.close()


def test_a_dropped_recording_becomes_a_finished_one_and_only_once(engine, trajectory, tmp_path):
    for name in ("a", "b"):
        save(trajectory, tmp_path / name)
    first = engine.add_recording(tmp_path / "a")
    again = engine.add_recording(tmp_path / "b")
    assert first.id == again.id
    assert list(tmp_path.glob("[ab]")) == []
    opened = open_trajectory(engine.result(first).file)
    np.testing.assert_array_equal(opened.mass, trajectory.mass)
    assert engine.jobs("record")[0].parameters().prompt == trajectory.info.prompt


def test_a_received_recording_is_known_until_it_is_forgotten(engine, trajectory, tmp_path):
    save(trajectory, tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    record = engine.receive_recording(memoryview(content), "mine.safetensors")
    assert engine.receive_recording(content, "the same.safetensors").id == record.id
    assert engine.knows("record", record.key) and engine.has_result(record)
    engine.forget_result(record)
    assert not engine.knows("record", record.key) and not engine.has_result(record)
    assert not engine.knows("record", None)
    assert list(engine.store.incoming.iterdir()) == []


def test_a_received_file_that_is_no_recording_is_called_by_its_own_name_and_left_nowhere(engine, trajectory, tmp_path):
    save(trajectory, tmp_path / "a")
    for content in (b"", b"{}", (tmp_path / "a").read_bytes()[:-100]):
        with pytest.raises(UserError, match=r"^'mine\.safetensors' "):
            engine.receive_recording(content, "mine.safetensors")
    assert list(engine.store.incoming.iterdir()) == []
    assert engine.jobs() == []


def test_a_hostile_file_is_one_sentence_and_nothing_is_kept(engine, trajectory, tmp_path):
    path = tmp_path / "bad.safetensors"
    for content in (b"", b"\x80\x04\x95 pickle", b"\xff" * 8 + b"{}"):
        path.write_bytes(content)
        with pytest.raises(UserError):
            engine.add_recording(path)
    info = json.loads(trajectory.info.model_dump_json())
    info["sampling"] = {"sampler": "replay", "inputs": "noised", "weights": "own"}
    arrays = {name: np.ascontiguousarray(getattr(trajectory, name)) for name in ARRAYS}
    save_file(arrays, path, metadata={"sinkscope": json.dumps(info)})
    with pytest.raises(UserError, match="not a recorded generation"):
        engine.add_recording(path)
    assert engine.jobs() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 10**30}, "seed"),
        ({"prompt": "a" * 60_000}, "50,000 characters"),
        ({"sampling": {"sampler": "llada", "gen_length": 7, "steps": -3}}, "steps"),
    ],
)
def test_parameters_that_no_recording_has_are_one_sentence(engine, trajectory, tmp_path, change, said):
    path = tmp_path / "bad.safetensors"
    arrays = {name: np.ascontiguousarray(getattr(trajectory, name)) for name in ARRAYS}
    info = {**json.loads(trajectory.info.model_dump_json()), **change}
    save_file(arrays, path, metadata={"sinkscope": json.dumps(info)})
    with pytest.raises(UserError, match=said) as caught:
        engine.add_recording(path)
    assert "\n" not in str(caught.value)
    assert engine.jobs() == []


def test_an_exported_page_holds_tables_as_text():
    table = pd.DataFrame({"model": ["<i>x</i>"], "p": [None], "points": [1 / 3]})
    bar = Exhibit("Bar", "B.", go.Figure(go.Bar(y=[1])))
    html = page_html("Title", {}, [Exhibit("Numbers", "C.", table=table), bar])
    assert "&lt;i&gt;x" in html
    assert "0.333<" in html
    assert html.count('class="figure"') == 1
    assert len(html) > 1_000_000, "the script is inside, though the first exhibit needs none"


def test_an_exported_page_holds_figures_settings_and_no_markup_of_the_users():
    exhibits = [
        Exhibit("<b>One</b>", "A sentence.", go.Figure(go.Bar(y=[1, 2]))),
        Exhibit("Two", "B.", go.Figure(go.Bar(y=[1]))),
    ]
    html = page_html("Title", {"prompt": "<script>alert(1)</script>"}, exhibits)
    assert "&lt;b&gt;One" in html
    assert "<script>alert(1)" not in html
    assert html.count('class="figure"') == 2
    assert "cdn" not in html.split("<h2>")[0]
    assert len(html) > 1_000_000, "Plotly's script is inside, so that it opens without a network"


def test_an_exported_page_leaves_out_what_only_a_visitor_can_do():
    grid = figures.head_grid(np.ones((2, 2)), "strength")
    assert "click to open" in grid.data[0].hovertemplate
    assert "click to open" not in page_html("Title", {}, [Exhibit("Grid", "A grid.", grid)])
    assert "click to open" in grid.data[0].hovertemplate, "the page's own figure stays as it is"


def test_nothing_on_an_exported_page_is_markup_of_its_own():
    """Titles, sentences, cards and settings are text whatever they hold, braces of the template's own included."""
    evil = '<img src=x onerror="alert(1)">{{ 7 * 7 }}{% if %}\''
    table = pd.DataFrame({evil: [evil]})
    figure = go.Figure(go.Bar(y=[1], name="</script>" + evil))
    html = page_html(evil, {evil: evil}, [Exhibit(evil, evil, figure, table)], [Card(evil, evil, evil)])
    assert "<img" not in html and html.count("<script") == 3 == html.count("</script>")
    assert "49" not in html.split("packed")[0] and html.count("{{ 7 * 7 }}") >= 9
