"""Recordings as the explorer takes them: every map of attention with what counting its sinks needs."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from analysis.exhibits.playing import has_blocks
from analysis.figures.explorer import (
    MOST_CELLS,
    MOST_NULL_CELLS,
    DefinitionRow,
    ExplorerMaps,
    ExplorerTrack,
    explorer_bytes,
)
from analysis.recording.trajectory import Trajectory
from analysis.sinks import definitions, token_states
from analysis.sinks.token_states import SPLITS
from analysis.specs import DEFINITIONS, SinkParams
from analysis.specs.fields import bounds, extra


def explored(
    trajectories: Sequence[Trajectory],
    names: Sequence[str],
    random: Trajectory | None = None,
    state: Mapping[str, Any] | None = None,
) -> bytes:
    """Pack one recording, or two beside each other, for the explorer.

    trajectories: their mass is the relative one, m·K/Q. random: the first one's inputs with random weights, where they
    were observed. state: what is chosen at first.
    """
    drawn = [random, *[None] * len(trajectories)]
    tracks = [explorer_track(*each) for each in zip(trajectories, names, drawn, strict=False)]
    return explorer_bytes(tracks, definition_rows(), state)


def explorer_track(trajectory: Trajectory, name: str, random: Trajectory | None = None) -> ExplorerTrack:
    """Return a recording as the explorer shows it; its heads are left out where they are too many to hold at once."""
    info = trajectory.info
    changes = token_states.changes(trajectory.tokens, trajectory.state, trajectory.final, info.model.mask_token)
    splits = np.zeros(trajectory.state.shape, np.uint8)
    for bit, split in enumerate(SPLITS.values()):
        held = (
            trajectory.present
            if split.holds is None
            else split.holds(trajectory.state, trajectory.open_block, info.prompt_length)
        )
        splits |= np.uint8(1 << bit) * held
    return ExplorerTrack(
        name=name,
        heads=trajectory.heads,
        maps=_maps(trajectory),
        tokens=trajectory.tokens,
        final=trajectory.final,
        words=info.tokens,
        state=trajectory.state,
        written=changes.written,
        edited=changes.edited,
        taken_back=changes.taken_back,
        confidence=trajectory.confidence,
        splits=splits,
        split_names=[token_states.undecided_named(split, info.model.noise) for split in SPLITS],
        even=trajectory.pattern.is_even,
        noise=info.model.noise == "uniform",
        autoregressive=info.model.noise is None and info.model.mask_token is None,
        random_model=None if random is None else definitions.mean_mass(random.mass),
        random_heads=None if random is None or random.mass.size > MOST_NULL_CELLS else _by_head(random),
        open_block=trajectory.open_block if has_blocks(trajectory.open_block) else None,
        branch=None if info.branch is None else (info.branch.step, info.branch.position),
        experts=_experts(trajectory),
        expert_layers=info.model.expert_layers,
    )


def _experts(trajectory: Trajectory) -> np.ndarray | None:
    """The experts of each token by layer with experts and step, (M, T, K, S), −1 where it was not routed."""
    if trajectory.experts is None or trajectory.expert_weights is None:
        return None
    routed = np.isfinite(trajectory.expert_weights)
    return np.moveaxis(np.where(routed, trajectory.experts.astype(np.int32), -1), 1, 0)


def _by_head(trajectory: Trajectory) -> np.ndarray:
    """The mass of every head, (L·H, T, S)."""
    return np.moveaxis(trajectory.mass, 0, 2).reshape(-1, trajectory.steps, trajectory.positions)


def head_map(trajectory: Trajectory, index: int) -> np.ndarray:
    """Return the mass of one head, (T, S), by its index l·H + h."""
    return trajectory.mass[:, index // trajectory.heads, index % trajectory.heads]


def definition_rows() -> list[DefinitionRow]:
    """Return the sink definitions with the range of the parameter that each reads."""
    rows = []
    for row in DEFINITIONS.values():
        field = SinkParams.model_fields[row.parameter]
        low, high, _ = bounds(field, 0)
        assert low is not None and high is not None  # a slider has two ends
        rows.append(DefinitionRow(row.name, row.title, row.parameter, low, high, extra(field)["step"], field.default))
    return rows


def _maps(trajectory: Trajectory) -> ExplorerMaps:
    mass, pattern = trajectory.mass, trajectory.pattern
    steps, layers, heads, positions = mass.shape
    model = definitions.mean_mass(mass)
    by_layer = np.stack([definitions.mean_mass(mass[:, layer : layer + 1]) for layer in range(layers)])
    every = [head_map(trajectory, index) for index in range(layers * heads)]
    rows = [definitions.moments(values) for values in (model, *by_layer, *every)]
    held = range(len(every)) if mass.size <= MOST_CELLS else range(0)
    return ExplorerMaps(
        model=model,
        layers=by_layer,
        heads=np.stack([every[index] for index in held]) if held else np.empty((0, steps, positions), np.float32),
        held=held,
        mean=np.stack([row.mean[:, 0] for row in rows]),
        std=np.stack([row.std[:, 0] for row in rows]),
        uniform=np.moveaxis(pattern.uniform_mass[:, :, 0], 1, 0),
        uniform_model=pattern.uniform_mass.mean(axis=(1, 2)),
        visible=np.moveaxis(pattern.largest_mass[:, :, 0], 1, 0),
        visible_model=pattern.visible(None),
    )


class SharesAsked(BaseModel):
    """A request for the shares of all heads, as `cellsKey` in selection.js writes it.

    range: the first and last step, which are averaged. to: the first and last position; None: the sinks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    range: tuple[NonNegativeInt, NonNegativeInt]
    to: tuple[NonNegativeInt, NonNegativeInt] | None
    definition: str
    threshold: float
    split: Annotated[int, Field(ge=0, lt=len(SPLITS))]
    judged: Literal["head", "layer", "model"]

    @property
    def params(self) -> SinkParams:
        """The sink definition asked for. Raises ValidationError where there is none such."""
        return SinkParams.model_validate(
            {"definition": self.definition, DEFINITIONS[self.definition].parameter: self.threshold}
        )


