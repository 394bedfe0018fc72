"""What is computed from the shapes of a large model is what the formulas say, and stands in the docs."""

import pytest

from analysis.models.native_code import LLaDAConfig, LLaDAModelLM
from docs import shapes


def test_the_docs_hold_what_the_program_writes():
    assert shapes.table() in shapes.PATH.read_text(encoding="utf-8")


def test_weights_are_those_of_a_model_of_that_shape():
    shape = shapes.Shape("tiny", "made up", layers=2, hidden=32, heads=4, inner=48, vocabulary=64)
    config = LLaDAConfig(
        d_model=32,
        n_layers=2,
        n_heads=4,
        mlp_hidden_size=48,
        vocab_size=64,
        max_sequence_length=16,
        pad_token_id=0,
        eos_token_id=1,
        mask_token_id=63,
    )
    matrices = [weight.numel() for weight in LLaDAModelLM(config).parameters() if weight.dim() == 2]
    assert shape.weights == sum(matrices)
    assert shape.projections == sum(matrices) - 2 * 64 * 32


def test_a_name_without_marks_is_refused():
    with pytest.raises(ValueError, match="needs the marks"):
        shapes.replaced("no marks", shapes.NAME, "new")
