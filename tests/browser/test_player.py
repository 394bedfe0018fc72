"""The player in a real browser: it plays, steps, rests, shows any text as text and moves no line."""

import re
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import expect

from analysis.figures.player import player_html
from analysis.recording.playback import playback
from tests.browser.helpers import moving, played
from tests.figures.test_player import NAMES, track

pytestmark = pytest.mark.slow


WATCH = """
window.seen = [];
const status = document.querySelector(".sinkscope-player").shadowRoot.querySelector(".status");
const slots = [...status.getRootNode().querySelectorAll(".text .slot")];
const places = () => slots.map((slot) => [slot.offsetLeft, slot.offsetTop]).join();
window.places = places();
new MutationObserver(() => {
  window.seen.push(status.textContent);
  if (places() !== window.places) window.moved = true;
}).observe(status, { childList: true });
"""


def test_it_plays_to_the_end_by_keyboard_and_no_line_moves(page, tmp_path):
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    path = tmp_path / "player.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{player_html(playback([track(12, 9)] * 2, 3, telling=3))}")
    moving(page).goto(path.as_uri())
    player, status = page.get_by_role("group", name="Player."), page.get_by_role("status")
    expect(status).to_contain_text("Step 3 (0–11)")
    player.press("Home")
    expect(status).to_contain_text("Step 0 (0–11)")
    expect(page.locator(".text .slot.undecided")).to_have_count(2 * 7)
    page.locator(".text .slot.undecided").first.hover()
    expect(page.get_by_text(re.compile(r"^position \d+, still masked \(later ‘"))).to_be_visible()
    player.press("ArrowRight")
    expect(status).to_contain_text("Step 1 (0–11)")
    page.evaluate(WATCH)
    page.get_by_role("combobox", name="Speed").select_option("32")
    player.press(" ")
    expect(status).to_contain_text("Finished text")
    assert len(set(page.evaluate("window.seen"))) >= 3, "it went there by steps"
    assert not page.evaluate("Boolean(window.moved)")
    expect(page.locator(".text .slot.undecided")).to_have_count(0)
    edited = page.locator(".text .slot.edited").first
    expect(edited).to_have_text(NAMES[3])
    edited.hover()
    expect(page.get_by_text("edited, was ‘a’")).to_be_visible()
    page.get_by_role("button", name="Strongest step: 3").click()
    expect(status).to_contain_text("Step 3 (0–11)")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    assert errors == [] and asked == [path.as_uri()]


LIGHTNESS = """(slot) => getComputedStyle(slot).backgroundColor.match(/[\\d.]+/g).slice(0, 3)
  .reduce((sum, part) => sum + Number(part), 0)"""


def test_a_token_is_the_darker_the_more_attention_it_gets_and_the_lighter_on_a_dark_page(page, tmp_path):
    mass = np.ones((6, 5))
    mass[:, 2], mass[:, 4] = 4.0, 0.2
    sinks = np.zeros(mass.shape, bool)
    sinks[:, 2] = True
    path = tmp_path / "shades.html"
    shown = player_html(playback([track(mass=mass, sinks=sinks)], 1))
    path.write_text(f"<!doctype html><meta charset=utf-8><style>:root {{ color-scheme: light dark }}</style>{shown}")
    for scheme, sign in (("light", 1), ("dark", -1)):
        page.emulate_media(color_scheme=scheme)
        page.goto(path.as_uri())
        expect(page.get_by_role("img", name="Colours: attention in multiples of an even split")).to_contain_text(
            "≥ 4 ×"
        )
        expect(page.locator(".text .slot.sink")).to_have_count(1)
        expect(page.get_by_text("1 of 5 is a sink (above 3.0 ×)")).to_be_visible()
        even, most, least = (page.locator(".text .slot").nth(at).evaluate(LIGHTNESS) for at in (0, 2, 4))
        assert sign * least > sign * even > sign * most, scheme
    page.emulate_media(color_scheme="light")  # while it is open
    slots = "document.querySelector('.sinkscope-player').shadowRoot.querySelectorAll('.text .slot')"
    page.wait_for_function(f"({LIGHTNESS})({slots}[4]) > 600")
    page.get_by_role("group", name="Player.").press("End")
    finished = "(slot) => getComputedStyle(slot).backgroundColor"
    assert page.locator(".text .slot").nth(2).evaluate(finished) == "rgba(0, 0, 0, 0)", "no forward reads that text"


STRIPES = """(slot) => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const style = getComputedStyle(slot);
  return [[style.backgroundColor], [style.backgroundColor, style.getPropertyValue("--stripe")]].map((colors) => {
    for (const color of colors) { pen.fillStyle = color; pen.fillRect(0, 0, 1, 1); }
    const [red, green, blue] = [...pen.getImageData(0, 0, 1, 1).data].map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  });
}"""


