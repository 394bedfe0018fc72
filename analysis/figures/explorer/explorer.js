// The explorer: four views of one recording, or of two beside each other, that share one state. Nothing that is shown is
// asked of anybody, but for heads of recordings that are too large to be sent whole.

const LATER = 300; // milliseconds of rest after which the address follows
const LONGEST = 10; // seconds in which a text plays by itself, if any speed is enough
const REST = 900; // milliseconds at the end of a text that played by itself, before it goes back to where it opened

// root: an empty element. packed: the bytes of data.py. options: onState (an address), onAsk (a token), onNeed (what is not
// held), play (from which step it plays by itself), rests (whether it then goes back to where it opened), address (in
// place of the header's), href (of one, for Copy link).
function mount(root, packed, options = {}) {
  const { header, arrays } = unpacked(packed), recordings = header.tracks.map((told, n) => new Recording(told, arrays, `${n}.`)), definitions = header.definitions.filter((row) => row.name in LEVELS);
  root.classList.add("sx");
  root.tabIndex = -1;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Explorer");
  root.innerHTML = TEMPLATE;
  const found = new Map(), out = (name) => find(`[data-out=${name}]`), frames = [];
  function find(selector) {
    if (!found.has(selector)) found.set(selector, root.querySelector(selector));
    return found.get(selector);
  }
  const note = header.state.prompts ? ` This is one text; Evidence has ${header.state.prompts}.` : "";
  let family = "", themed = ""; // of the page, once they are known
  const app = {
    state: { ...START, ...fromAddress(options.address ?? header.state, definitions, recordings) }, hover: {}, history: [], playing: false, recordings, frames, version: 0, dialog: find("dialog"), content: header.content,
    shown: () => (recordings.length < 2 || app.state.show === "first" ? [recordings[0]] : app.state.show === "second" ? [recordings[1]] : recordings),
    get steps() { return app.shown()[0].T; },
    get ceiling() { return recordings[0].ceiling; },
    get themeName() { return (themed ||= root.dataset.theme ?? document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")); },
    get theme() { return THEMES[app.themeName]; },
    get font() { return (family ||= getComputedStyle(root).fontFamily); },
    view: (hover = app.hover) => ({ ...shown(app.state, hover, definitions), steps: app.steps, several: app.shown().length > 1 }),
    sharesOf: headShares, invalidate, set, pin, escape, play, strongest, zoom, average, open, need, receive, follow, unmount,
  };
  const kinds = { text: TextView, heads: HeadsView, curve: CurveView, raster: RasterView };
  const views = Object.fromEntries(Object.entries(kinds).map(([name, Kind]) => [name, new Kind(app, find(`.sx-${name}.sx-canvas`), LABELS[name])]));

  // --- drawing ---
  let requested = 0, spoken = 0, told = "", stepTold = "", barsDrawn = "", gone = false;
  const bars = [...root.querySelectorAll("[data-bar]")];
  function invalidate() { if (!gone) requested ||= requestAnimationFrame(frame); } // a pointer may leave a removed canvas
  function frame() {
    requested = 0;
    const from = performance.now(), view = app.view(app.playing ? { ...app.hover, step: undefined } : app.hover);
    for (const each of Object.values(views)) if (each.w) each.draw(view);
    words(view);
    if (frames.push(performance.now() - from) > 2000) frames.shift();
  }
  const texts = new Map(); // what stands where
  const renews = (name, text) => texts.get(name) !== text && texts.set(name, text);
  const put = (name, text) => { if (renews(name, text)) out(name).textContent = text; };
  function words(view) {
    const several = app.shown(), first = several[0], [t0, t1] = stepRange(view, first), to = target(view, first);
    let parts = finding(first, view);
    if (several.length > 1) {
      const second = finding(several[1], view);
      const progress = first.T !== several[1].T && t0 === t1 ? "At equal progress, " : "";
      parts = [`${progress}${first.name}: ${parts[0]}`, ...parts.slice(1), ...(parts.length % 2 ? [""] : []), `\n${several[1].name}: ${second[0]}`, ...second.slice(1)];
    }
    const means = several.map((each) => [each.name, each.series(view, view.layer, view.head)?.share]).filter(() => !to && !throughout(view, first));
    const more = several.length < 2 ? beside(first, view, note) : means.every(([, share]) => share) && means.length ? [`Mean of all steps: ${means.map(([name, share]) => `${percent(meanOver(share, [0, share.length - 1]))} (${name})`).join(", ")}.`] : [];
    tell("beside", more);
    say(parts, `${more.join("")} ${attending(first, view)}`);
    const over = t0 !== t1;
    put("step", view.step >= app.steps ? "Finished text" : `Step ${view.step} (0–${app.steps - 1})`);
    const peak = strongestStep();
    put("strongest", `Strongest step${peak === null ? "" : `: ${peak}`}`);
    put("open", first.noise ? "undecided" : "masked");
    put("texttitle", finished(view, first) ? "Finished text" : over ? `Finished text, ${t0 === 0 && t1 === first.T - 1 ? "all steps" : `steps ${t0}–${t1}`}` : view.layer == null ? "Mean attention to each token, × even split" : `Attention to each token, × even split, ${place(view)}`);
    put("sink", `sink${several.length > 1 ? "" : sinkLevel(first, view)}`);
    put("headtitle", headTitle(first, view, several.length === 1));
    put("headnote", headNote(first, view, several.length === 1));
    put("pale", first.noise ? "grey: prompt, undecided" : "grey: prompt");
    put("rastertitle", `Attention to every token over the steps, × even split${view.layer == null ? "" : `, ${place(view)}`}`);
    const lives = several.length > 1 ? "" : lived(first, view); // keeps its room while a map is on its way
    if (lives !== null) put("lives", lives);
    root.classList.toggle("sx-waits", lives === null);
    put("curvetitle", to ? `Attention to ${aim(view, to)}` : "");
    const [before, after] = CRITERIA[view.definition];
    put("before", `Sink: attention above ${before}`);
    put("after", after);
    find("[data-set=measure]").hidden = Boolean(to);
    find("[data-do=zoom]").hidden = !(app.state.area?.p0 != null && app.state.area.p1 > app.state.area.p0);
    find("[data-do=ask]").hidden = !options.onAsk || app.state.position == null;
    root.classList.toggle("sx-over", over);
    root.classList.toggle("sx-both", several.length > 1);
    root.classList.toggle("sx-nodots", !views.raster.dotted());
    find("[data-do=undo]").hidden = !PINS.some((name) => app.state[name] != null);
    sayStep();
    const [, heat, mass] = bars;
    heat.hidden = Boolean(to);
    mass.hidden = !to;
    drawBars();
  }
  // The step, for whoever hears the curve as a slider.
  function sayStep() {
    const told = { valuemin: 0, valuemax: app.steps, valuenow: app.state.step, valuetext: out("step").textContent }, text = String(Object.values(told));
    if (text === stepTold) return;
    stepTold = text;
    for (const [name, value] of Object.entries(told)) views.curve.canvas.setAttribute(`aria-${name}`, value);
  }
  // Draws [text, news, text, …].
  function tell(name, parts) {
    if (renews(name, parts.join(""))) out(name).replaceChildren(...parts.map((part, n) => (n % 2 ? make("strong", part) : part)));
  }
  // more: is drawn elsewhere, and spoken here
  function say(parts, more) {
    const text = `${parts.join("")} ${more}`.trim();
    tell("finding", parts);
    if (told === text) return;
    told = text;
    clearTimeout(spoken);
    if (!app.playing) spoken = setTimeout(() => put("live", text), 500);
  }
  // The colour bars: the text’s, and the grid’s two, of which the second is shown where a position is chosen.
  function drawBars() {
    const key = `${app.themeName} ${app.font} ${devicePixelRatio}`;
    if (barsDrawn === key) return;
    barsDrawn = key;
    for (const element of bars) drawBar(element, app, element.dataset.bar === "mass");
  }

  // --- changes ---
  let noted = 0, restAt, resting = 0;
  function set(change) {
    const before = app.steps;
    clearTimeout(resting);
    Object.assign(app.state, change);
    if (change.show && change.step === undefined) carry(before);
    app.state.step = clamp(app.state.step, app.steps);
    controls();
    invalidate();
    clearTimeout(noted);
    noted = setTimeout(() => { if (!app.playing) options.onState?.(toAddress(app.state, definitions, recordings[0])); }, LATER);
  }
  // Keeps the progress where another recording now gives the steps. before: how many there were.
  function carry(before) {
    const { state } = app, own = (step) => Math.floor((step * app.steps) / before);
    state.step = own(state.step);
    if (state.area) state.area = { ...state.area, t0: own(state.area.t0), t1: own(state.area.t1) };
  }
  // Goes where an address leads that was not made here.
  function follow(address) {
    play(false);
    app.history.length = 0;
    set({ ...START, speed: app.state.speed, ...fromAddress(address, definitions, recordings) });
    if (address.step === undefined) strongest();
  }
  function pin(change) {
    const before = Object.fromEntries(PINS.map((name) => [name, app.state[name]]));
    if (PINS.some((name) => change[name] !== undefined && change[name] !== before[name])) app.history.push(before);
    set(change);
  }
  function escape() {
    app.hover = {};
    if (app.playing) play(false);
    else set(app.history.pop() ?? Object.fromEntries(PINS.map((name) => [name, null])));
  }
  function zoom() {
    const { area } = app.state;
    if (area?.p0 == null || area.p1 === area.p0) return null;
    return pin({ zoom: [area.p0, area.p1], area: null });
  }
  // Of one step or of all, in place of the steps that were selected.
  function average(over) {
    app.state.over = over;
    pin({ area: null });
  }
  const strongestStep = () => app.shown()[0].strongest(app.view({}), app.state.layer, app.state.head);
  function strongest() {
    const step = strongestStep();
    if (step !== null) set({ step, over: "step" });
  }
  function controls() {
    const { state } = app, row = definitions.find((each) => each.name === state.definition);
    const pressed = { show: state.show, over: state.area ? "" : state.over };
    for (const [name, value] of Object.entries(pressed)) for (const button of root.querySelectorAll(`[data-${name}]`)) button.setAttribute("aria-pressed", String(button.dataset[name] === value));
    const threshold = state.values[row.parameter] ?? row.preset;
    for (const input of root.querySelectorAll("[data-set=threshold]")) {
      Object.assign(input, { min: row.least, max: row.most, step: row.step });
      if (input.value === "" || Number(input.value) !== threshold) input.value = threshold;
      input.setAttribute("aria-label", row.title);
    }
    find("[data-set=step]").max = app.steps;
    for (const name of ["step", "speed", "measure", "definition", "split", "judged", "basis"]) find(`[data-set=${name}]`).value = String(state[name]);
  }
  function prepare() {
    const option = (value, text) => Object.assign(make("option", text), { value: String(value) });
    find("[data-set=definition]").replaceChildren(...definitions.map((row) => option(row.name, row.title)));
    find("[data-set=split]").replaceChildren(...recordings[0].splitNames.map((name, n) => option(n, name)));
    const [first, second] = recordings, choices = root.querySelectorAll("[data-show]");
    choices[0].parentElement.hidden = !second;
    for (const [n, each] of recordings.entries()) choices[n].textContent = each.name;
    find("[data-do=link]").hidden = !options.href;
    root.classList.toggle("sx-nulls", recordings.some((each) => each.nullModel?.length));
    for (const [name, there] of Object.entries({
      edits: (each) => each.done.some((bits) => bits & (EDITED | TAKEN_BACK)), accepted: (each) => each.state.includes(ACCEPTED), blocks: (each) => each.openBlock, uneven: (each) => each.meanEven,
    })) for (const element of root.querySelectorAll(`.sx-${name}`)) element.hidden = !recordings.some(there);
    find(".sx-more").open = ["definition", "judged", "split"].some((name) => app.state[name] !== START[name]);
    controls();
  }

  // --- playing ---
  let stepped = 0, clock = 0;
  function play(on) {
    const button = find("[data-do=play]");
    restAt = undefined;
    app.playing = on;
    app.hover = {};
    button.innerHTML = icon(on ? "pause" : "play");
    button.setAttribute("aria-label", on ? "Pause" : "Play");
    if (on) set({ over: "step", area: null, ...(app.state.step >= app.steps ? { step: 0 } : {}) });
    cancelAnimationFrame(clock);
    stepped = performance.now();
    if (on) clock = requestAnimationFrame(tick);
    else set({});
  }
  function tick(now) {
    if (!app.playing) return;
    if (now - stepped >= 1000 / app.state.speed) {
      stepped = now;
      if (app.state.step >= app.steps) { rest(restAt); return; }
      set({ step: app.state.step + 1 });
    }
    clock = requestAnimationFrame(tick);
  }

  // Ends the playing. The address follows once it is where it rests.
  function rest(step) {
    play(false);
    if (step === undefined) return;
    clearTimeout(noted);
    resting = setTimeout(() => set({ step }), REST);
  }

  // --- what is not held ---
  const needed = { heads: new Set(), cells: new Map() };
  let asking = 0;
  function need({ heads, cells, recording = app.shown()[0] }) {
    if (!options.onNeed) return;
    const track = recordings.indexOf(recording);
    if (heads) needed.heads.add(`${track}.${heads.layer * recording.H + heads.head}`);
    if (cells) needed.cells.set(track, cellsKey(cells, recording));
    clearTimeout(asking);
    asking = setTimeout(() => {
      options.onNeed({ content: app.content, heads: [...needed.heads], cells: [...needed.cells] });
      needed.heads.clear();
      needed.cells.clear();
    }, 120);
  }
  function receive(bytes) {
    const { header: told, arrays: sent } = unpacked(bytes);
    if (told.content !== app.content) return;
    for (const [name, values] of Object.entries(sent)) {
      const [track, kind, key] = name.split("|");
      if (kind === "head") recordings[track].receive({ [key]: values });
      else if (kind === "attention") recordings[track].attention.set(key, values);
      else recordings[track].cells.set(told.keys[key], values);
    }
    app.version += 1;
    invalidate();
  }

  // --- listening ---
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button"), data = button?.dataset ?? {}, { state } = app;
    if (data.show) set({ show: data.show });
    else if (data.over) average(data.over);
    else if (data.do === "play") play(!app.playing);
    else if (data.do === "back" || data.do === "next") { play(false); set({ step: state.step + (data.do === "back" ? -1 : 1) }); }
    else if (data.do === "strongest") strongest();
    else if (data.do === "zoom") zoom();
    else if (data.do === "undo") escape();
    else if (data.do === "help") open(help(app.touched));
    else if (data.do === "table") open(app.shown().flatMap((each) => table(each, app.view({}))));
    else if (data.do === "link") copy(button);
    else if (data.do === "ask") ask();
  });
  function ask() {
    const { state } = app, track = state.show === "second" ? 1 : 0, recording = recordings[track], done = state.step >= recording.T;
    if (state.position < recording.S) options.onAsk({ track, step: Math.min(state.step, recording.T - 1), finished: done, position: state.position });
  }
  async function copy(button) {
    await navigator.clipboard.writeText(options.href(toAddress(app.state, definitions, recordings[0])));
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy link"; }, 1500);
  }
  root.addEventListener("input", (event) => {
    const name = event.target.dataset.set, { value } = event.target, { state } = app;
    if (name === "threshold") {
      const row = definitions.find((each) => each.name === state.definition), number = Number(value);
      if (value !== "" && number >= row.least && number <= row.most) set({ values: { ...state.values, [row.parameter]: number } });
    } else if (name === "step") { play(false); set({ step: Number(value), over: "step" }); }
    else if (name === "split" || name === "speed") set({ [name]: Number(value) });
    else if (name) set({ [name]: value });
  });
  root.addEventListener("change", (event) => event.target.dataset.set === "threshold" && controls()); // it keeps no value that nothing shows
  function open(elements) {
    app.dialog.firstElementChild.replaceChildren(...elements);
    app.dialog.showModal();
  }
  app.dialog.addEventListener("close", () => app.dialog.firstElementChild.replaceChildren());
  root.addEventListener("keydown", (event) => keyPressed(app, event));
  const scheme = matchMedia("(prefers-color-scheme: dark)"), watch = new MutationObserver(repaint);
  function repaint() {
    family = themed = "";
    app.version += 1;
    for (const each of Object.values(views)) each.measure();
    invalidate();
  }
  scheme.addEventListener("change", repaint);
  document.fonts.ready.then(repaint);
  addEventListener("resize", repaint);
  for (const each of [root, document.documentElement]) watch.observe(each, { attributes: true, attributeFilter: ["data-theme"] });
  function unmount() {
    app.playing = false;
    gone = true;
    cancelAnimationFrame(requested);
    for (const timer of [noted, resting, spoken, asking]) clearTimeout(timer);
    watch.disconnect();
    scheme.removeEventListener("change", repaint);
    removeEventListener("resize", repaint);
    for (const each of Object.values(views)) each.resized.disconnect();
    root.replaceChildren();
  }

  const use = (touch) => root.classList.toggle("sx-touched", (app.touched = touch));
  use(matchMedia("(hover: none)").matches);
  root.addEventListener("pointerdown", (event) => use(event.pointerType === "touch"), true);
  listen(app, views);
  prepare();
  if ((options.address ?? header.state).step === undefined) strongest();
  repaint();
  if (options.play !== undefined && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const opened = options.rests ? app.state.step : undefined;
    app.state.speed = [...find("[data-set=speed]").options].map(({ value }) => Number(value)).find((speed) => app.steps <= LONGEST * speed) ?? 20;
    set({ step: options.play });
    play(true);
    restAt = opened;
  }
  return app;
}

