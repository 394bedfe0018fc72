"""Training: unbiased losses, a resumable schedule, and checkpoints that take the same road as the published ones."""

import json

import pytest
import torch
from safetensors import safe_open

from analysis.models.load import load
from analysis.models.tokenizer import load_tokenizer
from analysis.specs import ModelSpec
from tests.helpers import there
from training import train
from training.report import FOLDERS
from training.stream import batch

SMALL = train.Recipe(hidden=32, layers=2, heads=2, mlp=48, warmup_steps=5)


@pytest.fixture(scope="module", autouse=True)
def tokenizer():
    """The one that ships, also for training, whose own is equal (`test_bundled_models`) but takes seconds to build."""
    shipped = there(load_tokenizer(FOLDERS["diffusion"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_tokenizer", lambda: shipped)
        yield shipped


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short training of either kind, on the same tokens."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "VALIDATION_BATCHES", 1)
        for kind in train.KINDS:
            folders[kind] = tmp_path_factory.mktemp(kind)
            train.train(kind, 12 * 512, 0, folders[kind], compiled=False, recipe=SMALL, tokens_a_batch=512)
    return folders


# --- losses -----------------------------------------------------------------------------------------------------


def test_masked_targets_mask_and_weigh():
    """l tokens of each row are masked, every l about equally often, with weight S/l over all tokens."""
    tokens = torch.randint(10, 100, (64, 16))
    inputs, chosen, expected, weight = train.masked_targets(tokens, 1, torch.Generator().manual_seed(0))
    masked = inputs == 1
    assert torch.equal(masked.view(-1).nonzero()[:, 0], chosen)
    assert torch.equal(inputs[~masked], tokens[~masked])
    assert torch.equal(expected, tokens.view(-1)[chosen])
    counts = masked.sum(dim=1)
    assert sorted(counts.tolist()) == [1 + row // 4 for row in range(64)]
    assert torch.allclose(weight, (16 / counts)[chosen // 16] / tokens.numel())
    assert weight.sum() == pytest.approx(1, rel=1e-5)


def test_masked_loss_is_an_unbiased_bound():
    """With a fixed loss for every token (whatever is masked) the expectation is the mean loss a token."""
    losses = torch.rand(8, 12, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    values = []
    for _ in range(400):
        _, chosen, _, weight = train.masked_targets(torch.full((8, 12), 5), 1, generator)
        values.append(float((losses.view(-1)[chosen] * weight).sum()))
    values = torch.tensor(values)
    assert abs(values.mean() - losses.mean()) < 4 * values.std() / 20


def test_next_targets():
    tokens = torch.arange(12).view(2, 6)
    inputs, positions, expected, weight = train.next_targets(tokens, 1, torch.Generator())
    assert torch.equal(inputs, tokens)
    assert torch.equal(tokens.view(-1)[positions] + 1, expected)
    assert weight.sum() == pytest.approx(1)
    assert 5 not in positions and 11 not in positions


def test_learning_rate_warms_up_stays_and_falls():
    recipe = train.Recipe()
    assert train.learning_rate(0, 0, recipe) == pytest.approx(1 / recipe.warmup_steps)
    assert train.learning_rate(recipe.flat / 2, 10_000, recipe) == 1
    falling = [train.learning_rate(share, 10_000, recipe) for share in (0.4, 0.6, 0.8, 1.0)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == recipe.lowest_lr


def test_one_budget_is_one_schedule(trained):
    """Both kinds do the same number of batches and tokens however long they take, rounded up to a whole batch."""
    records = [json.loads((trained[kind] / "training.json").read_text()) for kind in train.KINDS]
    assert [record["step"] for record in records] == [12, 12]
    assert [record["tokens"] for record in records] == [12 * 512] * 2
    assert [record["budget"] for record in records] == [12 * 512] * 2


# --- models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", train.KINDS)
def test_a_seed_fixes_the_weights(kind, tokenizer):
    one, two, three = (train.build(kind, tokenizer, SMALL, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], three["model.embed_tokens.weight"])


def test_twins_differ_in_the_mask_alone(tokenizer):
    diffusion, twin = (train.build(kind, tokenizer, SMALL, 0) for kind in train.KINDS)
    shapes = [{name: tuple(value.shape) for name, value in net.state_dict().items()} for net in (diffusion, twin)]
    assert shapes[0] == shapes[1]
    tokens = torch.randint(300, 1000, (1, 20))
    changed = tokens.clone()
    changed[0, -1] = 299
    with torch.no_grad():
        moved = [(net(tokens).logits - net(changed).logits)[0, 0].abs().max() for net in (diffusion, twin)]
    assert moved[0] > 0
    assert moved[1] == 0


def test_every_weight_has_one_optimizer(tokenizer):
    network = train.build("diffusion", tokenizer, SMALL, 0)
    adam, muon = train.optimizers(network, SMALL)
    held = [id(weight) for opt in (adam, muon) for group in opt.param_groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in network.parameters())
    names = {id(weight): name for name, weight in network.named_parameters()}
    for weight in muon.param_groups[0]["params"]:
        assert not any(part in names[id(weight)] for part in ("q_proj", "k_proj", "embed", "lm_head", "norm"))


@pytest.mark.parametrize("kind", train.KINDS)
def test_the_checkpoint_loads(kind, trained):
    model = load(ModelSpec(source=str(trained[kind]), device="cpu"))
    assert model.tokenizer is not None
    if kind == "diffusion":
        assert model.architecture.name == "LLaDA"
        assert model.mask_token == model.tokenizer.mask_token_id
        with safe_open(trained[kind] / "model.safetensors", "pt") as file:
            assert "model.transformer.blocks.0.attn_out.weight" in set(file.keys())
            assert file.get_slice("model.transformer.wte.weight").get_dtype() == "BF16"
        assert json.loads((trained[kind] / "config.json").read_text())["d_model"] == SMALL.hidden
    else:
        assert model.mask_token is None
        assert json.loads((trained[kind] / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize("kind", train.KINDS)
def test_the_loss_falls(kind, trained, tokenizer, monkeypatch):
    monkeypatch.setattr(train, "VALIDATION_BATCHES", 1)
    record = json.loads((trained[kind] / "training.json").read_text())
    assert record["step"] > 0
    fresh = train.build(kind, tokenizer, SMALL, 0)

    def states(inputs):
        return fresh.model(input_ids=inputs).last_hidden_state

    before = train.validation_loss(states, fresh, kind, tokenizer)
    assert record["validation_loss"] < before
    assert not (trained[kind] / "checkpoint.pt").exists()


def test_a_run_goes_on_from_its_checkpoint(tmp_path, tokenizer, monkeypatch):
    """Stopped in the middle by an error, it resumes at the step of the last checkpoint with the same optimizers."""
    calls = {"count": 0}

    def failing(*arguments):
        calls["count"] += 1
        if calls["count"] == 6:
            raise KeyboardInterrupt
        return batch(*arguments)

    monkeypatch.setattr(train, "batch", failing)
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(train, "VALIDATION_BATCHES", 1)
    small = {"compiled": False, "recipe": SMALL, "tokens_a_batch": 512}
    with pytest.raises(KeyboardInterrupt):
        train.train("diffusion", 10 * 512, 0, tmp_path, **small)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["progress"]["step"] == 5
    seen: list[int] = []
    monkeypatch.setattr(train, "batch", lambda *a: seen.append(a[1]) or batch(*a))
    record = train.train("diffusion", 10 * 512, 0, tmp_path, resume=True, **small)
    assert seen[:5] == [5, 6, 7, 8, 9]
    assert record["step"] == 10
    assert record["cpu_seconds"] > state["progress"]["cpu_seconds"] > 0
