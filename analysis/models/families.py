"""Attention and sampling of each family of checkpoints: one frozen row per family, which everything else asks.

`analysis.models.architectures.identify` finds a row. No torch.
"""

from dataclasses import replace
from typing import Any

from analysis.models.family import Architecture

_LLADA_FIELDS = {
    "layers": "n_layers",
    "heads": "n_heads",
    "kv_heads": "n_kv_heads",
    "hidden": "d_model",
    "mlp": "mlp_hidden_size",
    "rows": "embedding_size",
    "max_length": "max_sequence_length",
}
GPT2_FIELDS = {"layers": "n_layer", "heads": "n_head", "hidden": "n_embd", "max_length": "n_positions"}


def _converted(backbone: str) -> Architecture:
    """A native model made bidirectional by the dLLM project and trained on whole texts."""
    return Architecture(
        f"{backbone} turned into a diffusion model (MDLM)",
        "llada",
        model_type=f"a2d-{backbone.lower()}",
        classes=(f"A2D{backbone}LMHeadModel",),
        native=f"{backbone}ForCausalLM",
        paradigm="mdlm",
        requires={"dlm_paradigm": ("mdlm",), "use_sliding_window": (False,)},
    )


def _by_blocks(family: Architecture) -> Architecture:
    """The same class, trained block by block."""
    return replace(
        family,
        name=family.name.replace("MDLM", "BD3LM"),
        sampler="bd3lm",
        attention="block-causal",
        block_size=32,
        block_fields=("block_size", "bd_size"),
        anchor="padded-prompt",
        paradigm="bd3lm",
        requires={"dlm_paradigm": ("bd3lm",), "use_sliding_window": (False,)},
    )


def _native(backbone: str) -> Architecture:
    """A native class that runs bidirectionally, since its config says `is_causal: false`."""
    kind = f"{backbone}ForCausalLM"
    return Architecture(
        f"{backbone}, bidirectional",
        "llada",
        model_type=backbone.lower(),
        classes=(kind,),
        native=kind,
        requires={"use_sliding_window": (False,)},
    )


