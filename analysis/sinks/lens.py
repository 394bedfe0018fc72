"""Readings of undecided tokens at each layer, in words. NumPy only."""

import numpy as np


def settled_layer(hits: np.ndarray) -> np.ndarray:
    """The first layer from which on a position's likeliest token is the one it becomes, (L, N) -> (N,); L for none."""
    return len(hits) - np.cumprod(hits[::-1], axis=0).sum(axis=0)


def sentence(hits: np.ndarray, sinks: np.ndarray) -> str:
    """Say how many undecided sinks are read as what they become by the last layer, beside the other undecided tokens;
    or how many of all undecided tokens, where either group is empty.

    hits (L, N): whether the likeliest token is the one the position becomes. sinks (N,).
    """
    if not sinks.any() or sinks.all():
        return (
            f"{int(hits[-1].sum())} of {len(sinks)} undecided tokens are read as the token they become by the last "
            f"layer. {'All' if sinks.any() else 'None'} of them are sinks, so there is nothing to compare."
        )
    those, others = hits[-1, sinks], hits[-1, ~sinks]
    settled = f", from layer {np.median(settled_layer(hits)[sinks][those]):.0f} on in the median" if those.any() else ""
    return (
        f"{int(those.sum())} of {len(those)} undecided sinks are read as the token they become by the last layer "
        f"({int(others.sum())} of {len(others)} other undecided tokens){settled}. One step of one prompt: no interval "
        "is given."
    )
