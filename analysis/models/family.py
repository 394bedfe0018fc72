"""The types of the rows in `families.py`, and of the sizes in a config. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from analysis.errors import UserError, shorten
from analysis.specs.observing import AttentionKind

Anchor = Literal["start", "padded-prompt", "prompt-end"]
"""Start of the blocks. start: at multiples of the block size from position 0. padded-prompt: the prompt is left-padded
to whole blocks, so a block begins where the prompt ends and the first may be short. prompt-end: at the end of the
prompt, which has no blocks itself."""

Noise = Literal["mask", "uniform"]
"""Content of an undecided position: the mask token, or a random token."""

Config = Mapping[str, Any]
"""The fields of a config.json, by name."""

Paradigm = Literal["mdlm", "bd3lm"]
"""Training of a class that serves both: on whole texts (arXiv 2406.07524), or block by block (arXiv 2503.09573)."""


@dataclass(frozen=True)
class Geometry:
    """Sizes of a checkpoint. heads: query heads per layer; kv_heads: key/value heads they share; max_length in tokens.

    vocabulary: rows of the embedding; token ids are below it. experts: per mixture layer, of which each token is routed
    to `experts_per_token`; 0 without such layers.
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
    """A model family, as its checkpoints are run.

    sampler: key of `analysis.specs.SAMPLINGS`. noise None: autoregressive. block_size: tokens per block of a family
    that attends by blocks, if its config has none; block_fields: config fields for it, of which the first present
    counts. anchor: where blocks begin. shift: number of positions by which logits precede their token: 0 or 1.
    opened: the first token of every block is the likeliest after the text so far. mask_token: its id if neither config,
    generation config nor tokenizer has one; last: the last of the vocabulary.
    fields: config names of the sizes, if they differ from Llama's. blocks: path of the blocks in the network.
    model_type, classes: as named by its checkpoints. native: the transformers class that runs it, under their names.
    paradigm: which of two trainings of one class. requires: values that a config field must have if present. fused: the
    files hold query, key and value in one matrix, as consecutive rows. mixture: layers have experts. text: the config
    field that holds the config of its text model, if not the top level. calibration_noise: the
    `CalibrationParams.noise` of this family's published pruning. conditioned: its files hold a conditioning on the
    noise level, which is folded into the weights that run. encoder: it is a masked language model of transformers, run
    by `encoders.py`. windowed: some layers see only nearby tokens. caveat: for a model not trained as a diffusion
    model, the warning that a page shows with it. subs: its probabilities leave out [MASK] (SUBS, arXiv 2406.07524).
    tokenizer: hub id of its tokenizer, if its own folder holds none. note: what was not checked, for pages and docs.
    """

    name: str
    sampler: str
    attention: AttentionKind = "bidirectional"
    noise: Noise | None = "mask"
    block_size: int | None = None
    block_fields: tuple[str, ...] = ()
    anchor: Anchor | None = None
    shift: int = 0
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
    encoder: bool = False
    windowed: bool = False
    caveat: str = ""
    subs: bool = False
    tokenizer: str = ""
    note: str = ""

    @property
    def bidirectional(self) -> bool:
        """True if every query sees every key."""
        return self.attention == "bidirectional"

    @property
    def why_no_ablation(self) -> str:
        """Reason why none of its tokens can be hidden, as a sentence; '' if they can."""
        different = self.noise == "uniform"  # a windowed layer holds other tokens than one that sees all
        return f"Keys of {self.name} cannot be hidden: its layers hold different ones." if different else ""

    @property
    def why_no_cache(self) -> str:
        """Reason why its forwards cannot reuse keys of an earlier one, as a sentence; '' if they can."""
        if self.mixture and self.noise != "uniform":  # every canvas reads its encoder's keys
            return (
                f"Keys cannot be kept for {self.name}: where every token was sent is recorded, which takes whole "
                "forwards. Leave caching off."
            )
        if self.encoder:
            return f"Keys cannot be kept for {self.name}: transformers' {self.native} has no cache. Leave caching off."
        return ""

    @property
    def attends(self) -> str:
        """One line on its attention, for pages."""
        near = ", in some layers only those near it" if self.windowed else ""
        return {
            "bidirectional": f"every token sees every other{near}",
            "block-causal": f"a token sees its own block of {self.block_size} and those before it",
            "open-block": f"the open block of {self.block_size} sees all of itself and what was read before it"
            if self.noise == "uniform"
            else f"causal, but the open block of {self.block_size} sees all of itself",
            "causal": "a token sees those before it",
        }[self.attention]

    @property
    def opens_causally(self) -> bool:
        """True if it writes some tokens as the likeliest after the text so far, which then must not be empty."""
        return self.noise is None or self.opened

    @property
    def by_blocks(self) -> bool:
        """True if it attends and writes block by block."""
        return self.anchor is not None

    @property
    def beside_clean(self) -> bool:
        """True if a forward reads noised text next to its clean copy, as in the training of such a family."""
        return self.by_blocks and self.noise == "mask"

    def field(self, size: str) -> str:
        """Return the config's name for a size: layers, heads, kv_heads, hidden, mlp, vocabulary, rows, max_length,
        experts or experts_per_token.
        """
        return {**_LLAMA_FIELDS, **self.fields}[size]

    def geometry(self, config: Config) -> Geometry:
        """Read the sizes. Raises UserError naming the field a config lacks."""

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
        # A LLaDA's embedding may have more rows than its vocabulary has tokens; its logits cover all of them.
        rows = config.get(self.field("rows"))
        if isinstance(rows, int) and not isinstance(rows, bool):
            vocabulary = max(vocabulary, rows)
        experts = (read("experts"), read("experts_per_token")) if self.mixture else (0, 0)
        if heads % kv_heads:
            raise self._misfit("kv_heads", kv_heads, "heads", heads, "must divide")
        if experts[1] > experts[0]:
            raise self._misfit("experts_per_token", experts[1], "experts", experts[0], "must be at most")
        longest = read("max_length", 2**31) - self._positions_kept_free(config)
        return Geometry(layers, heads, kv_heads, hidden, vocabulary, longest, *experts)

    def _positions_kept_free(self, config: Config) -> int:
        """Return the number of unused position embeddings: RoBERTa counts from the one after its padding token."""
        if self.model_type != "roberta":
            return 0
        padding = config.get("pad_token_id")
        return 2 if not isinstance(padding, int) or isinstance(padding, bool) else padding + 1

    def _misfit(self, size: str, value: int, other: str, than: int, must: str) -> UserError:
        return UserError(
            f"'{self.field(size)}' of the config is {value:,}; it {must} '{self.field(other)}', which is {than:,}. "
            "Correct its config.json."
        )


def why_no_experts_are_cut(family: Architecture) -> str:
    """Return why whole experts cannot be cut out of models of this family, as a sentence; '' if they can."""
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

SUPPORTED = (
    "LLaDA, LLaDA-MoE, LLaDA2, MMaDA, Dream, MDLM, BD3LM, DiffusionGemma, SDAR, Fast-dLLM v2 and "
    "Nemotron-Labs-Diffusion, Llama/Qwen2/Qwen3 turned into diffusion models (a2d-*, or with is_causal: false and a "
    "mask token), masked language models (BERT, RoBERTa, DistilBERT, "
    "ModernBERT) and causal language models of transformers"
)
