"""What the player is sent: every step packed once, and read again as it was."""

import base64
import json
import zlib

import numpy as np
import pytest

from analysis.figures.player import player_html
from analysis.recording import playback as data
from analysis.recording.playback import Track, playback

NAMES = {1: "[MASK]", 2: " a", 3: "</script><img src=x onerror=alert(1)>", 4: "word\n"}


def track(steps: int = 6, positions: int = 5, **changed) -> Track:
    """A text whose positions are written from left to right, two of them given; the last step edits position 2."""
    tokens = np.full((steps, positions), 1)
    for step in range(steps):
        tokens[step, : min(2 + step, positions)] = 2
    undecided = tokens == 1
    written = undecided & ~np.concatenate([undecided[1:], np.zeros((1, positions), bool)])
    edited = np.zeros_like(written)
    edited[-1, 2] = True
    final = np.full(positions, 2)
    final[2] = 3
    rng = np.random.default_rng(0)
    mass = rng.random((steps, positions)) * 4
    nothing = np.zeros_like(written)
    values = {
        "title": "a model",
        "tokens": tokens,
        "final": final,
        "names": NAMES,
        "mask_token": 1,
        "present": ~nothing,
        "given": np.broadcast_to(np.arange(positions) < 2, tokens.shape),
        "undecided": undecided,
        "accepted": nothing,
        "written": written,
        "edited": edited,
        "taken_back": nothing,
        "confidence": np.where(written, 0.75, np.nan),
        "mass": mass,
        "sinks": mass > 3,
        "thresholds": np.full(steps, 3.0),
    }
    return Track(**(values | changed))


def unpacked(sent: dict) -> dict[str, np.ndarray]:
    """The arrays as player.js reads them, (frames, S)."""
    cells, shape = zlib.decompress(base64.b64decode(sent["cells"])), (len(sent["frames"]), sent["positions"])
    count, arrays, at = shape[0] * shape[1], {}, 0
    for name, kind in (("token", "<u4"), ("mass", "<u2"), ("sure", "<u2"), ("chosen_in", "<u2"), ("flags", "u1")):
        arrays[name] = np.frombuffer(cells, kind, count, at).reshape(shape)
        at += arrays[name].nbytes
    assert at + 4 * count * sent.get("uneven", False) == len(cells)
    return arrays


def test_every_step_and_the_finished_text_are_sent():
    given = track()
    sent = playback([given], step=3)["tracks"][0]
    cells = unpacked(sent)
    assert sent["frames"] == [0, 1, 2, 3, 4, 5, 6]
    texts = np.array(sent["names"])[cells["token"]]
    assert (texts[:-1] == np.vectorize(NAMES.get)(given.tokens)).all()
    assert texts[-1].tolist() == [NAMES[token] for token in given.final.tolist()]
    mass = cells["mass"] / 65535 * sent["highest"]
    assert np.abs(mass[:-1] - given.mass).max() <= sent["highest"] / 65535
    assert not mass[-1].any(), "no forward sees the finished text"
    flags = cells["flags"]
    assert ((flags[:-1] & data.SINK > 0) == given.sinks).all()
    assert ((flags[:-1] & data.UNDECIDED > 0) == given.undecided).all()
    assert ((flags[1:] & data.WRITTEN > 0) == given.written).all(), "what a step did is shown in the next frame"
    assert flags[-1, 2] & data.EDITED and not flags[-1, 3] & data.EDITED
    # Position 2 was chosen in step 0, position 3 in step 1; the prompt never.
    assert cells["sure"][1:, 2].tolist() == [1 + round(0.75 * 65534)] * 6
    assert cells["chosen_in"][-1, 2:].tolist() == [0, 1, 2] and not cells["sure"][:, :2].any()


def test_a_long_recording_is_sent_with_every_nth_step_and_nothing_done_between_is_lost(monkeypatch):
    monkeypatch.setattr(data, "MOST_CELLS", 15)
    given = track()
    sent = playback([given])["tracks"][0]
    assert sent["frames"] == [0, 2, 4, 6]
    written = unpacked(sent)["flags"] & data.WRITTEN > 0
    assert written.sum() == given.written.sum()
    assert (written[1] == (given.written[0] | given.written[1])).all()


def test_what_is_not_there_yet_has_neither_text_nor_mass():
    present = np.tri(4, 5, k=1, dtype=bool)
    nan = np.where(present, 1.0, np.nan)
    grown = track(4, present=present, mass=nan, undecided=np.zeros((4, 5), bool), tokens=np.where(present, 2, -1))
    sent = playback([grown])["tracks"][0]
    cells = unpacked(sent)
    assert (np.array(sent["names"])[cells["token"][:-1]] == np.where(present, " a", "")).all()
    assert ((cells["flags"][:-1] & data.PRESENT > 0) == present).all()


def test_hostile_tokens_stay_text_in_an_exported_file():
    html = player_html(playback([track()]))
    assert "<img" not in html and html.count("</script>") == 2
    content = html.split('type="application/json">')[1].split("</script>")[0]
    assert NAMES[3] in json.loads(content)["tracks"][0]["names"]


@pytest.mark.parametrize("count", [1, 2])
def test_the_same_recordings_are_known_by_their_content(count):
    first, again = playback([track()] * count), playback([track()] * count, step=2, play="x")
    assert first["content"] == again["content"] != playback([track(mass=np.ones((6, 5)))] * count)["content"]
