"""The explorer in a real browser: it counts the sinks that Python counts, and its views answer each other."""

import json
import re
import shutil
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import expect

from analysis import jobs
from analysis.figures.explorer import component_js, explorer_css, explorer_html
from analysis.models.resident import release_resident
from analysis.recording import explored as exploring
from analysis.recording.explored import (
    SharesAsked,
    explored,
    feed_bytes,
    head_map,
    head_shares,
    packed_text,
    with_state,
)
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks import definitions
from analysis.sinks.step_inputs import SPLITS
from analysis.specs import DEFINITIONS, DiffusionGemmaSampling, ModelSpec, RecordSpec, SinkParams
from analysis.study.findings import EXAMPLE, read
from pages.parts.lazy_section import guarded
from tests.browser.helpers import HOSTILE
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, save_tokenizer
from tests.recording.block_texts import block_trajectory

pytestmark = pytest.mark.slow

K = tuple(np.arange(0.5, 4.01, 0.25).round(2).tolist())
VALUES = {"std": K, "mean-attention": (0.05, 0.3, 0.55), "above-others": (0.5, 3.0)}


def relative(trajectory):
    return replace(trajectory, mass=trajectory.relative_mass())


def attending(trajectory, attention, windows=()):
    """A recording as if its model attended otherwise."""
    model = trajectory.info.model.model_copy(update={"attention": attention, "windows": windows})
    return replace(trajectory, info=trajectory.info.model_copy(update={"model": model}))


def shorter(trajectory, steps):
    """A recording as if it had been over after so many steps."""
    arrays = {name: value for name, value in vars(trajectory).items() if isinstance(value, np.ndarray)}
    return replace(trajectory, **{name: value[:steps] for name, value in arrays.items() if name != "final"})


def routed(trajectory):
    """A recording as if layer 1 had four experts and sent every token to the experts 2 and 0."""
    steps, positions = trajectory.state.shape
    model = trajectory.info.model.model_copy(update={"expert_layers": (1,), "expert_count": 4})
    experts = np.broadcast_to(np.array([2, 0], np.uint8)[None, None, :, None], (steps, 1, 2, positions))
    weights = np.full(experts.shape, 0.5, np.float16)
    info = trajectory.info.model_copy(update={"model": model})
    return replace(trajectory, info=info, experts=experts, expert_weights=weights)


RECEIVE = "bytes => document.querySelector('.sinkscope-explorer').explorer.receive(new Uint8Array(bytes))"
RECORDINGS = {
    "blocks": lambda: block_trajectory(),
    "causal": lambda: attending(block_trajectory(), "causal"),
    "windows": lambda: attending(block_trajectory(), "block-causal", (4, 0)),
    "half precision": lambda: attending(
        replace(block_trajectory(), mass=block_trajectory().mass.astype(np.float16)), "bidirectional"
    ),
}


GOLDENS = {"diffusion-gemma": DiffusionGemmaSampling(gen_length=16, steps_per_canvas=3, entropy_bound=2)}
"""A golden checkpoint without masks, with how it is recorded; the ways of attending are those of `RECORDINGS`."""


def recorded(name, tmp_path):
    """A recording of a golden checkpoint."""
    folder = shutil.copytree(GOLDEN / name, tmp_path / name)
    save_tokenizer(folder, size=90, mask=False)
    spec = RecordSpec(
        model=ModelSpec(source=str(folder), device="cpu"), prompt="w10 w38 w70 w67 w12", sampling=GOLDENS[name]
    )
    outcome = jobs.record(spec, QuietContext(tmp_path))
    release_resident()
    return open_trajectory(outcome.file)


def opened(page, tmp_path, packed, query=""):
    path = tmp_path / "explorer.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{explorer_html(packed)}")
    page.goto("about:blank")
    page.goto(path.as_uri() + query)
    page.wait_for_function("document.querySelector('.sinkscope-explorer').explorer")
    return page


