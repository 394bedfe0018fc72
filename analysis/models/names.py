"""Parameter names: those in a checkpoint's files, and those of the running model."""

import re

from analysis.models import blockwise, encoders, llada, mdlm, mixtures
from analysis.models.family import Architecture

# Conversions of the authors' parameter names to native ones, by class. Other families use the native names.
_NAMES = {
    llada.LLaDAModelLM.__name__: llada.NAMES,
    llada.MMadaModelLM.__name__: llada.NAMES,
    blockwise.NemotronLabsDiffusionModel.__name__: blockwise.NEMOTRON_NAMES,
    mixtures.LLaDA2MoeModelLM.__name__: mixtures.LLADA2_NAMES,
    mdlm.MDLM.__name__: mdlm.NAMES,
    mdlm.BD3LM.__name__: mdlm.NAMES,
    **encoders.NAMES,
}


def native_name(architecture: Architecture, name: str) -> str:
    """The running model's name of a tensor called `name` in the file."""
    for kind in architecture.classes:
        for theirs, native in _NAMES.get(kind, ()):
            name = re.sub(theirs, native, name)
    return name
