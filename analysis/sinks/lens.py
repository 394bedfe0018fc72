"""What layers already say about undecided tokens, in words. NumPy only."""

import numpy as np


def settled_layer(hits: np.ndarray) -> np.ndarray:
    """The first layer from which on a position's likeliest token is the one it becomes, (L, N) -> (N,); L for none."""
    return len(hits) - np.cumprod(hits[::-1], axis=0).sum(axis=0)


def sentence(hits: np.ndarray, sinks: np.ndarray) -> str:
    """Whether undecided sinks are read as what they become more often than other undecided tokens, by the last layer;
    nothing where there are none of either, or where they are not.

    hits (L, N): whether the likeliest token is the one the position becomes. sinks (N,).
    """
    if not sinks.any() or sinks.all():
        return ""
    those, others = hits[-1, sinks], hits[-1, ~sinks]
    if those.mean() <= others.mean():
        return ""
    settled = settled_layer(hits)[sinks][those]
    return (
        f"{int(those.sum())} of {len(those)} undecided sinks are read as the token they become by the last layer "
        f"({int(others.sum())} of {len(others)} other undecided tokens), from layer {np.median(settled):.0f} on in the "
        "median. One step of one prompt: no interval is given."
    )
