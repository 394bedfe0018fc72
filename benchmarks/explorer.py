"""Script time per frame of the explorer: `python -m benchmarks.explorer`, in the system's Chromium, without a server.

Two recordings: the bundled model's own, made here, and one of random mass with 32 layers × 32 heads × 128 steps × 512
positions, of which layers and one head are held, as on a page. A gesture is 90 moves of the mouse, or of k.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from analysis.figures.explorer import explorer_html
from analysis.job_context import SilentContext
from analysis.jobs import JOBS
from analysis.recording.explored import ExplorerTrack, explored, explorer_bytes
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import LLaDASampling, RecordSpec
from docs.pictures import chromium_path

MOVES = 90
LARGE = (32, 32, 128, 512)
PROMPT = "It was a sunny day, and Sue was at the river. The river is not shallow. It is"
_APP = "document.querySelector('.sinkscope-explorer').explorer"


def main() -> None:
    """Print, for each gesture, the median and the 95th percentile of the script time per frame, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        print(f"load {os.getloadavg()[0]:.1f}; {MOVES} moves a gesture; ms per frame, median and 95th percentile")
        for name, packed in (("bundled", recorded(Path(folder))), ("large", large())):
            file = Path(folder) / f"{name}.html"
            file.write_text(f"<!doctype html><meta charset=utf-8><body>{explorer_html(packed)}", encoding="utf-8")
            began = time.perf_counter()
            page.goto(file.as_uri())
            page.wait_for_function(f"{_APP}?.frames.length")
            print(f"\n{name}: {file.stat().st_size / 1e6:.2f} MB, open after {time.perf_counter() - began:.2f} s")
            for canvas in ("text", "heads", "raster"):
                tell(page, f"hover the {canvas}", partial(hover, page, canvas))
            tell(page, "scrub", lambda: page.evaluate(f"({_drive('step', 'i % app.steps')})()"))
            tell_clicks(page)
            tell(page, "drag k", lambda: page.evaluate(f"({_drive('values', '({ k: 0.5 + i / 30 })')})()"))
        browser.close()


def recorded(folder: Path) -> bytes:
    """The bundled model's recording of a prompt, as the explorer takes it."""
    run = JOBS["record"].run
    assert run is not None
    outcome = run(RecordSpec(prompt=PROMPT, sampling=LLaDASampling(gen_length=48, steps=48)), SilentContext(folder))
    trajectory = open_trajectory(folder / str(outcome.file))
    return explored([replace(trajectory, mass=trajectory.relative_mass())], ["bundled"])


def large() -> bytes:
    """A recording of random mass, of which layers and one head are held."""
    layers, heads, steps, positions = LARGE
    draw = np.random.default_rng(0)
    by_layer = draw.gamma(0.6, size=(layers, steps, positions)).astype(np.float32)
    by_layer /= by_layer.mean(axis=-1, keepdims=True)
    head = by_layer[:1]
    model = by_layer.mean(axis=0)
    maps = np.concatenate([model[None], by_layer, np.repeat(head, layers * heads, axis=0)])
    final = 1 + np.arange(positions) % 40
    ones = np.ones((1, steps, positions), np.float32)
    written = np.zeros((steps, positions), bool)
    when = np.minimum(steps - 1, np.arange(positions) * steps // positions)
    written[when, np.arange(positions)] = True
    undecided = np.arange(steps)[:, None] <= when
    track = ExplorerTrack(
        {
            "name": "large",
            "steps": steps,
            "layers": layers,
            "heads": heads,
            "positions": positions,
            "words": ["", *(f"word{token}" for token in range(1, 41))],
            "splitNames": ["all tokens"],
            "even": True,
            "noise": False,
            "autoregressive": False,
            "branch": None,
            "expertLayers": [],
        },
        {
            "model": model,
            "layers": by_layer,
            "heads": head,
            "mean": maps.mean(axis=-1),
            "std": maps.std(axis=-1),
            "uniform": ones,
            "uniformModel": ones[0],
            "visible": positions * ones,
            "visibleModel": positions * ones[0],
            "tokens": np.concatenate([np.where(undecided, 0, final), final[None]]),
            "state": np.where(undecided, 3, 1),
            "done": written.astype(np.uint8),
            "confidence": np.full((steps, positions), np.nan),
            "splits": np.ones((steps, positions)),
            "held": np.zeros(1),
        },
    )
    return explorer_bytes([track])


def hover(page: Page, canvas: str) -> None:
    """Move the mouse across a canvas, one move per frame."""
    box = page.locator(f".sx-{canvas} canvas").bounding_box()
    assert box is not None
    for part in np.arange(MOVES) / MOVES:
        x, y = 40 + part * (box["width"] - 50), 24 + (7 * part % 1) * (box["height"] - 30)
        page.mouse.move(box["x"] + x, box["y"] + y)


_CLICKS = f"""async (canvas) => {{
  const box = canvas.getBoundingClientRect(), waits = [];
  for (let i = 0; i < {MOVES}; i++) {{
    const at = {{ clientX: box.left + 60 + ((7 * i) % 40) / 40 * (box.width - 70), button: 0, pointerId: 1,
      clientY: box.top + 24 + ((3 * i) % 16) / 16 * (box.height - 30), bubbles: true }};
    canvas.setPointerCapture = () => {{}};
    const began = performance.now();
    for (const kind of ["pointerdown", "pointerup"]) canvas.dispatchEvent(new PointerEvent(kind, at));
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    waits.push(performance.now() - began);
  }}
  return waits;
}}"""


def _drive(name: str, value: str) -> str:
    """A function of JavaScript that changes one choice, one change per frame."""
    return f"""async () => {{
      const app = {_APP};
      for (let i = 0; i < {MOVES}; i++) {{
        app.set({{ {name}: {value} }});
        await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
      }}
    }}"""


def tell_clicks(page: Page) -> None:
    """Print how long clicks on heads take until the frame after the answer begins: with drawing, up to the screen's own
    33 ms more than the script's time."""
    waits = sorted(page.locator(".sx-heads canvas").evaluate(_CLICKS))
    print(f"  {'click a head':<20} {statistics.median(waits):6.1f} {waits[int(0.95 * len(waits))]:6.1f}  (until drawn)")


def tell(page: Page, gesture: str, act: Callable[[], None]) -> None:
    """Print a line."""
    page.evaluate(f"{_APP}.frames.length = 0")
    act()
    frames = sorted(page.evaluate(f"{_APP}.frames"))
    late = frames[int(0.95 * len(frames))]
    print(f"  {gesture:<20} {statistics.median(frames):6.1f} {late:6.1f}  ({len(frames)} frames)", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m benchmarks.explorer", description=__doc__).parse_args()
    main()
