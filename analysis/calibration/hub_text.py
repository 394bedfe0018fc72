"""Calibration text from datasets of the Hugging Face hub, or what was fetched of them before."""

from collections.abc import Callable, Iterator
from typing import Any

from analysis import hub
from analysis.errors import UserError, named_line

_WAY_OUT = "Use the bundled text or a file of your own"


def hub_text(path: str, shuffled: bool = False, **options: Any) -> Callable[[int], Iterator[str]]:
    """(seed) -> the texts of a dataset's rows. Iterating raises UserError with the cause where they cannot be had."""

    def texts(seed: int) -> Iterator[str]:
        try:
            rows = _rows(path, **options)
            if shuffled:
                rows = rows.shuffle(seed=seed)
            for row in rows:
                if not isinstance(row.get("text"), str):
                    raise UserError(f"The calibration text '{path}' has rows without text. {_WAY_OUT}.")
                if row["text"].strip():
                    yield row["text"]
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"The calibration text '{path}' cannot be loaded: {_cause(error)}. {_WAY_OUT}.") from error

    return texts


def _rows(path: str, **options: Any) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"The calibration text '{path}' needs the package 'datasets', which cannot be imported ({error}). Install "
            f"what requirements.txt names. {_WAY_OUT}."
        ) from error
    try:
        hub.ask(path, "dataset")
    except Exception as asked:
        try:
            with hub.offline():  # without the hub only what was fetched before can serve
                return datasets.load_dataset(path, split="train", **options)
        except (FileNotFoundError, ConnectionError, ValueError) as error:
            raise UserError(
                f"The calibration text '{path}' is not on this disk, and {_refusal(asked)}. {_WAY_OUT}."
            ) from error
    return datasets.load_dataset(path, split="train", **options)


def _refusal(error: Exception) -> str:
    """Why the hub did not tell about a dataset."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids asking the Hugging Face hub"
    if status in (401, 403):
        return f"the Hugging Face hub refuses access to it (HTTP {status}): log in with `hf auth login`"
    if status == 404:
        return "the Hugging Face hub has no such dataset"
    if status is not None:
        return f"the Hugging Face hub answers with HTTP {status}"
    return f"the Hugging Face hub cannot be reached ({type(error).__name__})"


def _cause(error: Exception) -> str:
    """An error in a line. datasets wraps what went wrong in errors of its own, which name no cause."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return named_line(error).rstrip(".")
