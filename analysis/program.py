"""The words that start the command line: `python -m analysis` in a checkout, `sinkscope` where it is installed."""

from pathlib import Path

INSTALLED = Path(__file__).resolve().parents[1].name == "_installed"
PROGRAM = ("sinkscope",) if INSTALLED else ("python", "-m", "analysis")
