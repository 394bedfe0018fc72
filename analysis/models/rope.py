"""Writing a config's rotary embeddings back as the published code reads them, which runs on transformers 4."""

from typing import Any

from transformers import PreTrainedConfig


def with_plain_rope(fields: dict[str, Any]) -> dict[str, Any]:
    """A config's fields with `rope_theta` and `rope_scaling`, without which that code would take base 10,000."""
    rope = fields.pop("rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        fields["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    fields["rope_theta"] = rope.get("rope_theta")
    return fields


class PlainRope(PreTrainedConfig):
    """Comes before a config class of transformers."""

    def to_dict(self) -> dict[str, Any]:
        """The fields of config.json."""
        return with_plain_rope(super().to_dict())