@pytest.mark.parametrize("name", [*RECORDINGS, *GOLDENS])
def test_it_counts_the_sinks_that_python_counts(page, tmp_path, name):
    trajectory = relative(RECORDINGS[name]() if name in RECORDINGS else recorded(name, tmp_path))
    opened(page, tmp_path, explored([trajectory], ["model"]))
    scopes = [(None, None), *((layer, None) for layer in range(trajectory.layers))]
    scopes += [(layer, head) for layer in range(trajectory.layers) for head in range(trajectory.heads)]
    bases = ("raw",) if trajectory.pattern.is_even else ("raw", "even")
    asked = [(name, value, basis) for basis in bases for name, values in VALUES.items() for value in values]
    found = page.evaluate(
        """([scopes, asked]) => {
          const { recordings } = document.querySelector(".sinkscope-explorer").explorer, [recording] = recordings;
          return scopes.map(([layer, head]) => asked.map(([definition, threshold, basis]) => {
            const view = { definition, threshold, basis, split: 0, judged: "head" };
            return [[...recording.sinks(view, layer, head)], [...recording.series(view, layer, head).share]];
          }));
        }""",
        [scopes, asked],
    )
    for (layer, head), of_scope in zip(scopes, found, strict=True):
        layers = slice(None) if layer is None else slice(layer, layer + 1)
        heads = slice(None) if head is None else slice(head, head + 1)
        mass = definitions.mean_mass(trajectory.mass[:, layers, heads])
        uniform = trajectory.pattern.uniform_mass
        of_layer = uniform.mean(axis=(1, 2)) if layer is None else uniform[:, layer if uniform.shape[1] > 1 else 0, 0]
        for (definition, value, basis), (flags, shares) in zip(asked, of_scope, strict=True):
            params = SinkParams.model_validate({"definition": definition, DEFINITIONS[definition].parameter: value})
            evened = basis == "even" and definition != "mean-attention"
            judged = definitions.corrected_share(mass, of_layer) if evened else mass
            expected = definitions.find_sinks(judged, params, trajectory.pattern.visible(layer))
            assert np.array_equal(np.reshape(flags, mass.shape), expected), (layer, head, definition, value, basis)
            strength = np.where(expected, mass, 0).sum(axis=1) / np.nansum(mass, axis=1)
            assert np.allclose(shares, strength, atol=1e-5)


NULLS = """(view) => {
  const [recording] = document.querySelector(".sinkscope-explorer").explorer.recordings;
  return [[null, null], [0, null], [1, 2]].map((of) => recording.nulls(view, ...of).map(({ share }) => [...share]));
}"""


def sink_shares(mass, params):
    """The share of a map's attention that goes to its sinks, by step."""
    return np.where(definitions.find_sinks(mass, params), mass, 0).sum(axis=1) / np.nansum(mass, axis=1)


def told(share):
    """A share of 10 % or more, or of 1 % or more, as the explorer writes it."""
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f}\u00a0%"


