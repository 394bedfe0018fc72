"""Dream on transformers' native Qwen2 code. Its parameter names are Qwen2's; its config differs when written back."""

from typing import Any

from transformers import Qwen2Config, Qwen2ForCausalLM

from analysis.models.sliced import SlicedMLPs


class DreamConfig(Qwen2Config):
    """Qwen2's config plus the mask token."""

    model_type = "Dream"
    mask_token_id: int = 151666
    use_cache: bool = False
    is_causal: bool = False

    def to_dict(self) -> dict[str, Any]:
        # The authors' code reads `rope_theta` and would fall back to 10,000 without it.
        fields = super().to_dict()
        rope = fields.pop("rope_parameters", None) or {}
        if rope.get("rope_type", "default") != "default":
            fields["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
        fields["rope_theta"] = rope.get("rope_theta")
        fields.pop("layer_types", None)
        return fields


class DreamModel(SlicedMLPs, Qwen2ForCausalLM):
    """Named as the authors' class, so that `architectures` is written back unchanged."""

    config: DreamConfig
