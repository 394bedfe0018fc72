"""Exports of a store: every column is described, and the numbers are those of the recording."""

import io

import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.engine import Engine
from analysis.engine.stored_tables import COLUMNS, dictionary, stored_tables
from analysis.recording.frames import head_frame, step_frame, token_frame
from analysis.recording.trajectory_file import save
from analysis.sinks.definitions import find_sinks, mean_mass
from analysis.specs import SinkParams
from analysis.table_files import parquet_of_table


@pytest.fixture
def engine(store):
    made = Engine(store, devices=["cpu"])
    yield made
    made.close()


def test_a_recording_is_exported_with_its_steps(engine, trajectory, tmp_path):
    save(trajectory, tmp_path / "one.safetensors")
    job = engine.add_recording(tmp_path / "one.safetensors")
    tables = stored_tables(engine)
    assert {name: list(table.columns) for name, table in tables.items()} == {
        name: list(columns) for name, columns in COLUMNS.items()
    }
    (recording,) = tables["recordings"].to_dict("records")
    assert (recording["job"], recording["prompt"]) == (job.id, trajectory.info.prompt)
    steps = tables["recording_steps"]
    expected = find_sinks(mean_mass(trajectory.relative_mass()), SinkParams(), trajectory.pattern.visible())
    np.testing.assert_array_equal(steps["count"], expected.sum(axis=-1))
    assert len(tables["jobs"]) == 1 and tables["items"].empty
    for table in tables.values():
        again = pd.read_parquet(io.BytesIO(parquet_of_table(table)))
        assert list(again.columns) == list(table.columns) and len(again) == len(table)


def test_the_dictionary_says_what_every_column_holds():
    told = dictionary()
    assert set(told.table) == set(COLUMNS) and told.meaning.str.len().min() > 4


def test_what_is_no_store_is_one_line(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is not a SinkScope store" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_tokens_steps_and_heads_of_a_recording_agree(trajectory):
    params = SinkParams(k=1.5)
    tokens, steps, heads = (frame(trajectory, params) for frame in (token_frame, step_frame, head_frame))
    np.testing.assert_array_equal(tokens.groupby("step").sink.sum(), steps["count"])
    np.testing.assert_allclose(tokens.groupby("step").share.sum(), 1, rtol=1e-4)
    np.testing.assert_allclose(
        tokens[tokens.sink].groupby("step").share.sum(), steps.strength[steps["count"] > 0], rtol=1e-4
    )
    assert len(heads) == trajectory.layers * trajectory.heads and heads.strength.between(0, 1).all()
    masked = tokens[tokens.state == "undecided"]
    assert len(masked) and (masked.kind == "[MASK]").all() and (masked.later != masked.token).all()


def test_columns_of_mixed_values_are_text_in_parquet():
    table = pd.DataFrame({"a": [1, "x", None], "b": [[1, 2], [], None], "c": [1.5, np.nan, 2.0], 7: ["x", "y", "z"]})
    again = pd.read_parquet(io.BytesIO(parquet_of_table(table)))
    assert again["a"].tolist()[:2] == ["1", "x"] and again["b"].tolist()[:2] == ["[1, 2]", "[]"]
    assert again["c"].dtype == float and again["7"].tolist() == ["x", "y", "z"]