def test_masked_positions_are_seen_to_be_hatched_whatever_attention_they_get(page, tmp_path):
    positions = 40
    mass = np.broadcast_to(np.geomspace(0.25, 8, positions), (6, positions))
    path = tmp_path / "hatched.html"
    shown = player_html(playback([track(6, positions, mass=mass, tokens=np.full(mass.shape, 1))], 1))
    path.write_text(f"<!doctype html><meta charset=utf-8><style>:root {{ color-scheme: light dark }}</style>{shown}")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto(path.as_uri())
        hatched = page.locator(".text .slot.undecided")
        expect(hatched).to_have_count(positions - 3)
        cells = [slot.evaluate(STRIPES) for slot in hatched.all()]
        contrasts = [max(pair) / min(pair) for pair in cells]
        assert min(contrasts) > 1.8, scheme
        assert all(stripe > cell for cell, stripe in cells if cell < 0.3), "light on mid and dark cells"


def test_a_branch_beside_the_text_that_it_left_is_played_from_there_and_what_differs_is_marked(page, tmp_path):
    left = track(12, 9)
    tokens, final = left.tokens.copy(), left.final.copy()
    tokens[4:, 5], final[5] = 4, 4
    branch = replace(left, tokens=tokens, final=final, branch=(3, 5))
    data = {**playback([branch, left], 3, play="once"), "from": 3, "picked": [1, 5]}
    path = tmp_path / "branch.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{player_html(data)}")
    moving(page).goto(path.as_uri())
    expect(page.get_by_role("status")).to_contain_text("Finished text · 1 token differs")
    first, second = page.locator(".track").all()
    expect(first.locator(".slot.branched")).to_have_text("word⏎")
    expect(second.locator(".slot.picked.differs")).to_have_text("a")
    page.get_by_role("group", name="Player.").press("Home")
    expect(page.get_by_role("status")).to_contain_text("alike so far")
    expect(page.locator(".text .slot.differs, .text .slot.branched")).to_have_count(0)


def test_a_number_stands_beneath_a_token_only_where_one_is(page, tmp_path):
    whole = track(4, 12)
    present = np.broadcast_to(np.arange(12) < 6, whole.tokens.shape)
    path = tmp_path / "blocks.html"
    data = playback([replace(whole, present=present)], 1)
    path.write_text(f"<!doctype html><meta charset=utf-8>{player_html(data)}")
    page.goto(path.as_uri())
    expect(page.get_by_role("status")).to_contain_text("Step 1 (0–3)")
    seen = "(slot) => getComputedStyle(slot, '::after').visibility"
    first, second = page.locator(".text .slot[data-position]").all()
    assert [slot.get_attribute("data-position") for slot in (first, second)] == ["0", "10"]
    assert [slot.evaluate(seen) for slot in (first, second)] == ["visible", "hidden"]
    page.get_by_role("group", name="Player.").press("End")
    expect(page.get_by_role("status")).to_contain_text("Finished text")
    assert second.evaluate(seen) == "visible"


def test_what_plays_by_itself_rests_on_its_step_and_not_where_motion_is_unwanted(page, tmp_path):
    path = tmp_path / "player.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{player_html(playback([track(12, 9)], 3, play='once'))}")
    moving(page).goto(path.as_uri())
    played(page)
    expect(page.get_by_role("status")).to_contain_text("Step 3 (0–11)")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("Step 3 (0–11)")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_of_texts_with_other_numbers_of_steps_the_second_goes_along_and_is_folded_on_a_phone(page, tmp_path):
    path = tmp_path / "two.html"
    shown = player_html(playback([track(12, 9), track(6, 5)], 6, telling=6))
    path.write_text(f"<!doctype html><meta charset=utf-8>{shown}")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(path.as_uri())
    first, second = page.locator(".track").all()
    expect(first.locator(".title")).to_contain_text("a model, step 6 (0–11)")
    expect(second.locator(".title")).to_contain_text("a model, step 3 (0–5)")
    expect(second.locator(".text")).to_be_visible()
    expect(page.get_by_role("button", name="Show text")).to_be_hidden()
    page.get_by_role("group", name="Player.").press("ArrowRight")
    expect(first.locator(".title")).to_contain_text("a model, step 7 (0–11)")
    page.set_viewport_size({"width": 390, "height": 800})
    expect(first.locator(".text")).to_be_visible()
    expect(second.locator(".text")).to_be_hidden()
    page.get_by_role("button", name="Show text").click()
    expect(second.locator(".text")).to_be_visible()
    page.get_by_role("button", name="Hide text").click()
    expect(second.locator(".text")).to_be_hidden()
