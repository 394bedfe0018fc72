"""Facts about a model before anything is loaded: its size, its memory, and the tokens of a prompt. Imports no torch.

Sizes of the models offered by name are known before a download. They were counted on the class that runs each model,
built from its published config (tests/models/test_fits.py counts again). Memory follows from the shapes in a
checkpoint's files:

    weights     all elements of the files, in the precision they are run in; experts are among them, whichever are
                chosen
    cache       of a model that reads its prompt into one: keys and values of every layer, of as many tokens as it holds
    logits      of a canvas, for each word of the vocabulary: those of the last step in the weights' precision, and five
                in float32 while a step is sampled (logits, tempered, their logarithms, probabilities, entropy terms)

A prompt is tokenized with the tokenizers library, which reads only tokenizer.json.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from analysis.models.checkpoint import Checkpoint, main_dtype, stored_shapes, text_folder, weight_bytes
from analysis.models.weight_files import bytes_of
from analysis.specs import ModelSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer


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


SAMPLED_AT_ONCE = 5  # canvases of float32 logits, while a step is sampled


@dataclass(frozen=True)
class Need:
    """Bytes. experts: of the weights. cache, logits: 0 for models that have no canvas."""

    weights: int
    experts: int
    cache: int
    logits: int

    @property
    def beside(self) -> int:
        """Bytes needed besides the weights."""
        return self.cache + self.logits


def need_of(checkpoint: Checkpoint, spec: ModelSpec, tokens: int) -> Need:
    """Return the memory of a model with a text of so many tokens. Precision auto: that of the files, float32 on a
    CPU.
    """
    stated = {"bfloat16": 2.0, "float32": 4.0}.get(spec.dtype) or (4.0 if spec.device == "cpu" else None)
    width = stated or bytes_of(main_dtype(checkpoint))
    shapes = stored_shapes(checkpoint)
    sizes = {name: math.prod(shape) * (stated or bytes_of(dtype)) for name, (dtype, shape) in shapes.items()}
    experts = sum(size for name, size in sizes.items() if ".experts." in name)
    family = checkpoint.architecture
    cache = logits = 0.0
    if family.noise == "uniform":
        assert family.block_size is not None
        cache = width * sum(each * (min(tokens, room) if room else tokens) for each, room in cached_layers(checkpoint))
        logits = family.block_size * checkpoint.geometry.vocabulary * (4 * SAMPLED_AT_ONCE + width)
    return Need(int(sum(sizes.values())), int(experts), int(cache), int(logits))


def cached_layers(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Return, for each layer, the numbers cached per token and the maximum number of tokens, 0 for all: a layer with a
    window holds the last ones before the canvas.

    A layer without a value projection derives its values from its keys, and caches them as well.
    """
    family, shapes = checkpoint.architecture, stored_shapes(checkpoint)
    text: Any = checkpoint.config.get(family.text) or {}
    kinds, window = text.get("layer_types") or [], text.get("sliding_window")
    layers = []
    for layer in range(checkpoint.geometry.layers):
        inside = f"{family.blocks}.{layer}.self_attn"
        keys, values = (
            next((shape[0] for name, (_, shape) in shapes.items() if name == f"{inside}.{part}.weight"), 0)
            for part in ("k_proj", "v_proj")
        )
        windowed = layer < len(kinds) and kinds[layer] == "sliding_attention" and isinstance(window, int)
        layers.append((keys + (values or keys), window - 1 if windowed else 0))
    return layers


_WORD = re.compile(r"[^\W\d_]+")
_SPACE = "▁"  # before a word, in vocabularies of SentencePiece


def prompt_tokens(checkpoint: Checkpoint, prompt: str) -> int | None:
    """Return the number of tokens of a prompt without its chat template; None if no tokenizer.json can be read."""
    tokenizer = _of(checkpoint, prompt)
    if tokenizer is None:
        return None
    return len(tokenizer.encode(prompt).ids)


def unknown_words(checkpoint: Checkpoint, prompt: str) -> dict[str, str]:
    """The words of a prompt that are no token of their own, each with the spelling that is one, or ''.

    Of use where every word the model was trained on is one token, as in the bundled pair.
    """
    tokenizer = _of(checkpoint, prompt)
    if tokenizer is None:
        return {}
    special = "|".join(re.escape(token.content) for token in tokenizer.get_added_tokens_decoder().values())
    words = dict.fromkeys(_WORD.findall(re.sub(special, " ", prompt) if special else prompt))

    def known(word: str) -> bool:
        return any(tokenizer.token_to_id(start + word) is not None for start in ("", _SPACE))

    spellings = {word: (word.capitalize(), word.lower()) for word in words if not known(word)}
    return {word: next(filter(known, others), "") for word, others in spellings.items()}


def _of(checkpoint: Checkpoint, text: str) -> "Tokenizer | None":
    """The tokenizer of a checkpoint; None for a text that it cannot encode: it may hold half a surrogate pair."""
    path = text_folder(checkpoint) / "tokenizer.json"
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return _read(str(path), path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=4)
def _read(path: str, changed: int) -> "Tokenizer | None":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(path)
    except BaseException as error:
        # The library panics outside the hierarchy of ordinary exceptions on files it does not expect.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return None


def single_token(checkpoint: Checkpoint, word: str) -> tuple[int, str] | None:
    """Return the id and text of a word that is one token, as written or after a space; None for others."""
    tokenizer = _of(checkpoint, word)
    if tokenizer is None:
        return None
    for text in (word, f" {word}"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) == 1:
            return ids[0], text
    return None
