"""Which worker a job goes to, and what a short job waits for; no worker runs."""

import pytest

from analysis.engine.cluster import Place
from analysis.engine.job_store import JobRecord
from analysis.engine.placement import Running, Work, free_place, long_job_for, obstacle

ONE, TWO = (Place(address, address.upper(), 2) for address in ("a", "b"))
PLACES = {place.address: place for place in (ONE, TWO)}
BUNDLED, OTHER = {"source": "bundled"}, {"source": "other"}


def job(kind: str = "attention_map", model: dict | None = BUNDLED, brief: bool = False, name: str = "job") -> JobRecord:
    return JobRecord(id=name, kind=kind, spec={"model": model} if model else {}, created=0, brief=brief)


def run(kind: str = "prune", place: Place = ONE, between: bool = False, heard: bool = True, **more) -> Running:
    brief = more.pop("brief", False)
    return Running(job(kind, brief=brief, name=f"{kind} at {place.address}"), place, None, between, heard=heard, **more)


def work(*running: Running, held: dict | None = None, refused: set | None = None) -> Work:
    return Work(list(running), held or {}, refused or set())


# --- free workers -----------------------------------------------------------------------------------------------


def test_a_job_goes_to_the_free_worker_that_holds_its_model():
    held = {"a": OTHER, "b": BUNDLED}
    assert free_place(job(), PLACES, work(held=held)) is TWO
    assert free_place(job(model=OTHER), PLACES, work(held=held)) is ONE
    assert free_place(job(), PLACES, work()) is ONE, "where none holds it, the first"


def test_a_worker_that_is_taken_is_not_free_whatever_it_holds():
    held = {"a": OTHER, "b": BUNDLED}
    assert free_place(job(), PLACES, work(run(place=TWO), held=held)) is ONE
    assert free_place(job(), PLACES, work(run(place=ONE), run(place=TWO), held=held)) is None
    assert free_place(job(), {}, work()) is None


def test_a_job_without_a_model_goes_where_one_is_held():
    unload = job("unload", model=None)
    assert free_place(unload, PLACES, work(held={"b": OTHER})) is TWO
    assert free_place(unload, PLACES, work(held={"a": None, "b": OTHER})) is TWO
    assert free_place(unload, PLACES, work()) is ONE


# --- between the steps of a long job ----------------------------------------------------------------------------


def test_a_short_job_goes_between_the_steps_of_a_long_one_that_holds_its_model():
    long = run()
    assert long_job_for(job(), work(long, held={"a": BUNDLED})) is long
    assert long_job_for(job(), work(long, held={"a": OTHER})) is None
    assert long_job_for(job(), work(long)) is None
    assert long_job_for(job(), work()) is None


@pytest.mark.parametrize(
    "long",
    [run(heard=False), run(told=1.0), run(intake=object()), run("attention_map"), run(between=True)],
    ids=["has not begun", "is asked to stop", "is taken in", "is short itself", "runs between steps itself"],
)
def test_a_long_job_that_cannot_take_one_in_is_passed_over(long):
    held = {"a": BUNDLED, "b": BUNDLED}
    assert long_job_for(job(), work(long, held=held)) is None
    beside = run(place=TWO)
    assert long_job_for(job(), work(long, beside, held=held)) is beside


def test_one_short_job_at_a_time_and_none_that_was_refused():
    long, held = run(), {"a": BUNDLED}
    assert long_job_for(job(), work(long, run("lens", between=True), held=held)) is None
    assert long_job_for(job(), work(long, held=held, refused={("job", long.record.id)})) is None
    assert long_job_for(job(), work(long, held=held, refused={("another", long.record.id)})) is long


def test_a_brief_recording_brings_its_model_but_waits_for_another_recording():
    long = run()
    assert long_job_for(job("record", brief=True), work(long, held={"a": OTHER})) is long
    assert long_job_for(job("record", brief=True), work(run("record", brief=True), held={"a": BUNDLED})) is None


# --- what it waits for ------------------------------------------------------------------------------------------


def test_what_a_short_job_waits_for_is_the_model_in_the_busy_worker():
    long = run()
    assert obstacle(job(), work()) == ""
    assert obstacle(job(), work(run(heard=False))) == ""
    assert obstacle(job(), work(long, held={"a": OTHER})) == (
        "'Prune a model' to end: this needs 'bundled', and the busy worker holds 'other'"
    )
    assert obstacle(job(), work(long)).endswith("and the busy worker holds no model")
    unlike = {"source": "bundled", "dtype": "bfloat16"}
    assert obstacle(job(), work(long, held={"a": unlike})).endswith("holds 'bundled' with other settings")
    assert obstacle(job(), work(long, held={"a": BUNDLED})) == "", "only not its turn yet"


def test_a_refused_job_waits_for_the_model_that_changed():
    long = run()
    refused = {("job", long.record.id)}
    told = obstacle(job(), work(long, held={"a": BUNDLED}, refused=refused))
    assert told == "the running job to end: the model has changed on disk since it was loaded"
    brief = job("record", brief=True)
    assert obstacle(brief, work(long, held={"a": OTHER})) == "", "it brings its own model"
    assert obstacle(brief, work(long, held={"a": OTHER}, refused=refused)) != ""