def test_sinks_stand_beside_those_of_random_weights(page, tmp_path, monkeypatch):
    trajectory, rng, params = relative(block_trajectory()), np.random.default_rng(0), SinkParams(k=1.25)
    drawn = trajectory.mass * rng.uniform(0.5, 1.5, trajectory.mass.shape)
    random = replace(trajectory, mass=(np.round(512 * drawn) / 512).astype(np.float16).astype(np.float32))
    view = {"definition": "std", "threshold": 1.25, "basis": "raw", "split": 0, "judged": "head"}
    opened(page, tmp_path, explored([trajectory], ["model"], random), "#step=3&basis=raw&k=1.25")
    heads = [random.mass[:, 1, head] for head in range(trajectory.heads)]
    maps = [[definitions.mean_mass(random.mass)], [definitions.mean_mass(random.mass[:, :1])], heads]
    for found, expected in zip(page.evaluate(NULLS, view), maps, strict=True):
        assert np.allclose(found, [sink_shares(mass, params) for mass in expected], atol=1e-5)
    finding = page.locator(".sx-finding")
    beside = page.locator(".sx-beside")
    expect(finding).to_contain_text("an even split gives")
    shares = sink_shares(maps[0][0], params)
    own = sink_shares(definitions.mean_mass(trajectory.mass), params)
    found = definitions.find_sinks(definitions.mean_mass(trajectory.mass), params)[3]
    uniform = np.nan_to_num(trajectory.pattern.uniform_mass.mean(axis=(1, 2)))[3]
    even = told(uniform[found].sum() / uniform.sum())
    at_step, of_all = (told(shares[at].mean()) for at in ([3], slice(None)))
    assert at_step != of_all
    expect(finding).to_contain_text(f"{told(own[3])} of all attention; an even split gives ")
    expect(finding).to_contain_text(f" {even}")
    asked = SharesAsked(range=(3, 3), to=None, definition="std", threshold=1.25, split=0, judged="head", basis="raw")
    own_heads, null_heads = (head_shares(each, asked).mean() for each in (trajectory, random))
    heads_told = page.locator(".sx-b .sx-key")
    expect(page.locator(".sx-b h2")).to_have_text("Attention of each head to its own sinks")
    expect(heads_told).to_have_text(
        f"Share of attention: mean {told(own_heads)} (untrained {told(null_heads)}); framed tokens: {told(own[3])}"
    )
    above, below = int((own > shares).sum()), int((own < shares).sum())
    untrained = "In an equally sharp untrained model, sinks take "
    over_all = f" This model is above it in {above} of 9 steps (chance: 5){f', below it in {below}' if below else ''}."
    expect(beside).to_have_text(f"{untrained}{at_step}.{over_all}")
    page.evaluate("document.querySelector('.sinkscope-explorer').explorer.set({ over: 'all' })")
    expect(beside).to_have_text(f"{untrained}{of_all}.{over_all}")
    expect(heads_told).to_contain_text(f"; heads averaged first: {told(own.mean())}")

    noise = np.random.default_rng(1).uniform(0.5, 1.5, (3, *trajectory.state.shape))
    draws = definitions.mean_mass(trajectory.mass) * noise
    monkeypatch.setattr(exploring, "shipped_masses", lambda asked: draws.astype(np.float32))
    opened(page, tmp_path, with_state(explored([trajectory], ["model"]), {"prompts": "30"}), "#step=3&basis=raw&k=1.25")
    whole, layer, head = page.evaluate(NULLS, view)
    shares = np.stack([sink_shares(mass.astype(np.float32), params) for mass in draws])
    assert np.allclose(whole, shares, atol=1e-5) and layer == head == []
    above, below = int((own > shares.max(axis=0)).sum()), int((own < shares.min(axis=0)).sum())
    expect(beside).to_have_text(
        f"In 3 equally sharp untrained models, sinks take at most {told(shares[:, 3].max())}. "
        f"This model is above their range in {above} of 9 steps (chance: 2)"
        f"{f', below it in {below}' if below else ''}. "
        "This is one text; Evidence has 30."
    )
    page.evaluate("document.querySelector('.sinkscope-explorer').explorer.strongest()")
    expect(finding).to_contain_text(f"At step {own.argmax()}, where sinks take most, ")
    assert shares[:, own.argmax()].max() < shares.max(), "the highest peak lies elsewhere"
    expect(beside).to_contain_text(
        f"In 3 equally sharp untrained models, sinks take at most {told(shares[:, own.argmax()].max())} in this step "
        f"({told(shares.max())} in any)."
    )

    of_draws = rng.uniform(0.1, 0.3, (3, 9)).astype(np.float32)
    monkeypatch.setattr(exploring, "shipped_head_shares", lambda asked: of_draws)
    opened(page, tmp_path, explored([trajectory], ["model"]), "#step=3")
    low, high = told(of_draws[:, 3].min()).removesuffix("\u00a0%"), told(of_draws[:, 3].max())
    expect(heads_told).to_contain_text(f" (untrained {low}–{high})")
    page.evaluate("document.querySelector('.sinkscope-explorer').explorer.set({ values: { k: 1.25 } })")
    expect(heads_told).not_to_contain_text("untrained")  # these are of the preset

    monkeypatch.setattr(exploring, "shipped_masses", lambda asked: None)
    monkeypatch.setattr(exploring, "shipped_head_shares", lambda asked: None)
    opened(page, tmp_path, explored([trajectory], ["model"]))
    assert page.evaluate(NULLS, view) == [[], [], []]
    expect(finding).not_to_contain_text("untrained")
    expect(beside).to_have_text(re.compile(r"^Over all steps sinks take [\d.]+\s% of attention\.$"))


