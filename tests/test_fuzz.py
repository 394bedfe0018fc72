"""Whatever a file, an address or a parameter holds: it is taken, or refused in a sentence; nothing else is raised.

`make fuzz` gives every door all its hostile inputs (`tests.fuzz.doors`), and searches the two binary readers for
longer, led by what of them each input runs.
"""

import contextlib
import json
import math
import os
import re
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.calibration.text import calibration_text
from analysis.errors import UserError
from analysis.evaluation.lm_eval_results import models_in, read_samples
from analysis.models.checkpoint import find
from analysis.models.weight_files import header
from analysis.recording.trajectory_file import open_trajectory, save
from analysis.sinks.discount import token_weights
from analysis.specs import CalibrationParams, DiscountParams
from pages.parts import door, guards
from tests.fuzz import door_files, door_servers, door_words, doors  # noqa: F401  each adds its doors
from tests.ui.test_door import ask, inside

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 0))
# The same examples in every run of the suite; `make fuzz` looks for others.
BOUNDED = settings(max_examples=EXAMPLES or 40, derandomize=not EXAMPLES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", doors.DOORS)
def test_hostile_inputs_of_every_door_are_answered_rightly(name):
    """The first of those that `make fuzz` gives it."""
    assert list(doors.run(name, seed=0, share=0.05)) == []


def test_an_input_that_is_answered_wrongly_is_told(monkeypatch):
    def wrong(error):
        def answer(dice):
            raise error

        return doors.Door(1, lambda place: answer)

    for error, told in (
        (KeyError("x"), "KeyError"),
        (UserError(""), "empty"),
        (UserError("SafetensorError(x)"), "library"),
        (UserError("x" * 3000), "3000 characters"),
    ):
        monkeypatch.setitem(doors.DOORS, "broken", wrong(error))
        (line,) = doors.run("broken", seed=0)
        assert line.startswith("broken 0 0: ") and told in line


def taken_or_refused(read) -> None:
    """Runs something that may raise a UserError with a sentence, and nothing else."""
    try:
        read()
    except UserError as error:
        assert str(error).strip().endswith((".", "?")) and "\n" not in str(error), str(error)
        assert len(str(error)) < 1500


@pytest.fixture(scope="module")
def recording(trajectory, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "recording.safetensors"
    save(trajectory, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def spoiled(content: bytes, cut: int, changes: list[tuple[int, int]]) -> bytes:
    """A file with bytes changed, and cut off."""
    data = bytearray(content[: cut % (len(content) + 1)] if cut else content)
    for at, value in changes:
        if data:
            data[at % min(len(data), 4096)] = value  # in its description, where a change says something else
    return bytes(data)


CHANGES = st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=6)


@BOUNDED
@given(cut=st.integers(0, 100_000), changes=CHANGES)
def test_a_recording_with_bytes_changed(recording, place, cut, changes):
    path = place / "file.safetensors"
    path.write_bytes(spoiled(recording, cut, changes))
    taken_or_refused(lambda: open_trajectory(path))
    taken_or_refused(lambda: header(path))


@BOUNDED
@given(key=st.text(max_size=10), value=JSON, where=st.integers(0, 30))
def test_a_recording_that_says_something_else_of_itself(recording, place, key, value, where):
    length = int.from_bytes(recording[:8], "little")
    described = json.loads(recording[8 : 8 + length])
    said = json.loads(described["__metadata__"]["sinkscope"])
    names = [*said, key]
    said[names[where % len(names)]] = value
    described["__metadata__"]["sinkscope"] = json.dumps(said)
    text = json.dumps(described).encode()
    path = place / "said.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + recording[8 + length :])
    taken_or_refused(lambda: open_trajectory(path))


@BOUNDED
@given(content=st.binary(max_size=300), kind=st.sampled_from([".txt", ".jsonl", ".json", ""]))
def test_any_calibration_file(bundled, place, content, kind):
    path = place / f"text{kind}"
    path.write_bytes(content)
    _calibrate(bundled, path)


@BOUNDED
@given(
    rows=st.lists(
        st.fixed_dictionaries({}, optional={"text": JSON, "input_ids": JSON | st.lists(st.integers())}), max_size=4
    )
)
def test_any_lines_of_a_calibration_file(bundled, place, rows):
    path = place / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    _calibrate(bundled, path)


def _calibrate(model, path) -> None:
    params = CalibrationParams(data=str(path), samples=2, seq_len=8)
    taken_or_refused(
        lambda: calibration_text(params, model.tokenizer, model.geometry.max_length, model.geometry.vocabulary)
    )


@BOUNDED
@given(source=st.text(max_size=60) | st.text("/.~ab\0", max_size=12))
def test_any_model_that_is_named(source):
    taken_or_refused(lambda: find(source))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@BOUNDED
@given(
    path=TEXT,
    query=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    cookie=st.binary(max_size=60),
)
def test_any_address_is_refused_or_leads_to_this_server(path, query, cookie):
    guard = guards.Door(inside, "a-key-of-this-server")
    address = f"/{path.replace('?', '')}?{query}"
    for asked in (address, f"{address}&token=a-key-of-this-server"):
        status, headers, _ = ask(guard, asked, cookie=cookie.decode("latin-1"))
        assert status in (200, 307, 403)
        if status == 307:
            where = headers[b"location"].decode("ascii")
            assert re.match(r"(\.\./)*~", where) and "\n" not in where and "\r" not in where
            led = urlsplit(urljoin("http://localhost:8501/", where))
            assert led.netloc == "localhost:8501" and door.divide(led.path)[0]


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-10, 60)


@BOUNDED
@given(
    given_values=st.fixed_dictionaries(
        {},
        optional={
            "sink_std": NUMBERS,
            "sink_alpha": NUMBERS,
            "discount_strength": NUMBERS,
            "alpha_unit": st.sampled_from(["raw", "std", "other"]),
            "sink_score": st.sampled_from(["soft", "hard", ""]),
            "sink_scope": st.sampled_from(["model", "layer"]),
            "sink_steps": st.sampled_from(["each", "mean"]),
        },
    ),
    masses=st.lists(st.floats(0, 1e4, width=32), min_size=8, max_size=8),
)
def test_any_discount_is_refused_or_weighs_every_token_between_none_and_full(given_values, masses):
    try:
        params = DiscountParams(**given_values)
    except ValidationError:
        return
    weights = token_weights(np.array(masses, np.float32).reshape(1, 1, 2, 4), params)
    assert np.isfinite(weights).all()
    assert weights.min() >= 1 - params.discount_strength - 1e-6 and weights.max() <= 1 + 1e-6
    assert not math.isnan(params.sink_std)


@BOUNDED
@given(
    results=JSON,
    configs=st.dictionaries(st.text("abc/.", max_size=6), JSON, max_size=3),
    rows=st.lists(JSON, max_size=4),
)
def test_any_folder_of_lm_eval_results(place, results, configs, rows):
    folder = place / "results"
    folder.mkdir(exist_ok=True)
    date = "2026-01-01T00-00-00.000000"
    said = {"results": results, "configs": configs, "config": {"model_args": results}}
    for content in (said, results):
        (folder / f"results_{date}.json").write_text(json.dumps(content))
        lines = "\n".join(map(json.dumps, rows))
        for task in configs:
            with contextlib.suppress(OSError):
                (folder / f"samples_{task.replace('/', '')}_{date}.jsonl").write_text(lines)
        taken_or_refused(
            lambda: [list(read_samples(task)) for model in models_in(folder) for task in model.tasks.values()]
        )
    for file in folder.iterdir():
        file.unlink()
