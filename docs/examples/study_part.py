"""Add a part of a study: one row in `STUDY_PARTS`, which returns the jobs that it submits.

`DECISIONS` lists the conclusions from one difference: the first row that holds decides. `QUESTIONS` has a row for each
kind of contrast, `FINDINGS` one for each verdict and each finding of the story.
"""

from analysis.engine.planned import Child
from analysis.engine.studies import children_of, new_study, sampling_of
from analysis.specs import STUDY_PARTS, ModelSpec, RecordSpec, StudySpec
from analysis.specs.study import StudyPart
from analysis.statistics.decisions import DECISIONS, conclusions, decide
from analysis.statistics.differences import Difference
from analysis.study.rules import QUESTIONS


def elsewhere(spec: StudySpec) -> list[Child]:
    return [
        Child(
            f"elsewhere {model.source}",
            "record",
            RecordSpec(model=model, prompt="mia has a dog .", sampling=sampling_of(model, spec), seed=spec.seed),
            f"recording another prompt with {model.source}",
        )
        for model in spec.models
    ]


STUDY_PARTS.add(
    StudyPart("elsewhere", "Is it so elsewhere?", "Does another prompt show the same?", implementation=elsewhere)
)

parts = children_of(new_study(ModelSpec(source="bundled")))
assert [child.name for child in parts["elsewhere"]] == ["elsewhere bundled", "elsewhere bundled-ar"]

told = Difference(0.001, -0.002, 0.004, n=300, clusters=280, p=0.5, cluster_variance=0.0015**2, cluster_freedom=279)
assert decide(told, margin=0.01) == "equivalent" and list(DECISIONS)[-1] == "cannot tell"
assert (
    conclusions({"70 %": told}, margin=0.01) == "no difference of ±1 point or more at 70 % (+0.1 points [−0.2, +0.4])"
)
assert QUESTIONS["noise"].title == "Do noise, order and norm help?"
