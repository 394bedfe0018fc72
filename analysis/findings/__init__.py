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


_RULES_OF: dict[str, dict[str, str]] = {
    "recording": {
        "kinds of sinks": "analysis.findings.recordings:kinds_of_sinks",
        "heads": "analysis.findings.recordings:heads",
        "curve": "analysis.findings.recordings:curve",
        "lifetimes": "analysis.findings.recordings:lifetimes",
        "long-lived sinks": "analysis.findings.recordings:long_lived",
        "varying positions": "analysis.findings.recordings:varying_positions",
        "variances": "analysis.findings.recordings:variances",
        "written text": "analysis.findings.recordings:written_text",
        "branch agreement": "analysis.findings.recordings:branch_agreement",
        "branch sinks": "analysis.findings.recordings:branch_sinks",
        "parallel writing": "analysis.findings.recordings:parallel_writing",
        "parallel sinks": "analysis.findings.recordings:parallel_sinks",
        "attention map": "analysis.findings.recordings:attention_map",
        "chosen steps": "analysis.findings.recordings:chosen_steps",
        "load of experts": "analysis.findings.recordings:expert_load",
        "evenness of experts": "analysis.findings.recordings:expert_evenness",
        "routes of sinks": "analysis.findings.recordings:sink_routes",
        "turnover of routes": "analysis.findings.recordings:route_turnover",
        "route of a token": "analysis.findings.recordings:one_route",
    },
    "one ablation": {"blocked": "analysis.findings.masks:blocked"},
    "inspection": {
        "common sinks": "analysis.findings.recordings:common_sinks",
        "flips": "analysis.findings.recordings:flips",
    },
    "record_set": {
        "where sinks are": "analysis.findings.sets:where",
        "sink counts": "analysis.findings.sets:counts",
        "how sinks move": "analysis.findings.sets:movement",
        "missing claims": "analysis.findings.sets:missing",
    },
    "sets": {
        "kinds of sets": "analysis.findings.set_headline:kinds_of_sets",
        "rarer untrained": "analysis.findings.set_headline:rarer_untrained",
        "steps of sets": "analysis.findings.set_headline:steps_of_sets",
        "prompts of a set": "analysis.findings.set_headline:prompts_of_set",
        "moves of sets": "analysis.findings.set_headline:moves_of_sets",
        "strengths of sets": "analysis.findings.set_headline:strengths_of_sets",
        "heads beyond random weights": "analysis.findings.sets:heads_beyond",
    },
    "layers": {"kinds of layers": "analysis.findings.set_headline:kinds_of_layers"},
    "ablate_set": {
        "answer": "analysis.findings.ablations:answer",
        "answer in numbers": "analysis.findings.ablations:answer_in_numbers",
        "predictions against perplexity": "analysis.findings.ablations:disagreements",
        "strongest effect": "analysis.findings.effects:strongest",
        "moving sinks": "analysis.findings.effects:contrasts",
        "tests of effects": "analysis.findings.ablations:correction",
    },
    "texts": {
        "caveats": "analysis.findings.ablations:caveats",
        "first text": "analysis.findings.ablations:first_beside_mean",
        "shifts of predictions": "analysis.findings.shifts:shifts",
    },
    "levels": {
        "caveats of each": "analysis.findings.ablations:caveats_of",
        "perplexity with each": "analysis.findings.ablations:perplexity_with_each",
        "tokens changed": "analysis.findings.ablations:tokens_changed",
        "shifts with each": "analysis.findings.shifts:shifts_beside",
    },
    "evict": {
        "first policy": "analysis.findings.evictions:headline",
        "other policies": "analysis.findings.evictions:others",
        "tests of policies": "analysis.findings.ablations:correction",
    },
    "effects": {
        "sides of effects": "analysis.findings.effects:sides",
        "least kept": "analysis.findings.evictions:least_kept",
        "sides of policies": "analysis.findings.evictions:sides",
    },
    "masks": {
        "discounted mask": "analysis.findings.masks:discounted_mask",
        "whole against seeds": "analysis.findings.masks:whole_against_seeds",
        "cells against seeds": "analysis.findings.masks:cells_against_seeds",
        "differing weights": "analysis.findings.masks:differing_weights",
        "head sparsity": "analysis.findings.masks:head_sparsity",
        "depth": "analysis.findings.masks:depth",
        "overlap": "analysis.findings.masks:overlap",
        "kept attention": "analysis.findings.masks:kept_attention",
    },
    "pruning": {
        "sparsity of matrices": "analysis.findings.masks:sparsity_of_matrices",
        "sparsity of heads": "analysis.findings.masks:sparsity_of_heads",
        "sparsity by layer": "analysis.findings.masks:sparsity_by_layer",
        "kept by layer": "analysis.findings.masks:kept_by_layer",
    },
    "discount": {
        "change against seeds": "analysis.findings.masks:change_against_seeds",
        "output error": "analysis.findings.masks:output_error",
        "changes of errors": "analysis.findings.masks:changes_of_errors",
        "token weights": "analysis.findings.masks:token_weights",
        "shifts of scores": "analysis.findings.masks:shifts_of_scores",
        "discounted tokens": "analysis.findings.recordings:discounted_tokens",
    },
    "search": {
        "trials": "analysis.findings.accuracies:trials",
        "importances": "analysis.findings.accuracies:importances",
    },
    "scores": {
        "sweep differences": "analysis.findings.accuracies:sweep_differences",
        "scored alike": "analysis.findings.accuracies:scored_alike",
        "differences": "analysis.findings.accuracies:differences",
        "published differences": "analysis.findings.accuracies:published_differences",
        "above chance": "analysis.findings.accuracies:above_chance",
        "seeds apart": "analysis.findings.accuracies:seeds_apart",
        "smallest above chance": "analysis.findings.accuracies:smallest_above_chance",
        "grid beyond seeds": "analysis.findings.accuracies:grid_beyond_seeds",
    },
    "evaluate": {
        "change of accuracy": "analysis.findings.evaluations:change_of_accuracy",
        "pairs of models": "analysis.findings.evaluations:verdicts",
        "pairs over seeds": "analysis.findings.evaluations:over_seeds_in_words",
        "tests of an evaluation": "analysis.findings.evaluations:adjustment",
    },
    "sweep": {
        "largest difference": "analysis.findings.sweeps:headlines",
        "pairs of methods": "analysis.findings.sweeps:verdicts",
        "dose-response": "analysis.findings.sweeps:dose_response",
        "what moves accuracy": "analysis.findings.sweeps:what_moves",
    },
    "losses": {
        "cost of pruning": "analysis.findings.pruning_cost:cost_of_pruning",
        "discount at levels": "analysis.findings.pruning_cost:discount_at_levels",
        "discount in brief": "analysis.findings.pruning_cost:discount_in_brief",
    },
    "plane": {"gain at the same cost": "analysis.findings.sweeps:at_same_cost"},
    "claims": {"claims": "analysis.claims.verdicts:claim_verdicts"},
    "tested claims": {"tested claims": "analysis.claims.verdicts:verdicts_on"},
    "study": {
        "sinks matter": "analysis.study.rules:sinks_matter",
        "methods compared": "analysis.study.rules:methods_compared",
    },
    "gain": {"source of a gain": "analysis.study.gains:gains", "sinks in a gain": "analysis.study.gains:shams"},
    "story": {
        "what a sink is": "analysis.exhibits.story_sinks:sink",
        "place of sinks": "analysis.exhibits.story_place:place",
        "movement of sinks": "analysis.exhibits.story_movement:movement",
        "hidden sinks": "analysis.exhibits.story_hidden:hidden",
        "changed mask": "analysis.exhibits.story_discount:masks",
        "accuracy with the discount": "analysis.exhibits.story_discount:accuracy",
    },
}
"""The rule of every finding, by the result that it reads."""
FINDINGS: Registry[Finding] = Registry(
    *(Finding(name, reads, implementation=rule) for reads, rules in _RULES_OF.items() for name, rule in rules.items())
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
