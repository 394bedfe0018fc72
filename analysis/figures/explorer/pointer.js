// Pointing looks, a click pins, a drag selects (or scrubs), and every view speaks to the same choices.

function listen(app, views) {
  let drag = null;
  const pinned = () => Object.fromEntries(PINS.map((name) => [name, app.state[name]]));
  const span = (a, b) => [Math.min(a, b), Math.max(a, b)];

  function look(hit) {
    const next = {};
    for (const name of ["position", "layer", "head", "step"]) {
      if (hit?.[name] !== undefined && !(name === "step" && (hit.scrub || app.state.over === "all"))) next[name] = hit[name];
    }
    if (JSON.stringify(next) === JSON.stringify(app.hover)) return;
    app.hover = next;
    app.invalidate();
  }
  function dragged(hit, at) {
    const { name, from, start } = drag;
    if (!hit) return;
    if (from.scrub) { app.set({ step: hit.step }); return; }
    if (!drag.far && Math.hypot(at[0] - start[0], at[1] - start[1]) < 4) return;
    if (name === "heads") { look(hit); drag.from = hit; return; }
    if (!drag.far) { Object.assign(drag, { before: pinned(), far: true }); app.play(false); app.hover = {}; }
    const steps = name === "text" ? [app.state.step, app.state.step] : span(from.step, hit.step), positions = name === "curve" ? [null, null] : span(from.position, hit.position);
    app.set({ position: null, area: { t0: steps[0], t1: steps[1], p0: positions[0], p1: positions[1] } });
  }
  function clicked(name, from) {
    const { state } = app, again = from.layer === state.layer && from.head === state.head;
    if (name === "heads") app.pin(again ? { layer: null, head: null } : { layer: from.layer, head: from.head });
    else if (name === "text") app.pin({ position: from.position === state.position ? null : from.position, area: null });
    else if (name === "raster") app.pin({ position: from.position, step: from.step, area: null });
    else app.pin({ step: from.step, area: null });
  }
  for (const [name, view] of Object.entries(views)) {
    const { canvas: element } = view;
    element.addEventListener("pointermove", (event) => {
      const at = view.at(event), hit = view.hit(...at);
      if (drag?.view === view) dragged(hit, at); else look(hit);
    });
    element.addEventListener("pointerleave", () => { if (!drag) look(null); });
    element.addEventListener("pointerdown", (event) => {
      const start = view.at(event), from = view.hit(...start);
      if (!from || event.button) return;
      drag = { view, name, from, start, far: false };
      element.setPointerCapture(event.pointerId);
      if (from.scrub) { app.play(false); app.hover = {}; app.set({ step: from.step }); }
    });
    element.addEventListener("pointerup", (event) => {
      if (!drag) return;
      const { from, far, before } = drag;
      drag = null;
      if (from.scrub) return;
      if (far) app.history.push(before); else clicked(name, from);
      if (event.pointerType === "touch") { app.hover = {}; app.invalidate(); }
    });
    element.addEventListener("pointercancel", () => { drag = null; });
  }
}

// Everything by keyboard, while the explorer has the focus.
function keyPressed(app, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || app.dialog.open) return;
  const { tagName } = event.target, { state } = app, recording = app.shown()[0], { shiftKey } = event;
  if (["SELECT", "INPUT"].includes(tagName) && event.key !== "Escape") return;
  const goTo = (step) => { app.play(false); app.set({ step }); };
  const step = (by) => goTo(state.step + by);
  const toHead = (by) => {
    const head = state.head == null ? (by > 0 ? 0 : null) : state.head + by < 0 ? null : Math.min(state.head + by, recording.H - 1);
    app.pin({ layer: state.layer ?? 0, head: state.layer == null && by < 0 ? null : head });
  };
  const toLayer = (by) => {
    const layer = state.layer == null ? (by > 0 ? 0 : null) : state.layer + by < 0 ? null : Math.min(state.layer + by, recording.L - 1);
    app.pin(layer === null ? { layer, head: null } : { layer });
  };
  const toPosition = (by) => app.pin({ position: clamp((state.position ?? (by > 0 ? -1 : 1)) + by, recording.S - 1), area: null });
  const actions = {
    " ": () => (["BUTTON", "SUMMARY"].includes(tagName) ? null : app.play(!app.playing)), Escape: app.escape,
    Home: () => goTo(0), End: () => goTo(app.steps), PageUp: () => step(-10), PageDown: () => step(10),
    ArrowLeft: () => (shiftKey ? toHead(-1) : step(-1)), ArrowRight: () => (shiftKey ? toHead(1) : step(1)),
    ArrowUp: () => (shiftKey ? toLayer(-1) : toPosition(-1)), ArrowDown: () => (shiftKey ? toLayer(1) : toPosition(1)),
    Enter: () => (["BUTTON", "SUMMARY"].includes(tagName) || !Object.keys(app.hover).length ? null : app.pin(app.hover)),
    s: app.strongest, m: () => app.average(state.over === "all" ? "step" : "all"),
    c: () => (app.recordings.length > 1 ? app.set({ show: state.show === "both" ? "first" : "both" }) : null),
    z: () => app.zoom(), "?": () => app.open(help(app.touched)),
  };
  const action = actions[event.key] ?? actions[event.key.toLowerCase()];
  if (!action || action() === null) return;
  event.preventDefault();
  event.stopPropagation(); // Streamlit has keys of its own
}
