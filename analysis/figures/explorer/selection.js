// What is chosen and what is shown: a plain object of choices, and the questions that every view asks of it.

const START = {
  step: 0, layer: null, head: null, position: null, area: null, zoom: null, definition: "std", values: {}, split: 0,
  judged: "head", basis: "even", over: "step", show: "first", measure: "share", speed: 8,
};
const PINS = ["layer", "head", "position", "area", "zoom"];
const clamp = (value, most) => Math.max(0, Math.min(most, value));

// What is shown: the thing pointed at where there is one, else the pinned one.
function shown(state, hover, definitions) {
  const pick = (name) => (hover[name] !== undefined ? hover[name] : state[name]);
  const row = definitions.find((each) => each.name === state.definition);
  return {
    ...state, step: pick("step"), position: pick("position"), layer: pick("layer"),
    head: hover.layer !== undefined ? hover.head ?? null : state.head,
    threshold: state.values[row.parameter] ?? row.preset,
    preset: ["definition", "split", "judged", "basis"].every((name) => state[name] === START[name]) && (state.values[row.parameter] ?? row.preset) === row.preset,
  };
}
// A step of the first recording shown, as a step of this one at equal progress: the same share of its steps is done.
const ownStep = (view, recording, step = view.step) => (recording.T === view.steps ? step : Math.floor((step * recording.T) / view.steps));
// The steps that numbers are averaged over, both ends included.
function stepRange(view, recording) {
  const last = recording.T - 1, own = (step) => clamp(ownStep(view, recording, step), last);
  if (view.area) return [own(view.area.t0), own(view.area.t1)];
  return view.over === "all" ? [0, last] : [own(view.step), own(view.step)];
}
// The recordings and steps shown, as the name of a drawing.
const stepsShown = (view) => `${view.show} ${view.step} ${view.over} ${view.area ? Object.values(view.area) : ""}`;
// Whether the step shown is the finished text of this recording, which no forward reads.
const finished = (view, recording) => view.over === "step" && !view.area && ownStep(view, recording) >= recording.T;
// The positions that numbers are about, both ends included; null: the sinks.
function target(view, recording) {
  const [from, to] = view.position != null ? [view.position, view.position] : view.area && view.area.p0 != null ? [view.area.p0, view.area.p1] : [null, null];
  if (from === null) return null;
  return from < recording.S ? [from, Math.min(to, recording.S - 1)] : [];
}
// Of one map: share of attention to the target or the sinks, what uniform attention gives it, how many positions it is.
function shareOf(recording, view, layer = view.layer, head = view.head) {
  const range = stepRange(view, recording), to = target(view, recording);
  if (to) return to.length ? { ...recording.given(layer, head, range, to), count: to[1] - to[0] + 1 } : { share: NaN, even: NaN, count: 0 };
  if (range[0] === range[1]) return recording.shareAt(view, range[0], layer, head) ?? { share: NaN, even: NaN, count: NaN };
  const series = recording.series(view, layer, head);
  if (series === null) return { share: NaN, even: NaN, count: NaN };
  return { share: meanOver(series.share, range), even: meanOver(series.even, range), count: meanOver(series.count, range) };
}
// The step in which values by step are largest.
const peakOf = (values) => values.reduce((best, value, t) => (value > values[best] ? t : best), 0);
// The mean of values by step over steps from … to.
function meanOver(values, [from, to]) {
  let sum = 0;
  for (let t = from; t <= to; t++) sum += values[t];
  return sum / (to - from + 1);
}
// Of every head the same share, (L·H); null while it is on its way from the server.
function headShares(recording, view) {
  const range = stepRange(view, recording), to = target(view, recording), { L, H } = recording;
  if (to && !to.length) return new Float64Array(L * H).fill(NaN);
  if (!recording.whole) return recording.cells.get(cellsKey(view, recording)) ?? null;
  if (!to) return recording.strengths(view, range);
  return Float64Array.from({ length: L * H }, (_, i) => recording.given(Math.floor(i / H), i % H, range, to).share);
}
// What a request for the shares of all heads is of; also the name of its answer.
const cellsKey = (view, recording) => JSON.stringify({ range: stepRange(view, recording), to: target(view, recording), definition: view.definition, threshold: view.threshold, split: view.split, judged: view.judged, basis: view.basis });

// --- addresses: only what differs from the start, as text ---------------------------------------------------------

const NUMBERS = { step: "step", layer: "layer", head: "head", position: "position" };
const CHOICES = { judged: ["head", "layer", "model"], basis: ["even", "raw"], over: ["step", "all"], show: ["first", "second", "both"], measure: ["share", "count", "entropy"] };

function toAddress(state, definitions, recording) {
  const named = {};
  for (const [field, name] of Object.entries(NUMBERS)) if (state[field] != null) named[name] = String(state[field]);
  for (const field of Object.keys(CHOICES)) if (state[field] !== START[field]) named[field] = state[field];
  const row = definitions.find((each) => each.name === state.definition), value = state.values[row.parameter];
  if (state.definition !== START.definition) named.definition = state.definition;
  if (value !== undefined && value !== row.preset) named[row.parameter] = String(value);
  if (state.split) named.split = recording.splitNames[state.split];
  if (state.area) named.area = [state.area.t0, state.area.t1, state.area.p0, state.area.p1].map((n) => n ?? "").join("-");
  return named;
}
// The choices that an address names; what it names wrongly is left out.
function fromAddress(named, definitions, recordings) {
  const state = { values: {} }, first = recordings[0];
  const number = (name, most) => (/^\d{1,9}$/.test(named[name] ?? "") && Number(named[name]) <= most ? Number(named[name]) : undefined);
  const steps = Math.max(...recordings.map((each) => each.T)), positions = Math.max(...recordings.map((each) => each.S));
  const found = { step: number("step", steps), layer: number("layer", first.L - 1), head: number("head", first.H - 1), position: number("position", positions - 1) };
  if (found.layer === undefined) delete found.head;
  for (const [field, value] of Object.entries(found)) if (value !== undefined) state[field] = value;
  for (const [field, allowed] of Object.entries(CHOICES)) if (allowed.includes(named[field])) state[field] = named[field];
  if (recordings.length < 2) delete state.show;
  if (definitions.some((row) => row.name === named.definition)) state.definition = named.definition;
  for (const row of definitions) {
    const value = Number(named[row.parameter]);
    if (named[row.parameter] && value >= row.least && value <= row.most) state.values[row.parameter] = value;
  }
  const split = first.splitNames.indexOf(named.split);
  if (split > 0) state.split = split;
  const area = /^(\d{1,9})-(\d{1,9})-(\d{0,9})-(\d{0,9})$/.exec(named.area ?? "");
  if (area) {
    const [t0, t1] = [Number(area[1]), Number(area[2])], [p0, p1] = [area[3], area[4]].map((text) => (text === "" ? null : Number(text)));
    if (t0 <= t1 && t0 < steps && (p0 === null) === (p1 === null) && (p0 === null || (p0 <= p1 && p0 < positions))) state.area = { t0, t1: Math.min(t1, steps - 1), p0, p1: p1 === null ? null : Math.min(p1, positions - 1) };
  }
  return state;
}
