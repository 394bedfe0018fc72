// The explorer's elements; every text from a recording is set as textContent or drawn, never as HTML.

const ICONS = {
  play: "M5 3.5v13l11-6.5z", pause: "M5 4h3.6v12H5zM11.4 4H15v12h-3.6z",
  back: "M13.5 4v12L6.5 10zM4.5 4h1.8v12H4.5z", next: "M6.5 4v12l7-6zM13.7 4h1.8v12h-1.8z",
};
const icon = (name) => `<svg viewBox="0 0 20 20" width="18" height="18" fill="currentColor" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
const canvas = (name, role) => `<div class="sx-canvas sx-${name}"><canvas tabindex="0" role="${role}"></canvas></div>`;
const choice = (name, label, options) => `<div class="sx-choice" role="group" aria-label="${label}">${options.map(([value, text]) => `<button type="button" data-${name}="${value}" aria-pressed="false">${text}</button>`).join("")}</div>`;

// Entries of a legend: the class that shows or hides one, its sign and its text.
const legend = (...entries) => `<p class="sx-key">${entries.map(([when, sign, text]) => `<span${when ? ` class="sx-${when}"` : ""}>${sign ? `<i class="sx-${sign}"></i>` : ""}${text}</span>`).join("")}</p>`;

const TEMPLATE = `<div class="sx-body">
  <header class="sx-top">
    <div class="sx-tools">
      ${choice("show", "Recording", [["first", ""], ["second", ""], ["both", "Side by side"]])}
      <button type="button" class="sx-quiet" data-do="link" hidden>Copy link</button>
    </div>
    <div class="sx-told"><p class="sx-finding" data-out="finding"></p><p class="sx-beside" data-out="beside"></p></div>
  </header>
  <div class="sx-rule">
    <div class="sx-k"><span data-out="before"></span><input type="number" data-set="threshold"><span data-out="after"></span><input type="range" data-set="threshold"></div>
    ${choice("over", "Steps", [["step", "This step"], ["all", "All steps"]])}
    <details class="sx-more"><summary>Definition, table, help</summary><div>
      <label>Definition<select data-set="definition"></select></label>
      <label title="The coarser of this and what is shown">Judged on<select data-set="judged"><option value="head">each head</option><option value="layer">each layer</option><option value="model">the whole model</option></select></label>
      <label class="sx-uneven">Judged by<select data-set="basis"><option value="even">attention ÷ even split</option><option value="raw">raw attention</option></select></label>
      <label>Count sinks among<select data-set="split"></select></label>
      <label>Steps per second<select data-set="speed"><option>2</option><option>8</option><option>20</option></select></label>
      <button type="button" class="sx-quiet" data-do="table">Table</button>
      <button type="button" class="sx-quiet" data-do="help" title="Keys, mouse and definitions (?)">Help</button>
    </div></details>
  </div>
  <div class="sx-grid">
    <section class="sx-a"><h2 data-out="texttitle"></h2><div class="sx-scale"><canvas class="sx-bar" data-bar="mass" width="120" height="26"></canvas>${legend(["now", "hatch", `<span data-out="open"></span>`], ["now", "", `<b class="sx-pale" data-out="pale"></b>`], ["", "sinkbox", `<span data-out="sink"></span>`], ["now", "", "bold: new"], ["edits", "edit", "edited or taken back"], ["accepted", "dashed", "can be taken back"], ["blocks", "stroke", "open block"])}</div>${canvas("text", "application")}</section>
    <section class="sx-b"><h2 data-out="headtitle"></h2><div class="sx-scale"><canvas class="sx-bar" data-bar="heads" width="120" height="26"></canvas><canvas class="sx-bar" data-bar="mass" width="120" height="26"></canvas><p class="sx-key"><span data-out="headnote"></span></p></div>${canvas("heads", "application")}</section>
    <section class="sx-c"><h2><div class="sx-transport">
      <button type="button" class="sx-icon" data-do="back" aria-label="Previous step" title="Previous step (←)">${icon("back")}</button>
      <button type="button" class="sx-icon sx-play" data-do="play" aria-label="Play" title="Play (space)">${icon("play")}</button>
      <button type="button" class="sx-icon" data-do="next" aria-label="Next step" title="Next step (→)">${icon("next")}</button>
      <span class="sx-step" data-out="step"></span>
      <button type="button" class="sx-quiet" data-do="strongest" data-out="strongest" title="Go to the step in which the sinks take the largest share (S)"></button>
      <input type="range" class="sx-scrub" data-set="step" min="0" aria-label="Step">
    </div><span class="sx-spring"></span><label class="sx-measure"><span data-out="curvetitle"></span><select data-set="measure" aria-label="Measure"><option value="share">Attention to sinks</option><option value="count">Number of sinks</option><option value="entropy">Entropy</option></select></label></h2>${canvas("curve", "slider")}
    <p class="sx-about"><span><span class="sx-mouse">Point to look, click to pin, drag to select steps</span><span class="sx-touch">Tap to pin, drag to select steps</span></span><span class="sx-spring"></span><button type="button" data-do="ask" hidden>What else could stand here?</button><button type="button" data-do="undo" title="Undo the last pin, selection or zoom (Esc)" hidden>Undo</button></p></section>
    <section class="sx-d"><h2><span data-out="rastertitle"></span><span class="sx-spring"></span><button type="button" class="sx-quiet" data-do="zoom" hidden>Zoom to selection</button></h2><p class="sx-lives" data-out="lives"></p>${legend(["", "sinkbox", "orange frame: steps in which it is a sink; number: token position"], ["dots", "dot", "written after the step"], ["edits", "dot sx-edited", "edited or taken back"], ["blocks", "dashed", "open block"], ["", "mark", "step shown"])}${canvas("raster", "application")}</section>
  </div>
  </div>
  <p class="sx-hidden" role="status" aria-live="polite" data-out="live"></p>
  <dialog class="sx-dialog"><div></div><form method="dialog"><button class="sx-quiet">Close</button></form></dialog>`;

const LABELS = {
  text: "Text of the step. Up and down arrows choose a token.",
  heads: "Share of each head’s attention, by layer and head. Shift and the arrows choose one and tell its share.",
  curve: "Denoising step",
  raster: "Attention by step and token. Arrows choose, dragging selects.",
};
const KEYS = [
  ["Space", "play or pause"], ["← →", "previous and next step; Home and End jump"], ["↑ ↓", "token"], ["Shift + arrows", "layer and head"],
  ["Enter", "pin what the mouse points at"], ["Esc", "undo the last pin, selection or zoom"], ["S", "step in which the sinks’ share peaks"], ["M", "mean over steps"], ["C", "side by side"], ["Z", "zoom to the selection"],
];
const DEFINITIONS_TOLD = [
  "Attention is in multiples of an even split: 1× is what a token gets when every query spreads its attention evenly over the tokens it can see.",
  "Sentence, text, curve and map judge sinks on what is shown: the mean of all heads, until a layer or head is pinned. Each cell of the grid judges its own head, whose sinks may be other tokens, and its column “mean of heads” the mean of the layer’s heads. “Judged on” judges all on layers or the whole model.",
  "Text: which tokens are sinks. Grid: which heads attend to them. Curve: in which steps. Map: how long each lasts. Point at anything and the rest follows.",
  "Blue is attention to a token. Orange is about sinks: an outline is a sink, a cell of the grid the share of attention that goes to its own.",
  "Untrained models have the same shape and random weights. Equally sharp: in each layer their attention logits spread over the tokens as this model’s do, on the same inputs. Their own sinks are judged by the same definition. “At most” is the most of any of them; their range at a step goes from the least to the most. By chance: one more untrained model is above n others in 1 of n + 1 steps. A shipped prompt has 8 of them, as one text is quick; a study has 3 for its many prompts.",
  "In the text, hatched tokens are still masked; on the map, a dot is the step that writes a token. Random positions: at each step, as many sinks drawn among the prompt’s tokens, the masked and the written ones as there are.",
];

function make(kind, text, ...children) {
  const element = document.createElement(kind);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}
const rowOf = (kind, texts) => make("tr", "", ...texts.map((text) => make(kind, String(text))));
const TOUCHES = [
  ["Tap", "pin a token, head or step; tap it again to unpin"], ["Drag sideways", "select steps and positions; on the slider, move the step"], ["Undo", "take back the last pin, selection or zoom"],
];
const MOUSE = [["Point", "look"], ["Click", "pin; click again to unpin"], ["Drag", "select steps and positions; on the slider, move the step"]];
// touched: whether the explorer is used by touch
function help(touched) {
  const rows = (title, ways) => [make("h2", title), make("table", "", make("tbody", "", ...ways.map((each) => rowOf("td", each))))];
  return [
    ...(touched ? rows("Touch", TOUCHES) : [...rows("Mouse", MOUSE), ...rows("Keys", KEYS)]),
    make("h2", "What is shown"), ...DEFINITIONS_TOLD.map((text) => make("p", text)),
  ];
}
// The numbers of the step, position by position.
function table(recording, view) {
  if (finished(view, recording) || !recording.has(view.layer, view.head)) return [make("h2", `${recording.name}: no forward reads this text`)];
  const t = clamp(ownStep(view, recording), recording.T - 1), mass = recording.mass(view.layer, view.head), times = recording.times(view.layer, view.head);
  const flags = recording.sinks(view, view.layer, view.head), [all] = recording.totals(view.layer, view.head), rows = [];
  for (let s = 0; s < recording.S; s++) {
    const i = t * recording.S + s, state = recording.state[i];
    if (state === ABSENT) continue;
    const later = `later ${quoted(recording.finalWord(s))}`;
    const word = state !== UNDECIDED ? visible(recording.word(t, s)) : recording.noise ? `${visible(recording.word(t, s))} (${later})` : `[MASK] (${later})`;
    rows.push(rowOf("td", [s, word, ["prompt", "written", "can be taken back", recording.noise ? "undecided" : "masked"][state], times[i].toFixed(2), percent(mass[i] / all[t]), flags[i] ? "sink" : ""]));
  }
  const head = rowOf("th", ["position", "token", "state", "× even split", "share", "sink"]), shares = headShares(recording, view);
  const byLayer = shares ? Array.from({ length: recording.L }, (_, l) => rowOf("td", [l, shareOf(recording, view, l, null).share, ...shares.subarray(l * recording.H, (l + 1) * recording.H)].map((each, n) => (n ? percent(each) : each)))) : [];
  const heads = rowOf("th", ["layer", "mean of heads", ...Array.from({ length: recording.H }, (_, h) => `head ${h}`)]);
  return [
    make("h2", `${recording.name}: ${place(view)}, step ${t}`), make("p", lasting(recording, view)), make("table", "", make("thead", "", head), make("tbody", "", ...rows)),
    make("h2", headTitle(recording, view, true)), make("table", "", make("thead", "", heads), make("tbody", "", ...byLayer)),
  ];
}
// The mean of all cells of the grid of layers and heads, beside those of the untrained models in the same steps where these
// are held, and what sets it apart from the share that the sentence tells; empty where the cells are not about sinks.
function headNote(recording, view, alone) {
  if (target(view, recording) || finished(view, recording)) return "";
  return [alone ? headMean(recording, view) : "", alone || view.head != null ? framed(recording, view) : ""].filter(Boolean).join("; ");
}
// Where each head has its own sinks: whose the text frames, and where those are of all heads what they take.
function framed(recording, view) {
  if (view.judged !== "head") return "";
  if (view.head != null) return `framed: those of ${place(view)}`;
  const [t0, t1] = stepRange(view, recording), { share, count } = shareOf(recording, view);
  return view.layer != null || !count ? "" : `${t0 === t1 ? "framed tokens" : "heads averaged first"}: ${percent(share)}`;
}
function headMean(recording, view) {
  const shares = headShares(recording, view), others = untrainedMeans(recording, view);
  return shares ? `Share of attention: mean ${percent(meanOf(shares))}${others.length ? ` (untrained ${spanOf(others)})` : ""}` : "";
}
// The same mean of each untrained model.
function untrainedMeans(recording, view) {
  const [first] = recording.draws, range = stepRange(view, recording), { T } = recording, own = view.preset && recording.nullOwn;
  if (own) return Array.from({ length: own.length / T }, (_, n) => meanOver(own.subarray(n * T, (n + 1) * T), range));
  return first?.whole ? [meanOf(first.strengths(view, range))] : [];
}
// The least and the most of shares.
function spanOf(shares) {
  const [low, high] = [Math.min, Math.max].map((end) => percent(end(...shares)));
  return low === high ? low : `${low.replace(/\s%$/, "")}–${high}`;
}
// What the grid of layers and heads shows: where sinks draw most, else what it is coloured by.
function headTitle(recording, view, alone) {
  const to = target(view, recording);
  if (to) return `Attention each head gives ${aim(view, to)}`;
  return (alone && drawnMost(recording, view)) || `Attention of each head to ${WHOSE[view.judged]}`;
}
// The few layers whose heads give sinks more than the mean of all layers, where each lies also above every untrained model,
// the layers of the first included; empty where that holds of none, or of too many to name.
function drawnMost(recording, view) {
  const shares = finished(view, recording) ? null : headShares(recording, view), others = untrainedMeans(recording, view), [first] = recording.draws;
  if (!shares || !others.length) return "";
  const byLayer = layerMeans(shares, recording), most = byLayer.flatMap((share, layer) => (share > meanOf(byLayer) ? [layer] : [])), taken = most.map((layer) => byLayer[layer]);
  const untrained = first?.whole ? layerMeans(first.strengths(view, stepRange(view, recording)), recording) : [];
  const last = most.length - 1, run = last > 0 && most[last] - most[0] === last;
  if (!most.length || most.length > recording.L / 2 || (last > 2 && !run) || Math.min(...taken) <= Math.max(...others, ...untrained)) return "";
  const named = run ? `${most[0]}–${most[last]}` : last > 0 ? `${most.slice(0, -1).join(", ")} and ${most[last]}` : most[0];
  return `${OWNERS[view.judged]} sinks draw most in layer${last > 0 ? "s" : ""} ${named}: ${percent(meanOf(taken))}`;
}
const layerMeans = (shares, { L, H }) => Array.from({ length: L }, (_, l) => meanOf(shares.subarray(l * H, (l + 1) * H)));
const OWNERS = { head: "Heads’", layer: "Layers’", model: "The model’s" };
const WHOSE = { head: "its own sinks", layer: "its layer’s sinks", model: "the model’s sinks" };
const aim = (view, to) => (!to ? "sinks" : !to.length || to[0] === to[1] ? `position ${view.position ?? to[0]}` : `positions ${to[0]}–${to[1]}`);