_LLADA = Architecture(
    "LLaDA",
    "llada",
    fields=_LLADA_FIELDS,
    model_type="llada",
    classes=("LLaDAModelLM",),
    native="LlamaForCausalLM",
    requires={"rope_scaling": ()},
)
_SDAR = Architecture(
    "SDAR",
    "sdar",
    attention="block-causal",
    block_size=4,
    block_fields=("block_size",),
    anchor="start",
    model_type="sdar",
    classes=("SDARForCausalLM",),
    native="Qwen3ForCausalLM",
    requires={"use_sliding_window": (False,), "hidden_act": ("silu",)},
)
# By unique name; several can share a model type.
ARCHITECTURES: dict[str, Architecture] = {
    "llada": _LLADA,
    "mmada": replace(_LLADA, name="MMaDA", model_type="mmada", classes=("MMadaModelLM",)),
    "Dream": Architecture(
        "Dream",
        "dream",
        shift=1,
        calibration_noise="uniform",
        model_type="Dream",
        classes=("DreamModel",),
        native="Qwen2ForCausalLM",
        requires={"use_sliding_window": (False,)},
    ),
    "a2d-llama": _converted("Llama"),
    "a2d-qwen2": _converted("Qwen2"),
    "a2d-qwen3": _converted("Qwen3"),
    "a2d-llama-bd3lm": _by_blocks(_converted("Llama")),
    "a2d-qwen2-bd3lm": _by_blocks(_converted("Qwen2")),
    "a2d-qwen3-bd3lm": _by_blocks(_converted("Qwen3")),
    "sdar": _SDAR,
    "fast-dllm-v2": Architecture(
        "Fast-dLLM v2",
        "fast-dllm-v2",
        attention="block-causal",
        block_size=32,
        block_fields=("bd_size",),
        anchor="start",
        shift=1,
        opened=True,
        mask_token=151665,
        model_type="Fast_dLLM_Qwen",
        classes=("Fast_dLLM_QwenForCausalLM",),
        native="Qwen2ForCausalLM",
        requires={"use_sliding_window": (False,), "hidden_act": ("silu",), "use_block_cache": (False,)},
    ),
    "nemotron": Architecture(
        "Nemotron-Labs-Diffusion",
        "nemotron",
        attention="open-block",
        block_size=32,
        block_fields=("block_size",),
        anchor="prompt-end",
        opened=True,
        model_type="nemotron_labs_diffusion",
        classes=("NemotronLabsDiffusionModel",),
        native="Ministral3ForCausalLM",
        requires={
            "dlm_paradigm": ("bidirectional",),
            "causal_context": (True,),
            "sliding_window": (),
            "hidden_act": ("silu",),
            "attention_bias": (False,),
            "mlp_bias": (False,),
        },
        note="Its blocks run as transformers' Ministral3; they were not checked against NVIDIA's own file.",
    ),
    "llada-moe": Architecture(
        "LLaDA-MoE",
        "llada",
        mask_token=156895,
        model_type="llada",
        classes=("LLaDAMoEModelLM",),
        native="Qwen3MoeForCausalLM",
        mixture=True,
        requires={
            "shared_expert_intermediate_size": (0,),
            "moe_router_enable_expert_bias": (False,),
            "partial_rotary_factor": (1,),
            "qk_layernorm": (True,),
            "clip_qkv": (),
            "sliding_window": (),
            "rope_scaling": (),
            "hidden_act": ("silu",),
        },
    ),
    "llada2": Architecture(
        "LLaDA2",
        "llada2",
        attention="block-causal",
        block_size=32,
        block_fields=("block_size",),
        anchor="start",
        mask_token=156895,
        model_type="llada2_moe",
        classes=("LLaDA2MoeModelLM",),
        native="Glm4MoeForCausalLM",
        fused=True,
        mixture=True,
        requires={
            "use_bias": (False,),
            "score_function": ("sigmoid",),
            "moe_router_enable_expert_bias": (True,),
            "num_nextn_predict_layers": (0,),
            "norm_head": (False,),
            "use_rmsnorm": (True,),
            "use_sliding_window": (False,),
            "rope_scaling": (),
            "hidden_act": ("silu",),
        },
    ),
    "diffusion-gemma": Architecture(
        "DiffusionGemma",
        "diffusion-gemma",
        attention="open-block",
        noise="uniform",
        block_size=256,
        block_fields=("canvas_length",),
        anchor="prompt-end",
        fields={"experts_per_token": "top_k_experts"},
        blocks="model.decoder.layers",
        model_type="diffusion_gemma",
        classes=("DiffusionGemmaForBlockDiffusion",),
        native="DiffusionGemmaForBlockDiffusion",
        mixture=True,
        text="text_config",
        calibration_noise="random-tokens",
        note="Its images are not read.",
    ),
    "sdar-moe": replace(
        _SDAR,
        name="SDAR with experts",
        model_type="sdar_moe",
        classes=("SDARMoeForCausalLM",),
        native="Qwen3MoeForCausalLM",
        mixture=True,
        note="Its blocks run as transformers' Qwen3-MoE; they were not checked against the authors' own file.",
    ),
}
ARCHITECTURES["mdlm"] = Architecture(
    "MDLM",
    "mdlm",
    fields={"layers": "n_blocks", "heads": "n_heads", "hidden": "hidden_dim", "max_length": "model_length"},
    model_type="mdlm",
    classes=("MDLM",),
    native="Starcoder2ForCausalLM",
    requires={"time_conditioning": (False,)},
    mask_token="last",
    fused=True,
    conditioned=True,
    subs=True,
    tokenizer="openai-community/gpt2",
)
ARCHITECTURES["bd3lm-owt"] = replace(
    ARCHITECTURES["mdlm"],
    name="BD3LM",
    sampler="first-hitting",
    attention="block-causal",
    block_size=16,
    block_fields=("block_size",),
    anchor="start",
    model_type="bd3lm",
    classes=("BD3LM",),
    requires={"time_conditioning": (False,), "adaln": (True,), "causal": (False,)},
)
ARCHITECTURES["llada21"] = replace(ARCHITECTURES["llada2"], model_type="llada21_moe")  # the dLLM project's copies


def _encoder(name: str, kind: str, model_type: str, blocks: str, **more: Any) -> Architecture:
    """A masked language model of transformers, as a denoiser."""
    return Architecture(
        name,
        "dllm",
        model_type=model_type,
        classes=(kind,),
        native=kind,
        blocks=blocks,
        encoder=True,
        caveat=ONE_MASK_RATIO,
        requires={"is_decoder": (False,), "add_cross_attention": (False,), "position_embedding_type": ("absolute",)},
        **more,
    )


ONE_MASK_RATIO = (
    "This model was not trained as a diffusion model: it learned to fill in masks at one mask ratio, and texts with "
    "more masks are new to it."
)
ARCHITECTURES |= {
    "bert": _encoder("BERT", "BertForMaskedLM", "bert", "bert.encoder.layer"),
    "roberta": _encoder("RoBERTa", "RobertaForMaskedLM", "roberta", "roberta.encoder.layer"),
    "distilbert": _encoder(
        "DistilBERT",
        "DistilBertForMaskedLM",
        "distilbert",
        "distilbert.transformer.layer",
        fields={"layers": "n_layers", "heads": "n_heads", "hidden": "dim", "mlp": "hidden_dim"},
    ),
    "modernbert": _encoder(
        "ModernBERT", "ModernBertForMaskedLM", "modernbert", "model.layers", fused=True, windowed=True
    ),
}
ARCHITECTURES["modernbert-mdlm"] = replace(
    ARCHITECTURES["modernbert"],
    name="ModernBERT trained as a diffusion model (MDLM)",
    paradigm="mdlm",
    caveat="",
    requires={**ARCHITECTURES["modernbert"].requires, "dlm_paradigm": ("mdlm",)},
)
NATIVE_BIDIRECTIONAL: dict[str, Architecture] = {
    "llama": _native("Llama"),
    "qwen2": _native("Qwen2"),
    "qwen3": _native("Qwen3"),
}
