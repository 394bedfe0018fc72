"""A model that reads with its sinks hidden: what it predicts, alone and in a batch."""

import pytest
import torch

from analysis.attention import BlockedKeys, MassObserver
from analysis.models.load import load
from analysis.models.loaded import LoadedModel
from analysis.recording.claim_looks import HiddenSinks
from analysis.sinks.definitions import find_sinks, mean_mass
from analysis.specs import ModelSpec, SinkParams
from tests.helpers import tiny_llada

PARAMS = SinkParams(k=1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(ModelSpec(source=tiny_llada(tmp_path_factory.mktemp("tiny") / "model", 0), device="cpu"))


@pytest.fixture(scope="module")
def texts(model: LoadedModel) -> torch.Tensor:
    assert model.mask_token is not None
    tokens = torch.randint(3, 20, (2, 12), generator=torch.Generator().manual_seed(0))
    tokens[:, 8:] = model.mask_token
    return tokens


def test_its_predictions_are_those_with_the_sinks_of_the_same_text_blocked(model, texts):
    observer = MassObserver()
    model.predict(texts, observer)
    sinks = find_sinks(mean_mass(observer.take().mass.numpy()), PARAMS)
    assert sinks.any(axis=1).all()
    expected = model.predict(texts, edit=BlockedKeys(torch.from_numpy(sinks)))
    hidden = HiddenSinks.of(model, PARAMS, seed=0)
    torch.testing.assert_close(hidden.predict(texts), expected)
    torch.testing.assert_close(hidden.predict(texts, keep=4), expected[:, -4:])
    assert not torch.allclose(expected, model.predict(texts))


def test_others_are_as_many_of_the_same_states_and_the_same_in_any_batch(model, texts, monkeypatch):
    blocked = []
    monkeypatch.setattr(
        "analysis.recording.claim_looks.EDITS",
        {"attention": lambda positions: blocked.append(positions) or BlockedKeys(positions)},
    )
    HiddenSinks.of(model, PARAMS, seed=0).predict(texts)
    others = HiddenSinks.of(model, PARAMS, seed=0).with_others()
    together, alone = others.predict(texts), others.predict(texts[1:])
    torch.testing.assert_close(together[1:], alone)
    sinks, chosen, again = blocked
    assert not (sinks & chosen).any() and (chosen[1:] == again).all()
    undecided = texts == model.mask_token
    for state in (undecided, ~undecided):
        assert ((sinks & state).sum(dim=1) == (chosen & state).sum(dim=1)).all()


def test_a_text_without_sinks_is_read_as_it_is_and_a_further_edit_is_refused(model, texts):
    none = HiddenSinks.of(model, SinkParams(k=6.0), seed=0)
    torch.testing.assert_close(none.predict(texts), model.predict(texts))
    with pytest.raises(ValueError, match="no further edit"):
        none.predict(texts, edit=BlockedKeys(torch.zeros(12, dtype=torch.bool)))


def test_two_readings_of_a_batch_share_the_untouched_forward(model, texts, monkeypatch):
    sinks = HiddenSinks.of(model, PARAMS, seed=0)
    alone = HiddenSinks.of(model, PARAMS, seed=0).with_others().predict(texts)
    forwards, predict = [], LoadedModel.predict
    monkeypatch.setattr(LoadedModel, "predict", lambda *given, **named: forwards.append(1) or predict(*given, **named))
    sinks.predict(texts)
    torch.testing.assert_close(sinks.with_others().predict(texts), alone)
    assert len(forwards) == 3 and not sinks.seen
