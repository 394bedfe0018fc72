"""The benchmarks run, and the plain version of the published procedure decides as ours does."""

import contextlib
import io
import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.__main__ import parsed
from analysis.sinks.discount import sink_scores
from analysis.specs import DiscountParams
from benchmarks import __main__ as everything
from benchmarks import gpu, journeys, likelihood, pruning, published, threads
from benchmarks.ratios import paired
from benchmarks.table import rows_of
from docs.marks import marks
from training import measure
from training.tasks import TASKS


@pytest.fixture
def _little_to_score(monkeypatch):
    """Answers are short, and scored by one pruned copy, which is pruned on a few sequences."""
    whole = likelihood.calibration
    monkeypatch.setattr(likelihood, "calibration", lambda model: [texts[:4] for texts in whole(model)])
    monkeypatch.setattr(measure, "CALIBRATION_BATCHES", 1)
    monkeypatch.setattr(likelihood, "SPARSITIES", (0.7,))
    monkeypatch.setattr(likelihood, "LENGTH", 5)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the cheapest benchmark prints at its smallest sizes, by name, and the file with its ratios."""
    file = tmp_path_factory.mktemp("bench") / "performance.md"
    begin, end = marks(everything.NAME)
    file.write_text(f"before\n{begin}\nwhat was there\n{end}\nafter\n", encoding="utf-8")
    count, output = torch.get_num_threads(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            everything.main(["--quick", "--only", "observing", "--into", str(file)])
    finally:
        torch.set_num_threads(count)
    parts = re.split(r"^== (.*)$", output.getvalue(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True)), file.read_text(encoding="utf-8")


def test_the_ratios_of_what_runs_are_written_and_every_benchmark_is_a_row(printed):
    by_name, text = printed
    begin, end = marks(everything.NAME)
    assert text.startswith(f"before\n{begin}\n") and text.endswith(f"{end}\nafter\n")
    assert "what was there" not in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert {row[0].removeprefix("| ") for row in rows} == set(by_name)
    chosen = [row for row in everything.BENCHMARKS if row.name == "observing"]
    assert set(by_name) == {row.command(quick=True) for row in chosen}
    modules = {path.stem for path in Path(everything.__file__).parent.glob("*.py")}
    helpers = {"__init__", "__main__", "ratios", "table", "published"}
    others = {"browser", "explorer", "gpu", "full_size", "journeys"}
    assert modules - helpers - others == {row.name for row in everything.BENCHMARKS}


def test_a_journey_enters_the_files_whose_functions_it_calls():
    mass = torch.rand(2, 1, 1, 4)
    in_a_thread = threading_of(lambda: sink_scores(mass, DiscountParams()))
    assert "analysis/sinks/discount.py" in journeys.entered(in_a_thread)
    assert journeys.entered(lambda: paired("", "", [1.0], [1.0])) == set(), "benchmarks are none of them"


def threading_of(work):
    """The same work, done in a thread of its own."""

    def run():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    return run


def test_a_file_without_the_marks_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(everything, "run", lambda *_: pytest.fail("it ran"))
    (tmp_path / "text.md").write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="needs the marks"):
        everything.main(["--quick", "--into", str(tmp_path / "text.md")])
    assert (tmp_path / "text.md").read_text(encoding="utf-8") == "no marks"


@pytest.fixture
def measuring(tmp_path, monkeypatch):
    """A page, and the ratio that every benchmark gives from now on; those of a name that is given fail."""
    file = tmp_path / "performance.md"
    file.write_text("\n".join(marks(everything.NAME)), encoding="utf-8")

    def measure(only, ratio, failing=""):
        def run(benchmark, quick):
            if benchmark.name == failing:
                raise RuntimeError("no memory")
            return rows_of(benchmark.command(), [paired("a forward", "slow / fast", [ratio], [1.0])], (0.0, 0.0))

        monkeypatch.setattr(everything, "run", run)
        everything.main(["--only", *only, "--into", str(file)])

    return measure, file


def test_what_was_measured_before_a_benchmark_fails_is_written(measuring):
    measure, file = measuring
    with pytest.raises(RuntimeError, match="no memory"):
        measure(["observing", "pruning"], 2.0, failing="pruning")
    text = file.read_text(encoding="utf-8")
    assert "| observing --length 1024 | a forward | slow / fast | 2.00 |" in text
    rows = text.count(" | a forward | slow / fast | 2.00 |")
    assert rows == sum(benchmark.name == "observing" for benchmark in everything.BENCHMARKS)


def test_what_is_not_measured_again_stays_in_its_place_unless_the_machine_is_another(measuring):
    measure, file = measuring
    measure(["pruning", "noise"], 2.0)
    measure(["noise", "observing"], 3.0)
    rows = [line.split(" | ") for line in file.read_text(encoding="utf-8").splitlines() if " a forward " in line]
    observing = sum(benchmark.name == "observing" for benchmark in everything.BENCHMARKS)
    assert [row[3] for row in rows] == ["3.00"] * observing + ["2.00", "3.00"]
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("; Python ", "; Another Python "), encoding="utf-8")
    measure(["noise"], 4.0)
    rows = [line for line in file.read_text(encoding="utf-8").splitlines() if " a forward " in line]
    assert len(rows) == 1 and rows[0].startswith("| noise | a forward | slow / fast | 4.00 |")


def test_a_ratio_is_the_median_of_paired_rounds():
    ratio = paired("a", "slow / fast", [2.0, 9.0, 4.0], [1.0, 3.0, 4.0])
    assert (ratio.value, ratio.low, ratio.high) == (2, 1, 3)
    assert str(ratio) == "slow / fast: 2.00 (1.00 to 3.00)"
    with pytest.raises(ValueError):
        paired("a", "slow / fast", [1.0], [])


def test_masks_without_the_discount_do_not_pass_for_the_published_ones(golden):
    """The check on masks would notice an implementation that ignores sinks."""
    model, expected, _ = golden
    rows = expected["noisy_ids"].numpy().astype(np.int64)
    found, control = (
        published.masks(model, published.feature_scores(model, rows, DiscountParams(discount_strength=strength)), 0.5)
        for strength in (1, 0)
    )
    with pytest.raises(AssertionError, match="agree"):
        pruning.require_equal(control, found)


def test_the_plain_sink_score_is_the_published_one(golden):
    model, expected, _ = golden
    tokens = expected["noisy_ids"][0, 0]
    plain = published.sink_score(model, tokens, DiscountParams())
    assert abs(plain - expected["soft_sink_score"][0, 0]).max() < 1e-4
    mass = expected["attention_mass"][0, 0].sum(dim=0).numpy()
    assert abs(plain.numpy() - sink_scores(mass, DiscountParams())).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "size", "ratio"),
    [
        ("observing --quick", "float32, 32 positions", "observed / bare"),
        ("observing --dtype bfloat16 --quick", "bfloat16, 32 positions", "observed / bare"),
    ],
)
def test_observing_is_timed(name, size, ratio, printed):
    told = printed[0][name]
    assert size in told
    assert float(re.search(rf"^{ratio}: ([\d.]+) ", told, re.MULTILINE).group(1)) > 0


@pytest.mark.usefixtures("_little_to_score")
def test_the_bias_of_few_draws_is_measured_on_every_bundled_task(capsys):
    likelihood.main(["--bias", "--limit", "2", "--items", "1", "--seeds", "3"])
    printed = capsys.readouterr().out
    assert printed.count("| draws | dense (") == 1 + len(TASKS)
    assert all(f"bundled_{task}: 2 items" in printed for task in TASKS)
    long, *rest = printed.split("| draws |")[1:]
    told = [line.split("|")[1].split(",") for line in long.splitlines() if line.startswith("| ") and "---" not in line]
    assert sorted(int(draws) for row in told for draws in row) == list(likelihood.DRAWS)
    assert any(
        line.startswith("| 1, 2, 4, 8, 16, 32, 64, 128 | 0 | 0 |") for part in rest for line in part.splitlines()
    )


def test_ways_of_waiting_are_compared_round_by_round(capsys, monkeypatch):
    """Seconds are made up here: a machine slower in every round than in the one before."""
    begun = []

    def prune(flags, variables, outs):
        begun.append((tuple(variables), len(outs)))
        number, way = divmod(len(begun) - 1, 2 * len(threads.WAYS))
        return (number + 1) * (1 + way // 2) * len(outs)

    monkeypatch.setattr(threads, "_prune", prune)
    threads.main(["--rounds", "3"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [row[0].strip() for row in rows] == list(threads.WAYS)
    assert [[float(cell) for cell in row[1:]] for row in rows] == [[2 * n, n, 6 * n, n] for n in (1, 2, 3, 4)]
    assert begun == 3 * [(tuple(variables), count) for variables in threads.WAYS.values() for count in (1, 3)]


def test_what_is_timed_is_a_pruning_of_the_command_line(tmp_path):
    assert parsed(["prune", *threads.flags(quick=True), "--out", str(tmp_path / "pruned")]).verb == "prune"
    with pytest.raises(subprocess.CalledProcessError):
        threads._prune(["--no-such-flag"], {}, [tmp_path / "refused"])


def test_the_benchmark_of_one_card_runs_without_one(capsys):
    count = torch.get_num_threads()
    try:
        gpu.main(["--device", "cpu", "--quick"])
    finally:
        torch.set_num_threads(count)
    printed = capsys.readouterr().out
    for row in gpu.ROWS:
        assert f"| {row.format(16, 32, 64, 8)} | " in printed
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="No CUDA device"):
            gpu.main([])
