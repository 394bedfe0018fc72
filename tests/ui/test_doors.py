"""Whatever is typed, opened or linked to on a page ends in one sentence, shown as plain text."""

import json
import os
import re

import pytest
from streamlit.testing.v1 import AppTest

from analysis.recording.trajectory_file import open_trajectory, save
from analysis.specs import LLaDASampling, RecordSpec
from pages.explore import TABS
from pages.parts.explore.dynamics import VIEWS
from pages.parts.session import engine, why
from tests.helpers import ROOT
from tests.ui.helpers import another_model, app, prompt_box, texts, unfold

pytestmark = pytest.mark.slow

PAGES = [f"pages/{name}.py" for name in ("start", "explore", "evidence", "causes", "prune", "runs")]
PICTURE = "![x](http://evil.test/a.png)"
NAMES = {
    "picture": PICTURE,
    "long": "a" * 5000,
    "NUL": "a\0b",
    "blank": "  ",
    "dots": "../..",
    "newline": "a\n\n# b",
    "folder": str(ROOT / "tests"),
    "file": str(ROOT / "app.py"),
}


@pytest.fixture(scope="module")
def recording():
    sampling = LLaDASampling(gen_length=8, steps=4)
    return engine().wait(engine().submit("record", RecordSpec(prompt="mia has a dog .", sampling=sampling)).id, 300)


def visit(page: str, **query: str) -> AppTest:
    """A page opened at an address. Nothing on it may be an exception or Markdown from outside."""
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    for name, value in query.items():
        test.query_params[name] = value
    return checked(test.switch_page(page).run())


def checked(test: AppTest) -> AppTest:
    """No exception, and no picture that Markdown would fetch, in any text, label or help."""
    assert not test.exception, test.exception[0].stack_trace
    for element in [*test.main, *test.sidebar]:
        for text in words(element.proto):
            assert PICTURE not in INLINE_CODE.sub("", text), (element.type, text[:200])
    return test


INLINE_CODE = re.compile(r"(`+).*?\1")
MARKDOWN = ("body", "label", "help", "delta", "text", "tooltip", "title")


def words(proto) -> list[str]:
    """The texts of an element that the browser reads as Markdown. Code, preformatted text and escaped HTML are not."""
    if proto is None or not hasattr(proto, "ListFields") or proto.DESCRIPTOR.name in ("Code", "Html", "Json", "Text"):
        return []
    found = []
    for field, value in proto.ListFields():
        if field.type == field.TYPE_STRING and field.name in MARKDOWN and isinstance(value, str):
            found.append(value)
    return found


def told(test: AppTest) -> str:
    return "\n".join(element.value for element in [*test.error, *test.warning, *test.info])


@pytest.mark.parametrize("page", PAGES)
def test_any_model_in_the_address_ends_in_a_sentence(page, recording):
    for name in NAMES if page == "pages/start.py" else ("picture",):
        test = visit(page, source=NAMES[name], ask="true")
        assert told(test) or page in ("pages/evidence.py", "pages/explore.py"), name


def test_unknown_choices_in_the_address_of_a_model_are_said():
    test = visit(PAGES[0], source="bundled", device="abacus")
    assert "names what is not here" in told(test) and "bundled is in use" in told(test)


@pytest.mark.parametrize("name", NAMES)
def test_any_model_that_is_typed_ends_in_a_sentence(name):
    test = visit("pages/runs.py")
    another_model(test, NAMES[name])
    checked(test.button(key="load_model").click().run())
    if "model_message" in test.session_state:
        assert "stays in use" in told(test)
    else:
        job = engine().jobs("load")[0]
        assert engine().wait(job.id, 300).state == "failed"
        checked(test.run())
        assert "stays in use" in told(test)


PROMPTS = {"long": "x " * 30_000, "NUL": "a\0b", "empty": "", "blank": "  ", "picture": PICTURE}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_any_prompt_is_taken_or_refused_in_a_sentence(prompt, recording):
    test = app("pages/explore.py", "fold_record", recording=recording.id)
    for box, value in (("gen_length", 8), ("steps", 4)):
        test.number_input(key=f"bundled_{box}").set_value(value)
    prompt_box(test).set_value(prompt).run()
    before = len(engine().jobs("record"))
    if test.button(key="record").disabled:  # what speaks against it is said beforehand
        assert "Shorten it" in told(test) or "empty" in told(test)
        return
    checked(test.button(key="record").click().run())
    if len(engine().jobs("record")) == before:
        assert test.error
        assert len(prompt) <= 50_000 or "50000" in told(test)
    else:
        job = engine().jobs("record")[0]
        engine().wait(job.id, 300)
        checked(test.run())


