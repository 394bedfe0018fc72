"""Add a source of calibration text: one row in `SOURCES`, a title and documents by the seed."""

from analysis.calibration.text import SOURCES, Piece, Source, calibration_text
from analysis.models.load import load
from analysis.specs import CalibrationParams, ModelSpec

SOURCES["zoo"] = Source("days at the zoo", lambda seed: (Piece("one day mia goes to the zoo .") for _ in range(200)))

model = load(ModelSpec(device="cpu"))
params = CalibrationParams(data="zoo", samples=4, seq_len=32)
text = calibration_text(params, model.tokenizer, model.geometry.max_length, model.geometry.vocabulary)
assert text.tokens.shape == (4, 32)
