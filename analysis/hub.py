"""Check that the Hugging Face hub answers before anything else: without a network this fails at once, while downloads
retry for half a minute.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

TIMEOUT = 10.0  # seconds


def ask(name: str, kind: Literal["model", "dataset"]) -> None:
    """Request a repository's facts. Raises huggingface_hub's errors: gated, unknown, out of reach."""
    from huggingface_hub import HfApi

    HfApi().repo_info(name, repo_type=kind, timeout=TIMEOUT)


def reachable() -> bool:
    """Return True if the hub answers at all, through the configured proxy or mirror."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception:  # from the HTTP library, or because offline mode is set
        return False
    return True


def stored(dataset: str) -> bool:
    """Return True if parts of a dataset are cached, so that it may work without the hub."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=dataset, repo_type="dataset")).is_dir():
        return True
    # The cache of `datasets`, without importing it.
    folder = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets")
    prepared = dataset.replace("/", "___").replace("-", "_").lower()
    return folder.is_dir() and any(path.name.replace("-", "_").lower() == prepared for path in folder.iterdir())


@contextmanager
def offline() -> Iterator[None]:
    """Look only on this disk, instead of asking the hub five times first."""
    import datasets
    import huggingface_hub.constants

    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
