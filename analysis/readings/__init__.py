"""What a plot shows, in one sentence with numbers. A reading is one row of `READINGS`; it says nothing where what it
would tell does not exceed its null or floor. NumPy only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis.readings import accuracies, inside, masks, pruned, recordings, texts
from analysis.registry import Registry


@dataclass(frozen=True)
class Reading:
    """says: what a plot draws -> a sentence, or "" where nothing exceeds its null or floor."""

    name: str
    says: Callable[..., str]


READINGS: Registry[Reading] = Registry(
    Reading("kinds of sinks", recordings.kinds_of_sinks),
    Reading("heads", recordings.heads),
    Reading("curve", recordings.curve),
    Reading("lifetimes", recordings.lifetimes),
    Reading("long-lived sinks", recordings.long_lived),
    Reading("varying positions", recordings.varying_positions),
    Reading("variances", recordings.variances),
    Reading("change against seeds", masks.change_against_seeds),
    Reading("discounted mask", masks.discounted_mask),
    Reading("sweep differences", accuracies.sweep_differences),
    Reading("accuracy over sparsity", accuracies.accuracy_over_sparsity),
    Reading("scored alike", accuracies.scored_alike),
    Reading("whole against seeds", masks.whole_against_seeds),
    Reading("cells against seeds", masks.cells_against_seeds),
    Reading("differing weights", masks.differing_weights),
    Reading("head sparsity", masks.head_sparsity),
    Reading("depth", masks.depth),
    Reading("overlap", masks.overlap),
    Reading("kept attention", masks.kept_attention),
    Reading("output error", masks.output_error),
    Reading("changes of errors", masks.changes_of_errors),
    Reading("token weights", masks.token_weights),
    Reading("shifts of scores", masks.shifts_of_scores),
    Reading("written text", texts.written_text),
    Reading("discounted tokens", texts.discounted_tokens),
    Reading("branch agreement", texts.branch_agreement),
    Reading("branch sinks", texts.branch_sinks),
    Reading("parallel writing", texts.parallel_writing),
    Reading("parallel sinks", texts.parallel_sinks),
    Reading("attention map", inside.attention_map),
    Reading("chosen steps", inside.chosen_steps),
    Reading("common sinks", inside.common_sinks),
    Reading("flips", inside.flips),
    Reading("load of experts", inside.expert_load),
    Reading("evenness of experts", inside.expert_evenness),
    Reading("routes of sinks", inside.sink_routes),
    Reading("turnover of routes", inside.route_turnover),
    Reading("route of a token", inside.one_route),
    Reading("sparsity of matrices", pruned.sparsity_of_matrices),
    Reading("sparsity of heads", pruned.sparsity_of_heads),
    Reading("sparsity by layer", pruned.sparsity_by_layer),
    Reading("kept by layer", pruned.kept_by_layer),
    Reading("blocked", pruned.blocked),
    Reading("differences", accuracies.differences),
    Reading("published differences", accuracies.published_differences),
    Reading("above chance", accuracies.above_chance),
    Reading("seeds apart", accuracies.seeds_apart),
    Reading("smallest above chance", accuracies.smallest_above_chance),
    Reading("grid beyond seeds", accuracies.grid_beyond_seeds),
    Reading("trials", accuracies.trials),
    Reading("importances", accuracies.importances),
    Reading("parts of a whole", accuracies.parts_of_whole),
)


def reading(name: str, /, *arrays: Any, **more: Any) -> str:
    """What a row says of what a plot draws."""
    return READINGS[name].says(*arrays, **more)
