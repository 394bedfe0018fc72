"""What results show, in sentences with their numbers: one table of findings, and a module per subject with its rules.

A rule says nothing where what it would tell does not exceed its null, its floor or its interval. No torch.
"""

from dataclasses import dataclass
from typing import Any

from analysis.registry import Implementations, Implemented, Registry


@dataclass(frozen=True)
class Finding(Implemented):
    """reads: the result that it speaks of. implementation: its rule, from what it reads to sentences; what it returns
    is empty where nothing is to be said.
    """

    name: str
    reads: str


FINDINGS: Registry[Finding] = Registry(
    Finding("kinds of sinks", "recording", implementation="analysis.findings.recordings:kinds_of_sinks"),
    Finding("heads", "recording", implementation="analysis.findings.recordings:heads"),
    Finding("curve", "recording", implementation="analysis.findings.recordings:curve"),
    Finding("lifetimes", "recording", implementation="analysis.findings.recordings:lifetimes"),
    Finding("long-lived sinks", "recording", implementation="analysis.findings.recordings:long_lived"),
    Finding("varying positions", "recording", implementation="analysis.findings.recordings:varying_positions"),
    Finding("variances", "recording", implementation="analysis.findings.recordings:variances"),
    Finding("change against seeds", "discount", implementation="analysis.findings.masks:change_against_seeds"),
    Finding("changed matrices", "discount", implementation="analysis.findings.masks:changed_matrices"),
    Finding("discounted mask", "masks", implementation="analysis.findings.masks:discounted_mask"),
    Finding("sweep differences", "scores", implementation="analysis.findings.accuracies:sweep_differences"),
    Finding("accuracy over sparsity", "scores", implementation="analysis.findings.accuracies:accuracy_over_sparsity"),
    Finding("scored alike", "scores", implementation="analysis.findings.accuracies:scored_alike"),
    Finding("whole against seeds", "masks", implementation="analysis.findings.masks:whole_against_seeds"),
    Finding("cells against seeds", "masks", implementation="analysis.findings.masks:cells_against_seeds"),
    Finding("differing weights", "masks", implementation="analysis.findings.masks:differing_weights"),
    Finding("head sparsity", "masks", implementation="analysis.findings.masks:head_sparsity"),
    Finding("depth", "masks", implementation="analysis.findings.masks:depth"),
    Finding("overlap", "masks", implementation="analysis.findings.masks:overlap"),
    Finding("kept attention", "masks", implementation="analysis.findings.masks:kept_attention"),
    Finding("output error", "discount", implementation="analysis.findings.masks:output_error"),
    Finding("changes of errors", "discount", implementation="analysis.findings.masks:changes_of_errors"),
    Finding("token weights", "discount", implementation="analysis.findings.masks:token_weights"),
    Finding("shifts of scores", "discount", implementation="analysis.findings.masks:shifts_of_scores"),
    Finding("written text", "recording", implementation="analysis.findings.texts:written_text"),
    Finding("discounted tokens", "discount", implementation="analysis.findings.texts:discounted_tokens"),
    Finding("branch agreement", "recording", implementation="analysis.findings.texts:branch_agreement"),
    Finding("branch sinks", "recording", implementation="analysis.findings.texts:branch_sinks"),
    Finding("parallel writing", "recording", implementation="analysis.findings.texts:parallel_writing"),
    Finding("parallel sinks", "recording", implementation="analysis.findings.texts:parallel_sinks"),
    Finding("attention map", "recording", implementation="analysis.findings.inside:attention_map"),
    Finding("chosen steps", "recording", implementation="analysis.findings.inside:chosen_steps"),
    Finding("common sinks", "inspection", implementation="analysis.findings.inside:common_sinks"),
    Finding("flips", "inspection", implementation="analysis.findings.inside:flips"),
    Finding("load of experts", "recording", implementation="analysis.findings.inside:expert_load"),
    Finding("evenness of experts", "recording", implementation="analysis.findings.inside:expert_evenness"),
    Finding("routes of sinks", "recording", implementation="analysis.findings.inside:sink_routes"),
    Finding("turnover of routes", "recording", implementation="analysis.findings.inside:route_turnover"),
    Finding("route of a token", "recording", implementation="analysis.findings.inside:one_route"),
    Finding("sparsity of matrices", "pruning", implementation="analysis.findings.pruned:sparsity_of_matrices"),
    Finding("sparsity of heads", "pruning", implementation="analysis.findings.pruned:sparsity_of_heads"),
    Finding("sparsity by layer", "pruning", implementation="analysis.findings.pruned:sparsity_by_layer"),
    Finding("kept by layer", "pruning", implementation="analysis.findings.pruned:kept_by_layer"),
    Finding("blocked", "one ablation", implementation="analysis.findings.pruned:blocked"),
    Finding("differences", "scores", implementation="analysis.findings.accuracies:differences"),
    Finding("published differences", "scores", implementation="analysis.findings.accuracies:published_differences"),
    Finding("above chance", "scores", implementation="analysis.findings.accuracies:above_chance"),
    Finding("seeds apart", "scores", implementation="analysis.findings.accuracies:seeds_apart"),
    Finding("smallest above chance", "scores", implementation="analysis.findings.accuracies:smallest_above_chance"),
    Finding("grid beyond seeds", "scores", implementation="analysis.findings.accuracies:grid_beyond_seeds"),
    Finding("trials", "search", implementation="analysis.findings.accuracies:trials"),
    Finding("importances", "search", implementation="analysis.findings.accuracies:importances"),
)
_RULES: Implementations[Any] = Implementations(FINDINGS)


def finding_of(name: str, /, *read: Any, **more: Any) -> str:
    """Return the sentence of one finding, empty where there is none."""
    sentence: str = _RULES[name](*read, **more)
    return sentence


def findings_of(result: str, /, *read: Any) -> dict[str, Any]:
    """Return what every finding that reads a result says, by name; those that are silent are left out."""
    told = {row.name: _RULES[row.name](*read) for row in FINDINGS.values() if row.reads == result}
    return {name: said for name, said in told.items() if said}
