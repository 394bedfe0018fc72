"""Jinja templates of models and tasks, with limits on repetition, counting and output."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import transformers.utils.chat_template_utils as chat_templates
from jinja2 import Template
from jinja2.runtime import Context
from jinja2.sandbox import MAX_RANGE, ImmutableSandboxedEnvironment, SandboxedEnvironment

from analysis.errors import UserError

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
