"""Which jobs that ended with their worker are tried again, and whose turn it is for a worker."""

from analysis.engine.cluster import Place
from analysis.engine.job_store import JobRecord, Loss
from analysis.engine.placement import (
    DIED,
    HAND_BACKS,
    RETRIES,
    TOO_BIG,
    Running,
    Work,
    free_place,
    in_turn,
    long_job_for,
    told,
    untried,
    verdict,
)


def job(number: int, *visitors: str, kind: str = "prune", **fields) -> JobRecord:
    return JobRecord(id=str(number), kind=kind, spec={}, created=number, visitors=visitors, **fields)


def loss(worker: str = "GPU 0", why: str = DIED, handed_back: bool = False) -> Loss:
    return Loss(worker=worker, time=1.0, why=why, handed_back=handed_back)


def at_work(record: JobRecord, address: str = "a", **fields) -> Running:
    return Running(record, Place(address, address, 1), None, False, **fields)


def test_what_died_with_its_worker_is_tried_twice_more_and_then_says_where_it_did():
    record = job(0)
    for tries in range(RETRIES):
        assert verdict(record, loss(f"GPU {tries}")) == ""
        record = record.model_copy(update={"losses": (*record.losses, loss(f"GPU {tries}"))})
    given_up = verdict(record, loss("GPU 7"))
    assert given_up.startswith(DIED) and "3 tries ended so, on GPU 0, GPU 1 and GPU 7." in given_up
    assert verdict(record, loss(why=TOO_BIG)).count("Take a smaller model") == 1
    assert [text.rpartition(": ")[2].split("It is ")[-1] for _, text in told(record.losses)] == [
        "tried again (1 of 2).",
        "tried again (2 of 2).",
    ]


def test_a_job_that_is_handed_back_keeps_its_tries_but_not_for_ever():
    back = loss(handed_back=True)
    record = job(0, losses=(loss(), *(back,) * (HAND_BACKS - 1)))
    assert verdict(record, back) == ""
    assert verdict(record, loss()) == "", "handing back is no try"
    tired = record.model_copy(update={"losses": (*record.losses, back)})
    assert f"That was the {HAND_BACKS + 1}th time. Give the workers a longer lifetime." in verdict(tired, back)


def test_a_worker_that_has_not_ended_under_a_job_is_taken_before_one_that_has_or_holds_its_model():
    places = {name: Place(name, name, 1) for name in ("a", "b", "c")}
    record = job(0, losses=(loss("a"), loss("b", handed_back=True)))
    assert list(untried(record, places)) == ["b", "c"]
    assert free_place(record, places, Work([], {"a": {}}, set())).address == "b"
    assert free_place(record, places, Work([], {"c": {}}, set())).address == "c", "of those the one with a model"
    busy = [at_work(job(1), "b"), at_work(job(2), "c")]
    assert free_place(record, places, Work(busy, {}, set())).address == "a", "rather there than nowhere"


def test_workers_that_end_or_cannot_run_jobs_get_none_while_there_are_others():
    places = {"a": Place("a", "a", 1, ending=True), "b": Place("b", "b", 1), "c": Place("c", "c", 1)}
    assert free_place(job(0), places, Work([], {}, set())).address == "b"
    assert free_place(job(0), places, Work([], {}, set(), {"b": "why"})).address == "c"
    assert free_place(job(0), places, Work([at_work(job(1), "c")], {}, set(), {"b": "why"})) is None, "it waits"
    assert free_place(job(0), places, Work([], {}, set(), {"a", "b", "c"})).address == "b", "they say what they lack"


def test_a_short_job_that_may_have_ended_two_workers_does_not_run_between_steps_any_more():
    work = Work([at_work(job(1), heard=True)], {"a": None}, set())
    short = {"kind": "record", "brief": True}
    assert long_job_for(job(0, **short, losses=(loss(),)), work) is not None
    assert long_job_for(job(0, **short, losses=(loss(), loss())), work) is None
    leaving = Work([at_work(job(1), heard=True, leaving="soon")], {"a": None}, set())
    assert long_job_for(job(0, **short), leaving) is None


def test_visitors_have_workers_by_turns_whoever_asked_first_for_forty():
    many = [job(number, "ann") for number in range(40)]
    waiting = [*many, job(40, "ben"), job(41, "ben"), job(42)]
    order = [record.id for record in in_turn(waiting, [], {})]
    assert order[:6] == ["0", "40", "42", "1", "41", "2"]
    busy = [at_work(job(50, "ann")), at_work(job(51), "b")]
    assert [record.id for record in in_turn(waiting, busy, {})][:4] == ["40", "0", "41", "42"], "who has least at work"
    served = {"ann": 3, "ben": 4, "": 1}
    assert [record.id for record in in_turn(waiting, [], served)][:3] == ["42", "0", "40"], "who was served longest ago"
    assert in_turn(many, busy, served) == many, "one visitor's own stay as asked"


def test_a_job_that_several_ask_for_comes_with_the_first_of_them():
    waiting = [job(0, "ann"), job(1, "ann"), job(2, "ann", "ben")]
    assert [record.id for record in in_turn(waiting, [], {})] == ["0", "2", "1"]


def test_one_device_alternates_between_two_visitors():
    queue = [job(number, "ann") for number in range(4)] + [job(number, "ben") for number in range(4, 8)]
    served: dict[str, int] = {}
    ran = []
    while queue:
        first = in_turn(queue, [], served)[0]
        queue.remove(first)
        ran.append(first.visitors[0])
        served[first.visitors[0]] = len(ran)
    assert ran == ["ann", "ben"] * 4
