"""What a checkpoint is, read from its config.json alone: family, sampler, head geometry. Loads nothing.

An architecture is one row of `ARCHITECTURES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.errors import UserError


@dataclass(frozen=True)
class Geometry:
    """Sizes of a checkpoint. heads: query heads a layer; kv_heads: key/value heads they share; max_length in tokens."""

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    max_length: int


@dataclass(frozen=True)
class Architecture:
    """How a family is run.

    sampler: key of `analysis.specs.SAMPLINGS`. shifted: the logits at i − 1 predict the token at i.
    bidirectional: every query sees every key. fields: config names of the sizes, where they differ from Llama's.
    """

    name: str
    sampler: str
    bidirectional: bool = True
    shifted: bool = False
    fields: Mapping[str, str] = ()  # type: ignore[assignment]

    def field(self, size: str) -> str:
        """The config's name for a size: layers, heads, kv_heads, hidden, mlp, vocabulary or max_length."""
        return dict(_LLAMA_FIELDS, **dict(self.fields))[size]

    def geometry(self, config: Mapping[str, Any]) -> Geometry:
        """Reads the sizes. Raises UserError naming the field a config lacks."""

        def read(size: str, default: int | None = None) -> int:
            name = self.field(size)
            value = config.get(name)
            value = default if value is None else value
            if not isinstance(value, int) or value < 1:
                raise UserError(
                    f"This {self.name} config has no usable '{name}' ({config.get(name)!r}). It is "
                    f"incomplete, or of a variant that is not supported. Supported: {SUPPORTED}."
                )
            return value

        heads = read("heads")
        layers, kv_heads, hidden = read("layers"), read("kv_heads", heads), read("hidden")
        return Geometry(layers, heads, kv_heads, hidden, read("vocabulary"), read("max_length", 2**31))


_LLAMA_FIELDS = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "vocabulary": "vocab_size",
    "max_length": "max_position_embeddings",
}
_LLADA_FIELDS = {
    "layers": "n_layers",
    "heads": "n_heads",
    "kv_heads": "n_kv_heads",
    "hidden": "d_model",
    "mlp": "mlp_hidden_size",
    "max_length": "max_sequence_length",
}
_GPT2_FIELDS = {"layers": "n_layer", "heads": "n_head", "hidden": "n_embd", "max_length": "n_positions"}

ARCHITECTURES: dict[str, Architecture] = {
    "llada": Architecture("LLaDA", "llada", fields=_LLADA_FIELDS),
    "mmada": Architecture("MMaDA", "llada", fields=_LLADA_FIELDS),
    "Dream": Architecture("Dream", "dream", shifted=True),
    "a2d-llama": Architecture("Llama turned into a diffusion model", "llada"),
    "a2d-qwen2": Architecture("Qwen2 turned into a diffusion model", "llada"),
    "a2d-qwen3": Architecture("Qwen3 turned into a diffusion model", "llada"),
}
# Native classes that run bidirectionally when their config says `is_causal: false`.
NATIVE_BIDIRECTIONAL = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}
# What a causal reference can never be, whatever its config: named, so that the refusal can be too.
_ENCODERS = {"bert", "roberta", "distilbert", "albert", "electra", "deberta", "deberta-v2", "modernbert", "xlm-roberta"}

SUPPORTED = (
    "LLaDA, MMaDA and Dream checkpoints, Llama/Qwen2/Qwen3 turned into diffusion models (a2d-*, or saved with "
    "is_causal: false and a mask token), and causal language models of transformers"
)


def identify(config: Mapping[str, Any]) -> Architecture:
    """The architecture of a checkpoint by its config. Raises UserError for one that cannot be run here."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise UserError(f"The config has no 'model_type', so its architecture is unknown. Supported: {SUPPORTED}.")
    if model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type]
    if config.get("is_causal") is False:
        if model_type not in NATIVE_BIDIRECTIONAL:
            raise UserError(f"Bidirectional '{model_type}' is not supported. Supported: {SUPPORTED}.")
        return Architecture(f"{NATIVE_BIDIRECTIONAL[model_type]}, bidirectional", "llada")
    if model_type in _ENCODERS or config.get("is_encoder_decoder") or not _claims_causal_lm(config):
        raise UserError(f"The architecture '{model_type}' is not supported. Supported: {SUPPORTED}.")
    fields = _GPT2_FIELDS if "n_head" in config and "num_attention_heads" not in config else {}
    return Architecture(f"{model_type}, causal", "autoregressive", bidirectional=False, fields=fields)


def _claims_causal_lm(config: Mapping[str, Any]) -> bool:
    names = config.get("architectures") or []
    return any(str(name).endswith(("CausalLM", "LMHeadModel")) for name in names)
