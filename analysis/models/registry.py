"""Checkpoints offered by name. A name stands for a hub id or a folder of this package."""

from dataclasses import dataclass
from pathlib import Path

BUNDLED = Path(__file__).parent.parent / "bundled"
BUNDLED_PAIR = ("bundled", "bundled-ar")
"""The diffusion model that ships and its autoregressive twin."""


@dataclass(frozen=True)
class Model:
    """One offered checkpoint.

    source: hub id or folder. instruct: tuned to follow a user's turn, so the chat template applies by default. prompt
    and sampling: initial values on the pages, if the model needs its own. reference: the name of an autoregressive
    model that was trained alike. prompts: others it can follow. closed: it knows only the words of a small world, each
    as one token. sparse: a mixture of experts. masked_lm: trained to fill in masks at one mask ratio, not as a
    diffusion model.
    """

    name: str
    source: str
    summary: str
    instruct: bool = False
    prompt: str = "Once upon a time"
    sampling: tuple[tuple[str, int], ...] = ()
    reference: str = ""
    prompts: tuple[str, ...] = ()
    closed: bool = False
    sparse: bool = False
    masked_lm: bool = False

    @property
    def ships(self) -> bool:
        """True if it is part of this package."""
        return self.source.startswith(str(BUNDLED))

    def examples(self) -> tuple[str, ...]:
        """Prompts that it can follow, its first one included."""
        return self.prompts or (_QUESTIONS if self.instruct else _BEGINNINGS)


_BEGINNINGS = ("Once upon a time", "The three primary colors are", "def fibonacci(n):", "Water boils when")
_QUESTIONS = (
    "What is quantum entanglement?",
    "Write a short poem about a river.",
    "A train leaves at three and arrives at half past five. How long does it take?",
    "Explain to a child why the sky is blue.",
)
_SMALL_WORLD = (
    "Leo put the key in the pot. Kate moved it to the box. Now the key is in the",
    "Mia had 3 cards. Then she got 2 more. Now she had",
    "Emma dropped the mirror on the floor. It",
    "The opposite of narrow is",
    "All day Jack was stuck. So Jack",
    "In this lesson we learn about animals. A goat",
)
_RIVER = "It was a sunny day, and Sue was at the river. The river is not shallow. It is"
_HUNGRY = "Mia was hungry, so she went to the"
_GAPS = "Emma dropped the mirror on the floor. It [MASK] [MASK] Ella was at the river. She saw a [MASK] in the water."