@pytest.mark.parametrize("name", NAMES)
def test_any_calibration_text_ends_in_a_sentence(name, tmp_path):
    checked(visit("pages/prune.py", prune_data=NAMES[name]))


def test_calibration_files_that_cannot_be_read_are_said(tmp_path):
    binary, deep = tmp_path / "binary.txt", tmp_path / "deep.jsonl"
    binary.write_bytes(os.urandom(4096))
    deep.write_text("[" * 100_000)
    for path in (binary, deep, tmp_path / "missing.txt", tmp_path):
        test = visit("pages/prune.py", prune_data=str(path))
        buttons = [button for button in test.button if button.key == "tuning_calibrate"]
        if buttons:
            checked(buttons[0].click().run())
            for job in engine().jobs("calibrate")[:1]:
                engine().wait(job.id, 300)
            checked(test.run())
        assert told(test), path


@pytest.mark.parametrize("name", NAMES)
def test_any_pruned_model_that_is_named_ends_in_a_sentence(name):
    test = visit("pages/runs.py", runs_view="Masks", first=NAMES[name], second=str(ROOT))
    assert test.error, name


def test_ids_that_are_not_in_the_store_are_said(recording):
    test = visit(
        "pages/explore.py", tab="Dynamics", recording=recording.id, compare=f"nothing,{PICTURE}", reference="nobody"
    )
    assert "no recording nothing" in told(test) and "no left-to-right recording nobody" in told(test)
    assert "not in the store" in told(visit("pages/causes.py", recording=PICTURE))
    assert "newest one instead" in told(visit("pages/explore.py", recording="nothing"))


def test_nothing_is_promised_instead_where_the_store_has_none(monkeypatch):
    monkeypatch.setattr(type(engine()), "jobs", lambda *_: [])
    for path, query in (
        ("pages/explore.py", {"recording": "nothing"}),
        ("pages/runs.py", {"runs_view": "Accuracy", "evaluation": "nothing"}),
    ):
        warned = told(visit(path, **query))
        assert "not in the store" in warned and "newest" not in warned, path


def test_a_recording_full_of_markup_is_shown_as_text(recording, tmp_path):
    """A file from elsewhere: its prompt, its model's name and its tokens are all hostile."""
    from dataclasses import replace

    trajectory = open_trajectory(engine().result(recording).file)
    info = trajectory.info
    model = info.model.model_copy(update={"source": PICTURE, "architecture": PICTURE, "fingerprint": "f" * 32})
    tokens = dict.fromkeys(info.tokens, PICTURE)
    path = tmp_path / "shared.safetensors"
    hostile = info.model_copy(update={"model": model, "prompt": PICTURE, "tokens": tokens, "final_text": PICTURE})
    save(replace(trajectory, info=hostile), path)
    record = engine().add_recording(path)
    dynamics = [{"tab": "Dynamics", "dynamics_view": view} for view in VIEWS]
    causes = [
        {"causes_view": view} for view in ("Many prompts", "One prompt", "Cache eviction", "Dense against pruned")
    ]
    views = {"pages/explore.py": [*({"tab": tab} for tab in TABS), *dynamics], "pages/causes.py": causes}
    for page in PAGES:
        for view in views.get(page, [{}]):
            test = visit(page, recording=record.id, compare=recording.id, **view)
            if page in views:
                assert "evil" in texts(test) + str([box.options for box in test.selectbox]), page


def test_what_is_caught_is_one_sentence_and_a_bug_is_not_caught():
    for error in (
        OSError(36, "File name too long", "a" * 4000),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ValueError("embedded null byte"),
        PermissionError("no"),
    ):
        assert why(error).endswith((".", "again.")) and len(why(error)) < 400 and "\n" not in why(error)
    with pytest.raises(ValueError, match="shapes"):
        why(ValueError("shapes (3,) and (4,) not aligned"))


def test_any_file_that_is_dropped_on_a_page_ends_in_a_sentence(recording):
    whole = engine().result(recording).file.read_bytes()
    for name, content in (
        ("empty.safetensors", b""),
        ("noise.safetensors", os.urandom(2000)),
        (f"{PICTURE[:6]}.safetensors", whole[:500]),
        ("long" * 60 + ".safetensors", b"{}"),
        ("short.safetensors", whole[:-100]),
    ):
        test = unfold(visit("pages/explore.py", recording=recording.id), "fold_compare")
        checked(test.file_uploader[0].upload(name, content).run())
        assert test.error, name


def test_settings_in_an_address_that_cannot_be_read_are_said():
    for broken in ("{", json.dumps({"sparsity": 7}), "null", PICTURE):
        visit("pages/prune.py", tuning_a=broken, tune_steps=PICTURE)
