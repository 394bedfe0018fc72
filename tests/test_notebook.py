"""The notebook runs as it stands but for its sizes, and the Python face says what the command line says."""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import sinkscope
from analysis.errors import UserError
from analysis.recording.trajectory_file import save
from analysis.study.findings import EXAMPLE
from analysis.study.findings import read as read_study
from sinkscope.drawing import figures_of
from tests.helpers import ROOT

LESS = {'"samples": 8, "seq_len": 64': '"samples": 2, "seq_len": 32', "limit=60": "limit=4, draws=4"}
"""Sizes of the notebook, and what does as well here."""


def cells():
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_notebook_runs_from_a_prompt_to_a_paired_difference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    names: dict = {}
    shown = []
    code = "\0".join(cells())
    for size, less in LESS.items():
        assert code.count(size) == 1
        code = code.replace(size, less)
    for source in code.split("\0"):
        *before, last = source.splitlines()
        try:
            compile(last, "cell", "eval")
        except SyntaxError:  # no value to show: the whole cell is a statement
            exec(source, names)
            continue
        exec("\n".join(before), names)
        shown.append(eval(last, names))
    assert isinstance(sinkscope.figure(names["results"], "running differences"), go.Figure)
    figures = [value for value in shown if isinstance(value, go.Figure)]
    assert len(figures) == 6 and all(len(figure.data) for figure in figures)
    assert 0 < np.nanmax(figures[4].data[0].z) < 1, "masks with and without the discount differ"
    compared = sinkscope.compare(names["results"])
    assert set(compared.model) == {"notebook-sink-wanda", "notebook-wanda-noised"} and len(compared) == 3
    assert names["tokens"].sink.any() and "<iframe" in next(
        value._repr_html_() for value in shown if hasattr(value, "html")
    )
    for name in ("notebook-sink-wanda", "notebook-wanda-noised"):
        assert abs(sinkscope.read(name).report["sparsity"]["overall"] - 0.6) < 0.01
    assert {type(value) for value in shown} >= {pd.DataFrame, go.Figure}


def test_what_was_written_is_opened_by_what_it_is(tmp_path, trajectory):
    save(trajectory, tmp_path / "one.safetensors")
    again = sinkscope.read(tmp_path / "one.safetensors")
    assert again.info == trajectory.info
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path / "notes.txt", tmp_path / "none", tmp_path / "sub"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(UserError):
            sinkscope.read(path)


def test_the_shipped_study_draws_its_figures():
    findings = read_study(EXAMPLE)
    rows = figures_of(findings)  # once: each call gathers them all
    assert len(rows) > 3 and all(isinstance(row.draw(findings), go.Figure) for row in rows.values())
    assert len(sinkscope.figure(findings, next(iter(rows))).data)


def test_bad_input_is_one_sentence_of_ours():
    with pytest.raises(UserError, match=r"Sparsity must be at most 0\.95"):
        sinkscope.run("prune", "nowhere", sparsity=3)
    with pytest.raises(UserError, match="There is no verb 'prone'"):
        sinkscope.run("prone")
    with pytest.raises(UserError, match="Unknown argument: --no-such-flag"):
        sinkscope.run("prune", "nowhere", no_such_flag=1)


def test_the_models_are_those_of_the_command_line():
    assert sinkscope.models().name.tolist()[:2] == ["bundled", "bundled-ar"]
