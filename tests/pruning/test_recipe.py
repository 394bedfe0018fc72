"""The recipe of Sink-Wanda in its parts, and discounts of tokens that are no sinks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.calibration.noised_text import calibration_states, noised_text
from analysis.calibration.runners import Resident
from analysis.errors import UserError
from analysis.pruning.algorithm import Calibration
from analysis.pruning.selection import pruned_mask
from analysis.pruning.sparsegpt import SINK_SPARSEGPT
from analysis.pruning.wanda import step_weights_of, wanda_score
from analysis.sinks.discount import discounted, light, scored_mass, sham, sink_scores
from analysis.specs import METHODS, RECIPE, CalibrationParams, DiscountParams, PruneSpec, StepParams, part_alone
from analysis.specs.sweep import changes_alone
from tests.pruning.test_ranking import TEXT, pruned
from tests.pruning.test_ranking import model as model
from tests.pruning.test_ranking import text as text

DISCOUNT = DiscountParams(sink_std=1.0)


def gone(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor == 0 for name, tensor in tensors.items() if "_proj" in name}


def shared(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Share of mask bits that are alike."""
    one, other = gone(first), gone(second)
    return float(torch.cat([(one[name] == other[name]).flatten() for name in one]).float().mean())


@pytest.fixture(scope="module")
def clean(text):
    """The text as it is read without noise."""
    return Calibration(text.clean, text.clean[:, None])


def test_with_every_switch_off_the_control_is_wanda_and_each_switch_changes_masks(model, text, clean, tmp_path):
    off = {"ranking": "layerwise", "norm": "pooled", "sparsity": 0.6}
    wanda = pruned(model, text, tmp_path / "wanda", "wanda", sparsity=0.6)
    assert shared(pruned(model, clean, tmp_path / "off", "wanda-noised", **off), wanda) > 0.9999
    for name, given_text, changes in (
        ("noise", text, off),
        ("order", clean, off | {"ranking": "published"}),
        ("norm", clean, off | {"norm": "published"}),
    ):
        alone = pruned(model, given_text, tmp_path / name, "wanda-noised", **changes)
        assert 0.5 < shared(alone, wanda) < 0.9999, name
    alone = pruned(model, clean, tmp_path / "discount", "sink-wanda", discount=DISCOUNT, **off)
    assert 0.5 < shared(alone, wanda) < 0.9999


@pytest.mark.parametrize("method", ["wanda-noised", "sink-wanda"])
def test_switches_as_published_change_no_bit(model, text, tmp_path, method):
    named = pruned(model, text, tmp_path / "named", method, norm="sequence", ranking="dense")
    assert shared(named, pruned(model, text, tmp_path / "published", method)) == 1


@pytest.mark.parametrize("ranking", ["layerwise"])
def test_a_pooled_norm_is_one_norm_over_all_tokens_whatever_the_order(model, text, tmp_path, ranking):
    found = pruned(model, text, tmp_path / "p", "wanda-noised", norm="pooled", ranking=ranking, sparsity=0.6)
    expected = reference(model, text, None, pooled=True)
    for name, score in expected.items():
        if ranking == "dense" or (
            ".layers.0." in name and "_proj" in name and "o_proj" not in name and "mlp" not in name
        ):
            assert ((found[name] == 0) == pruned_mask(score, 0.6, "unstructured")).float().mean() > 0.9999, name


def reference(model, text, omega, pooled: bool = False) -> dict[str, torch.Tensor]:
    """Scores of every weight in double precision, from a plain forward of each level. omega (N, T, S), or None."""
    scores = {}
    for layer, block in enumerate(model.blocks):
        for name, module in model.projections(block).items():
            total = torch.zeros(module.in_features, dtype=torch.float64)
            for level in range(text.noised.shape[1]):
                seen: list[torch.Tensor] = []
                handle = module.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0]))
                model.predict(torch.from_numpy(text.noised[:, level]))
                handle.remove()
                own = 1.0 if omega is None else torch.from_numpy(omega[:, level].astype(np.float64))[..., None]
                squares = (own * seen[0].double()).square().sum(dim=1)
                total += (squares if pooled else squares.sqrt()).sum(dim=0)
            score = wanda_score(module.weight.detach(), total.sqrt() if pooled else total)
            scores[f"model.layers.{layer}.{name}.weight"] = score
    return scores


