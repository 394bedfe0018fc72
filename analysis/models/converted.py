"""Autoregressive models turned into diffusion models (`a2d-*`, the dLLM project): native code without causality.

Parameter names and logits are the native model's; only the attention mask differs.
"""

from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from analysis.models.rope import PlainRope
from analysis.models.sliced import AnyHeads, SlicedMLPs


class A2DLlamaConfig(PlainRope, AnyHeads, LlamaConfig):
    model_type = "a2d-llama"


class A2DQwen2Config(PlainRope, Qwen2Config):
    model_type = "a2d-qwen2"


class A2DQwen3Config(PlainRope, Qwen3Config):
    model_type = "a2d-qwen3"


class A2DLlamaLMHeadModel(SlicedMLPs, LlamaForCausalLM):
    config: A2DLlamaConfig


class A2DQwen2LMHeadModel(SlicedMLPs, Qwen2ForCausalLM):
    config: A2DQwen2Config


class A2DQwen3LMHeadModel(SlicedMLPs, Qwen3ForCausalLM):
    config: A2DQwen3Config
