"""Checkpoint, device and precision, and the fields shared by every job on a model."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from analysis.specs.base import Spec, parameter


class ModelSpec(Spec):
    """The checkpoint, and the device and precision it runs in."""

    source: str = parameter(
        "bundled", "Model", "A name of the registry, a Hugging Face hub id, or a local folder.", min_length=1
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = parameter(
        "auto", "Device", "auto takes a CUDA GPU, else Apple's MPS, else the CPU."
    )
    dtype: Literal["auto", "bfloat16", "float32"] = parameter(
        "auto",
        "Precision",
        "auto keeps the checkpoint's own precision on an accelerator and takes float32 on a CPU, "
        "where half precision is slower.",
    )
    paradigm: Literal["auto", "mdlm", "bd3lm"] = parameter(
        "auto",
        "Training",
        "How a converted model (a2d-*) was trained: on whole texts (mdlm) or block by block (bd3lm). auto takes it "
        "from the config or the name, and asks where neither says. Other models ignore it.",
    )
    offload: Literal["memory", "disk"] = parameter(
        "memory",
        "What does not fit",
        "Where to keep what does not fit the device. memory: in main memory, moved over in every step; a model that "
        "fits neither is refused, or pruned block by block. disk: the rest is read from disk in every step, which "
        "is slow.",
    )


class JobSpec(Spec):
    """The parameters of a job on a model."""

    model: ModelSpec = ModelSpec()


def named_fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a spec and of the specs inside it, with the models it names."""
    if isinstance(value, ModelSpec):
        yield name, value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from named_fields(getattr(value, field), field)
    elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        for item in value:
            yield from named_fields(item, name)
    else:
        yield name, value
