"""The verb that writes a whole study of sinks."""

import json
from pathlib import Path

import pandas as pd

from analysis.__main__ import main
from analysis.recording.set_file import open_set
from analysis.sinks.movement import WEIGHT_NULLS
from tests.command_line.surface import holds_fields
from tests.helpers import tiny_llada


def test_sinks_writes_numbers_figures_and_one_page(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    first, second = (tiny_llada(tmp_path / name, seed) for seed, name in enumerate(("first", "second")))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("mia has a dog .\nben has a cat .\n\nthe dog is big .\n")
    out = tmp_path / "study"
    flags = ["--gen-length", "4", "--steps", "4", "--random-models", "1", "--null-prompts", "2", "--by-query", "--json"]
    arguments = ["sinks", "--model", first, "--beside", second, "--prompts", str(prompts), "--out", str(out), *flags]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    holds_fields("sinks", said)
    assert list(said["models"]) == [first, second] and said["models"][first]["prompts"] == 3
    table = pd.read_csv(out / "layers-by-kind.csv")
    assert set(table["model"]) == {first, second} and set(table["weights"]) == {"trained", *WEIGHT_NULLS}
    assert (table["low"] <= table["value"] + 1e-6).all()
    assert {"observed", "random positions"} <= set(pd.read_csv(out / "movement.csv")["of"])
    assert "log-normal attention" in set(pd.read_csv(out / "counts.csv")["counted"])
    assert len(list(out.glob("queries-over-prompts-*.csv"))) == 2
    layers = [pd.read_csv(file) for file in out.glob("layers-*.csv") if file.name != "layers-by-kind.csv"]
    assert len(layers) == 2
    assert all(
        said["shown"][name][0].startswith("More common among sinks than among all tokens: ") for name in (first, second)
    ), said["shown"]
    page = (out / "study.html").read_text()
    assert "The sinks of each layer" in page
    assert 'src="http' not in page and "<link" not in page  # it opens without a network
    figures = list(out.glob("figure-*.json"))
    assert len(figures) >= 5 and all("data" in json.loads(file.read_text()) for file in figures)
    [*sets] = (open_set(file) for file in out.glob("*.safetensors"))
    assert sorted(recordings.info.model.source for recordings in sets) == sorted([first, second])
    assert main(arguments) == 2 and "exists" in capsys.readouterr().err
    assert main(["sinks", "--prompts", str(tmp_path / "none.txt"), "--out", str(tmp_path / "other")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
