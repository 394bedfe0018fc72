"""Tokenizers without remote code, the text of single tokens, and Jinja templates with limits on repetition, counting
and output.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers.utils.chat_template_utils as chat_templates
from jinja2 import Template, TemplateError
from jinja2.runtime import Context
from jinja2.sandbox import MAX_RANGE, ImmutableSandboxedEnvironment, SandboxedEnvironment
from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedConfig, PreTrainedTokenizerBase, Qwen2Tokenizer

from analysis.errors import UserError, first_line, shorten
from analysis.models.checkpoint import VOCABULARY_FILES, Checkpoint, read_json, text_folder
from analysis.models.registry import entry

LONGEST_TEXT = 10_000_000  # characters that a template may write


class TemplateTooBig(UserError):
    """A template that would write, or count, without end. The message is the end of a sentence about it."""


class _BoundedTemplate(Template):
    """A template that writes no more than LONGEST_TEXT characters."""

    def render(self, *values: Any, **named: Any) -> str:
        """Fill the template in. Raises TemplateTooBig."""
        pieces, length = [], 0
        for piece in self.generate(*values, **named):
            pieces.append(piece)
            length += len(piece)
            if length > LONGEST_TEXT:
                raise TemplateTooBig(f"writes more than {LONGEST_TEXT:,} characters.")
        return "".join(pieces)


class BoundedTemplates(SandboxedEnvironment):
    """Sandbox in which `*`, `**` and `range` cannot make anything unreasonably large."""

    template_class = _BoundedTemplate
    intercepted_binops = frozenset(("*", "**"))

    def __init__(self, *options: Any, **named: Any) -> None:
        super().__init__(*options, **named)
        self.globals["range"] = _bounded_range

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply, or raise to a power. Raises TemplateTooBig."""
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple | bytes) and isinstance(times, int):
                    _check(len(text) * times)
        elif isinstance(left, int) and isinstance(right, int):
            _check(abs(left).bit_length() * right)
        return super().call_binop(context, operator, left, right)


class _BoundedChatTemplates(BoundedTemplates, ImmutableSandboxedEnvironment):
    """The sandbox of chat templates, with the same bounds."""


def _check(size: int) -> None:
    if size > LONGEST_TEXT:
        raise TemplateTooBig(f"makes a value of more than {LONGEST_TEXT:,} characters.")


def _bounded_range(*arguments: int) -> range:
    """Count as a template may. Raises TemplateTooBig."""
    counted = range(*arguments)
    if len(counted) > MAX_RANGE:
        raise TemplateTooBig(f"counts {len(counted):,} numbers, and may count {MAX_RANGE:,}.")
    return counted


@contextmanager
def bounded_chat() -> Iterator[None]:
    """Have transformers compile chat templates within the bounds: its own sandbox bounds `range` alone."""
    names, sandbox = vars(chat_templates), ImmutableSandboxedEnvironment.__name__
    before = names[sandbox]
    names[sandbox] = _BoundedChatTemplates
    try:
        yield
    finally:
        names[sandbox] = before


def load_tokenizer(folder: Path, config: PreTrainedConfig | None = None) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a checkpoint, or None where the folder has none. Raises UserError for one that needs code.

    config: the checkpoint's, where it is at hand; transformers reads it again otherwise.
    """
    with _one_sentence(
        f"The tokenizer in '{folder}' cannot be read", "SinkScope runs no code that comes with a model."
    ):
        if not any((folder / name).is_file() for name in VOCABULARY_FILES):
            return None
        # Dream's own class is remote code; its vocabulary is Qwen2's, whose class gives identical ids.
        if _class_name(folder) == "DreamTokenizer":
            return Qwen2Tokenizer.from_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)


def tokenizer_of(checkpoint: Checkpoint, config: PreTrainedConfig) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer of a checkpoint, or None if there is none on this disk.

    [MASK] is added where a family's embedding has a last row for it and the tokenizer has no mask token. Raises
    UserError for one that needs code, or has more entries than the model's vocabulary.
    """
    family, folder = checkpoint.architecture, text_folder(checkpoint)
    if family.tokenizer and _class_name(folder) == "None":
        with _one_sentence(f"The tokenizer in '{folder}' cannot be read", f"Take the files of {family.tokenizer}."):
            there = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
            tokenizer = GPT2Tokenizer.from_pretrained(folder) if there else None
    else:
        tokenizer = load_tokenizer(folder, config)
    if tokenizer is None:
        return None
    last = checkpoint.geometry.vocabulary - 1
    if family.mask_token == "last" and tokenizer.mask_token is None and len(tokenizer) == last:
        tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    check_vocabulary(tokenizer, checkpoint)
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, checkpoint: Checkpoint) -> None:
    """Raise UserError for a tokenizer with ids that the model's embedding has no row for."""
    entries, rows = max(tokenizer.get_vocab().values(), default=-1) + 1, checkpoint.geometry.vocabulary
    if entries > rows:
        raise UserError(
            f"The tokenizer in '{checkpoint.folder}' has {entries:,} entries and the model's vocabulary {rows:,} "
            f"('{checkpoint.architecture.field('vocabulary')}'). Take the tokenizer that belongs to the model."
        )


