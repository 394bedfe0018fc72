"""Parameters: their rules, their sentences, and that pages, command line and docs all read them."""

import json
import shlex

import pytest
from pydantic import Field, ValidationError

from analysis import specs
from analysis.jobs import JOBS
from analysis.specs import (
    DreamSampling,
    EvaluateSpec,
    LLaDASampling,
    ModelSpec,
    PruneSpec,
    RecordSpec,
    SinkParams,
    Spec,
    parameter,
    sentence,
)
from analysis.specs.base import bounds, extra
from analysis.specs.commands import command
from docs import parameters
from docs.parameters import PATH, document


def problem(build) -> str:
    with pytest.raises(ValidationError) as caught:
        build()
    return sentence(caught.value)


def test_what_does_not_fit_together_is_said_in_one_sentence():
    assert problem(lambda: LLaDASampling(gen_length=10, block_length=3)) == (
        "New tokens (10) must be a multiple of the block length (3)."
    )
    assert "multiple of the number of blocks (4)" in problem(
        lambda: LLaDASampling(gen_length=8, steps=6, block_length=2)
    )
    assert problem(lambda: DreamSampling(steps=0)).startswith("Denoising steps must")
    assert "widgets is no parameter here" in problem(lambda: SinkParams(widgets=3))
    assert "Denoising steps" in problem(lambda: RecordSpec(sampling={"sampler": "llada", "steps": -1}))


def test_every_parameter_is_labelled_and_explained():
    ours = [job.spec for job in JOBS.values() if job.spec.__module__.startswith("analysis.")]  # tests have jobs too
    nested = {*specs.PARTS, "model", "sampler", "sampling", "sinks", "statistics", "setting"}
    nested |= {"pruning", "evaluation"}
    for spec in (*ours, *specs.SAMPLINGS.values(), SinkParams, specs.ModelSpec):
        for name, field in spec.model_fields.items():
            if name not in nested:
                assert field.title, (spec, name)
                assert field.description.endswith("."), (spec, name)


class _Numbers(Spec):
    inner: float = Field(0.5, gt=0, lt=1)
    least: int = Field(3, ge=0)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    free: float = 0.0
    said: int = parameter(1, "A count", "Things.", ge=1, unit="things", step=2)


def test_the_range_of_a_field_ends_inside_what_it_excludes():
    fields = _Numbers.model_fields
    assert bounds(fields["inner"], 0.25) == (0.25, 0.75, True)
    assert bounds(fields["least"], 1) == (0, None, False)
    assert bounds(fields["seed"], 1).high == 2**63 - 1, "an integer is not rounded"
    assert bounds(fields["free"], 1) == (None, None, False)
    assert extra(fields["free"]) == {}
    assert (extra(fields["said"])["unit"], extra(fields["said"])["step"]) == ("things", 2)


def test_specs_survive_the_wire():
    spec = RecordSpec(prompt="a", sampling=DreamSampling(alg="origin", top_p=0.5), seed=3)
    assert RecordSpec.model_validate(json.loads(spec.model_dump_json())) == spec


def test_the_documented_parameters_are_the_real_ones():
    assert PATH.read_text(encoding="utf-8") == document(), "run `make docs`"


def test_every_parameter_is_named_under_each_spec_that_has_it():
    sections = dict(part.split("\n", 1) for part in document().split("\n## ")[1:])
    for title, spec in parameters.TABLES:
        missing = [
            name for name in spec.model_fields if name not in parameters.SKIPPED and f"`{name}`" not in sections[title]
        ]
        assert missing == [], title


def test_specs_of_one_name_are_told_apart_by_what_differs():
    from analysis.specs import CalibrationParams, DiscountParams, PruneSpec, told_apart

    specs = [
        PruneSpec(method="sink-wanda"),
        PruneSpec(method="sink-wanda", discount=DiscountParams(sink_std=3), skip_layers=(0, 1)),
        PruneSpec(method="sink-wanda", calibration=CalibrationParams(samples=64)),
        PruneSpec(method="wanda"),
    ]
    names = [spec.method for spec in specs]
    first, second, third, other = told_apart(names, [spec.model_dump(mode="json") for spec in specs], PruneSpec)
    assert other == ""
    assert "layers left dense none" in first and "layers left dense 0, 1" in second
    assert "samples 128" in first and "samples 64" in third
    assert len({first, second, third}) == 3
    assert "seed" not in first, "what is equal is not said"
    assert told_apart(["a", "a"], [{"x": 1}, {"x": 1}], PruneSpec) == ["", ""]


def test_folders_are_told_apart_by_their_last_part_where_that_does():
    from analysis.specs import PruneSpec, told_apart

    paths = [{"data": "/home/me/texts/a.txt"}, {"data": "/home/me/texts/b.txt"}, {"data": "bundled"}]
    assert told_apart(["m"] * 3, paths, PruneSpec) == ["data a.txt", "data b.txt", "data bundled"]
    alike = [{"data": "/one/a.txt"}, {"data": "/two/a.txt"}]
    assert told_apart(["m"] * 2, alike, PruneSpec) == ["data /one/a.txt", "data /two/a.txt"]


def test_a_command_is_quoted_for_a_shell_and_a_true_is_a_flag_alone():
    fields = {"data": "my text.txt", "skip_layers": (1, 2), "streaming": True, "noise_eps": 0.1}
    words = shlex.split(command("prune", "a model", fields, "out", ["b"]))
    assert words[:8] == ["python", "-m", "analysis", "prune", "--model", "a model", "--compare", "b"]
    assert words[8:14] == ["--calibration", "my text.txt", "--skip-layers", "1,2", "--streaming", "--noise-eps"]
    assert words[14:] == ["0.1", "--out", "out"]


@pytest.mark.parametrize(
    ("spec", "given", "said"),
    [
        (EvaluateSpec, {"tasks": ()}, "Tasks must list at least 1 (you gave 0)"),
        (ModelSpec, {"source": ""}, "Model is empty"),
        (ModelSpec, {"foo": 3}, "foo is no parameter here"),
        (ModelSpec, {"device": "tpu"}, "Device must be 'auto', 'cuda', 'mps' or 'cpu', not 'tpu'"),
        (PruneSpec, {"sparsity": "a" * 10**5}, f"Sparsity must be a number, not '{'a' * 79}…'"),
        (RecordSpec, {"prompt": 5}, "Prompt must be text, not 5"),
        (RecordSpec, {"seed": -1}, "Seed must be at least 0, not -1"),
        (RecordSpec, {"sampling": {}}, "sampling must say which kind it is ('sampler')"),
    ],
)
def test_a_validation_error_is_a_sentence_of_ours(spec, given, said):
    with pytest.raises(ValidationError) as caught:
        spec.model_validate(given)
    assert sentence(caught.value) == said
