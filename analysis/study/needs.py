"""Data that a study needs from the Hugging Face hub, looked for before it starts: scores come last."""

from analysis import hub
from analysis.calibration.text import SOURCES
from analysis.evaluation.presets import PRESETS, expand
from analysis.specs import StudySpec


def why_not(spec: StudySpec) -> str:
    """Return why the benchmarks or the calibration text of a study cannot be had here, in two sentences, or ''.

    Tasks and texts that SinkScope does not know by name are not looked for.
    """
    wanted = [(PRESETS[name].title, PRESETS[name].dataset) for name in expand(spec.tasks) if name in PRESETS]
    if spec.data in SOURCES:
        wanted.insert(0, (SOURCES[spec.data].title, SOURCES[spec.data].dataset))
    missing = [title for title, dataset in wanted if dataset and not hub.stored(dataset)]
    if not missing or hub.reachable():
        return ""
    are = "is" if len(missing) == 1 else "are"
    return (
        f"This study needs {', '.join(missing)}, which {are} not on this disk, and the Hugging Face hub cannot be "
        "reached. Choose another size, or tasks and a calibration text that are here."
    )
