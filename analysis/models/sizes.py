"""The sizes of the models offered by name, known before anything is downloaded. No torch.

Counted on the class that runs each model, built from its published config (tests/models/test_fits.py counts again).
"""

import math
from dataclasses import dataclass

from analysis.models.checkpoint import Checkpoint, main_dtype, stored_shapes, weight_bytes
from analysis.models.weight_files import bytes_of


@dataclass(frozen=True)
class Size:
    """Size of a model. parameters: of the network. stored: bytes per parameter in the files. layers … vocabulary: 0
    where the published config is not known here; the number of parameters is then the one in the model's name.
    """

    parameters: int
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    vocabulary: int = 0
    stored: int = 2

    @property
    def counted(self) -> bool:
        """True if the parameters were counted, false if their number comes from the model's name."""
        return self.layers > 0


def size_of(checkpoint: Checkpoint) -> Size:
    """Return the size of a checkpoint on this disk, read from its files."""
    shapes, sizes = stored_shapes(checkpoint).values(), checkpoint.geometry
    return Size(
        sum(math.prod(shape) for _, shape in shapes),
        sizes.layers,
        sizes.heads,
        sizes.kv_heads,
        sizes.vocabulary,
        math.ceil(weight_bytes(checkpoint, None) / max(1, weight_bytes(checkpoint, 1)))
        if shapes
        else math.ceil(bytes_of(main_dtype(checkpoint))),
    )


_MDLM = Size(162_265_682, 12, 12, 12, 50_258, stored=4)
_LLADA_8B = Size(8_015_581_184, 32, 32, 32, 126_464)
_LLADA_MOE = Size(7_356_880_896, 16, 16, 16, 157_184)
_LLADA2_MINI = Size(16_255_638_528, 20, 16, 4, 157_184)
_DREAM_7B = Size(7_615_616_512, 28, 28, 4, 152_064)
_QWEN3_06B = Size(596_049_920, 28, 16, 8, 151_936)
_QWEN25_05B = Size(494_032_768, 24, 14, 2, 151_936)
_SDAR_4B = Size(4_411_424_256, 36, 32, 8, 151_936)
_SDAR_8B = Size(8_190_735_360, 36, 32, 8, 151_936)
_MODERNBERT_BASE = Size(149_655_232, 22, 12, 12, 50_368, stored=4)
SIZES: dict[str, Size] = {
    "kuleshov-group/mdlm-owt": _MDLM,
    "kuleshov-group/bd3lm-owt-block_size4": _MDLM,
    "kuleshov-group/bd3lm-owt-block_size8": _MDLM,
    "kuleshov-group/bd3lm-owt-block_size16": _MDLM,
    "distilbert/distilbert-base-uncased": Size(66_985_530, 6, 12, 12, 30_522, stored=4),
    "google-bert/bert-base-uncased": Size(109_514_298, 12, 12, 12, 30_522, stored=4),
    "FacebookAI/roberta-base": Size(124_697_433, 12, 12, 12, 50_265, stored=4),
    "answerdotai/ModernBERT-base": _MODERNBERT_BASE,
    "dllm-hub/ModernBERT-base-chat-v0.1": _MODERNBERT_BASE,
    "dllm-hub/ModernBERT-large-chat-v0.1": Size(395_881_664, 28, 16, 16, 50_368, stored=4),
    "GSAI-ML/LLaDA-8B-Base": _LLADA_8B,
    "GSAI-ML/LLaDA-8B-Instruct": _LLADA_8B,
    "GSAI-ML/LLaDA-1.5": _LLADA_8B,
    "inclusionAI/LLaDA-MoE-7B-A1B-Base": _LLADA_MOE,
    "inclusionAI/LLaDA-MoE-7B-A1B-Instruct": _LLADA_MOE,
    "inclusionAI/LLaDA2.0-mini": _LLADA2_MINI,
    "inclusionAI/LLaDA2.1-mini": _LLADA2_MINI,
    "Dream-org/Dream-v0-Base-7B": _DREAM_7B,
    "Dream-org/Dream-v0-Instruct-7B": _DREAM_7B,
    "Gen-Verse/MMaDA-8B-Base": Size(8_082_690_048, 32, 32, 32, 134_656),
    "dllm-hub/Qwen3-0.6B-diffusion-mdlm-v0.1": _QWEN3_06B,
    "dllm-hub/Qwen3-0.6B-diffusion-bd3lm-v0.1": _QWEN3_06B,
    "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-mdlm-v0.1": _QWEN25_05B,
    "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-bd3lm-v0.1": _QWEN25_05B,
    "apple/DiffuCoder-7B-Base": _DREAM_7B,
    "apple/DiffuCoder-7B-Instruct": _DREAM_7B,
    "apple/DiffuCoder-7B-cpGRPO": _DREAM_7B,
    "Dream-org/Dream-Coder-v0-Base-7B": _DREAM_7B,
    "Dream-org/Dream-Coder-v0-Instruct-7B": _DREAM_7B,
    "JetLM/SDAR-1.7B-Chat": Size(2_031_739_904, 28, 16, 8, 151_936),
    "JetLM/SDAR-4B-Chat": _SDAR_4B,
    "JetLM/SDAR-8B-Chat": _SDAR_8B,
    "Gen-Verse/TraDo-4B-Instruct": _SDAR_4B,
    "Gen-Verse/TraDo-8B-Instruct": _SDAR_8B,
    "Efficient-Large-Model/Fast_dLLM_v2_1.5B": Size(1_543_714_304, 28, 12, 2, 151_936),
    "Efficient-Large-Model/Fast_dLLM_v2_7B": Size(7_070_619_136, 28, 28, 4, 152_064),
    "nvidia/Nemotron-Labs-Diffusion-3B": Size(3_000_000_000),
    "nvidia/Nemotron-Labs-Diffusion-8B": Size(8_489_553_920, 34, 32, 8, 131_072),
    "google/diffusiongemma-26B-A4B-it": Size(26_000_000_000),
}
"""Sizes by hub id."""
