"""A model folder that changes or goes while a job uses it: the job fails with a sentence, and nothing is stored under a
fingerprint that the numbers do not have."""

import shutil
from pathlib import Path

import pytest

from analysis.errors import ModelChanged, UserError
from analysis.job_context import Cancelled
from analysis.jobs import JOBS
from analysis.jobs.outcome import unchanged_models
from analysis.models import load as loading
from analysis.specs import EvaluateSpec, FootprintSpec, JobSpec, ModelSpec
from tests.helpers import QuietContext, edit_config, tiny_llada


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> str:
    return tiny_llada(tmp_path_factory.mktemp("made") / "model", 0)


@pytest.fixture
def model(made, tmp_path) -> ModelSpec:
    shutil.copytree(made, tmp_path / "model")
    return ModelSpec(source=str(tmp_path / "model"), device="cpu")


def change(model: ModelSpec) -> None:
    """Another weight, as of a training that goes on."""
    file = Path(model.source) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def remove(model: ModelSpec) -> None:
    shutil.rmtree(model.source)


@pytest.mark.parametrize(("harm", "said"), [(change, "changed while"), (remove, "cannot be opened any more")])
@pytest.mark.parametrize("place", ["model", "compare", "pruned"])
def test_every_model_that_a_job_names_is_looked_at(model, harm, said, place):
    spec = {
        "model": JobSpec(model=model),
        "compare": EvaluateSpec(compare=(model,), tasks=("bundled_agreement",)),
        "pruned": FootprintSpec(model=ModelSpec(device="cpu"), pruned=model.source),
    }[place]
    with unchanged_models(spec):
        pass
    with pytest.raises(ModelChanged, match=said) as caught, unchanged_models(spec):
        harm(model)
    assert "\n" not in str(caught.value) and "not stored" in str(caught.value)


def test_what_the_job_met_by_it_is_the_cause_and_a_cancelled_job_stays_cancelled(model):
    with pytest.raises(ModelChanged) as caught, unchanged_models(JobSpec(model=model)):
        remove(model)
        (Path(model.source) / "config.json").read_text()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(Cancelled), unchanged_models(JobSpec(model=model)):
        raise Cancelled


def test_errors_of_a_model_that_stayed_are_its_own_and_one_still_to_be_fetched_may_come(model, tmp_path):
    with pytest.raises(UserError, match="mine"), unchanged_models(JobSpec(model=model)):
        raise UserError("mine")
    later = model.model_copy(update={"source": str(tmp_path / "later")})
    with unchanged_models(JobSpec(model=later)):
        shutil.copytree(model.source, later.source)


def test_a_model_that_changes_while_it_is_read_is_not_loaded(model, monkeypatch):
    read = loading._network

    def slowly(*given):
        network = read(*given)
        change(model)
        return network

    monkeypatch.setattr(loading, "_network", slowly)
    with pytest.raises(ModelChanged):
        loading.load(model)


class Changing(QuietContext):
    """Changes a model once the evaluation has named it and before it reads its weights."""

    def __init__(self, folder: Path, model: ModelSpec) -> None:
        super().__init__(folder)
        self.model, self.changed = model, False

    def progress(self, phase: str, done: int = 0, total: int = 0, **details) -> None:
        if phase == "starting torch" and not self.changed:
            self.changed = True
            edit_config(Path(self.model.source), a_field=1)


def test_no_answer_is_kept_for_a_model_that_changed_before_it_was_read(model, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("cache.stores.Responses.put", lambda self, key, record: kept.append(key))
    context = Changing(tmp_path, model)
    with pytest.raises(ModelChanged):
        JOBS["evaluate"].run(EvaluateSpec(model=model, tasks=("bundled_agreement",), limit=2, draws=2), context)
    assert context.changed and kept == []
