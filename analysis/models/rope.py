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


class Denoiser(PreTrainedConfig):
    """A config of a model that sees what comes after a token, and whose forwards keep no keys by themselves."""

    use_cache: bool = False
    is_causal: bool = False


class FlatRope(Denoiser):
    """A config whose rotary embeddings stay in plain fields, as the authors' code reads them."""

    initializer_range: float = 0.02
    attention_dropout: float = 0.0
    pad_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    bos_token_id: int | None = None

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """As the native code reads them."""
        fields = {"rope_theta": self.rope_theta, "partial_rotary_factor": getattr(self, "partial_rotary_factor", None)}
        return {"rope_type": "default"} | {name: value for name, value in fields.items() if value is not None}

    @property
    def rope_scaling(self) -> None:
        """None: families with plain fields take no scaling."""

    @rope_scaling.setter
    def rope_scaling(self, value: Any) -> None:
        """transformers would move it into `rope_parameters`."""

    def convert_rope_params_to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing is moved: the native code would drop the plain fields."""
        return kwargs


class PlainRope(Denoiser):
    """Comes before a config class of transformers."""

    def to_dict(self) -> dict[str, Any]:
        """The fields of config.json."""
        return with_plain_rope(super().to_dict())
