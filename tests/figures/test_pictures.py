"""Figures as PNG and SVG, in the system's Chromium; and what is said where something is missing."""

import sys

import plotly.graph_objects as go
import pytest

from analysis.figures.export import MISSING_BROWSER, MISSING_KALEIDO, NOT_DRAWN, pictures


def figure() -> go.Figure:
    return go.Figure(go.Scatter(x=[0, 1], y=[2, 3], name="a line"), {"title": {"text": "One title"}, "height": 300})


@pytest.mark.slow
def test_a_figure_is_drawn_as_png_and_svg():
    drawn, missing = pictures({"one": figure()})
    assert missing == "" and set(drawn) == {"one.png", "one.svg"}
    assert drawn["one.png"].startswith(b"\x89PNG")
    width, height = (int.from_bytes(drawn["one.png"][at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (3000, 900)
    assert b"<svg" in drawn["one.svg"] and b"One title" in drawn["one.svg"]


def test_without_kaleido_or_a_browser_one_sentence_says_so(monkeypatch):
    from choreographer.errors import ChromeNotFoundError

    def none(*given, **options):
        raise ChromeNotFoundError

    with monkeypatch.context() as patch:
        patch.setattr("kaleido.Kaleido", none)
        assert pictures({"one": figure()}) == ({}, MISSING_BROWSER)
    monkeypatch.setitem(sys.modules, "kaleido", None)
    assert pictures({"one": figure()}) == ({}, MISSING_KALEIDO)
    assert pictures({}) == ({}, "")


def test_a_page_that_is_asked_before_its_script_has_loaded_is_asked_again_and_no_error_of_it_gets_out(monkeypatch):
    from kaleido import Kaleido

    asked: list[str] = []

    def early(times: int):
        async def draw(self, figure, *, opts):
            asked.append(opts["format"])
            if len(asked) <= times:
                raise RuntimeError("ReferenceError: kaleido_scopes is not defined")
            return b"drawn"

        return draw

    monkeypatch.setattr(Kaleido, "__aenter__", _itself)
    monkeypatch.setattr(Kaleido, "__aexit__", _leave)
    monkeypatch.setattr(Kaleido, "calc_fig", early(1))
    assert pictures({"one": figure()}) == ({"one.png": b"drawn", "one.svg": b"drawn"}, "")
    assert asked == ["png", "png", "svg"]
    asked.clear()
    monkeypatch.setattr(Kaleido, "calc_fig", early(99))
    assert pictures({"one": figure()}) == ({}, NOT_DRAWN) and asked == ["png"] * 3


async def _itself(self):
    return self


async def _leave(self, *error):
    return None
