"""Add an intervention on ablated positions: one row in `INTERVENTIONS`.

The implementation makes an `Edit` of a layer's queries, keys and values from the positions (B, S).
"""

from dataclasses import replace

import torch

from analysis.attention import AttentionInputs, Edit
from analysis.recording.interventions import EDITS
from analysis.specs import INTERVENTIONS, Intervention


def halved(positions: torch.Tensor) -> Edit:
    return lambda layer, inputs: replace(
        inputs, value=inputs.value * torch.where(positions[:, None, :, None], 0.5, 1.0)
    )


INTERVENTIONS.add(Intervention("halved", "values halved", "half of what they say is read.", implementation=halved))

ones = torch.ones(1, 1, 2, 1)
edited = EDITS["halved"](torch.tensor([[True, False]]))(0, AttentionInputs(ones, ones, ones, None, 1.0, False))
assert edited.value.flatten().tolist() == [0.5, 1.0]