@pytest.mark.parametrize("placebo", ["sham", "light"])
def test_masks_of_a_sham_discount_are_those_of_its_formula(model, text, tmp_path, placebo):
    found = pruned(model, text, tmp_path / "p", f"{placebo}-wanda", discount=DISCOUNT, sparsity=0.6)
    if placebo == "sham":
        again = pruned(model, text, tmp_path / "again", "sham-wanda", discount=DISCOUNT, sparsity=0.6)
        assert shared(found, again) == 1, "seeded"
    masses = Resident(model).masses([torch.from_numpy(level) for level in text.noised.transpose(1, 0, 2)], lambda: None)
    scored = scored_mass(np.stack(masses, axis=1), "model")
    scores = sink_scores(scored, DISCOUNT)
    moved = moved_by(model, placebo, 0)(scores, scored, text.noised)
    state = text.noised == model.mask_token
    for at in np.ndindex(moved.shape[:3]):
        before, after, here = scores[at], moved[at], state[at[:2]]
        assert np.array_equal(np.sort(before), np.sort(after)), "the same weights"
        if placebo == "sham":
            sinks = before >= 0.5
            for each in (True, False):
                assert np.array_equal(np.sort(before[here == each]), np.sort(after[here == each])), "in the same state"
                if sinks[here == each].sum() <= (here == each).sum() / 2:
                    assert not (after[sinks & (here == each)] >= 0.5).any(), "no sink"
        else:
            order = np.argsort(scored[at], kind="stable")
            assert np.array_equal(after[order], before[order][::-1])
    for name, score in reference(model, text, discounted(moved, DISCOUNT)[:, :, 0]).items():
        same = (found[name] == 0) == pruned_mask(score, 0.6, "unstructured")
        assert same.float().mean() > 0.9999, name
    assert shared(found, pruned(model, text, tmp_path / "sink", "sink-wanda", discount=DISCOUNT, sparsity=0.6)) < 1


def test_a_sham_of_sparsegpt_gives_the_weights_of_sinks_to_tokens_that_never_were(model, text, tmp_path):
    runner, told = Resident(model), []
    discount = DiscountParams(sink_std=1.5)
    spec = PruneSpec(method="sham-sparsegpt", discount=discount, calibration=TEXT)
    for method in ("sink-sparsegpt", "sham-sparsegpt"):
        asked = spec.model_copy(update={"method": method})
        told.append(SINK_SPARSEGPT.prepare(runner, text, asked, 0, lambda done, total: None).token_weights)
    sink, moved = told
    assert sink.shape == moved.shape == (len(text.clean), 1, text.clean.shape[1])
    for before, after in zip(sink[:, 0], moved[:, 0], strict=True):
        assert np.array_equal(np.sort(before), np.sort(after)), "the same weights"
        sinks = before <= 1 - 0.5 / text.noised.shape[1]  # a sink at some level
        assert 0 < sinks.sum() <= len(sinks) / 2
        assert (after[sinks] > 1 - 0.5 / text.noised.shape[1]).all(), "no sink"
    found, sham_found = (pruned(model, text, tmp_path / name, name, discount=discount, sparsity=0.6) for name in
                         ("sink-sparsegpt", "sham-sparsegpt"))  # fmt: skip
    assert shared(found, sham_found) < 1


def moved_by(model, placebo: str, seed: int):
    from analysis.pruning.wanda import moved_of

    calibration = TEXT.model_copy(update={"seed": seed})
    moved = moved_of(model, PruneSpec(method=f"{placebo}-wanda", calibration=calibration))
    assert moved is not None and moved_of(model, PruneSpec(method="sink-wanda")) is None
    return moved


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_placebos_keep_every_weight_and_move_it_off_the_sinks(seed, length):
    rng = np.random.default_rng(seed)
    mass = rng.lognormal(sigma=1.0, size=length)
    scores, state = (mass > np.quantile(mass, 0.7)).astype(np.float32), rng.integers(0, 2, length)
    moved = sham(scores, mass, state, np.random.default_rng(seed))
    assert np.array_equal(moved, sham(scores, mass, state, np.random.default_rng(seed)))
    for each in (0, 1):
        here, sinks = state == each, (state == each) & (scores == 1)
        assert moved[here].sum() == scores[here].sum()
        left = max(0, 2 * int(sinks.sum()) - int(here.sum()))  # more sinks than others
        assert moved[sinks].sum() == left
    turned = light(scores, mass, state, rng)
    assert np.array_equal(turned[np.argsort(mass)], np.sort(scores)[::-1])


def test_text_that_is_not_noised_is_read_once_and_has_no_steps(bundled):
    tokens = np.arange(5, 25).reshape(2, 10)
    params = CalibrationParams(noise="none")
    assert np.array_equal(noised_text(bundled, tokens, params), tokens[:, None])
    states = calibration_states(bundled, np.array([[[5, bundled.mask_token, 6]]]))
    assert states.tolist() == [[[0, 1, 0]]]
    spec = PruneSpec(method="wanda-noised", calibration=params, steps=StepParams(last_step=20))
    with pytest.raises(UserError, match="a step does not say how much is masked"):
        step_weights_of(spec)


def test_each_part_alone_is_known_by_its_switches():
    for part in RECIPE:
        changes = changes_alone("sink-wanda", part, "steps")
        point = PruneSpec.model_validate(changes)
        assert part_alone(point) == part
        assert point.method == ("sink-wanda" if part == "discount" else "wanda-noised")
    assert [part_alone(PruneSpec(method=name)) for name in METHODS] == [""] * len(METHODS)
