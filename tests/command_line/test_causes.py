"""The verbs of what sinks do: ablation over prompts, and looking inside."""

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main
from tests.command_line.surface import holds_fields
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
    holds_fields("ablate", said)
    assert said["prompts"] == 3 and said["layers"] == [0, 0] and said["spec"]["interventions"] == ["attention", "value"]
    effects = pd.read_csv(out / "effects-divergence.csv")
    assert set(effects["positions"].str.partition(", ")[2]) >= {
        "against as many random tokens",
        "per unit of attention",
    }
    single, means = pd.read_csv(out / "prompts.csv"), pd.read_csv(out / "means.csv")
    assert len(means) == 20 and len(single) == 60
    column = "KL divergence from the untouched prediction (nats)"
    of_first = single[(single[["positions", "which", "done to them"]] == means.iloc[0, :3]).all(axis=1)]
    assert of_first[column].mean() == pytest.approx(means.iloc[0][column], abs=1e-6)
    assert "Divergence of the predictions" in (out / "study.html").read_text()
    assert main(arguments) == 2 and "exists" in capsys.readouterr().err
    assert main(["ablate", "--targets", "nobody", "--prompts", prompts, "--out", str(tmp_path / "other")]) == 2
    assert "'sinks'" in capsys.readouterr().err


def test_evict_writes_the_frontier_effects_and_every_prompt(tmp_path: Path, capsys, prompts) -> None:
    model, out = tiny_llada(tmp_path / "model", 0), tmp_path / "study"
    flags = ["--policies", "sinks,masked-queries", "--budgets", "0.3,0.6", "--cache", "prefix", "--block-length", "2"]
    asked = ["evict", "--model", model, "--prompts", prompts, *flags, *SHORT]
    assert main(asked) == 2 and "--estimate" in capsys.readouterr().err
    arguments = [*asked, "--out", str(out)]
    assert main([*asked, "--estimate"]) == 0 and main([*arguments, "--estimate"]) == 0 and not out.exists()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    estimate = json.loads(lines[0])
    holds_fields("evict --estimate", estimate)
    assert estimate["texts"] == 3 * 11 and estimate["seconds"] > 0
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    holds_fields("evict", said)
    assert said["prompts"] == 3 and said["gone"] and said["spec"]["budgets"] == [0.3, 0.6]
    assert "batch of 1" in said["conditions"] and "threads" in said["conditions"]
    effects, single = pd.read_csv(out / "effects-aligned.csv"), pd.read_csv(out / "prompts.csv")
    assert len(effects) == 6 and (effects["low"] <= effects["value"]).all()
    assert len(single) == 3 * 11 and (single["ms per forward over the cache"] > 0).all()
    page = (out / "study.html").read_text()
    assert "Agreement with the full text against bytes kept" in page
    assert main(arguments) == 2 and "exists" in capsys.readouterr().err
    assert main(["evict", "--budgets", "1.5", "--prompts", prompts, "--out", str(tmp_path / "other")]) == 2
    assert "such as 0.4, not 1.5" in capsys.readouterr().err


def test_inspect_looks_inside_over_prompts_and_beside_another_model(tmp_path: Path, capsys, prompts) -> None:
    model, other = (tiny_llada(tmp_path / name, seed) for seed, name in enumerate(("first", "second")))
    out = tmp_path / "study"
    arguments = ["inspect", "--model", model, "--beside", other, "--prompts", prompts, "--out", str(out), *SHORT]
    assert main([*arguments, "--random-models", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    holds_fields("inspect", said)
    assert len(said["prompts"]) == 3 and list(said["shown"]) == [
        "Massive activations",
        "Logit lens",
        "Geometry",
        "Dense against pruned",
    ]
    assert said["shown"]["Geometry"] == ["Needs at least 30 prompts (you have 3)."]
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
