"""Fit of models to this machine: sizes counted from published configs, verdicts by memory and disk, offers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from analysis.__main__ import main
from analysis.machine import process as rooms
from analysis.machine import speed as speeds
from analysis.machine.process import Room
from analysis.machine.speed import Speed, measured_speed
from analysis.models.architectures import identify
from analysis.models.before_loading import SIZES, size_of
from analysis.models.checkpoint import Checkpoint, find
from analysis.models.load import config_of, register
from analysis.models.registry import MODELS
from analysis.recording import fits
from analysis.recording import fits as offering
from analysis.recording.fits import fit_of, memory_needed, offers, planned_seconds, recording_seconds
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN
from tests.helpers import there

GB = 10**9
ROWS = [
    json.loads(line) for line in (Path(__file__).parent / "published_configs.jsonl").read_text("utf-8").splitlines()
]
CONFIGS = {row["checkpoint"]: row["config"] for row in ROWS if "becomes" in row}


def test_every_name_but_the_bundled_pair_has_a_size():
    assert {model.source for model in MODELS.values() if not model.ships} == set(SIZES)
    assert len(MODELS) >= 36
    sizes = [SIZES[model.source].parameters for model in MODELS.values() if not model.ships and not model.masked_lm]
    assert sizes == sorted(sizes), "small ones come first"


@pytest.mark.parametrize("source", [source for source, size in SIZES.items() if size.counted])
def test_sizes_are_those_of_the_class_that_runs_the_published_config(source, tmp_path):
    register()
    config, size = CONFIGS[source], SIZES[source]
    family = identify(config, source)
    geometry = family.geometry(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = config_of(Checkpoint(tmp_path, config, family, geometry), fits=False)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(read)
    assert size.parameters == sum(weight.numel() for weight in network.parameters())
    assert (size.layers, size.heads, size.kv_heads) == (geometry.layers, geometry.heads, geometry.kv_heads)
    assert size.vocabulary == geometry.vocabulary


def test_what_lies_here_is_measured_by_its_files():
    size = size_of(there(find(str(GOLDEN / "llada-gqa"))))
    assert size.stored == 4
    assert size.parameters * 4 == pytest.approx((GOLDEN / "llada-gqa" / "model.safetensors").stat().st_size, rel=0.02)


@pytest.mark.parametrize(
    ("total", "free", "dtype", "verdict"),
    [
        (64, 60, "auto", "fits"),
        (64, 20, "auto", "tight"),
        (36, 36, "auto", "tight"),
        (24, 24, "auto", "does not fit"),
        (24, 24, "bfloat16", "fits"),
        (16, 16, "bfloat16", "does not fit"),
    ],
)
def test_llada_8b_fits_by_memory_and_precision(total, free, dtype, verdict, monkeypatch):
    monkeypatch.setattr(fits, "room", lambda device: Room("cpu", total * GB, free * GB))
    fit = there(fit_of(MODELS["llada-8b-base"], "cpu", dtype))
    assert fit.verdict == verdict
    assert fit.sentence.lower().startswith(verdict)
    assert fit.memory == pytest.approx((34 if dtype == "auto" else 17) * GB, rel=0.03)
    assert ("In bfloat16 it takes 17.0 GB" in fit.sentence) == ((dtype == "auto" and total < 64) or free == 20)


def test_a_full_disk_and_an_unknown_device_are_said(monkeypatch):
    monkeypatch.setattr(fits, "free_on_disk", lambda: GB)
    monkeypatch.setattr(fits, "room", lambda device: Room("cpu", 99 * GB, 99 * GB))
    fit = there(fit_of(MODELS["llada-8b-base"]))
    assert (fit.verdict, fit.disk) == ("does not fit", 16_031_162_368)
    assert "disk" in fit.advice
    assert there(fit_of(MODELS["bundled"])).disk == 0
    assert rooms.room("cpu").total > 0
    monkeypatch.setattr(rooms, "_gpus", lambda period: ())
    assert rooms.room("cuda").total == 0
    monkeypatch.setattr(rooms, "_gpus", lambda period: ((24 * GB, 20 * GB), (80 * GB, 79 * GB)))
    assert rooms.room("auto") == Room("cuda", 80 * GB, 79 * GB)


def test_a_longer_default_text_needs_more():
    model, size = MODELS["mdlm-owt"], SIZES["kuleshov-group/mdlm-owt"]
    longer = replace(model, sampling=(("gen_length", 512), ("steps", 512)))
    assert memory_needed(size, 4, longer) > memory_needed(size, 4, model) > 4 * size.parameters


def at(operations):
    """The speed of a machine that multiplies and does nothing else, by its operations per second."""
    return lambda device, dtype: Speed(0.0, 2 / operations, 0.0)


def test_the_quickest_real_models_are_offered_with_size_and_minutes(monkeypatch):
    monkeypatch.setattr(fits, "room", lambda device: Room("cpu", 8 * GB, 8 * GB))
    found = offers(3, speed=at(50e9))
    assert [offer.model.name for offer in found] == ["modernbert-base-chat", "mdlm-owt", "modernbert-large-chat"]
    assert found[0].sentence == "A real model: 0.6 GB, about 1 minute on this machine"
    assert "about 3 minutes" in offers(3, speed=at(25e9))[2].sentence
    assert all(offer.fit.verdict == "fits" for offer in found)
    monkeypatch.setattr(fits, "room", lambda device: Room("cpu", GB // 2, GB // 2))
    assert offers(3, speed=at(50e9)) == []


def test_no_minutes_are_named_where_the_speed_is_not_known(monkeypatch):
    monkeypatch.setattr(fits, "room", lambda device: Room("cuda", 8 * GB, 8 * GB))
    found = offers(3, speed=lambda device, dtype: None)
    assert found[0].sentence == "A real model: 0.6 GB, fits this machine"
    monkeypatch.delitem(speeds.sys.modules, "torch")
    assert measured_speed("cuda", "bfloat16") is None
    assert measured_speed("cpu", "bfloat16") is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_speed_is_measured_in_the_precision_in_use(dtype):
    speed = there(measured_speed("cpu", dtype))
    assert 1e8 < 2 / (speed.token or 1e-12) < 1e14
    assert 1e-13 < speed.byte < 1e-7
    assert speed is measured_speed("cpu", dtype)


def test_a_recording_takes_its_loading_and_its_forwards():
    model, size = MODELS["mdlm-owt"], SIZES["kuleshov-group/mdlm-owt"]
    sampling = fits.default_sampling(model)
    positions, forwards = sampling.length(fits.PROMPT), sampling.forwards()
    read = recording_seconds(size, model, "bfloat16", Speed(1e-10, 0, 0))
    assert read == pytest.approx(1e-10 * size.parameters * forwards)
    multiplied = recording_seconds(size, model, "bfloat16", Speed(0, 1e-11, 0))
    assert multiplied == pytest.approx(1e-11 * size.parameters * forwards * positions)
    loaded = [recording_seconds(size, model, dtype, Speed(0, 0, 1e-9)) for dtype in ("bfloat16", "float32")]
    assert loaded == pytest.approx([2e-9 * size.parameters, 4e-9 * size.parameters])


def test_models_says_a_fit_of_every_name(capsys):
    assert main(["models", "--json", "--dtype", "bfloat16"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) >= 36
    for row in rows:
        assert row["fit"]["verdict"] in ("fits", "tight", "does not fit"), row["name"]
        assert row["fit"]["dtype"] == "bfloat16"
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("This machine: ")
    assert all(f"\n{name} " in told for name in MODELS)


def test_a_planned_recording_says_what_its_forwards_take(monkeypatch):
    checkpoint = there(find("bundled"))
    monkeypatch.setattr(offering, "measured_speed", at(1e9))
    seconds = there(planned_seconds(checkpoint, ModelSpec(device="cpu"), 64, 10))
    assert seconds == pytest.approx(2e-9 * size_of(checkpoint).parameters * 64 * 10)
    monkeypatch.setattr(offering, "measured_speed", lambda device, dtype: None)
    assert planned_seconds(checkpoint, ModelSpec(device="cpu"), 64, 10) is None
