"""How each family of checkpoints attends and writes: one frozen row a family, which everything else asks.

A row is found by `analysis.models.architectures.identify`. No torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from analysis.errors import UserError, shorten
from analysis.specs.attention_kinds import AttentionKind

Anchor = Literal["start", "padded-prompt", "prompt-end"]
"""Where blocks begin. start: at multiples of the block from position 0. padded-prompt: the prompt is padded on its left
to whole blocks, so a block begins where it ends and the first may be short. prompt-end: at the prompt's end; the prompt
itself has none."""

Noise = Literal["mask", "uniform"]
"""What an undecided position holds: the mask token, or a random one."""

Paradigm = Literal["mdlm", "bd3lm"]
"""How a class that does not say it was trained: on whole texts (arXiv 2406.07524), or block by block (2503.09573)."""


@dataclass(frozen=True)
class Geometry:
    """Sizes of a checkpoint. heads: query heads a layer; kv_heads: key/value heads they share; max_length in tokens.

    vocabulary: rows of the embedding, which is what token ids must stay below. experts: of a layer that has some, of
    which each token is sent to `experts_per_token`; 0 where no layer has.
    """

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    max_length: int
    experts: int = 0
    experts_per_token: int = 0


@dataclass(frozen=True)
class Architecture:
    """A family, as one checkpoint of it is run.

    sampler: key of `analysis.specs.SAMPLINGS`. noise None: autoregressive.
    block_size: tokens a block of a family that attends by blocks, where its config does not say; block_fields: config
    fields that say it, the first that is there. anchor: where blocks begin.
    shift: how many positions before a token its logits lie: 0 or 1. edits: whether committed tokens can change.
    opened: whether the first token of every block is the likeliest after the text so far.
    mask_token: its id where neither config, generation config nor tokenizer names one; last: that of the vocabulary.
    fields: config names of the sizes, where they differ from Llama's. blocks: path of the blocks in the network.
    model_type, classes: what its checkpoints say. native: the class of transformers that runs it, under their names.
    paradigm: which of two trainings of one class. requires: values that a field must have where it is there.
    fused: whether the files hold one matrix for query, key and value, their rows one after the other.
    mixture: whether layers have experts. text: the field under which the config holds that of its text model, if not
    at the top.
    calibration_noise: of `CalibrationParams.noise`, that of the published pruning of this family.
    conditioned: whether its files hold a conditioning on the noise level, which is folded into the weights that run.
    subs: whether its probabilities leave out [MASK] (SUBS, arXiv 2406.07524). tokenizer: the hub id of that which it
    reads text with, where its own folder holds none. note: what was not checked, for pages and docs.
    """

    name: str
    sampler: str
    attention: AttentionKind = "bidirectional"
    noise: Noise | None = "mask"
    block_size: int | None = None
    block_fields: tuple[str, ...] = ()
    anchor: Anchor | None = None
    shift: int = 0
    edits: bool = False
    opened: bool = False
    mask_token: int | Literal["last"] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    blocks: str = "model.layers"
    model_type: str = ""
    classes: tuple[str, ...] = ()
    native: str = ""
    paradigm: Paradigm | None = None
    requires: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    fused: bool = False
    mixture: bool = False
    text: str = ""
    calibration_noise: str = "steps"
    conditioned: bool = False
    subs: bool = False
    tokenizer: str = ""
    note: str = ""

    @property
    def bidirectional(self) -> bool:
        """Whether every query sees every key."""
        return self.attention == "bidirectional"

    @property
    def why_no_ablation(self) -> str:
        """Why none of its tokens can be blocked, in a sentence, or nothing."""
        different = self.noise == "uniform"  # a layer of windows holds other tokens than one that sees all
        return f"Keys of {self.name} cannot be blocked: its layers hold different ones." if different else ""

    @property
    def why_no_cache(self) -> str:
        """Why its forwards cannot go on from keys kept of an earlier one, in a sentence, or nothing."""
        if self.mixture:
            return (
                f"Keys cannot be kept for {self.name}: where every token was sent is recorded, which takes whole "
                "forwards. Leave caching off."
            )
        if self.native.endswith("ForMaskedLM"):
            return f"Keys cannot be kept for {self.name}: transformers' {self.native} has no cache. Leave caching off."
        return ""

    @property
    def attends(self) -> str:
        """How it attends, in one line for pages."""
        return {
            "bidirectional": "every token sees every other",
            "block-causal": f"a token sees its own block of {self.block_size} and those before it",
            "open-block": f"the open block of {self.block_size} sees all of itself and what was read before it"
            if self.noise == "uniform"
            else f"causal, but the open block of {self.block_size} sees all of itself",
            "causal": "a token sees those before it",
        }[self.attention]

    @property
    def opens_causally(self) -> bool:
        """Whether it writes some tokens as the likeliest after the text so far, for which there must be one."""
        return self.noise is None or self.opened

    @property
    def by_blocks(self) -> bool:
        """Whether it attends and writes block by block."""
        return self.anchor is not None

    @property
    def beside_clean(self) -> bool:
        """Whether noised text lies beside its clean copy in a forward, as where a family was trained so."""
        return self.by_blocks and self.noise == "mask"

    def field(self, size: str) -> str:
        """The config's name for a size: layers, heads, kv_heads, hidden, mlp, vocabulary, rows, max_length, experts or
        experts_per_token.
        """
        return {**_LLAMA_FIELDS, **self.fields}[size]

    def geometry(self, config: Mapping[str, Any]) -> Geometry:
        """Reads the sizes. Raises UserError naming the field a config lacks."""

        if self.text:
            inner = config.get(self.text)
            config = inner if isinstance(inner, Mapping) else {}

        def read(size: str, default: int | None = None) -> int:
            name = self.field(size)
            value = config.get(name)
            value = default if value is None else value
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(
                    f"This {self.name} config has no usable '{name}' ({shorten(repr(config.get(name)))}). It is "
                    f"incomplete, or of a variant that is not supported. Supported: {SUPPORTED}."
                )
            return value

        heads = read("heads")
        layers, kv_heads, hidden = read("layers"), read("kv_heads", heads), read("hidden")
        vocabulary = read("vocabulary")
        # A LLaDA's embedding may have more rows than its vocabulary has tokens; its logits are about all of them.
        rows = config.get(self.field("rows"))
        if isinstance(rows, int) and not isinstance(rows, bool):
            vocabulary = max(vocabulary, rows)
        experts = (read("experts"), read("experts_per_token")) if self.mixture else (0, 0)
        if heads % kv_heads:
            raise self._misfit("kv_heads", kv_heads, "heads", heads, "must divide")
        if experts[1] > experts[0]:
            raise self._misfit("experts_per_token", experts[1], "experts", experts[0], "must be at most")
        return Geometry(layers, heads, kv_heads, hidden, vocabulary, read("max_length", 2**31), *experts)

    def _misfit(self, size: str, value: int, other: str, than: int, must: str) -> UserError:
        return UserError(
            f"'{self.field(size)}' of the config is {value:,}; it {must} '{self.field(other)}', which is {than:,}. "
            "Correct its config.json."
        )


def why_no_experts_are_cut(family: Architecture) -> str:
    """Why whole experts cannot be cut out of models of this family, as a sentence; '' where they can."""
    if not family.mixture:
        return f"{family.name} models have no experts to cut out. Choose another pattern."
    return ""


_LLAMA_FIELDS = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "vocabulary": "vocab_size",
    "rows": "",
    "max_length": "max_position_embeddings",
    "experts": "num_experts",
    "experts_per_token": "num_experts_per_tok",
}
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


# By a name of their own; several can share a model type.
ARCHITECTURES: dict[str, Architecture] = {
    "llada": Architecture(
        "LLaDA",
        "llada",
        fields=_LLADA_FIELDS,
        model_type="llada",
        classes=("LLaDAModelLM",),
        native="LlamaForCausalLM",
        requires={"rope_scaling": ()},
    ),
    "mmada": Architecture(
        "MMaDA",
        "llada",
        fields=_LLADA_FIELDS,
        model_type="mmada",
        classes=("MMadaModelLM",),
        native="LlamaForCausalLM",
        requires={"rope_scaling": ()},
    ),
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
    "sdar": Architecture(
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
    ),
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
        edits=True,
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
    "sdar-moe": Architecture(
        "SDAR with experts",
        "sdar",
        attention="block-causal",
        block_size=4,
        block_fields=("block_size",),
        anchor="start",
        model_type="sdar_moe",
        classes=("SDARMoeForCausalLM",),
        native="Qwen3MoeForCausalLM",
        mixture=True,
        requires={"use_sliding_window": (False,), "hidden_act": ("silu",)},
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
NATIVE_BIDIRECTIONAL: dict[str, Architecture] = {
    "llama": _native("Llama"),
    "qwen2": _native("Qwen2"),
    "qwen3": _native("Qwen3"),
}

SUPPORTED = (
    "LLaDA, LLaDA-MoE, LLaDA2, MMaDA, Dream, MDLM, BD3LM, DiffusionGemma, SDAR, Fast-dLLM v2 and "
    "Nemotron-Labs-Diffusion, Llama/Qwen2/Qwen3 turned into diffusion models (a2d-*, or with is_causal: false and a "
    "mask token), and causal language models of transformers"
)
