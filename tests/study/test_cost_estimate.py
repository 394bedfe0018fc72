"""What a study is said to take before it starts: by earlier jobs, else by the study that ships."""

import time

import pytest

from analysis.engine import Engine, JobRecord
from analysis.engine.studies import children_of, new_study
from analysis.evaluation.presets import known_sizes
from analysis.models.checkpoint import find, weight_bytes
from analysis.specs import ModelSpec
from analysis.study.cost_estimate import _tokens, _usual, foresee_study, forwards, lines
from analysis.study.findings import EXAMPLE, read

ALIKE = {name: read(EXAMPLE).spec[name] for name in ("prompts", "seeds", "limit")}  # as large as the example


@pytest.fixture
def engine(store):
    made = Engine(store, alone=True)
    yield made
    made.close()


def test_quick_on_a_fresh_store_is_foreseen_by_what_the_example_took(engine):
    example = read(EXAMPLE)
    found = foresee_study(engine, new_study(ModelSpec(), **ALIKE), example)
    told = " ".join(lines(found))
    assert found.unknown == () and found.from_example
    assert "recordings and measurements" in told and "MB of memory" in told and "MB on the disk" in told
    at_rest = sorted(one.seconds for one in example.took if one.kind == "evaluate")[:5]
    asked = sum(one.seconds for one in example.took if one.kind not in ("evaluate", "prune"))
    assert asked + 19 * min(at_rest) < found.seconds < 2 * (asked + 19 * max(at_rest)) + 60
    assert found.memory_bytes == max(one.memory_bytes for one in example.took)
    assert found.disk_bytes > sum(one.bytes for one in example.took)


def test_what_was_measured_here_goes_before_the_example(engine):
    spec = new_study(ModelSpec(), **ALIKE)
    child = next(child for part in children_of(spec).values() for child in part if child.kind == "ablate_set")
    before = foresee_study(engine, spec, read(EXAMPLE)).seconds
    smaller = child.spec.model_copy(update={"prompts": child.spec.prompts[:10], "keys": child.spec.keys[:10]})
    now = time.time()
    job = JobRecord(
        id="0" * 12,
        kind="ablate_set",
        spec=smaller.model_dump(mode="json"),
        state="done",
        created=now,
        started=now,
        finished=now + 1000,
    )
    engine._job_store.save(job)
    assert len(child.spec.prompts) == 30 and forwards(child.spec) == 3 * forwards(smaller)
    example = next(one.seconds for one in read(EXAMPLE).took if one.name == child.name)
    assert foresee_study(engine, spec, read(EXAMPLE)).seconds == pytest.approx(before - example + 3000)


def test_standard_is_foreseen_by_the_example_and_by_what_its_shapes_say(engine):
    """336 prunings of eight methods and four parts of a recipe; the example has timed three methods on some items."""
    example, spec = read(EXAMPLE), new_study(ModelSpec(), "standard")
    quick = foresee_study(engine, new_study(ModelSpec(), **ALIKE), example)
    found = foresee_study(engine, spec, example)
    assert found.sweep.points == (8 + 4) * 2 * 14 == 336
    assert found.unknown == ("the time of 140 of 336 prunings by methods that it had not",)
    sizes, _ = known_sizes(spec.tasks)
    items, asked = sum(task.items for task in sizes), example.spec["limit"] * len(sizes)
    score = _usual([one.seconds for one in example.took if one.kind == "evaluate"])
    assert found.seconds > 337 * score * items / asked > quick.seconds
    # The states of 64 sequences of 128 tokens between blocks in place of those of 16.
    geometry = find("bundled").geometry
    assert found.memory_bytes - quick.memory_bytes == (64 - 16) * 128 * geometry.hidden * 4
    # Checkpoints wait for their scores two at a time; a mask of a bit a weight stays of every pruning.
    checkpoint = find("bundled")
    masks = weight_bytes(checkpoint, 1) // 8
    more = found.disk_bytes - quick.disk_bytes
    recordings = sum(one.bytes for one in example.took) * (50 / 30 - 1)
    fewer = 336 - quick.sweep.points
    assert fewer * masks < more < fewer * masks + 2 * recordings


def test_paper_says_what_is_not_known_of_it_and_caps_its_text_at_the_model(engine):
    example, spec = read(EXAMPLE), new_study(ModelSpec(), "paper")
    found = foresee_study(engine, spec, example)
    assert found.sweep.points == 5 * 2 * 20
    told = " ".join(found.unknown)
    assert "200 of 200 prunings" in told and "the time of scoring the diffusion model" in told
    assert _tokens(spec) == 128 * find("bundled").geometry.max_length


def test_what_nobody_measured_is_said(engine):
    found = foresee_study(engine, new_study(ModelSpec()), None)
    told = " ".join(lines(found))
    for part in (
        "recording with the diffusion model",
        "prompts with the left-to-right twin",
        "hiding the sinks",
        "prunings",
        "scoring",
    ):
        assert part in told
    other = foresee_study(engine, new_study(ModelSpec(), tasks=("mmlu",), data="wikitext2"), read(EXAMPLE))
    assert "scoring" in " ".join(other.unknown) and "prunings" in " ".join(other.unknown)
