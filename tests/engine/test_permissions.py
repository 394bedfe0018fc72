"""Who may do what on a shared server: the table, what may be named, how much may be asked, whose texts are listed."""

from pathlib import Path

import pytest

from analysis.engine import Engine, JobRecord
from analysis.engine.job_store import Label
from analysis.engine.permissions import (
    GUEST,
    LOOKS_ONLY,
    NOBODY,
    NOT_YOURS,
    OWNER,
    PERMISSIONS,
    Places,
    Visitor,
    check_folder,
    check_limits,
    check_model,
    check_named,
    is_listed,
    may,
)
from analysis.engine.runs import Run, remove, save_label
from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.specs import (
    CalibrationParams,
    EvaluateSpec,
    FootprintSpec,
    ImportSpec,
    LLaDASampling,
    ModelSpec,
    PruneSpec,
    RecordSetSpec,
    RecordSpec,
    StudySpec,
    SuggestSpec,
    SweepSpec,
)
from cache.environment import VariableError, VisitorLimits, value
from tests.helpers import ROOT, there

ADA, BOB, EVE = Visitor("run", "a" * 16), Visitor("run", "b" * 16), Visitor("look", "e" * 16)
SHORT = LLaDASampling(gen_length=4, steps=2)
TEXTS = ("bundled", "wikitext2")
COLUMNS = {"owner": "local", "run": "shared, role *run*", "look": "shared, role *look*", "guest": "demonstration"}
"""Titles in the docs, by role."""