def test_as_many_sinks_at_random_positions_of_the_same_state_give_the_number_that_is_told(page, tmp_path):
    """Against draws: in each step as many of every state as are sinks, none twice."""
    trajectory, rng = relative(attending(block_trajectory(), "bidirectional")), np.random.default_rng(0)
    lasting = np.where(np.isin(np.arange(trajectory.state.shape[1]), (3, 10)), 4, 1)
    trajectory = replace(trajectory, mass=(trajectory.mass * lasting).astype(np.float32))
    opened(page, tmp_path, explored([trajectory], ["model"]), "#k=1.25")
    sinks = definitions.find_sinks(definitions.mean_mass(trajectory.mass), SinkParams(k=1.25))
    state, ever = trajectory.state, []
    for _ in range(1000):
        drawn = np.zeros(state.shape[1], bool)
        for flags, states in zip(sinks, state, strict=True):
            for each in np.unique(states[flags]):
                places = np.flatnonzero(states == each)
                drawn[rng.choice(places, int(flags[places].sum()), replace=False)] = True
        ever.append(drawn.sum())
    said = re.compile(
        r"With layers averaged, (\d+) of \d+ tokens are a sink at some step, close to the (\d+) "
        r"\(95\s% of draws: (\d+)–(\d+)\) expected if each step’s sinks were random among tokens of the same state "
        r"\(prompt, masked or written\)\. The median sink lasts ([\d.]+) of 9 steps; (.*longest,?) (\d+)\."
    )
    expect(page.locator(".sx-lives")).to_have_text(said)
    found = said.search(page.locator(".sx-lives").inner_text())
    assert found is not None
    own, chance, low, high = map(int, found.groups()[:4])
    lasted = sinks.sum(axis=0)
    alone = (lasted == lasted.max()).sum() == 1
    longest = f"position {lasted.argmax()}, the longest," if alone else "the longest"
    assert found.groups()[4:] == (f"{np.median(lasted[lasted > 0]):g}", longest, str(lasted.max()))
    assert low <= own == sinks.any(axis=0).sum() < chance < high, "fewer than expected, and no fewer than by chance"
    assert abs(chance - np.mean(ever)) <= 0.5 + 4 * np.std(ever) / np.sqrt(len(ever))
    assert np.abs(np.percentile(ever, [2.5, 97.5]) - [low, high]).max() <= 1, "of as many draws, whole numbers"


def test_a_file_holds_every_byte_in_fewer_of_them(page, tmp_path):
    trajectory = relative(attending(block_trajectory(), "bidirectional"))
    packed = explored([trajectory, relative(block_trajectory(cached=True))], ["one", "two"])
    words = np.frombuffer(packed + bytes(-len(packed) % 4), np.uint8).reshape(-1, 4)
    assert len(packed_text(packed)) < 0.9 * 4 / 3 * len(zlib.compress(words.T.tobytes(), 9)), "than in Base64, as it is"
    opened(page, tmp_path, packed)
    held = page.evaluate(
        """names => { const { recordings } = document.querySelector(".sinkscope-explorer").explorer;
        return recordings.map(each => names.map(name => [...new Uint32Array(each[name].buffer, each[name].byteOffset,
        each[name].length)])); }""",
        ["model", "mean", "std"],
    )
    (length,) = struct.unpack_from("<I", packed)
    arrays, body = json.loads(packed[4 : 4 + length])["arrays"], packed[4 + length :]
    for number, recording in enumerate(held):
        for name, bits in zip(("model", "mean", "std"), recording, strict=True):
            kind, at, size = arrays[f"{number}.{name}"]
            assert kind == "f4" and bits == np.frombuffer(body, "<u4", size, at).tolist(), name


def test_shares_of_all_heads_are_those_that_python_answers_where_heads_are_too_many_to_send(
    page, tmp_path, monkeypatch
):
    trajectory = relative(block_trajectory(cached=True))
    opened(page, tmp_path, explored([trajectory], ["model"]))
    asked = [
        {"range": [2, 6], "to": to, "definition": "std", "threshold": 1.25, "split": split, "judged": judged}
        | {"basis": basis}
        for basis in ("even", "raw")
        for judged in ("head", "layer", "model")
        for split in range(len(SPLITS))
        for to in (None, [3, 9])
    ]
    shares = """(requests) => {
      const { explorer } = document.querySelector(".sinkscope-explorer"), [recording] = explorer.recordings;
      return requests.map(({ range, to, ...rest }) => {
        const area = { t0: range[0], t1: range[1], p0: to && to[0], p1: to && to[1] };
        return [...explorer.sharesOf(recording, { ...explorer.view({}), ...rest, position: null, area })];
      });
    }"""
    held = page.evaluate(shares, asked)
    for request, values in zip(asked, held, strict=True):
        assert np.allclose(values, head_shares(trajectory, SharesAsked.model_validate(request)), atol=1e-5), request

    monkeypatch.setattr(exploring, "MOST_CELLS", 10)
    opened(page, tmp_path, explored([trajectory], ["model"]), "#layer=1&head=2")
    content = page.evaluate("document.querySelector('.sinkscope-explorer').explorer.content")
    expect(page.get_by_role("group", name="Explorer")).to_contain_text("Fetching layer 1 head 2")
    index = trajectory.heads + 2
    request = json.dumps(asked[0], separators=(",", ":"))
    sent = feed_bytes(content, {(0, index): head_map(trajectory, index)}, {(0, request): np.full(8, 0.25)})
    page.evaluate(RECEIVE, list(sent))
    expect(page.get_by_role("group", name="Explorer")).not_to_contain_text("Fetching")


