"""Limits of a demonstration (SINKSCOPE_DEMO): it runs recordings of the bundled pair within bounds, their branches, and
the alternatives to a token; nothing else.

The engine checks these when jobs are submitted and before it changes what is stored, so that no page or URL can do
more.
"""

from collections.abc import Mapping

from analysis.models.registry import BUNDLED_PAIR
from analysis.specs import AlternativesSpec, ModelSpec, RecordSpec, Spec

LONGEST_PROMPT = 400  # characters
MOST_TOKENS = 64  # new tokens, and denoising steps
MOST_WAITING = 4  # jobs that run or wait
JOBS_RUN: Mapping[str, type[Spec]] = {"record": RecordSpec, "alternatives": AlternativesSpec}
ONLY_READ = (
    "This is a demonstration: it only records short prompts with the bundled pair. Install SinkScope for the rest."
)


def refusal(kind: str, spec: Spec, waiting: int) -> str:
    """Return why a demonstration does not run this, or "" if it does. waiting: jobs before it."""
    if JOBS_RUN.get(kind) is not type(spec) or not isinstance(spec, RecordSpec | AlternativesSpec):
        return ONLY_READ
    if spec.model not in [ModelSpec(source=source) for source in BUNDLED_PAIR]:
        return ONLY_READ
    if waiting >= MOST_WAITING:
        return f"{waiting} jobs run or wait already. Try it again in a minute."
    if isinstance(spec, AlternativesSpec):
        return ""  # one forward over no more than the longest text of the pair
    steps = max(getattr(spec.sampling, "steps", 0) or 0, spec.sampling.forwards())
    if len(spec.prompt) > LONGEST_PROMPT or spec.sampling.gen_length > MOST_TOKENS or steps > MOST_TOKENS:
        return (
            f"This demonstration takes prompts of up to {LONGEST_PROMPT} characters, and {MOST_TOKENS} new tokens and "
            "steps. Make it shorter."
        )
    return ""