def test_the_page_of_the_docs_shows_this_table():
    rows = [f"| who may | {' | '.join(COLUMNS.values())} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    rows += [f"| {row.what} | {' | '.join(map(row.of, COLUMNS))} |" for row in PERMISSIONS.values()]
    assert "\n".join(rows) in (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert all(row.of(role) for row in PERMISSIONS.values() for role in (*COLUMNS, "nobody"))


def test_every_role_may_what_the_table_says():
    assert all(may(OWNER, action) for action in PERMISSIONS)
    assert {action for action in PERMISSIONS if may(GUEST, action)} == {"see", "others", "record"}
    assert {action for action in PERMISSIONS if may(EVE, action)} == {"see", "others"}
    assert not any(may(NOBODY, action) for action in PERMISSIONS)
    with pytest.raises(KeyError):
        may(ADA, "fly")


# --- what may be named ------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch):
    for name in ("models", "models-2", "out", "tasks", "kept"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SINKSCOPE_MODEL_DIRS", str(tmp_path / "models"))
    monkeypatch.setenv("SINKSCOPE_OUTPUT_DIRS", str(tmp_path / "out"))
    monkeypatch.setenv("SINKSCOPE_TASK_DIRS", str(tmp_path / "tasks"))
    monkeypatch.setenv("SINKSCOPE_HUB_MODELS", "GSAI-ML/LLaDA-8B-Base owner/name")
    (tmp_path / "models" / "link").symlink_to("/etc")
    return Places.of((tmp_path / "kept",))


def refused(spec, places) -> str:
    with pytest.raises(UserError) as caught:
        check_named(spec, places, TEXTS)
    return str(caught.value)


def test_models_of_the_list_and_the_folders_are_opened_and_no_others(places, tmp_path):
    for source in ("bundled", "bundled-ar", "llada-8b-base", "GSAI-ML/LLaDA-8B-Base", "owner/name"):
        check_model(source, places)
    for folder in ("models", "models/deep/er", "out/pruned", "kept/key/model"):
        check_model(str(tmp_path / folder), places)
    for source in (
        "gpt2",
        "dream-7b-base",
        "owner/other",
        "/etc",
        "~",
        ".",
        "../..",
        str(tmp_path / "models-2"),
        str(tmp_path / "models" / ".." / "secret"),
        str(tmp_path / "models" / "link" / "passwd"),
        "a\0b",
        "x" * 5000,
    ):
        with pytest.raises(UserError, match="does not open the model"):
            check_model(source, places)


def test_a_folder_that_is_called_like_a_listed_model_is_not_taken_for_it(places, tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        check_model("owner/name", places)


def test_every_place_that_a_job_can_name_is_asked(places, tmp_path):
    inside, tasks = str(tmp_path / "models" / "a"), str(tmp_path / "tasks")
    calibration = CalibrationParams(data="/etc/passwd")
    for spec in (
        RecordSpec(model=ModelSpec(source="/etc")),
        EvaluateSpec(compare=(ModelSpec(source=inside), ModelSpec(source="/etc"))),
        EvaluateSpec(include_path="/etc"),
        EvaluateSpec(tasks=("/etc/task.yaml",)),
        SuggestSpec(include_path=inside),
        PruneSpec(out="/etc"),
        PruneSpec(out=inside),
        PruneSpec(calibration=calibration),
        SweepSpec(pruning=PruneSpec(calibration=calibration)),
        StudySpec(data="/etc/passwd"),
        ImportSpec(folders=(inside, "/etc")),
        ImportSpec(folders=(inside,), beside=("/etc",)),
        FootprintSpec(pruned="/etc"),
    ):
        assert "This server" in refused(spec, places), spec
    for spec in (
        RecordSpec(),
        EvaluateSpec(compare=(ModelSpec(source=inside),), include_path=tasks),
        PruneSpec(out=str(tmp_path / "out" / "a"), calibration=CalibrationParams(data=inside + ".txt")),
        PruneSpec(calibration=CalibrationParams(data="wikitext2")),
        ImportSpec(folders=(inside,)),
        SweepSpec(),
        StudySpec(),
    ):
        check_named(spec, places, TEXTS)


NO_PLACES = {"prompt", "parent", "word", "prompts", "own_prompts", "skip_projections", "names", "filters", "metrics"}
NO_PLACES |= {"searched", "step_ranges", "shard", "keys", "own_keys", "kept"}
NO_PLACES |= {"made", "version", "outcome", "contrasts", "power", "digest", "settings", "margins"}  # of a plan
PLACES = {"source", "data", "out", "pruned", "tasks", "include_path", "folders", "beside"}


def test_no_text_of_a_job_is_forgotten_that_could_name_a_place():
    """A new field of text is either asked about or written down here as one that names nothing on the disk."""
    from tests.engine.texts_of_specs import texts_of

    found = {
        name
        for job in JOBS.values()
        for name in texts_of(job.spec)
        if job.run is None or "tests" not in job.run.__module__
    }
    assert found - NO_PLACES - PLACES == set()
    assert found >= PLACES


def test_without_variables_only_the_store_and_the_offered_models_are_open(tmp_path, monkeypatch):
    bare = Places.of((tmp_path,))
    check_model("dream-7b-base", bare)
    check_folder(str(tmp_path / "x"), bare)
    for source in ("owner/name", "/etc"):
        with pytest.raises(UserError):
            check_model(source, bare)
    monkeypatch.setenv("SINKSCOPE_HUB_MODELS", "none")
    with pytest.raises(UserError):
        check_model("dream-7b-base", Places.of((tmp_path,)))


# --- how much may be asked --------------------------------------------------------------------------------------

LIMITS = VisitorLimits(jobs=2, characters=20, steps=8, disk=1000)


@pytest.mark.parametrize(
    ("spec", "waiting", "stored", "says"),
    [
        (RecordSpec(prompt="x" * 21, sampling=SHORT), 0, 0, "20 characters"),
        (
            RecordSetSpec(prompts="own", count=2, own_prompts=("x" * 11, "y" * 11), sampling=SHORT),
            0,
            0,
            "20 characters",
        ),
        (RecordSpec(prompt="x", sampling=LLaDASampling(gen_length=9, steps=9)), 0, 0, "8 steps"),
        (RecordSpec(prompt="x", sampling=SHORT), 2, 0, "run or wait"),
        (RecordSpec(prompt="x", sampling=SHORT), 0, 1000, "Remove some"),
    ],
)
def test_what_goes_beyond_a_visitors_limits_is_refused(spec, waiting, stored, says):
    with pytest.raises(UserError, match=says):
        check_limits(spec, LIMITS, waiting, stored)


def test_what_is_within_them_is_not():
    check_limits(RecordSpec(prompt="x" * 20, sampling=LLaDASampling(gen_length=8, steps=8)), LIMITS, 1, 999)
    check_limits(PruneSpec(), LIMITS, 1, 999)


def test_limits_are_read_from_one_variable(monkeypatch):
    monkeypatch.setenv("SINKSCOPE_VISITOR_LIMITS", "jobs=4 disk=5GiB")
    assert value("SINKSCOPE_VISITOR_LIMITS") == VisitorLimits(jobs=4, disk=5 * 2**30)
    for wrong in ("jobs", "jobs=0", "speed=3", "disk=lots", "jobs=-1"):
        monkeypatch.setenv("SINKSCOPE_VISITOR_LIMITS", wrong)
        with pytest.raises(VariableError, match="SINKSCOPE_VISITOR_LIMITS"):
            value("SINKSCOPE_VISITOR_LIMITS")


# --- the engine goes by it --------------------------------------------------------------------------------------


class Server:
    """An engine without workers, and who asks it."""

    def __init__(self, store) -> None:
        self.who = OWNER
        self.engine = Engine(store, who=lambda: self.who)
        self.engine._dispatcher.add = lambda job_id: None  # type: ignore[method-assign]  # nothing shall run

    def as_(self, who: Visitor) -> Engine:
        self.who = who
        return self.engine


@pytest.fixture
def server(store):
    made = Server(store)
    yield made
    made.engine.close()


def asked(prompt: str) -> RecordSpec:
    return RecordSpec(prompt=prompt, sampling=SHORT)


def done(server: Server, record: JobRecord, size: int = 100) -> JobRecord:
    """Ends a job as if it had run."""
    server.engine.store.add_result(there(record.key), {}, _file(server.engine.store.incoming / record.id, size))
    server.engine._job_store.finish(record.id, "done")
    return there(server.engine.job(record.id))


def _file(path: Path, size: int) -> Path:
    path.write_bytes(b"x" * size)
    return path


def test_who_may_look_starts_and_changes_nothing(server):
    job = done(server, server.as_(ADA).submit("record", asked("mia has a dog .")))
    engine = server.as_(EVE)
    run = Run("0" * 12, "pruned", "a run", "source", "bundled", 0.0, record=job)
    for act, *given in (
        (engine.submit, "record", asked("mia has a cat .")),
        (engine.submit, "record", asked("mia has a dog .")),
        (engine.submit, "prune", PruneSpec()),
        (engine.submit, "sweep", SweepSpec()),
        (engine.submit, "study", StudySpec()),
        (engine.foresee, SweepSpec()),
        (engine.receive_recording, b"", "a file"),
        (engine.cancel, job.id),
        (engine.retry_failed, job.id),
        (engine.finish_early, job.id),
        (engine.forget, job.id),
        (engine.forget_result, job),
        (engine.authorizer.check_folder, str(engine.store.kept)),
        (remove, engine, [job]),
        (save_label, engine, run, Label(name="mine")),
    ):
        with pytest.raises(UserError, match=LOOKS_ONLY[:30]):
            act(*given)
    assert not engine.cancel(job.id, "a tab")
    assert engine.has_result(job), "what is stored is read"


def test_who_is_not_logged_in_may_nothing(server):
    with pytest.raises(UserError, match="not logged in"):
        server.as_(NOBODY).submit("record", asked("mia has a dog ."))


def test_nothing_that_may_not_be_named_is_looked_at(server, tmp_path, monkeypatch):
    """Else the answer would tell what lies on the disk."""
    import analysis.engine.engine as module

    monkeypatch.setattr(module, "known_key", lambda *_: pytest.fail("it was looked for"))
    with pytest.raises(UserError, match="does not open the model"):
        server.as_(ADA).submit("record", RecordSpec(model=ModelSpec(source=str(tmp_path))))
    with pytest.raises(UserError, match="does not open the model"):
        server.as_(ADA).foresee(SweepSpec(model=ModelSpec(source=str(tmp_path))))


@pytest.mark.parametrize("who", [OWNER, ADA])
@pytest.mark.parametrize("place", ["kept/one/pruned-wanda", "models/one", "", "elsewhere/../kept/one", "link/one"])
def test_nobody_has_a_model_written_into_the_store_by_its_path(server, tmp_path, monkeypatch, who, place):
    store = server.engine.store
    server.who = who
    (store.kept / "one" / "pruned-wanda").mkdir(parents=True)
    (store.root / "link").symlink_to(store.kept)
    spec = PruneSpec(out=str(store.root / place), overwrite=True)
    for asked in (spec, SweepSpec(pruning=spec)):
        with pytest.raises(UserError, match="lies inside SinkScope's store"):
            server.engine.authorizer.check_job("prune", asked)
    with pytest.raises(UserError, match="lies inside SinkScope's store"):
        server.engine.submit("prune", spec)


def test_the_bounds_count_what_a_visitor_has_asked_for(server, monkeypatch):
    server.engine.authorizer._limits = VisitorLimits(jobs=2, disk=150)
    first = server.as_(ADA).submit("record", asked("one"))
    server.as_(ADA).submit("record", asked("two"))
    with pytest.raises(UserError, match="run or wait"):
        server.as_(ADA).submit("record", asked("three"))
    assert server.as_(ADA).submit("record", asked("one")).id == first.id, "the same question is no further job"
    server.as_(BOB).submit("record", asked("three"))
    done(server, first, 200)
    with pytest.raises(UserError, match="takes"):
        server.as_(ADA).submit("record", asked("four"))
    server.as_(BOB).submit("record", asked("four"))


def test_the_prompt_of_a_visitor_is_listed_to_no_other_until_it_is_shared(server):
    mine = server.as_(ADA).submit("record", asked("my own words"))
    of_all = server.as_(ADA).submit("prune", PruneSpec(method="magnitude"))
    for other in (BOB, EVE):
        assert [job.id for job in server.as_(other).jobs()] == [of_all.id], "a job without words is listed to all"
    assert (
        {job.id for job in server.as_(ADA).jobs()}
        == {mine.id, of_all.id}
        == {job.id for job in server.as_(OWNER).jobs()}
    )
    with pytest.raises(UserError, match="yours to share"):
        server.as_(BOB).share(mine.id)
    server.as_(ADA).share(mine.id)
    assert mine.id in {job.id for job in server.as_(EVE).jobs("record")}
    server.as_(ADA).share(mine.id, False)
    assert server.as_(EVE).jobs("record") == []


def test_who_asks_the_same_is_listed_the_same(server):
    first = server.as_(ADA).submit("record", asked("my own words"))
    assert server.as_(BOB).submit("record", asked("my own words")).id == first.id
    assert [job.id for job in server.as_(BOB).jobs("record")] == [first.id]
    done(server, first)
    third = Visitor("run", "c" * 16)
    assert server.as_(third).submit("record", asked("my own words")).id == first.id
    assert [job.id for job in server.as_(third).jobs("record")] == [first.id]


def test_what_two_asked_for_neither_stops_or_removes(server):
    job = server.as_(ADA).submit("record", asked("my own words"), "tab a")
    with pytest.raises(UserError, match=NOT_YOURS[:20]):
        server.as_(BOB).cancel(job.id)
    assert not server.as_(BOB).cancel(job.id, "tab b") and not server.engine.job(job.id).ended
    server.as_(BOB).submit("record", asked("my own words"), "tab b")
    with pytest.raises(UserError, match=NOT_YOURS[:20]):
        server.as_(ADA).cancel(job.id)
    assert not server.as_(ADA).cancel(job.id, "tab a", lambda tab: True), "the other one still waits"
    assert server.as_(BOB).cancel(job.id, "tab b", lambda tab: True)
    assert server.engine.job(job.id).state == "cancelled"


def test_only_ones_own_is_removed(server):
    job = done(server, server.as_(ADA).submit("record", asked("my own words")))
    for act, *given in (
        (server.engine.forget, job.id),
        (server.engine.forget_result, job),
        (remove, server.engine, [job]),
    ):
        server.as_(BOB)
        with pytest.raises(UserError, match=NOT_YOURS[:20]):
            act(*given)
    remove(server.as_(ADA), [job])
    assert server.engine.job(job.id) is None


def test_on_ones_own_machine_all_is_listed_and_asked_as_ever(server):
    job = server.as_(OWNER).submit("record", asked("my own words"))
    assert job.visitors == () and is_listed(job, BOB)
    server.as_(OWNER).cancel(job.id)
    assert server.engine.job(job.id).state == "cancelled"
