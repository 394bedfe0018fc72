"""Dream on transformers' native Qwen2 code. Its parameter names are Qwen2's; its config differs when written back."""

from typing import Any

from transformers import Qwen2Config, Qwen2ForCausalLM

from analysis.models.rope import PlainRope
from analysis.models.sliced import SlicedMLPs


class DreamConfig(PlainRope, Qwen2Config):
    """Qwen2's config plus the mask token."""

    model_type = "Dream"
    mask_token_id: int = 151666

    def to_dict(self) -> dict[str, Any]:
        fields = super().to_dict()
        fields.pop("layer_types", None)
        return fields


class DreamModel(SlicedMLPs, Qwen2ForCausalLM):
    """Named as the authors' class, so that `architectures` is written back unchanged."""

    config: DreamConfig
