"""Diffusion language models that are known but not supported, so that a refusal can name them.

Many of them use a causal class name, or the model type of another family. A model is one row of `FOREIGN`. Rows are
checked once class and type match no supported family, so unsupported classes of supported models are listed too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_BLOCKS = "It attends and writes block by block, so the samplers here would show attention it was not trained for."
_EXPERTS = "Its blocks are mixtures of experts, which are not Llama's."
_IMAGES = "It reads images beside text."


@dataclass(frozen=True)
class Foreign:
    """pattern: a regular expression searched, ignoring case, in class names, model type, and names of code and source.

    why: one sentence on what distinguishes it.
    """

    name: str
    pattern: str
    why: str


# The more specific comes first.
FOREIGN = (
    Foreign(
        "SDAR with experts under another class",
        r"sdar[-_]?moe|(?<![a-z])sdar.*-a\d+b",
        "It is run as SDARMoeForCausalLM of type 'sdar_moe' alone.",
    ),
    Foreign(
        "SDAR under another class", r"(?<![a-z])(sdar|trado-\d)", "It is run as SDARForCausalLM of type 'sdar' alone."
    ),
    Foreign(
        "Fast-dLLM v2 under another class",
        r"fast[-_]?dllm[-_]?(qwen|v2)",
        "It is run as Fast_dLLM_QwenForCausalLM of type 'Fast_dLLM_Qwen' alone.",
    ),
    Foreign(
        "a DFlash drafter",
        r"dflash",
        "It drafts for a target model, whose states and head it needs; alone it writes nothing.",
    ),
    Foreign(
        "CoDA",
        r"(?<![a-z])coda(?![a-z])|^codalanguagemodel",
        "It runs as a class of its own, which was not checked here.",
    ),
    Foreign(
        "SDLM",
        r"(?<![a-z])sdlm",
        "It writes runs of tokens of any length after a causal text, by a sampler of its own.",
    ),
    Foreign(
        "TwoTower",
        r"two[-_]?tower",
        "One network reads the text and another denoises beside it, and one is all that is run here.",
    ),
    Foreign("DPLM", r"(?<![a-z])dplm|^esmfordplm", "It writes proteins, with ESM's blocks."),
    Foreign("WeDLM", r"wedlm", "Its causal attention runs over reordered positions."),
    Foreign("ReFusion", r"refusion", "It writes slots in any order and the tokens of a slot from left to right."),
    Foreign(
        "I-DLM", r"(?<![a-z0-9])i[-_]?dlm|introspective[-_]?diffusion", "It writes strides under causal attention."
    ),
    Foreign("Nemotron diffusion that reads images", r"nemotron.*diffusion.*vlm", _IMAGES),
    Foreign(
        "Nemotron diffusion under another class",
        r"nemotron.*diffusion",
        "It is run as NemotronLabsDiffusionModel of type 'nemotron_labs_diffusion' alone.",
    ),
    Foreign("Efficient-DLM", r"efficient[-_]?dlm", _BLOCKS),
    Foreign(
        "LLaDA2 under another class", r"llada-?2\.|llada2", "It is run as LLaDA2MoeModelLM of type 'llada2_moe' alone."
    ),
    Foreign("LLaDA-MoE under another class", r"llada[-_]?moe", "It is run as LLaDAMoEModelLM of type 'llada' alone."),
    Foreign(
        "DiffusionGemma under another class",
        r"diffusion[-_]?gemma",
        "It is run as DiffusionGemmaForBlockDiffusion of type 'diffusion_gemma' alone.",
    ),
    Foreign("DreamReasoner", r"^DreamForCausalLM$|dream[-_]?reasoner", _BLOCKS),
    Foreign(
        "LFM2 diffusion", r"lfm2.*diffusion", "Most of its layers are convolutions, which have no attention to observe."
    ),
    Foreign("RND1", r"(?<![a-z])rnd1", _EXPERTS),
    Foreign(
        "Stable-DiffCoder",
        r"diff[-_]?coder",
        "It runs Llama's blocks under attention in blocks of 4, by a class of its own that is not built in here.",
    ),
    Foreign("a multimodal LLaDA", r"llava[-_]?llada|lladaformultimodal|llada-v(?![a-z0-9])|lavida|dimoo", _IMAGES),
    Foreign("Dimple", r"(?<![a-z])dimple", _IMAGES),
    Foreign(
        "BD3LM under another class", r"bd3[-_]?lm", "It is run as BD3LM of type 'bd3lm' or of an a2d-* class alone."
    ),
    Foreign("MDLM under another class", r"^mdlm$", "It is run as MDLM of type 'mdlm' alone."),
    Foreign(
        "Duo or UDLM", r"^(duo|udlm)(?![a-z])", "Its noise is random tokens, and its blocks are told the noise level."
    ),
    Foreign(
        "SEDD", r"(?<![a-z])sedd(?![a-z])", "Its blocks are told the noise level, and it predicts ratios, not tokens."
    ),
    Foreign("DiffuLLaMA or DiffuGPT", r"diffu[-_]?(llama|gpt)", "Its causal class is run without its causal mask."),
)


def foreign(names: Iterable[str]) -> Foreign | None:
    """The row that one of these names belongs to, or None."""
    names = list(names)
    return next((row for row in FOREIGN for name in names if re.search(row.pattern, name, re.IGNORECASE)), None)