def head_shares(trajectory: Trajectory, asked: SharesAsked) -> np.ndarray:
    """Return the share of each head's attention that goes to the chosen positions or to sinks, mean over steps, (L·H,).

    Steps that hold none of the positions are left out.
    """
    first, last = asked.range
    rows = slice(first, last + 1)
    mass = trajectory.mass[rows]
    if asked.to is not None:
        chosen = np.zeros(trajectory.positions, bool)
        chosen[asked.to[0] : asked.to[1] + 1] = True
        flags = (trajectory.present[rows] & chosen)[:, None, None]
        there = flags.any(axis=(1, 2, 3))
        mass, flags = mass[there], flags[there]
    else:
        flags = _sinks(trajectory, asked, rows)
    paid = np.where(flags, mass, 0).sum(axis=-1, dtype=np.float64) / np.nansum(mass, axis=-1, dtype=np.float64)
    return paid.mean(axis=0).ravel()


def _sinks(trajectory: Trajectory, asked: SharesAsked, rows: slice) -> np.ndarray:
    """The sinks of the steps, (n, L, H, S) with axes of 1 where they are judged together."""
    mass, pattern = trajectory.mass[rows], trajectory.pattern
    holds = list(SPLITS.values())[asked.split].holds
    counted = (
        trajectory.present
        if holds is None
        else holds(trajectory.state, trajectory.open_block, trajectory.info.prompt_length)
    )
    if asked.judged == "model":
        judged, visible = definitions.mean_mass(mass)[:, None, None], pattern.visible(None)[rows, None, None]
    elif asked.judged == "layer":
        judged, visible = mass.mean(axis=2, keepdims=True, dtype=np.float32), pattern.largest_mass[rows]
    else:
        judged, visible = mass, pattern.largest_mass[rows]
    return definitions.find_sinks(judged, asked.params, visible) & counted[rows, None, None]