def test_its_views_answer_each_other_by_mouse_and_keyboard_and_the_address_follows(page, tmp_path):
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    first = routed(relative(block_trajectory()))
    second = shorter(relative(attending(block_trajectory(), "causal")), 5)
    opened(page, tmp_path, explored([first, second], ["dense", "pruned"]), "#step=3&basis=raw")
    explorer, slider = page.get_by_role("group", name="Explorer"), page.get_by_role("slider", name="Denoising step")
    finding = explorer.locator(".sx-finding")
    expect(slider).to_have_attribute("aria-valuetext", "Step 3 (0–8)")
    expect(finding).to_contain_text("an even split gives")
    heads = explorer.locator(".sx-heads canvas")
    box = heads.bounding_box()
    heads.click(position={"x": box["width"] - 12, "y": box["height"] - 12})
    expect(finding).to_contain_text("layer 1 head 3")
    title = "Attention to every token over the steps, × even split, layer 1 head 3"
    expect(explorer.get_by_text(title, exact=True)).to_be_visible()
    slider.press("ArrowDown")
    expect(finding).to_contain_text("Position 0")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "Step 4 (0–8)")
    page.wait_for_function("location.hash.includes('position=0') && location.hash.includes('step=4')")
    spoken = explorer.locator("[data-out=live]")
    expect(spoken).to_contain_text("Layer 1 sends it to experts 2, 0.")
    expect(spoken).not_to_contain_text("It attends most to")
    size = int(first.present[4].sum())
    attention = np.full((size, size), 0.5 / (size - 1))
    attention[0, 1] = 0.5
    content = page.evaluate("document.querySelector('.sinkscope-explorer').explorer.content")
    sent = feed_bytes(content, attention={(0, 4, 1, 3): attention})
    page.evaluate(RECEIVE, list(sent))
    expect(spoken).to_contain_text(re.compile(r"It attends most to position 1, ‘w\d+’ of the prompt \(50"))
    reloaded = page.url
    page.goto("about:blank")
    page.goto(reloaded)
    expect(finding).to_contain_text("layer 1 head 3")
    slider.press("Escape")
    explorer.get_by_role("button", name="Side by side").click()
    expect(finding).to_contain_text("At equal progress, dense:")
    expect(finding).to_contain_text("at step 4 (0–8)")
    expect(finding).to_contain_text(re.compile(r"pruned: at step 2 \(0–4\), \d of 9 tokens"))
    explorer.get_by_role("button", name="pruned").click()
    expect(slider).to_have_attribute("aria-valuetext", "Step 2 (0–4)")
    explorer.get_by_role("button", name="Side by side").click()
    slider.press("End")
    expect(finding).to_contain_text("Finished: the model no longer reads this text.")
    explorer.get_by_text("Definition, table, help").click()
    explorer.get_by_role("button", name="Table").click()
    expect(explorer.get_by_role("heading", name="dense: no forward reads this text")).to_be_visible()
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    page.goto("about:blank")
    page.goto(
        reloaded.split("#")[0] + "#step=9999999&layer=77&head=x&position=-1&k=99&area=5-1-0-0&split=nothing&basis=raw"
    )
    expect(finding).to_contain_text("an even split gives")
    page.goto("about:blank")
    page.goto(reloaded.split("#")[0] + "#step=3&area=1-4--")
    expect(finding).to_contain_text("On average over steps 1–4")
    this_step = explorer.get_by_role("button", name="This step")
    expect(this_step).to_have_attribute("aria-pressed", "false")
    this_step.click()
    expect(finding).to_contain_text("At step 3")
    expect(this_step).to_have_attribute("aria-pressed", "true")
    assert errors == [] and {url.split("#")[0] for url in requests} <= {reloaded.split("#")[0], "about:blank"}


def test_a_masked_position_is_not_named_by_the_word_it_becomes_and_hostile_words_are_text(page, tmp_path):
    trajectory = relative(block_trajectory())
    words = dict.fromkeys(trajectory.info.tokens, HOSTILE)
    trajectory = replace(trajectory, info=trajectory.info.model_copy(update={"tokens": words}))
    position = int(np.flatnonzero(trajectory.undecided[0])[0])
    opened(page, tmp_path, explored([trajectory], [HOSTILE]), f"#step=0&position={position}")
    explorer = page.get_by_role("group", name="Explorer")
    expect(explorer.locator(".sx-finding")).to_contain_text(f"Position {position}, still masked (later ‘")
    explorer.get_by_text("Definition, table, help").click()
    explorer.get_by_role("button", name="Table").click()
    expect(explorer.get_by_role("cell", name="[MASK] (later").first).to_be_visible()
    assert page.evaluate("window.ran") is None


