"""Shapes of a model's parameters by its config, from the meta device: no memory is taken, no file read."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM

from analysis.errors import UserError
from analysis.models.checkpoint import Checkpoint
from analysis.models.load import config_of, register


def parameter_shapes(
    checkpoint: Checkpoint, config: Mapping[str, Any], every_name: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters by native name, as the class that runs `checkpoint` makes them from this
    config.

    every_name: list a shared parameter under its name in each module. Raises UserError for a config that the class
    refuses.
    """
    register()
    with tempfile.TemporaryDirectory(prefix="sinkscope-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
        read = config_of(replace(checkpoint, folder=Path(folder), config=dict(config)), fits=False)
    try:
        # By the device, transformers knows that there is nothing to initialize; by accelerate, tied weights are apart.
        with init_empty_weights(), torch.device("meta"):
            network = AutoModelForCausalLM.from_config(read)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"The sizes that a {checkpoint.architecture.name} config would have here do not go together "
            f"({type(error).__name__}). Choose another sparsity."
        ) from error
    parameters = network.named_parameters(remove_duplicate=not every_name)
    return {name: tuple(parameter.shape) for name, parameter in parameters}
