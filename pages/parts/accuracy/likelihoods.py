"""How likely the right answers are, beside the accuracy: bounds in nats per token, and paired differences."""

import pandas as pd

from analysis.evaluation import bounds, comparing, tables
from analysis.evaluation.results import Results
from pages.parts.accuracy.canvas_scores import scores_of
from pages.parts.charts import table

_BOUND = (
    r"$b_i = -\log p(\text{right answer}) / \text{its tokens}$: for a diffusion model LLaDA's bound on it, "
    "estimated with masks that all models share, for an autoregressive model exact. Means have Student's 95 % interval "
    "clustered as accuracies are."
)
_OF_CANVASES = (
    r"$b_i = -\log p(\text{right answer}) / \text{its tokens}$. Means have Student's 95 % interval clustered as "
    "accuracies are."
)


def likelihoods(results: Results) -> None:
    """Draws the bounds of every model, and the differences of the pairs that are looked at."""
    scores = scores_of(results)
    formula = _OF_CANVASES if scores else _BOUND
    table(
        "Negative log-likelihood of right answers",
        f"Nats per token, lower is better; never averaged with accuracy. {scores or bounds.LEFT_OUT}",
        pd.DataFrame(bounds.bound_table(results)).rename(columns=tables.READ_AS),
        "bound_table",
        formula,
    )
    pairs = comparing.pairs(results)
    if pairs:
        table(
            "Differences in nats per token",
            "First minus second model on the same items with the same masks; below 0 the first finds the right answers "
            "likelier. Holm correction over this table alone.",
            pd.DataFrame(bounds.bound_differences(results, pairs)).rename(columns=tables.READ_AS),
            "bound_differences",
            formula,
        )