DRAWN = """const { prototype } = CanvasRenderingContext2D, fillText = prototype.fillText;
window.drawn = new Set();
prototype.fillText = function (text, ...at) { drawn.add(String(text)); return fillText.call(this, text, ...at); };"""


def test_the_map_names_its_rows_by_what_stood_there_and_every_mark_is_told_also_by_touch(page, tmp_path):
    trajectory = relative(block_trajectory())
    written = int(np.flatnonzero(trajectory.undecided[0])[0])
    page.add_init_script(DRAWN)
    packed = explored([trajectory], ["model"])
    opened(page, tmp_path, packed, f"#step=0&position={written}&basis=raw")
    explorer = page.get_by_role("group", name="Explorer")
    expect(explorer.locator(".sx-k")).to_contain_text("Sink: attention above mean +")
    expect(explorer.locator(".sx-a .sx-key").get_by_text("sink", exact=True)).to_be_visible()
    expect(explorer.get_by_label("Count sinks among")).to_be_hidden()
    explorer.get_by_text("Definition, table, help", exact=True).press("Space")
    for name in ("Definition", "Judged on", "Count sinks among"):
        expect(explorer.locator("label", has_text=name).locator("select")).to_be_visible()
    expect(explorer.locator(".sx-a").get_by_text("grey: prompt", exact=True)).to_be_visible()
    legend = explorer.locator(".sx-d .sx-key")
    for mark in (
        "orange frame: steps in which it is a sink; number: token position",
        "written after the step",
        "edited or taken back",
        "open block",
        "step shown",
    ):
        expect(legend.get_by_text(mark, exact=True)).to_be_visible()
    expect(
        explorer.get_by_text(
            re.compile(
                r"tokens are a sink at some step, (fewer than|close to) the \d+ \(95\s% of draws: \d+–\d+\) expected "
                r"if each step’s sinks were random among tokens of the same state \(prompt, masked or written\)\."
            )
        )
    ).to_be_visible()
    final = trajectory.info.tokens[int(trajectory.final[written])]
    page.wait_for_function("name => drawn.has(name)", arg=f"{written}, later ‘{final}’")
    assert page.evaluate("word => ![...drawn].some(text => text.startsWith(word + ' '))", final)
    expect(explorer.get_by_role("button", name="Copy link")).to_have_count(0)  # a file on this disk has no address
    hint = explorer.get_by_text("Tap to pin, drag to select steps")
    expect(hint).to_be_hidden()
    explorer.locator(".sx-finding").dispatch_event("pointerdown", {"pointerType": "touch"})
    expect(hint).to_be_visible()
    explorer.get_by_role("button", name="Help").click()
    expect(explorer.get_by_role("cell", name="Click", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(explorer.locator(".sx-finding")).to_contain_text(f"Position {written}, still masked")
    explorer.get_by_role("button", name="Undo").click()
    expect(explorer.locator(".sx-finding")).not_to_contain_text("Position")
    expect(explorer.get_by_role("button", name="Undo")).to_be_hidden()
    explorer.get_by_role("button", name=re.compile(r"Strongest step: \d")).click()
    found = re.compile(
        r"At step \d+, where sinks take most, \d of \d+ tokens (is a sink|are sinks) by raw "
        r"attention\. (It takes|They take) [\d.]+\s% of all attention; "
        r"an even split gives [\d.]+\s% under its mask\."
    )
    expect(explorer.locator(".sx-finding")).to_contain_text(found)
    expect(explorer.locator(".sx-beside")).to_contain_text(
        re.compile(r"^Over all steps sinks take [\d.]+\s% of attention\.$")
    )
    page.evaluate("document.querySelector('.sinkscope-explorer').explorer.set({ basis: 'even', values: { k: 0.5 } })")
    expect(explorer.locator(".sx-finding")).to_contain_text("relative to an even split. They take")
    page.wait_for_function("drawn.has('sinks') && drawn.has('1 ×') && drawn.has('attention to sinks')")
    peak = page.evaluate("""() => {
      const { recordings: [recording], view } = document.querySelector(".sinkscope-explorer").explorer;
      return recording.shareAt(view(), view().step, null, null).share;
    }""")
    page.wait_for_function("share => drawn.has(share)", arg=told(peak))  # beside the step on the curve
    expect(explorer.locator(".sx-b")).to_contain_text(re.compile(r"its own sinksShare of attention: mean [\d.]+\s%"))
    page.evaluate("document.querySelector('.sinkscope-explorer').explorer.set({ measure: 'count' })")
    page.wait_for_function("drawn.has('number of sinks')")
    page.evaluate("document.querySelector('.sinkscope-explorer').explorer.set({ judged: 'layer', layer: 1 })")
    expect(explorer.locator(".sx-b")).to_contain_text("Attention of each head to its layer’s sinks")
    page.evaluate(
        "document.querySelector('.sinkscope-explorer').explorer.set({ judged: 'head', layer: null, measure: 'share' })"
    )
    page.set_viewport_size({"width": 860, "height": 900})
    page.wait_for_function("""() => [...document.querySelector(".sinkscope-explorer").shadowRoot
      .querySelectorAll("canvas[tabindex]")].every((each) => each.getBoundingClientRect().width >= 280)""")


PARTED = """keys => keys.flatMap(key => [...key.children]).filter(entry => {
  const lines = document.createRange();
  lines.selectNodeContents(entry);
  const parts = [...lines.getClientRects()].filter(part => part.width > 0);
  return parts.some(part => part.top > parts[0].bottom);
}).map(entry => entry.textContent)"""
"""Entries of legends that take more than one line."""


def test_the_explorer_of_the_shipped_study_names_its_models_and_judges_both_by_an_even_split(page, tmp_path):
    path = tmp_path / "shipped.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{explorer_html(read(EXAMPLE).explorer)}")
    page.goto(path.as_uri())
    explorer = page.get_by_role("group", name="Explorer")
    expect(explorer.get_by_role("button", name="Diffusion", exact=True)).to_be_visible()
    finding, text = explorer.locator(".sx-finding"), explorer.locator(".sx-text canvas")
    beside = explorer.locator(".sx-beside")
    for width in (1280, 820):
        page.set_viewport_size({"width": width, "height": 900})
        page.mouse.move(0, 0)
        expect(beside).to_contain_text("In 8 equally sharp untrained models, sinks take at most")
        before = text.bounding_box()
        text.hover()
        expect(finding).to_contain_text("takes")
        assert text.bounding_box() == before, f"pointing moves what is pointed at, {width} pixels wide"
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("document.querySelector('.sinkscope-explorer').explorer.strongest()")
    explorer.dispatch_event("pointerdown", {"pointerType": "touch"})
    told, player = beside.bounding_box(), explorer.locator(".sx-transport").bounding_box()
    assert told is not None and player is not None and player["y"] - told["y"] - told["height"] < 40, "an empty band"
    for width in (390, 820, *range(1000, 1301, 50)):
        page.set_viewport_size({"width": width, "height": 900})
        assert explorer.locator(".sx-a .sx-key").evaluate_all(PARTED) == [], width
    page.set_viewport_size({"width": 390, "height": 844})
    threshold = explorer.locator("input[type=number]")
    for absurd in ("-3", "1000", ""):
        threshold.fill(absurd)
        threshold.press("Enter")
        expect(threshold).to_have_value("2")
    explorer.get_by_role("button", name="Side by side").click()
    expect(beside).to_contain_text(
        re.compile(r"Mean of all steps: [\d.]+\s% \(Diffusion\), [\d.]+\s% \(Left-to-right\)")
    )
    explorer.get_by_role("button", name="Left-to-right", exact=True).click()
    expect(finding).to_contain_text("relative to an even split")
    expect(explorer.get_by_text("bundled")).to_have_count(0)
    explorer.get_by_role("button", name="Diffusion", exact=True).click()
    explorer.get_by_text("Definition, table, help").click()
    explorer.get_by_label("Count sinks among").select_option("in the prompt")
    threshold.fill("6")
    expect(finding).to_contain_text("no token counted (in the prompt) exceeds mean + 6 std.")


STRENGTHS = """(step) => {
  const { explorer } = document.querySelector(".sinkscope-explorer"), [recording] = explorer.recordings;
  const view = { definition: "std", threshold: 2, basis: "even", split: 0, judged: "head" };
  const of = (each) => [...each.strengths(view, [step, step])];
  explorer.set({ step });
  const first = recording.draws[0];
  const told = [of(recording), first.whole ? of(first) : [], recording.L];
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(told))));
}"""


def test_the_grid_of_heads_says_in_which_layers_sinks_draw_most_where_untrained_models_have_none_such(page, tmp_path):
    path = tmp_path / "shipped.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{explorer_html(read(EXAMPLE).explorer)}")
    page.goto(path.as_uri())
    expect(page.locator(".sx-b h2")).to_have_text(re.compile("sinks draw most in layers 0–2: "))
    named = set()
    for step in (0, 10, 20, 30, 40, 43):
        shares, untrained, layers = page.evaluate(STRENGTHS, step)
        title = page.locator(".sx-b h2").inner_text()
        means = np.reshape(shares, (layers, -1)).mean(axis=1)
        found = re.fullmatch(r"Heads’ sinks draw most in layers? ([\d–, and]+): (.+)", title)
        named.add(found is not None)
        if found is None:
            assert title == "Attention of each head to its own sinks"
            continue
        ends = [int(end) for end in re.findall(r"\d+", found[1])]
        most = list(range(ends[0], ends[-1] + 1)) if "–" in found[1] else ends
        assert min(means[most]) > max(np.delete(means, most)), "more than in every other layer"
        by_layer = np.reshape(untrained, (layers, -1)).mean(axis=1) if untrained else np.zeros(1)
        assert min(means[most]) > by_layer.max()
        assert found[2] == told(means[most].mean())
    assert True in named
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".sx-b h2")).to_have_text("Attention of each head to its own sinks")  # of either model


