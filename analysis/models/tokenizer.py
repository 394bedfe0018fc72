"""Tokenizers without remote code, and the text of single tokens."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, Qwen2Tokenizer

from analysis.errors import UserError
from analysis.models.registry import entry


def load_tokenizer(folder: Path, config: PreTrainedConfig | None = None) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a checkpoint, or None where the folder has none. Raises UserError for one that needs code.

    config: the checkpoint's, where it is at hand; transformers reads it again otherwise.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        return None
    try:
        # Dream's own class is remote code; its vocabulary is Qwen2's and gives identical ids there.
        if _class_name(folder) == "DreamTokenizer":
            return Qwen2Tokenizer.from_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
    except Exception as error:
        raise UserError(
            f"The tokenizer in '{folder}' cannot be read: {type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0]} (SinkScope runs no code that comes with a model.)"
        ) from error


def _class_name(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("tokenizer_class")) if path.is_file() else ""
    except ValueError as error:
        raise UserError(f"'{path}' is not readable JSON ({error}).") from error


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, chat: bool) -> list[int]:
    """Token ids of a prompt, as a user's turn when `chat`. Raises UserError where there is no chat template."""
    if not chat:
        return list(tokenizer(prompt)["input_ids"])
    if not tokenizer.chat_template:
        raise UserError("This model's tokenizer has no chat template. Switch the chat template off.")
    turn = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def uses_chat(source: str, tokenizer: PreTrainedTokenizerBase | None, chat_template: str) -> bool:
    """Whether prompts are wrapped as a user's turn: on, off, or auto, which does so for instruct models."""
    if chat_template != "auto":
        return chat_template == "on"
    known = entry(source)
    named = any(word in Path(source).name.lower() for word in ("instruct", "chat"))
    return known.instruct if known else named and bool(getattr(tokenizer, "chat_template", None))


def chat_text(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], add_generation_prompt: bool = True
) -> str:
    """Turns of user and assistant as the model was tuned on them. Raises UserError where there is no template.

    Without a generation prompt the last turn is left open, to be continued. A system turn is dropped where the template
    has none.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UserError("This model's tokenizer has no chat template. Switch the chat template off.")
    options = {
        "tokenize": False,
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": not add_generation_prompt,
    }
    try:
        return tokenizer.apply_chat_template(turns, **options)
    except TemplateError:
        without = [turn for turn in turns if turn["role"] != "system"]
        if len(without) == len(turns):
            raise
        return tokenizer.apply_chat_template(without, **options)


def token_strings(tokenizer: PreTrainedTokenizerBase | None, ids: Iterable[int]) -> dict[int, str]:
    """The text of each distinct token id on its own; ⟨id⟩ where there is no tokenizer or the id is unknown to it."""
    return {token: _string(tokenizer, token) for token in sorted(set(ids))}


def _string(tokenizer: Any, token: int) -> str:
    text = "" if tokenizer is None else tokenizer.decode([token])
    return text if text else f"⟨{token}⟩"
