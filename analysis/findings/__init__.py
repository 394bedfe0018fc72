"""Findings: what results show, in sentences with their numbers. One table, and a module per subject with its rules.

A rule says nothing where what it would tell does not exceed its null, its floor or its interval. No torch.
"""

from dataclasses import dataclass
from typing import Any

from analysis.registry import Implementations, Implemented, Registry


@dataclass(frozen=True)
class Finding(Implemented):
    """One row. reads: the result it speaks of; a job by its name, if it reads the whole summary. implementation: its
    rule, from results to sentences; empty if there is nothing to say.
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
    Finding("written text", "recording", implementation="analysis.findings.texts:written_text"),
    Finding("branch agreement", "recording", implementation="analysis.findings.texts:branch_agreement"),
    Finding("branch sinks", "recording", implementation="analysis.findings.texts:branch_sinks"),
    Finding("parallel writing", "recording", implementation="analysis.findings.texts:parallel_writing"),
    Finding("parallel sinks", "recording", implementation="analysis.findings.texts:parallel_sinks"),
    Finding("attention map", "recording", implementation="analysis.findings.inside:attention_map"),
    Finding("chosen steps", "recording", implementation="analysis.findings.inside:chosen_steps"),
    Finding("load of experts", "recording", implementation="analysis.findings.inside:expert_load"),
    Finding("evenness of experts", "recording", implementation="analysis.findings.inside:expert_evenness"),
    Finding("routes of sinks", "recording", implementation="analysis.findings.inside:sink_routes"),
    Finding("turnover of routes", "recording", implementation="analysis.findings.inside:route_turnover"),
    Finding("route of a token", "recording", implementation="analysis.findings.inside:one_route"),
    Finding("blocked", "one ablation", implementation="analysis.findings.pruned:blocked"),
    Finding("common sinks", "inspection", implementation="analysis.findings.inside:common_sinks"),
    Finding("flips", "inspection", implementation="analysis.findings.inside:flips"),
    Finding("where sinks are", "record_set", implementation="analysis.findings.sets:where"),
    Finding("sink counts", "record_set", implementation="analysis.findings.sets:counts"),
    Finding("how sinks move", "record_set", implementation="analysis.findings.sets:movement"),
    Finding("missing claims", "record_set", implementation="analysis.findings.sets:missing"),
    Finding("kinds of sets", "sets", implementation="analysis.findings.set_headline:kinds_of_sets"),
    Finding("rarer untrained", "sets", implementation="analysis.findings.set_headline:rarer_untrained"),
    Finding("kinds of layers", "layers", implementation="analysis.findings.set_headline:kinds_of_layers"),
    Finding("steps of sets", "sets", implementation="analysis.findings.set_headline:steps_of_sets"),
    Finding("prompts of a set", "sets", implementation="analysis.findings.set_headline:prompts_of_set"),
    Finding("moves of sets", "sets", implementation="analysis.findings.set_headline:moves_of_sets"),
    Finding("strengths of sets", "sets", implementation="analysis.findings.set_headline:strengths_of_sets"),
    Finding("heads beyond random weights", "sets", implementation="analysis.findings.sets:heads_beyond"),
    Finding("answer", "ablate_set", implementation="analysis.findings.ablations:answer"),
    Finding("answer in numbers", "ablate_set", implementation="analysis.findings.ablations:answer_in_numbers"),
    Finding("predictions apart", "texts", implementation="analysis.findings.ablations:predictions_apart"),
    Finding("predictions otherwise", "levels", implementation="analysis.findings.ablations:otherwise"),
    Finding("text with each", "levels", implementation="analysis.findings.ablations:text_with_each"),
    Finding("first text", "texts", implementation="analysis.findings.ablations:first_beside_mean"),
    Finding("predictions against text", "ablate_set", implementation="analysis.findings.ablations:disagreements"),
    Finding("strongest effect", "ablate_set", implementation="analysis.findings.ablations:strongest"),
    Finding("moving sinks", "ablate_set", implementation="analysis.findings.ablations:contrasts"),
    Finding("tests of effects", "ablate_set", implementation="analysis.findings.ablations:correction"),
    Finding("first policy", "evict", implementation="analysis.findings.evictions:headline"),
    Finding("other policies", "evict", implementation="analysis.findings.evictions:others"),
    Finding("tests of policies", "evict", implementation="analysis.findings.ablations:correction"),
    Finding("sides of effects", "effects", implementation="analysis.findings.ablations:sides"),
    Finding("least kept", "effects", implementation="analysis.findings.evictions:least_kept"),
    Finding("sides of policies", "effects", implementation="analysis.findings.evictions:sides"),
    Finding("discounted mask", "masks", implementation="analysis.findings.masks:discounted_mask"),
    Finding("whole against seeds", "masks", implementation="analysis.findings.masks:whole_against_seeds"),
    Finding("cells against seeds", "masks", implementation="analysis.findings.masks:cells_against_seeds"),
    Finding("differing weights", "masks", implementation="analysis.findings.masks:differing_weights"),
    Finding("head sparsity", "masks", implementation="analysis.findings.masks:head_sparsity"),
    Finding("depth", "masks", implementation="analysis.findings.masks:depth"),
    Finding("overlap", "masks", implementation="analysis.findings.masks:overlap"),
    Finding("kept attention", "masks", implementation="analysis.findings.masks:kept_attention"),
    Finding("sparsity of matrices", "pruning", implementation="analysis.findings.pruned:sparsity_of_matrices"),
    Finding("sparsity of heads", "pruning", implementation="analysis.findings.pruned:sparsity_of_heads"),
    Finding("sparsity by layer", "pruning", implementation="analysis.findings.pruned:sparsity_by_layer"),
    Finding("kept by layer", "pruning", implementation="analysis.findings.pruned:kept_by_layer"),
    Finding("change against seeds", "discount", implementation="analysis.findings.masks:change_against_seeds"),
    Finding("output error", "discount", implementation="analysis.findings.masks:output_error"),
    Finding("changes of errors", "discount", implementation="analysis.findings.masks:changes_of_errors"),
    Finding("token weights", "discount", implementation="analysis.findings.masks:token_weights"),
    Finding("shifts of scores", "discount", implementation="analysis.findings.masks:shifts_of_scores"),
    Finding("discounted tokens", "discount", implementation="analysis.findings.texts:discounted_tokens"),
    Finding("trials", "search", implementation="analysis.findings.accuracies:trials"),
    Finding("importances", "search", implementation="analysis.findings.accuracies:importances"),
    Finding("sweep differences", "scores", implementation="analysis.findings.accuracies:sweep_differences"),
    Finding("scored alike", "scores", implementation="analysis.findings.accuracies:scored_alike"),
    Finding("differences", "scores", implementation="analysis.findings.accuracies:differences"),
    Finding("published differences", "scores", implementation="analysis.findings.accuracies:published_differences"),
    Finding("above chance", "scores", implementation="analysis.findings.accuracies:above_chance"),
    Finding("seeds apart", "scores", implementation="analysis.findings.accuracies:seeds_apart"),
    Finding("smallest above chance", "scores", implementation="analysis.findings.accuracies:smallest_above_chance"),
    Finding("grid beyond seeds", "scores", implementation="analysis.findings.accuracies:grid_beyond_seeds"),
    Finding("change of accuracy", "evaluate", implementation="analysis.findings.evaluations:change_of_accuracy"),
    Finding("pairs of models", "evaluate", implementation="analysis.findings.evaluations:verdicts"),
    Finding("pairs over seeds", "evaluate", implementation="analysis.findings.evaluations:over_seeds_in_words"),
    Finding("tests of an evaluation", "evaluate", implementation="analysis.findings.evaluations:adjustment"),
    Finding("largest difference", "sweep", implementation="analysis.findings.sweeps:headlines"),
    Finding("cost of pruning", "losses", implementation="analysis.findings.pruning_cost:cost_of_pruning"),
    Finding("discount at levels", "losses", implementation="analysis.findings.pruning_cost:discount_at_levels"),
    Finding("discount in brief", "losses", implementation="analysis.findings.pruning_cost:discount_in_brief"),
    Finding("pairs of methods", "sweep", implementation="analysis.findings.sweeps:verdicts"),
    Finding("dose-response", "sweep", implementation="analysis.findings.sweeps:dose_response"),
    Finding("gain at the same cost", "plane", implementation="analysis.findings.sweeps:at_same_cost"),
    Finding("claims", "claims", implementation="analysis.claims.verdicts:claim_verdicts"),
    Finding("sinks matter", "study", implementation="analysis.study.rules:sinks_matter"),
    Finding("methods compared", "study", implementation="analysis.study.rules:methods_compared"),
    Finding("source of a gain", "gain", implementation="analysis.study.gains:gains"),
    Finding("sinks in a gain", "gain", implementation="analysis.study.gains:shams"),
    Finding("what a sink is", "story", implementation="analysis.exhibits.story_sinks:sink"),
    Finding("place of sinks", "story", implementation="analysis.exhibits.story_place:place"),
    Finding("movement of sinks", "story", implementation="analysis.exhibits.story_movement:movement"),
    Finding("hidden sinks", "story", implementation="analysis.exhibits.story_hidden:hidden"),
    Finding("changed mask", "story", implementation="analysis.exhibits.story_discount:masks"),
    Finding("accuracy with the discount", "story", implementation="analysis.exhibits.story_discount:accuracy"),
)
_RULES: Implementations[Any] = Implementations(FINDINGS)


def finding_of(name: str, /, *read: Any, **more: Any) -> Any:
    """Return what one finding says: mostly a sentence, empty where nothing is to be said."""
    return _RULES[name](*read, **more)


def findings_of(result: str, /, *read: Any) -> dict[str, list[Any]]:
    """Return every finding on a result by name, silent ones left out. result: as rows read it."""
    told = {row.name: _RULES[row.name](*read) for row in FINDINGS.values() if row.reads == result}
    return {name: list(said) if isinstance(said, list | tuple) else [said] for name, said in told.items() if said}


def said_of(result: str, /, *read: Any) -> list[Any]:
    """Return everything that the findings on a result say, the headline first."""
    return [each for said in findings_of(result, *read).values() for each in said]