COMPONENT = """<!doctype html><meta charset=utf-8><style>%s</style><div id=part><div class=host></div></div>
<a href=next.html>Next</a>
<script type=module>
%s
window.told = [];
given = { data: new Uint8Array(%s), parentElement: document.querySelector("#part") };
given.setTriggerValue = (name, { address }) => told.push([name, address.layer]);
exported(given);
document.querySelector("a").addEventListener("click", (event) => event.preventDefault());
</script>"""


def test_it_tells_the_server_nothing_once_the_visitor_goes_to_another_page(page, tmp_path):
    script = guarded(component_js()).replace("export default", "let given; const exported =")
    path = tmp_path / "part.html"
    # Without its style each canvas makes its place larger, which makes the canvas larger, and so on.
    path.write_text(COMPONENT % (explorer_css(), script, list(explored([relative(block_trajectory())], ["model"]))))
    page.clock.install(time=0)
    page.goto(path.as_uri())
    page.clock.pause_at(1000)
    page.clock.run_for(1000)  # the strongest step, which it finds as it opens
    heads, last = page.locator(".sx-heads canvas"), "told.at(-1)"
    heads.press("Shift+ArrowDown")
    page.clock.run_for(1000)
    assert page.evaluate(last) == ["view", "0"]
    heads.press("Shift+ArrowDown")
    page.get_by_role("link", name="Next").dispatch_event("click")
    page.clock.run_for(1000)
    heads.press("Shift+ArrowUp")
    page.clock.run_for(1000)
    assert page.evaluate(last) == ["view", "0"]
    page.clock.run_for(20_000)  # the page is still there
    heads.press("Shift+ArrowDown")
    page.clock.run_for(1000)
    assert page.evaluate(last) == ["view", "1"]


