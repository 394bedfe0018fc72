// The finding in words: it follows what is chosen, and every number comes with its baseline. A masked position is never
// named by the word it later becomes.

const quoted = (label) => `‘${visible(label)}’`;
const visible = (label) => label.replaceAll("\n", "⏎").trim() || "␣";
function percent(share) {
  const value = 100 * share;
  if (!Number.isFinite(value)) return "–";
  const digits = value >= 9.95 ? Math.round(value) : value >= 0.095 ? value.toFixed(1) : value === 0 ? 0 : "< 0.1";
  return `${digits}\u00a0%`;
}
const few = (number) => (Number.isInteger(number) ? String(number) : number.toFixed(1));
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const place = (view) => (view.layer == null ? "the whole model" : view.head == null ? `layer ${view.layer}` : `layer ${view.layer} head ${view.head}`);
function criterion(view, definitions) {
  const row = definitions.find((each) => each.name === view.definition);
  if (row.name === "std") return `mean + ${view.threshold} std`;
  return row.name === "above-others" ? `the mean of the others + ${view.threshold}` : `a mean attention of ${view.threshold}`;
}
// A position in a step: its state decides its name.
function tokenName(recording, step, position) {
  const state = recording.stateAt(step, position), later = quoted(recording.finalWord(position)), done = recording.doneTo(step, position);
  const before = step > 0 ? quoted(recording.word(step - 1, position)) : "";
  if (state === ABSENT) return `position ${position}, not written yet`;
  if (state === UNDECIDED) return `position ${position}, ${done & TAKEN_BACK ? `taken back (was ${before}), ` : ""}${recording.noise ? "still undecided" : "still masked"} (later ${later})`;
  return `position ${position}, ${quoted(recording.word(step, position))}${state === 0 ? " of the prompt" : ""}${done & EDITED ? `, edited (was ${before})` : ""}`;
}
// A position over all steps, short: its word, later where it was hidden at first.
function rowName(recording, position) {
  const word = visible(recording.finalWord(position)), short = `‘${word.length > 8 ? `${word.slice(0, 7)}…` : word}’`;
  return recording.autoregressive || recording.lastOpen[position] < 0 ? `${position} ${short}` : `${position}, later ${short}`;
}
// When the model chose a token, and how sure it was.
function chosenWhen(recording, step, position) {
  const choice = recording.stateAt(step, position) === UNDECIDED ? null : recording.chosen(step, position);
  return choice === null ? "" : ` The model chose it at step ${choice.step} with probability ${choice.sure.toFixed(2)}.`;
}
// What the token looked at attends to where its head's map was fetched, and its experts where the layer has some.
function attending(recording, view) {
  const [step, last] = stepRange(view, recording);
  if (view.position == null || step !== last || finished(view, recording)) return "";
  const most = recording.attends(view)?.[0], experts = recording.expertsOf(step, view.layer, view.position);
  const attends = most ? `It attends most to ${most[0] === view.position ? "itself" : tokenName(recording, step, most[0])} (${percent(most[1])}).` : "";
  return attends + (experts ? `${most ? " " : ""}Layer ${view.layer} sends it to expert${experts.length > 1 ? "s" : ""} ${experts.join(", ")}.` : "");
}
function during(view, recording) {
  const [t0, t1] = stepRange(view, recording);
  if (t0 === t1) return `at step ${t0}${view.several ? ` of ${recording.T}` : ""}`;
  return t0 === 0 && t1 === recording.T - 1 ? `on average over all ${recording.T} steps` : `on average over steps ${t0}–${t1}`;
}
// The finding as [text, news, text, …].
function finding(recording, view, definitions) {
  if (finished(view, recording)) return ["Finished: the model no longer reads this text."];
  const [t0, t1] = stepRange(view, recording), when = during(view, recording), one = t0 === t1;
  const of = view.layer == null ? "of all attention" : `of ${place(view)}’s attention`, { share, even, count } = shareOf(recording, view), to = target(view, recording);
  if (to && !to.length) return [`${recording.name} has no position ${view.position ?? view.area.p0}.`];
  if (!recording.has(view.layer, view.head)) return [`Fetching ${place(view)} …`];
  if (to && to[0] === to[1]) {
    if (one && recording.stateAt(t0, to[0]) === ABSENT) return [`${capital(tokenName(recording, t0, to[0]))} ${when}.`];
    const flags = recording.sinks(view, view.layer, view.head);
    let life = 0, there = 0;
    for (let t = 0; t < recording.T; t++) { life += flags[t * recording.S + to[0]]; there += recording.stateAt(t, to[0]) !== ABSENT; }
    const name = one ? tokenName(recording, t0, to[0]) : `position ${to[0]} (finished text: ${quoted(recording.finalWord(to[0]))})`;
    return [`${capital(name)}, takes `, percent(share), ` ${of} ${when}; an even split gives ${percent(even)}.${one ? chosenWhen(recording, t0, to[0]) : ""} ${life ? `It is a sink in ${life} of ${there} steps.` : "It is never a sink here."}`];
  }
  if (to) return [`Positions ${to[0]}–${to[1]} take `, percent(share), ` ${of} ${when}; an even split gives ${percent(even)}.`];
  if (count === 0) return [`No sinks in ${place(view)} ${when}: no position exceeds ${criterion(view, definitions)}.`];
  const keys = recording.keys[t1];
  const [be, they, take, them] = count === 1 ? ["is a sink", "it", "takes", "it"] : ["are sinks", "they", "take", "them"];
  return ["", `${few(count)} of ${keys} positions ${be}`, `: ${they} ${take} `, percent(share), ` ${of} ${when}; an even split gives ${them} ${percent(even)}.${one && !view.several ? stillOpen(recording, view, t0) : ""}`];
}
// How many of a step's sinks are not decided yet, and how many of all positions are; empty where all are decided.
function stillOpen(recording, view, step) {
  const flags = recording.sinks(view, view.layer, view.head), name = recording.noise ? "undecided" : "masked";
  let sinks = 0, openSinks = 0, open = 0;
  for (let s = 0; s < recording.S; s++) {
    const flag = flags[step * recording.S + s], undecided = recording.stateAt(step, s) === UNDECIDED;
    sinks += flag; open += undecided; openSinks += flag && undecided ? 1 : 0;
  }
  if (!open) return "";
  const which = sinks === 1 ? `It is ${openSinks ? "still" : "not"} ${name}` : `${openSinks === sinks ? `All ${sinks}` : `${openSinks || "None"} of the ${sinks}`} are still ${name}`;
  return ` ${which}; of all ${recording.keys[step]} positions ${open} ${open === 1 ? "is" : "are"}.`;
}
// How many heads give their sinks more than any head of their layer does with random weights.
function aboveNull(recording, view) {
  const nulls = finished(view, recording) ? null : headNulls(recording, view), shares = nulls && headShares(recording, view);
  if (!shares) return "";
  const { L, H } = recording, above = shares.reduce((sum, share, i) => sum + (share > nulls[Math.floor(i / H)][1]), 0);
  return `: ${above} of ${L * H} lie above`;
}
// How many positions are sinks in some step, and the longest time that one is.
function lived(recording, view) {
  const flags = recording.sinks(view, view.layer, view.head), { T, S } = recording;
  if (flags === null) return "";
  const lives = recording.remember(`lives ${recording.judged(view, view.layer, view.head)} ${rule(view)}`, () => Array.from({ length: S }, (_, s) => { let steps = 0; for (let t = 0; t < T; t++) steps += flags[t * S + s]; return steps; }));
  const longest = Math.max(...lives), ever = lives.filter(Boolean).length;
  return ever ? `: ${ever} of ${S} positions ${ever === 1 ? "becomes a sink," : "become sinks, the most lasting"} for ${longest} of ${T} steps` : ": no sinks in any step";
}
// 1 − Φ(k), to 1.5e-7 (Abramowitz and Stegun 7.1.26): how many standard deviations Gaussian noise reaches how often.
function gaussianTail(k) {
  const x = Math.abs(k) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
  const tail = 0.5 * t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp(-x * x);
  return k < 0 ? 1 - tail : tail;
}
