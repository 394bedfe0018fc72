"""Add an architecture: one row in `ARCHITECTURES` and a pair of config and class, as docs/models.md says.

To refuse one by name, add a row to `FOREIGN`.
"""

from analysis.models.architectures import identify
from analysis.models.families import ARCHITECTURES
from analysis.models.family import Architecture

ARCHITECTURES["my-dlm"] = Architecture(
    "My diffusion model", "llada", attention="bidirectional", model_type="my-dlm", classes=("MyDiffusionLM",)
)

family = identify({"model_type": "my-dlm", "architectures": ["MyDiffusionLM"]})
assert family.bidirectional and family.sampler == "llada"
