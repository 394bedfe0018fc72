"""Models trained block by block, on native code: SDAR on Qwen3, Fast-dLLM v2 on Qwen2, Nemotron on Ministral3.

Parameter names are the native ones, except Nemotron's, which are renamed on load and back on save. Every forward gets
its mask (`layout.py`), so the classes differ from their relatives only in the config.
"""

from transformers import (
    Ministral3Config,
    Ministral3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.core_model_loading import WeightConverter, WeightRenaming

from analysis.models.rope import PlainRope
from analysis.models.sliced import SlicedMLPs


class SDARConfig(PlainRope, Qwen3Config):
    """Qwen3's config plus mask token and block size."""

    model_type = "sdar"
    block_size: int = 4
    mask_token_id: int | None = None


class SDARForCausalLM(SlicedMLPs, Qwen3ForCausalLM):
    """Named as the authors' class, so that `architectures` is written back unchanged."""

    config: SDARConfig


class FastDLLMConfig(PlainRope, Qwen2Config):
    """Qwen2's config plus the block size. The mask token is in the authors' sampler."""

    model_type = "Fast_dLLM_Qwen"
    bd_size: int = 32


class Fast_dLLM_QwenForCausalLM(SlicedMLPs, Qwen2ForCausalLM):
    """Named as the authors' class."""

    config: FastDLLMConfig


class NemotronConfig(Ministral3Config):
    """Ministral3's config plus mask token and block size."""

    model_type = "nemotron_labs_diffusion"
    block_size: int = 32
    mask_token_id: int = 100
    use_cache: bool = False
    is_causal: bool = False


class NemotronLabsDiffusionModel(SlicedMLPs, Ministral3ForCausalLM):
    """Named as the authors' class."""

    config: NemotronConfig


# Nemotron's published parameter names as patterns, and the native ones.
NEMOTRON_NAMES = ((r"^encoder\.", "model."), (r"^diffusion_head\.", "lm_head."))
NEMOTRON_RENAMES: list[WeightConverter | WeightRenaming] = [
    WeightRenaming(theirs, native) for theirs, native in NEMOTRON_NAMES
]
