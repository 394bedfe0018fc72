"""The JSON lines of an evaluation: what is written is read, and what was written before still opens."""

import json

import pytest

from analysis.errors import UserError
from analysis.evaluation.items_file import (
    Answer,
    End,
    EvaluatedBenchmark,
    EvaluatedItem,
    EvaluatedModel,
    Header,
    LineReader,
    LineWriter,
    refusal,
)
from tests.helpers import pruned_run

HEADER = Header(
    names=("dense", "pruned"),
    models=(EvaluatedModel(source="x", fingerprint="f" * 32), EvaluatedModel(pruning=pruned_run(method="wanda"))),
    benchmarks=(
        EvaluatedBenchmark(
            name="a",
            title="A",
            metric="acc",
            kind="multiple_choice",
            planned=2,
            draws=32,
            shots=5,
            guidance=0.5,
            gen_length=None,
            source="ours",
            cluster="passage",
            chance=0.5,
        ),
    ),
    problems=("B was left out.",),
    seed=3,
    together=True,
    created="2026-01-01",
)
ITEM = EvaluatedItem(
    key="a/0", benchmark="a", place=0, question="What is «ä»\u2028?", choices=("yes", "no"), right=0, cluster="p"
)
ANSWER = Answer(
    responses=([-1.5, False], [float("-inf"), True]),  # as JSON has pairs
    draws=(32, 1),
    exact=True,
    cut=True,
    precision="bfloat16",
    device="cuda",
    key="a/0",
    model=1,
    metrics={"acc": 1, "loglikelihood": [-2.0, 7]},
    restored=True,
)
END = End(stopped=True, seconds=1.5, environment={"versions": {"torch": "2"}})


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "items.jsonl"
    writer, reader = LineWriter(path), LineReader(path)
    writer.write(HEADER)
    assert reader.lines() == (HEADER, {}, {}, None)
    for line in (ITEM, ANSWER, END):
        writer.write(line)  # seen at once
    expected = (HEADER, {"a/0": ITEM}, {("a/0", 1): ANSWER}, END)
    assert reader.lines() == expected == LineReader(path).lines()
    writer.close()
    assert refusal(path) == ""


def test_what_two_evaluations_share_is_parsed_and_kept_once(tmp_path):
    """Every evaluation repeats the items and the dense model's answers: Runs reads 36 files at its first open."""
    read = []
    for name in ("a", "b"):
        writer = LineWriter(tmp_path / name)
        for line in (HEADER, ITEM, ANSWER.model_copy(update={"metrics": {"acc": name == "a"}}), END):
            writer.write(line)
        writer.close()
        read.append(LineReader(tmp_path / name).lines())
    (_, items, answers, _), (_, others, other_answers, _) = read
    assert items["a/0"] is others["a/0"] and answers != other_answers


def test_lines_of_the_first_version_still_open(tmp_path):
    """Their keys are typed by hand: they are in files that people have."""
    lines = [
        {
            "line": "header",
            "names": ["dense"],
            "models": [{"source": "x", "fingerprint": "1"}],
            "benchmarks": [HEADER.benchmarks[0].model_dump()],
            "problems": [],
            "seed": 0,
            "together": True,
            "early_draws": False,
            "created": "2026-01-01T00:00:00+00:00",
        },
        {
            "line": "document",
            "key": "a/0",
            "benchmark": "a",
            "place": 0,
            "question": "?",
            "choices": ["yes", "no"],
            "right": 1,
        },
        {
            "line": "answer",
            "key": "a/0",
            "model": 0,
            "metrics": {"acc": 1.0},
            "restored": False,
            "responses": [[-1.0, False], [-2.0, False]],
            "draws": [3, 3],
            "exact": True,
        },
        {"line": "end", "stopped": False, "seconds": 2.0, "environment": {}},
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    header, items, answers, end = LineReader(path).lines()
    assert (header.models[0].source, header.models[0].pruning.settings) == ("x", {})
    assert items["a/0"].right == 1
    assert answers["a/0", 0].values == [-1.0, -2.0]
    assert (answers["a/0", 0].precision, answers["a/0", 0].cut) == ("", False)
    assert end is not None and not end.stopped


@pytest.mark.parametrize("text", ["", "[]\n", '{"line": "end"}\n', '{"line": "header"}\n', "[" * 100_000 + "\n"])
def test_what_is_no_evaluation_is_refused(tmp_path, text):
    path = tmp_path / "items.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match="no evaluation"):
        LineReader(path).lines()
    assert bool(refusal(path)) == bool(text)  # nothing is lost with an empty file