def _class_name(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    fields = read_json(path) if path.is_file() else {}
    if not isinstance(fields, dict):
        raise UserError(f"'{path}' holds no JSON object. Download it again.")
    return str(fields.get("tokenizer_class"))


@contextmanager
def _one_sentence(what: str, hint: str) -> Iterator[None]:
    """Turn any error that a model's own files cause in a library into a UserError that begins with `what`."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        # The tokenizers library panics outside the hierarchy of ordinary exceptions.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        # A template's own refusal is its author's text; other errors are a library's.
        why = shorten(first_line(error), 160) if isinstance(error, TemplateError) else type(error).__name__
        raise UserError(f"{what}: {why}. {hint}") from error


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, chat: bool) -> list[int]:
    """Return the token ids of a prompt, as a user's turn if `chat`.

    Raises UserError for a missing or failing chat template, and for a prompt that is not text or cannot be tokenized.
    """
    text = chat_text(tokenizer, [{"role": "user", "content": prompt}]) if chat else prompt
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise UserError(
            f"The prompt holds half a character (U+{ord(half):04X}) at position {error.start}. Remove it or type it "
            "anew."
        ) from error
    with _one_sentence("The prompt cannot be tokenized", "Check the tokenizer's files."):
        # A template writes the special tokens itself.
        return [int(token) for token in tokenizer(text, add_special_tokens=not chat, verbose=False)["input_ids"]]


def uses_chat(source: str, tokenizer: PreTrainedTokenizerBase | None, chat_template: str) -> bool:
    """Return True if prompts are wrapped as a user's turn: on, off, or auto, which does so for instruct models."""
    if chat_template != "auto":
        return chat_template == "on"
    known = entry(source)
    name = Path(source).name.lower()
    named = name.endswith("-it") or any(word in name for word in ("instruct", "chat"))
    return known.instruct if known else named and bool(getattr(tokenizer, "chat_template", None))


def chat_text(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], add_generation_prompt: bool = True
) -> str:
    """Format turns of user and assistant as the model was tuned on them. Raises UserError without a working template.

    Without a generation prompt the last turn is left open, to be continued. A system turn is dropped if the template
    has none.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UserError("This model's tokenizer has no chat template. Switch the chat template off.")
    options: dict[str, Any] = {
        "tokenize": False,
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": not add_generation_prompt,
    }
    hint = "Switch the chat template off, or correct it."
    with _one_sentence("The chat template of this model fails", hint), bounded_chat():
        try:
            text = tokenizer.apply_chat_template(turns, **options)
        except TemplateTooBig as error:
            raise UserError(f"The chat template of this model {error} {hint}") from error
        except TemplateError:
            without = [turn for turn in turns if turn["role"] != "system"]
            if len(without) == len(turns):
                raise
            text = tokenizer.apply_chat_template(without, **options)
        if not isinstance(text, str):
            raise TypeError(f"it made a {type(text).__name__} of the turns, not text")
        return text


def token_strings(tokenizer: PreTrainedTokenizerBase | None, ids: Iterable[int]) -> dict[int, str]:
    """The text of each distinct token id on its own; ⟨id⟩ where there is no tokenizer or the id is unknown to it."""
    return {token: _string(tokenizer, token) for token in sorted(set(ids))}


def _string(tokenizer: Any, token: int) -> str:
    text = "" if tokenizer is None else tokenizer.decode([token])
    return text if text else f"⟨{token}⟩"
