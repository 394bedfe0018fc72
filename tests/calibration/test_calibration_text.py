"""Calibration text from files and from the hub: how much of it is read, what is drawn, and what goes wrong."""

import gzip
import json
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from analysis.calibration import text as text_files
from analysis.calibration import text as texts
from analysis.calibration.text import calibration_text
from analysis.errors import UserError
from analysis.jobs.calibration import _texts
from analysis.specs import CalibrateSpec, CalibrationParams

BIG = 24 * 2**20  # bytes
WORDS = ["the", "river", "ran", "past", "a", "green", "house", "where", "Mia", "saw", "three", "birds"]


class Counted:
    """A real tokenizer that counts the characters it is given."""

    def __init__(self, tokenizer):
        self._tokenizer, self.characters, self.calls = tokenizer, 0, 0
        self.eos_token_id = tokenizer.eos_token_id

    def __call__(self, text, **options):
        self.characters, self.calls = self.characters + len(text), self.calls + 1
        return self._tokenizer(text, **options)


def words(count, seed=0):
    """Random text of so many words."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, count).tolist())


def params(path, **options):
    return CalibrationParams(data=str(path), **{"samples": 2, "seq_len": 16} | options)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A large file of each kind."""
    folder = tmp_path_factory.mktemp("big")
    stretch = words(20_000)
    (folder / "own.txt").write_text((stretch + "\n") * (BIG // len(stretch) + 1), encoding="utf-8")
    line = json.dumps({"text": stretch[:4000]}) + "\n"
    (folder / "own.jsonl").write_text(line * (BIG // len(line) + 1), encoding="utf-8")
    with (folder / "ids.jsonl").open("w", encoding="utf-8") as file:
        for start in range(0, 4_000_000, 50_000):  # a few long lists: 80 lines of 340 kB
            file.write(json.dumps({"input_ids": list(range(start, start + 50_000))}) + "\n")
    return folder


# --- a large file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["own.txt", "own.jsonl"])
def test_a_large_file_is_read_and_tokenized_as_far_as_needed(bundled, big, name):
    tokenizer = Counted(bundled.tokenizer)
    tracemalloc.start()
    found = calibration_text(params(big / name), tokenizer, 256, bundled.geometry.vocabulary)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tokens.shape == (2, 16)
    assert tokenizer.characters < 10_000 and tokenizer.calls < 20
    assert peak < 2 * 2**20
    shown = [bundled.tokenizer.decode(row) for row in found.tokens]
    whole = (big / "own.txt").read_text(encoding="utf-8").replace("\n", " ")
    # A window begins at a word; its last token may be half of one.
    assert all(" ".join(one.split()[:8]) in whole for one in shown)


@pytest.mark.parametrize("name", ["own.txt", "own.jsonl", "ids.jsonl"])
def test_places_of_a_large_file_follow_the_seed(bundled, big, name):
    def drawn(**options):
        tokenizer = None if name.startswith("ids") else bundled.tokenizer
        return calibration_text(params(big / name, **options), tokenizer, 256, 4_000_000).tokens

    assert np.array_equal(drawn(), drawn())
    assert np.array_equal(drawn(), drawn(samples=5)[:2])
    assert not np.array_equal(drawn(), drawn(seed=1))


def test_windows_of_a_large_file_never_overlap_and_come_from_all_of_it(big):
    """Token ids that occur once: overlapping windows would share some."""
    found = calibration_text(params(big / "ids.jsonl", samples=400), None, 256, 4_000_000).tokens
    assert found.shape == (400, 16)
    assert len(np.unique(found)) == found.size
    assert (np.diff(found, axis=1) == 1).all() and (found[:, 0] % 16 == 0).all()
    assert np.histogram(found[:, 0], 8, (0, 4_000_000))[0].min() > 25


def test_lists_cut_to_length_beforehand_are_taken_as_they_are(tmp_path):
    path = tmp_path / "cut.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, 800_000, 16):
            file.write(json.dumps({"input_ids": list(range(start, start + 16))}) + "\n")
    assert path.stat().st_size > texts.SMALL
    found = calibration_text(params(path, samples=500), None, 256, 800_000).tokens
    assert found.shape == (500, 16) and len(np.unique(found)) == found.size and (found[:, 0] % 16 == 0).all()


def test_held_out_sequences_of_a_large_file_share_no_token_with_the_others(big):
    model = SimpleNamespace(
        tokenizer=None,
        mask_token=4_000_001,
        geometry=SimpleNamespace(max_length=256, vocabulary=4_000_000),
        architecture=SimpleNamespace(by_blocks=False),
    )
    calibration = CalibrationParams(
        data=str(big / "ids.jsonl"), samples=40, seq_len=32, diffusion_steps=1, step_interval=1, noise_eps=0.0
    )
    rows = {}

    def keep(tokens, own, mask, beside_clean):
        rows[own.seed] = set(tokens.ravel().tolist())
        return tokens[:, None]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.jobs.calibration.noised_sequences", keep)
        _texts(model, model.mask_token, CalibrateSpec(calibration=calibration, heldout=16))
    assert len(rows[2]) == 16 * 32 and not rows[2] & (rows[0] | rows[1])


def test_a_place_that_cuts_through_a_character_reads_on_from_the_next(bundled, tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("Mia säh ä grün birδ 鳥 🐦 . " * 200_000, encoding="utf-8")
    found = calibration_text(params(path, samples=50), bundled.tokenizer, 256, bundled.geometry.vocabulary)
    # The last token of a window may be a part of a character.
    assert not any("�" in bundled.tokenizer.decode(row).rstrip("�") for row in found.tokens)


def test_a_large_file_with_little_text_is_cut_whole(bundled, tmp_path):
    path = tmp_path / "own.txt"
    path.write_text((words(16 * 8) + " " * 600_000) * 10, encoding="utf-8")
    assert path.stat().st_size > texts.SMALL
    found = calibration_text(params(path, samples=40), bundled.tokenizer, 256, bundled.geometry.vocabulary)
    assert found.tokens.shape == (40, 16)


# --- a small file -----------------------------------------------------------------------------------------------


def test_pieces_make_the_tokens_of_the_whole(bundled, tmp_path, monkeypatch):
    path = tmp_path / "own.txt"
    content = words(3000)
    path.write_text(content, encoding="utf-8")
    whole = bundled.tokenizer(content, verbose=False).input_ids
    monkeypatch.setattr(text_files.in_pieces, "__defaults__", (100, True, True))
    pieces = list(text_files.TEXT_FILES[".txt"].whole(path))
    assert len(pieces) > 100 and "".join(piece.content for piece in pieces) == content
    assert [(piece.first, piece.last) for piece in (pieces[0], pieces[1], pieces[-1])] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    lists = texts._token_lists(pieces, bundled.tokenizer, bundled.geometry.vocabulary, "own")
    assert [token for ids, _ in lists for token in ids] == [*whole, bundled.tokenizer.eos_token_id]


def test_a_byte_order_mark_is_no_text(bundled, tmp_path):
    for name, content in (("own.txt", words(200)), ("own.jsonl", json.dumps({"text": words(200)}))):
        (tmp_path / name).write_text(content, encoding="utf-8")
        plain = calibration_text(params(tmp_path / name), bundled.tokenizer, 256, bundled.geometry.vocabulary).tokens
        (tmp_path / name).write_text(content, encoding="utf-8-sig")
        marked = calibration_text(params(tmp_path / name), bundled.tokenizer, 256, bundled.geometry.vocabulary).tokens
        assert np.array_equal(plain, marked)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"input_ids": [1, true, 2]}\n', "outside this model's vocabulary"),
        (b'\n{"text": "half a pair \\ud83d here"}\n', r"Line 2 .*surrogate pair \(\\ud83d\)"),
        (b'{"text": ' + b"[" * 100_000 + b"\n", "Line 1 .*not a JSON object"),
        (b'{"text": "caf\xe9"}\n', "UTF-8"),
        (b'{"text": "' + b"a" * (64 * 2**20) + b'"}\n', "line from byte 0 .*longer than 64 MiB"),
    ],
    ids=["true", "surrogate", "deep", "latin-1", "long"],
)
def test_damaged_lines_get_one_sentence(bundled, tmp_path, content, message):
    path = tmp_path / "own.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        calibration_text(params(path), bundled.tokenizer, 256, bundled.geometry.vocabulary)


def test_a_damaged_line_at_a_place_of_a_large_file_is_named(bundled, tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_bytes((b"x" * 999 + b"\n") * 5000)
    with pytest.raises(UserError, match=r"The line from byte [\d,]+000 .*not a JSON object"):
        calibration_text(params(path), bundled.tokenizer, 256, bundled.geometry.vocabulary)
    path.write_bytes(b"\xff" * 5_000_000)
    with pytest.raises(UserError, match="UTF-8"):
        calibration_text(params(path.rename(tmp_path / "own.txt")), bundled.tokenizer, 256, 4000)


@pytest.mark.parametrize("data", ["a" * 5000 + ".txt", "nobody\0.txt"])
def test_names_that_are_no_path_get_one_sentence(bundled, data):
    with pytest.raises(UserError, match=r"cannot be read|no file"):
        calibration_text(params(data), bundled.tokenizer, 256, bundled.geometry.vocabulary)


def test_the_home_of_nobody_is_refused_before_any_text_is_looked_for():
    with pytest.raises(ValidationError, match="begins with a user unknown on this machine"):
        params("~no-such-user-here/own.txt")


# --- the hub ----------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine that answers every question with the status it is set to."""
    import datasets
    import huggingface_hub.constants

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer.status)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    answer = SimpleNamespace(status=404)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    yield answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "refuses access"), (403, "refuses access"), (404, "no such dataset"), (503, "answers with HTTP 503")],
)
def test_what_the_hub_answers_is_said(bundled, hub, status, message):
    hub.status = status
    with pytest.raises(UserError, match=f"{message}.*bundled text") as caught:
        calibration_text(params("c4"), bundled.tokenizer, 256, bundled.geometry.vocabulary)
    assert "cannot be reached" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not gzip", "cannot be loaded: .*gzip"), (gzip.compress(b'{"words": "Mia"}\n'), "rows without text")],
    ids=["not gzip", "no text"],
)
def test_a_damaged_dataset_on_this_disk_is_called_damaged(bundled, hub, tmp_path, content, message):
    part = tmp_path / "allenai" / "c4" / texts._C4_PART
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        calibration_text(params("c4"), bundled.tokenizer, 256, bundled.geometry.vocabulary)
    assert "hub" not in str(caught.value)


def test_a_full_disk_is_called_a_full_disk(bundled, hub, monkeypatch):
    import errno
    import os

    import datasets

    def full(*_, **options):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise datasets.exceptions.DatasetGenerationError("An error occurred while generating") from error

    monkeypatch.setattr(datasets, "load_dataset", full)
    with pytest.raises(UserError, match=r"cannot be loaded: No space left on device\. "):
        calibration_text(params("wikitext2"), bundled.tokenizer, 256, bundled.geometry.vocabulary)


def test_without_the_package_its_name_is_said(bundled, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="needs the package 'datasets'"):
        calibration_text(params("wikitext2"), bundled.tokenizer, 256, bundled.geometry.vocabulary)
