"""Uploads to the hub, tested on a local one: what is uploaded and what is not; cards hold only measured numbers."""

import json

import pytest
from huggingface_hub import ModelCard

from analysis.__main__ import main
from analysis.engine import Engine
from analysis.engine.publishing import planned_upload
from analysis.errors import UserError
from analysis.pruned.report_file import load_report
from analysis.pruning.card import MeasuredTask, base_model, licence_in, model_card
from analysis.recording.trajectory_file import save
from analysis.specs import EvaluateSpec, ModelSpec
from analysis.words import percent
from tests.command_line.surface import holds_fields
from tests.engine.fake_hub import fake_hub
from tests.engine.test_runs import finished

TOKEN = "hf_" + "a" * 20


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """Prune the bundled model for real, with its card."""
    folder = tmp_path_factory.mktemp("push") / "pruned"
    flags = ["--method", "sink-wanda", "--sparsity", "0.5", "--samples", "2", "--seq-len", "32", "--device", "cpu"]
    assert main(["prune", *flags, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with fake_hub(TOKEN) as hub:  # its address is read when the library is imported
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", hub.address, raising=False)
        yield hub


def test_a_pruned_folder_has_a_card_whose_metadata_reads(pruned):
    card = ModelCard.load(pruned / "README.md")
    assert card.data.library_name == "transformers" and "sink-wanda" in card.data.tags
    assert card.data.base_model is None and card.data.license is None, "it comes from no hub, with no licence said"
    report = load_report(pruned)
    assert report["command"] in card.text and f"{report['sparsity']['pruned_weights']:,}" in card.text
    assert "Not measured" in card.text and "| Calibration seed | 0 |" in card.text
    for name, share in report["sparsity"]["by_projection"].items():
        assert f"| {name} | {percent(share, 2)} |" in card.text


def test_a_card_names_base_model_licence_and_data_set_where_they_are_known(pruned, tmp_path):
    report = load_report(pruned)
    report["model"]["source"] = "GSAI-ML/LLaDA-8B-Base"
    report["parameters"]["calibration"]["data"] = "wikitext2"
    task = MeasuredTask("WinoGrande | XL", 0.6, 0.55, 0.65, 300, 200, 0.5, 0.62, (-0.02, -0.05, 0.01))
    card = ModelCard(model_card(report, "mit", [task]))
    assert (card.data.base_model, card.data.license) == ("GSAI-ML/LLaDA-8B-Base", "mit")
    assert card.data.datasets == ["Salesforce/wikitext"]
    line = "| WinoGrande \\| XL | 62.0 % | 60.0 % [55.0 %, 65.0 %] | -2.0 [-5.0, +1.0] | 50.0 % | 300 in 200 clusters |"
    assert line in card.text and "another calibration seed" in card.text
    (tmp_path / "README.md").write_text(card.content)
    assert licence_in(tmp_path) == "mit" and licence_in(tmp_path / "none") is None
    (tmp_path / "README.md").write_text("---\n: [\n---\n")
    assert licence_in(tmp_path) is None
    assert base_model("llada-8b-base") == "GSAI-ML/LLaDA-8B-Base" and base_model("bundled") is None


def test_nothing_is_uploaded_without_being_asked(pruned, hub, capsys):
    assert main(["push", str(pruned), "--to", "me/small"]) == 0
    told = capsys.readouterr().out
    assert (
        "private model repository me/small" in told and "model.safetensors" in told and "Nothing was uploaded" in told
    )
    assert not hub.requests


def test_an_upload_is_private_whole_and_has_the_accuracies_that_were_measured(pruned, hub, capsys, store, monkeypatch):
    monkeypatch.setenv("HOME", str(store.root))
    engine = Engine(store, devices=["cpu"])
    try:
        row = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 20, "clusters": 20}
        change = {"model": "pruned", "than": "dense", "as": ["dense"], "value": -0.1, "low": -0.2, "high": 0.0, "n": 20}
        task = {"title": "Story", "task": "bundled_story", "chance": 0.25, "draws": 8, "differences": [change]}
        task["models"] = [{**row, "model": "dense", "value": 0.6}, {**row, "model": "pruned"}]
        asked = EvaluateSpec(compare=(ModelSpec(source=str(pruned)),))
        summary = {"models": ["dense", "pruned"], "tasks": [task], "average": [], "fingerprint": "f"}
        engine.models_folder.mkdir(exist_ok=True)
        (engine.models_folder / "linked").symlink_to(pruned)
        finished(engine, asked, "9" * 8, summary)
        plan = planned_upload(pruned, "me/small", engine)
    finally:
        engine.close()
    assert "| Story | 60.0 % | 50.0 % [40.0 %, 60.0 %] | -10.0 [-20.0, +0.0] | 25.0 % | 20 |" in plan.card
    assert main(["push", str(pruned), "--to", "me/small", "--upload"]) == 0
    assert hub.address in capsys.readouterr().out
    (created,) = hub.created
    assert created["visibility"] == "private" and (created["organization"], created["name"]) == ("me", "small")
    sent = hub.files["me/small"]
    assert set(sent) == {path.name for path in pruned.iterdir()}
    assert all(sent[path.name] == path.read_bytes() for path in pruned.iterdir() if path.name != "README.md")


def test_recordings_and_results_are_data_sets_and_a_strangers_folder_is_not_taken(hub, tmp_path, trajectory, capsys):
    recording = tmp_path / "one.safetensors"
    save(trajectory, recording)
    assert main(["push", str(recording), "--to", "me/one", "--upload", "--public", "--json"]) == 0, hub.requests
    said = json.loads(capsys.readouterr().out)
    holds_fields("push", said)
    assert said["kind"] == "dataset"
    assert hub.created[0]["type"] == "dataset" and hub.created[0]["visibility"] == "public"
    assert set(hub.files["me/one"]) == {"one.safetensors", "README.md"}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "secrets.txt").write_text("mine")
    with pytest.raises(UserError, match="was not written by SinkScope"):
        planned_upload(mine, "me/mine")
    (mine / "study.json").write_text('{"shown": {}}')
    (mine / ".env").write_text("SECRET=1")
    assert set(planned_upload(mine, "me/mine").files) == {"secrets.txt", "study.json"}


@pytest.mark.parametrize(
    ("token", "said"), [("", "No token"), ("hf_" + "b" * 20, "does not accept the token in HF_TOKEN")]
)
def test_a_hub_that_refuses_is_one_line(token, said, hub, tmp_path, trajectory, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    recording = tmp_path / "one.safetensors"
    save(trajectory, recording)
    assert main(["push", str(recording), "--to", "me/one", "--upload"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line and (not token or token not in line)
    assert main(["push", str(recording), "--to", "no name", "--upload"]) == 2
    assert "is not a repository name on the hub" in capsys.readouterr().err and not hub.files
