"""What stored statistics say of a setting's masks, held against the exact path of pruning."""

import json

import numpy as np
import torch

from analysis.calibration.activations import feature_scores
from analysis.calibration.runners import Resident
from analysis.jobs import JOBS
from analysis.pruning.selection import pruned_mask
from analysis.pruning.wanda import wanda_score
from analysis.sinks.discount import step_weights
from analysis.specs import DiscountParams
from analysis.tuning import effects
from analysis.tuning.statistics_file import joined, open_statistics
from tests.helpers import QuietContext

DISCOUNTS = {
    "published": DiscountParams(),
    "hard": DiscountParams(sink_score="hard", sink_std=1.5),
    "α in std": DiscountParams(alpha_unit="std", sink_alpha=3),
    "weak and low": DiscountParams(sink_std=1.0, discount_strength=0.5),
    "mean over steps": DiscountParams(sink_steps="mean"),
    "own sinks a layer": DiscountParams(sink_scope="layer"),
}
SPARSITY = 0.5


def calibrated(spec, folder):
    """The statistics that a job leaves, with the parts that others do."""
    statistics = open_statistics(JOBS["calibrate"].run(spec, QuietContext(folder)).file)
    for part in statistics.missing:
        of_part = JOBS[part].spec(**dict(spec))
        statistics = joined(statistics, JOBS[part].run(of_part, QuietContext(folder)).file)
    return statistics


def token_file(path, rows, length, vocabulary=250, seed=0):
    """Random token ids, a sequence a line."""
    draw = np.random.default_rng(seed).integers(0, vocabulary, (rows, length))
    path.write_text("".join(json.dumps({"input_ids": row.tolist()}) + "\n" for row in draw), encoding="utf-8")
    return str(path)


ROUNDING = 1e-6  # relative: scores nearer to where a row is cut than a few units of float32's last place


def exact_scores(model, noised, discount, steps):
    """Scores of features by the path that pruning takes. steps: what each stored t weighs."""
    return feature_scores(Resident(model), noised, discount, 2**31, steps=steps).scores


def exact_masks(model, scores, setting):
    """Masks of the scores of features, and which of their bits rounding decides, as two scores lie at the cut but for
    the last places of float32: by layer and projection, two bool (out, in). setting: the sparsity."""

    def masks(score):
        mask = pruned_mask(score, setting.sparsity, "unstructured")
        last = score.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
        first = score.masked_fill(mask, torch.inf).amin(1, keepdim=True)
        cut = first <= last * (1 + ROUNDING)
        tied = cut & ((score - last).abs() <= ROUNDING * last)
        return mask.numpy(), tied.numpy()

    return [
        {
            name: masks(wanda_score(module.weight, scores[layer][name]))
            for name, module in model.projections(block).items()
        }
        for layer, block in enumerate(model.blocks)
    ]


def changes(model, statistics, setting, undiscounted_scores=None):
    """Bits a setting changes against ω = 1 by the path of pruning; those missed, and false ones, by what is stored.

    undiscounted_scores: a dictionary that keeps them by what the steps weigh, for further settings.
    """
    noised = statistics.arrays["noised"].astype(np.int64)
    levels = tuple(range(50 // noised.shape[1], 51, 50 // noised.shape[1]))
    weighed = step_weights(levels, 50, setting)
    known = {} if undiscounted_scores is None else undiscounted_scores
    if weighed.tobytes() not in known:
        known[weighed.tobytes()] = exact_scores(model, noised, None, weighed)
    plain = exact_masks(model, known[weighed.tobytes()], setting)
    truth = exact_masks(model, exact_scores(model, noised, setting.discount, weighed), setting)
    steps = step_weights(statistics.info.levels, 50, setting)
    weights = statistics.group_weights(setting.discount)
    counts = np.zeros(3, int)
    for index in range(statistics.info.layers):
        layer = statistics.layer(index, setting.discount)
        own = weights[:, :, index if weights.shape[2] > 1 else 0]
        for name, given_to in layer.inputs.items():
            scores = effects.scores_by_step(layer.squares[given_to], own, steps), layer.plain[given_to]
            ours = np.logical_xor(
                *(effects.pruned_mask(layer.weights[name], steps @ one, setting.sparsity) for one in scores)
            )
            (discounted, tied), (undiscounted, tied_too) = truth[index][name], plain[index][name]
            theirs, decided = discounted != undiscounted, ~(tied | tied_too)
            counts += (theirs.sum(), (theirs & ~ours & decided).sum(), (ours & ~theirs & decided).sum())
    return counts


def check_changes(model, statistics, settings):
    """By token no bit is wrong but where rounding decides; in bins, of the bits a setting changes at most 5 % are
    missed, and at most 5 % as many change falsely. A setting that changes next to nothing says nothing about shares.
    """
    bar = 0 if statistics.info.grouping == "tokens" else 0.05
    total, undiscounted_scores = 0, {}
    for setting in settings:
        changed, missed, false = changes(model, statistics, setting, undiscounted_scores)
        print(f"{statistics.info.grouping} {setting!r}: {changed} changed, {missed} missed, {false} false")
        total += changed
        slack = bar and 2  # bits: of a few dozen, one is more than the bar
        assert missed <= bar * changed + slack and false <= bar * changed + slack, setting
    assert total > 20 * len(settings)
