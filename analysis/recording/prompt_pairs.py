"""Every measure inside a network on one recorded prompt, beside its null: what claims about sinks are tested with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analysis.models.loaded import LoadedModel
from analysis.recording import prompt_measures
from analysis.recording.batches import PromptRun
from analysis.recording.prompt_measures import OnStep, PromptMeasures
from analysis.recording.residual_edits import other_channels
from analysis.sinks.drift import drift_of_the_most_attended, most_attended
from analysis.sinks.pairing import Paired, lost_attention, value_norms_of_sinks
from analysis.specs import SinkParams

CHANNELS = 4  # residual channels that are clamped


@dataclass(frozen=True)
class Channels:
    """The residual channels of a network that are clamped, and as many others, (K,) int64 each."""

    massive: torch.Tensor
    others: torch.Tensor


def channels_of(
    network: LoadedModel, recordings: Sequence[PromptRun], seed: int, on_step: OnStep = lambda forwards: None
) -> Channels:
    """Return the massive channels of a network by a few recordings, and random others."""
    massive = prompt_measures.massive_channels(network, recordings, CHANNELS, on_step)
    return Channels(massive, other_channels(massive, network.geometry.hidden, seed))


def pairs(
    network: LoadedModel,
    recording: PromptRun,
    measured: PromptMeasures,
    channels: Channels,
    params: SinkParams,
    seed: int,
    on_step: OnStep = lambda forwards: None,
) -> dict[str, Paired]:
    """Return the measures of one prompt by name, with the forwards of the interventions that they need.

    measured: of `prompt_measures.measure` on the same network and recording. Raises UserError as that does, and as
    `logit_lens` does.
    """
    run, rng = recording.run, np.random.default_rng([seed, recording.index])
    sinks, mass = measured.sinks(recording, params), measured.by_layer
    by_layer, together = sinks[:, :-1], sinks[:, -1]
    attended = most_attended(mass)
    drifts = {
        f"{part} drift": drift_of_the_most_attended(
            measured.drift[f"{part}_change"], attended, recording.tokens, run.state
        )
        for part in ("key", "value")
    }
    massive, others = (
        prompt_measures.clamped(network, recording, which, on_step) for which in (channels.massive, channels.others)
    )
    sources = prompt_measures.added_sources(mass.mean(axis=1), together, run.state, rng)
    sink, token = (
        prompt_measures.with_added_token(network, recording, source, silent, on_step)
        for source, silent in zip(sources, (True, False), strict=True)
    )
    return {
        "value norms": value_norms_of_sinks(measured.value_norm, by_layer, run.state),
        "carried channels": measured.carried,
        "clamped channels": lost_attention(mass, massive, others, by_layer),
        **drifts,
        "pattern of another head": measured.other_heads,
        "pattern of another prompt": measured.other_prompt,
        "queries apart": measured.apart,
        "added token": lost_attention(mass, sink.text, token.text, by_layer),
        "added token, undiluted": lost_attention(mass, sink.rest, token.rest, by_layer),
        "read at masked sinks": prompt_measures.lens_at_sinks(network, recording, together),
    }
