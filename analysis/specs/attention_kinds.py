"""Kinds of attention by the keys a query sees."""

from typing import Literal

AttentionKind = Literal["bidirectional", "block-causal", "open-block", "causal"]
"""Keys that a query sees. bidirectional: every key. block-causal: its own block and those before it. open-block: the
keys up to its own, but in the open block, the last one, all of the block as well. causal: the keys up to its own.
"""