@pytest.mark.parametrize("begins", [{}, {"from": "1"}])
def test_what_played_by_itself_rests_where_it_opened_but_a_branch_at_its_finished_text(page, tmp_path, begins):
    whole = relative(block_trajectory())
    steps = {name: value for name, value in vars(whole).items() if isinstance(value, np.ndarray) and name != "final"}
    trajectory = replace(whole, **{name: np.repeat(value, 4, axis=0) for name, value in steps.items()})
    script = guarded(component_js()).replace("export default", "let given; const exported =")
    packed = with_state(explored([trajectory], ["model"]), {"play": "job", "step": "2", **begins})
    path = tmp_path / "part.html"
    path.write_text(COMPONENT % (explorer_css(), script, list(packed)))
    page.emulate_media(reduced_motion="no-preference")
    page.clock.install(time=0)
    page.clock.pause_at(1)  # before it opens: a clock that goes on plays further than the first look at it
    page.goto(path.as_uri())
    slider = page.get_by_role("slider", name="Denoising step")
    expect(slider).to_be_attached()
    page.clock.run_for(50)  # until it is drawn
    expect(slider).to_have_attribute("aria-valuenow", begins.get("from", "0"))
    expect(page.locator("[data-set=speed]")).to_have_value("8")
    for _ in range(60):  # it may play no faster than frames come
        page.clock.run_for(500)
    expect(slider).to_have_attribute("aria-valuenow", str(trajectory.steps) if begins else "2")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
