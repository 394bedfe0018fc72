"""Parameter names: what a checkpoint's files call a tensor, and what the running model calls it."""

import re

from analysis.models import blockwise, llada

# By model type: how the authors' parameter names become native ones. Other families use the native names.
_NAMES = {"llada": llada.NAMES, "mmada": llada.NAMES, blockwise.NemotronConfig.model_type: blockwise.NEMOTRON_NAMES}


def native_name(model_type: str, name: str) -> str:
    """The running model's name of a tensor called `name` in the file."""
    for theirs, native in _NAMES.get(model_type, ()):
        name = re.sub(theirs, native, name)
    return name