# Small ones first, as they are listed.
MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "bundled",
            str(BUNDLED / "diffusion"),
            "A small diffusion model of stories. Ships with SinkScope and runs on any CPU.",
            prompt=_RIVER,
            sampling=(("gen_length", 48), ("steps", 48)),
            reference="bundled-ar",
            prompts=(_RIVER, *_SMALL_WORLD, _GAPS),
            closed=True,
        ),
        Model(
            "bundled-ar",
            str(BUNDLED / "autoregressive"),
            "The diffusion model's left-to-right twin: the same blocks and text, written one token after another.",
            prompt=_HUNGRY,
            sampling=(("gen_length", 48),),
            prompts=(_HUNGRY, *_SMALL_WORLD),
            closed=True,
        ),
        Model(
            "modernbert-base-chat",
            "dllm-hub/ModernBERT-base-chat-v0.1",
            "ModernBERT trained as a diffusion model that chats, 150 million parameters. Runs on a laptop.",
            instruct=True,
        ),
        Model(
            "mdlm-owt",
            "kuleshov-group/mdlm-owt",
            "MDLM, 170 million parameters, trained on web text. Runs on a laptop.",
            prompt="The city council met on Monday to",
        ),
        *(
            Model(
                f"bd3lm-owt-{block}",
                f"kuleshov-group/bd3lm-owt-block_size{block}",
                f"BD3LM, 170 million parameters, writes in blocks of {block}. Runs on a laptop.",
                prompt="The city council met on Monday to",
            )
            for block in (4, 8, 16)
        ),
        Model(
            "modernbert-large-chat",
            "dllm-hub/ModernBERT-large-chat-v0.1",
            "ModernBERT trained as a diffusion model that chats, 396 million parameters. Runs on a laptop.",
            instruct=True,
        ),
        Model(
            "qwen2.5-coder-0.5b-diffusion",
            "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-mdlm-v0.1",
            "Qwen2.5-Coder turned into a diffusion model. Fits a laptop.",
            instruct=True,
        ),
        Model(
            "qwen2.5-coder-0.5b-bd3lm",
            "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-bd3lm-v0.1",
            "Qwen2.5-Coder turned into a diffusion model that writes block by block. Fits a laptop.",
            instruct=True,
        ),
        Model(
            "qwen3-0.6b-diffusion",
            "dllm-hub/Qwen3-0.6B-diffusion-mdlm-v0.1",
            "Qwen3 turned into a diffusion model. Fits a laptop.",
            instruct=True,
        ),
        Model(
            "qwen3-0.6b-bd3lm",
            "dllm-hub/Qwen3-0.6B-diffusion-bd3lm-v0.1",
            "Qwen3 turned into a diffusion model that writes block by block. Fits a laptop.",
            instruct=True,
        ),
        Model(
            "distilbert-base",
            "distilbert/distilbert-base-uncased",
            "DistilBERT, 67 million parameters. A masked language model, not trained as a diffusion model.",
            prompt="The capital of France is [MASK].",
            masked_lm=True,
        ),
        Model(
            "bert-base",
            "google-bert/bert-base-uncased",
            "BERT, 110 million parameters. A masked language model, not trained as a diffusion model.",
            prompt="The capital of France is [MASK].",
            masked_lm=True,
        ),
        Model(
            "roberta-base",
            "FacebookAI/roberta-base",
            "RoBERTa, 125 million parameters. A masked language model, not trained as a diffusion model.",
            prompt="The capital of France is <mask>.",
            masked_lm=True,
        ),
        Model(
            "modernbert-base",
            "answerdotai/ModernBERT-base",
            "ModernBERT, 150 million parameters. A masked language model, not trained as a diffusion model.",
            prompt="The capital of France is [MASK].",
            masked_lm=True,
        ),
        Model(
            "fast-dllm-v2-1.5b",
            "Efficient-Large-Model/Fast_dLLM_v2_1.5B",
            "Fast-dLLM v2: Qwen2.5-1.5B-Instruct turned into a model that writes in blocks of 32.",
            instruct=True,
        ),
        Model(
            "sdar-1.7b-chat",
            "JetLM/SDAR-1.7B-Chat",
            "SDAR, 1.7 billion parameters, writes in blocks of 4.",
            instruct=True,
        ),
        Model(
            "nemotron-diffusion-3b",
            "nvidia/Nemotron-Labs-Diffusion-3B",
            "Nemotron-Labs-Diffusion, 3 billion parameters by its name, writes in blocks of 32 over a causal context.",
            instruct=True,
        ),
        Model(
            "sdar-4b-chat", "JetLM/SDAR-4B-Chat", "SDAR, 4 billion parameters, writes in blocks of 4.", instruct=True
        ),
        Model(
            "trado-4b-instruct",
            "Gen-Verse/TraDo-4B-Instruct",
            "TraDo: SDAR-4B, trained further by reinforcement.",
            instruct=True,
        ),
        Model(
            "fast-dllm-v2-7b",
            "Efficient-Large-Model/Fast_dLLM_v2_7B",
            "Fast-dLLM v2: Qwen2.5-7B-Instruct turned into a model that writes in blocks of 32.",
            instruct=True,
        ),
        Model(
            "llada-moe-7b-base",
            "inclusionAI/LLaDA-MoE-7B-A1B-Base",
            "LLaDA-MoE, 7 billion parameters in 64 experts per layer, pre-trained.",
            sparse=True,
        ),
        Model(
            "llada-moe-7b-instruct",
            "inclusionAI/LLaDA-MoE-7B-A1B-Instruct",
            "LLaDA-MoE, tuned to follow instructions.",
            instruct=True,
            sparse=True,
        ),
        Model("dream-7b-base", "Dream-org/Dream-v0-Base-7B", "Dream, 7 billion parameters, pre-trained."),
        Model(
            "dream-7b-instruct",
            "Dream-org/Dream-v0-Instruct-7B",
            "Dream, 7 billion parameters, tuned to follow instructions.",
            instruct=True,
        ),
        Model(
            "dream-coder-7b-base",
            "Dream-org/Dream-Coder-v0-Base-7B",
            "Dream-Coder, 7 billion parameters, a Dream for code, pre-trained.",
        ),
        Model(
            "dream-coder-7b-instruct",
            "Dream-org/Dream-Coder-v0-Instruct-7B",
            "Dream-Coder, tuned to follow instructions.",
            instruct=True,
        ),
        Model(
            "diffucoder-7b-base",
            "apple/DiffuCoder-7B-Base",
            "DiffuCoder, 7 billion parameters, a Dream for code, pre-trained.",
        ),
        Model(
            "diffucoder-7b-instruct",
            "apple/DiffuCoder-7B-Instruct",
            "DiffuCoder, tuned to follow instructions.",
            instruct=True,
        ),
        Model(
            "diffucoder-7b-cpgrpo",
            "apple/DiffuCoder-7B-cpGRPO",
            "DiffuCoder-Instruct, trained further by reinforcement.",
            instruct=True,
        ),
        Model("llada-8b-base", "GSAI-ML/LLaDA-8B-Base", "LLaDA, 8 billion parameters, pre-trained."),
        Model(
            "llada-8b-instruct",
            "GSAI-ML/LLaDA-8B-Instruct",
            "LLaDA, 8 billion parameters, tuned to follow instructions.",
            instruct=True,
        ),
        Model("llada-1.5", "GSAI-ML/LLaDA-1.5", "LLaDA-8B-Instruct, preference-tuned.", instruct=True),
        Model("mmada-8b-base", "Gen-Verse/MMaDA-8B-Base", "MMaDA, a LLaDA with image tokens."),
        Model(
            "sdar-8b-chat", "JetLM/SDAR-8B-Chat", "SDAR, 8 billion parameters, writes in blocks of 4.", instruct=True
        ),
        Model(
            "trado-8b-instruct",
            "Gen-Verse/TraDo-8B-Instruct",
            "TraDo: SDAR-8B, trained further by reinforcement.",
            instruct=True,
        ),
        Model(
            "nemotron-diffusion-8b",
            "nvidia/Nemotron-Labs-Diffusion-8B",
            "Nemotron-Labs-Diffusion, 8 billion parameters, writes in blocks of 32 over a causal context.",
            instruct=True,
        ),
        Model(
            "llada2.0-mini",
            "inclusionAI/LLaDA2.0-mini",
            "LLaDA2.0-mini, 16 billion parameters in 256 experts per layer, writes in blocks of 32.",
            instruct=True,
            sparse=True,
        ),
        Model(
            "llada2.1-mini",
            "inclusionAI/LLaDA2.1-mini",
            "LLaDA2.1-mini: as LLaDA2.0-mini, and can edit what it has written.",
            instruct=True,
            sparse=True,
        ),
        Model(
            "diffusiongemma-26b",
            "google/diffusiongemma-26B-A4B-it",
            "DiffusionGemma, 26 billion parameters by its name, 4 of them at a time; writes canvases of 256 tokens.",
            instruct=True,
            sparse=True,
        ),
    )
}

_BY_SOURCE = {model.source: model for model in MODELS.values()}


def entry(source: str) -> Model | None:
    """The registry's entry for a name, hub id or folder, or None for a checkpoint it does not list."""
    return MODELS.get(source) or _BY_SOURCE.get(source)


def resolve(source: str) -> str:
    """Return the hub id or folder of a `source`."""
    return MODELS[source].source if source in MODELS else source
