"""Write the cost of a large model, computed from its shapes, into docs/performance.md: `python -m docs.shapes`.

Nothing here was measured. Every row names its formula; times are lower bounds from the data sheets of two cards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.machine.speed import CARD_SOURCES, CARDS, Card
from analysis.recording.trajectory import recording_bytes
from analysis.specs import CalibrationParams
from docs.marks import replaced

PATH = Path(__file__).with_name("performance.md")
NAME = "shapes"
GB = 1e9


@dataclass(frozen=True)
class Shape:
    """A dense transformer. inner: the width of its MLP of three matrices. source: of the numbers."""

    name: str
    source: str
    layers: int
    hidden: int
    heads: int
    inner: int
    vocabulary: int

    @property
    def projections(self) -> int:
        """Weights that pruning can remove."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.inner)

    @property
    def weights(self) -> int:
        """All weights, with an embedding and a head of their own."""
        return self.projections + 2 * self.vocabulary * self.hidden


LLADA_8B = Shape("LLaDA-8B", "its config.json on the hub", 32, 4096, 32, 12288, 126464)
STEPS, POSITIONS, ROWS, LENGTH = 64, 512, 128, 2048


def rows() -> list[tuple[str, str, str]]:
    """Return (quantity, formula with the numbers inserted, size or lower bound of the time on each card)."""
    shape, levels = LLADA_8B, len(range(0, CalibrationParams().diffusion_steps, CalibrationParams().step_interval))
    mass = recording_bytes(STEPS, shape.layers, shape.heads, shape.heads, POSITIONS, "auto")
    calibration = 2 * shape.projections * ROWS * LENGTH * levels

    def forward(card: Card) -> float:
        """Return the seconds of a forward: the longer of the operations and reading the weights."""
        return max(2 * shape.weights * POSITIONS / card.operations / 1e12, 2 * shape.weights / card.bandwidth / 1e12)

    block = shape.projections // shape.layers * 2
    states = 2 * ROWS * LENGTH * shape.hidden
    return [
        ("weights in bfloat16", f"2 · {shape.weights / GB:.2f}·10⁹", _bytes(2 * shape.weights)),
        ("room asked for before loading", "a twentieth more", _bytes(2.1 * shape.weights)),
        (
            f"recording of {STEPS} steps, {POSITIONS} positions",
            "T · S · L · 2H · 2 bytes: mass and norms of values, float16",
            _bytes(mass),
        ),
        (
            "logits of a step, whole text",
            f"4 · {POSITIONS} · {shape.vocabulary:,}",
            _bytes(4 * POSITIONS * shape.vocabulary),
        ),
        ("a forward, at least", "2 · weights · S operations", _times(forward)),
        (f"a recording of {STEPS} steps, at least", "T forwards", _times(lambda card: STEPS * forward(card))),
        (
            f"sink-wanda's statistics, {ROWS} × {LENGTH} tokens, {levels} noise levels, at least",
            "2 · projections · N · S · T operations: one forward per noised row",
            _times(lambda card: calibration / card.operations / 1e12),
        ),
        ("a private block", "2 bytes per weight of a block", _bytes(block)),
        (f"states between blocks, {ROWS} × {LENGTH} tokens", "2 · N · S · d", _bytes(states)),
        (
            "SparseGPT's largest Hessian, with what factorizing takes",
            f"4 · 4 · {shape.inner:,}²",
            _bytes(16 * shape.inner**2),
        ),
        ("masks of a pruning", "1 bit per weight of the projections", _bytes(shape.projections / 8)),
    ]


def _bytes(count: float) -> str:
    return f"{count / GB:.2f} GB"


def _times(seconds: Callable[[Card], float]) -> str:
    return "; ".join(f"{_duration(seconds(card))} ({card.name})" for card in CARDS)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def table() -> str:
    """The table as Markdown, with the sources of its numbers."""
    shape = LLADA_8B
    lines = [
        f"{shape.name} ({shape.source}): {shape.layers} layers of width {shape.hidden:,}, {shape.heads} heads, MLPs of "
        f"{shape.inner:,}, {shape.vocabulary:,} words. Cards: {CARD_SOURCES}.",
        "",
        "| what | formula | size, or time at least |",
        "| --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PATH.write_text(replaced(PATH.read_text(encoding="utf-8"), NAME, table()), encoding="utf-8")