function drawBar(element, app, mass) {
  const ratio = devicePixelRatio || 1, w = Number((element.dataset.w ??= element.width)), h = Number((element.dataset.h ??= element.height)), g = element.getContext("2d"), { theme, ceiling } = app, { css } = mass ? theme.ramp : theme.heat;
  element.width = w * ratio;
  element.height = h * ratio;
  Object.assign(element.style, { width: `${w}px`, height: `${h}px` });
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", mass ? "Colours: attention in multiples of an even split" : "Colours: share of attention that goes to sinks, 0 to 100 %");
  g.scale(ratio, ratio);
  g.clearRect(0, 0, w, h);
  const place = [0.5, 1.5, w - 1, 9];
  colorBar(g, theme, scaleColors(g, css, ...place, true), ...place);
  g.font = `12px ${app.font}`;
  g.textBaseline = "middle";
  g.fillStyle = theme.soft;
  const marks = mass ? massMarks(ceiling).map(([at, text]) => [at, at < 1 ? text.replace(" ×", "") : text]) : [[0, "0"], [0.5, "50"], [1, "100 %"]], half = (text) => g.measureText(text).width / 2;
  g.textAlign = "center";
  let end = w; // of the room that is left
  for (const [part, text] of marks.reverse()) {
    const x = Math.max(half(text), Math.min(w - half(text), part * w));
    if (x + half(text) > end) continue;
    g.fillText(text, x, 19);
    end = x - half(text) - 8;
  }
}
