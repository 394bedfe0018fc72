"""The verbs of what sinks do: ablation over prompts, and looking inside."""

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main
from tests.helpers import tiny_llada

SHORT = ["--gen-length", "4", "--steps", "4", "--json"]


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    file = tmp_path / "prompts.txt"
    file.write_text("mia has a dog .\nben has a cat .\n\nthe dog is big .\n")
    return str(file)


def test_ablate_writes_effects_means_and_every_prompt(tmp_path: Path, capsys, prompts) -> None:
    model, out = tiny_llada(tmp_path / "model", 0), tmp_path / "study"
    flags = ["--targets", "sinks,moving,steady", "--interventions", "attention,value", "--last-layer", "0"]
    arguments = ["ablate", "--model", model, "--prompts", prompts, "--out", str(out), *flags, *SHORT]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["prompts"] == 3 and said["layers"] == [0, 0] and said["spec"]["interventions"] == ["attention", "value"]
    effects = pd.read_csv(out / "effects-divergence.csv")
    assert set(effects["positions"].str.partition(", ")[2]) >= {
        "against as many random tokens",
        "per unit of attention",
    }
    single, means = pd.read_csv(out / "prompts.csv"), pd.read_csv(out / "means.csv")
    assert len(means) == 18 and len(single) == 54
    column = "KL divergence from the untouched prediction (nats)"
    of_first = single[(single[["positions", "which", "done to them"]] == means.iloc[0, :3]).all(axis=1)]
    assert of_first[column].mean() == pytest.approx(means.iloc[0][column], abs=1e-6)
    assert "Change of the predictions" in (out / "study.html").read_text()
    assert main(arguments) == 2 and "exists" in capsys.readouterr().err
    assert main(["ablate", "--targets", "nobody", "--prompts", prompts, "--out", str(tmp_path / "other")]) == 2
    assert "'sinks'" in capsys.readouterr().err


def test_inspect_looks_inside_over_prompts_and_beside_another_model(tmp_path: Path, capsys, prompts) -> None:
    model, other = (tiny_llada(tmp_path / name, seed) for seed, name in enumerate(("first", "second")))
    out = tmp_path / "study"
    arguments = ["inspect", "--model", model, "--beside", other, "--prompts", prompts, "--out", str(out), *SHORT]
    assert main([*arguments, "--random-models", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["prompts"]) == 3 and list(said["shown"]) == [
        "Massive activations",
        "Logit lens",
        "Geometry",
        "Dense against pruned",
    ]
    assert said["shown"]["Geometry"] == ["Nothing is said about 3 prompts: a claim needs 30."]
    channels = pd.read_csv(out / "channels-over-prompts.csv")
    assert set(channels["of"]) == {"on a sink", "by chance"} and (channels["low"] <= channels["high"]).all()
    geometry = pd.read_csv(out / "geometry-map_rank-over-prompts.csv")
    assert set(geometry["of"]) == {"this model", "beside: second", "random weights"}
    flips = pd.read_csv(out / "flips.csv")
    assert len(flips) == 4 and flips["mean"].sum() > 0, "models of other weights write other texts"
    page = (out / "study.html").read_text()
    assert "Of the first prompt alone" in page and "95 % interval" in page
    assert not list(out.glob("*.safetensors")), "no recording is kept"
    alone = ["inspect", "--model", model, "--prompts", prompts, "--insights", "parting", "--out", str(tmp_path / "b")]
    assert main(alone) == 2 and "--beside" in capsys.readouterr().err
