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
const level = (view) => String(+view.threshold.toFixed(2));
// What a sink exceeds, before and after the threshold.
const CRITERIA = { std: ["mean + ", " std"], "mean-attention": ["a mean attention of ", ""], "above-others": ["the mean of the others + ", ""] };
const criterion = (view) => CRITERIA[view.definition].join(level(view));
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
  if (t0 === t1) return `at step ${t0}${view.several ? ` (0–${recording.T - 1})` : ""}`;
  return t0 === 0 && t1 === recording.T - 1 ? `on average over all ${recording.T} steps` : `on average over steps ${t0}–${t1}`;
}
// The finding as [text, news, text, …].
function finding(recording, view) {
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
  if (count === 0) return [`No sinks in ${place(view)} ${when}: no position exceeds ${criterion(view)}.`];
  const keys = recording.keys[t1];
  const [be, take, them] = count === 1 ? ["is a sink", "takes", "it"] : ["are sinks", "take", "them"];
  const raw = recording.even ? "" : recording.evened(view) ? " relative to an even split" : " by raw attention", under = recording.even ? "" : " under its mask";
  const strongest = one && !view.several && t0 === recording.strongest(view, view.layer, view.head);
  const mean = strongest ? `, the strongest (mean ${percent(meanOver(recording.series(view, view.layer, view.head).share, [0, recording.T - 1]))})` : "";
  const random = view.several ? "" : randomly(recording, view, strongest ? null : [t0, t1]);
  return ["", `${few(count)} of ${keys} positions ${be}`, `${raw} and ${take} `, percent(share), ` ${of} ${when}${mean}; an even split gives${strongest ? "" : ` ${them}`} ${percent(even)}${under}${random}.`];
}
// What sinks take where weights are random, on average over these steps, or at most in any step; empty where that was not
// observed. range: null: any step.
function randomly(recording, view, range) {
  const nulls = recording.nulls(view, view.layer, view.head).map((each) => each.share);
  if (!nulls.length) return "";
  const [theirs, take, most] = view.head != null ? ["an untrained model’s heads here", "give their own", "give their own at most"] : [`${nulls.length > 1 ? `${nulls.length} untrained models’` : "an untrained model’s"} own sinks`, "take", "take at most"];
  return `,${range === null ? "" : " and"} ${theirs} ${range === null ? `${most} ${percent(Math.max(...nulls.map((each) => Math.max(...each))))}` : `${take} ${span(nulls.map((each) => meanOver(each, range)))}`}`;
}
// How many sinks are open positions and the other way round, over all steps; empty where no position is open or none is a
// sink.
function overAll(recording, view) {
  const flags = recording.sinks(view, view.layer, view.head), name = recording.noise ? "undecided" : "masked";
  if (flags === null) return "";
  const all = recording.remember(`overlap ${recording.judged(view, view.layer, view.head)} ${rule(view)}`, () => overlap(recording, flags, 0, recording.T - 1));
  return all.open && all.sinks ? ` ${percent(all.both / all.sinks)} of sinks are still ${name}; ${percent(all.both / all.open)} of ${name} positions are sinks.` : "";
}
// How many sinks, open positions and both there are from one step to another.
function overlap(recording, flags, from, to) {
  let sinks = 0, open = 0, both = 0;
  for (let i = from * recording.S; i < (to + 1) * recording.S; i++) {
    const undecided = recording.state[i] === UNDECIDED;
    sinks += flags[i]; open += undecided; both += flags[i] && undecided ? 1 : 0;
  }
  return { sinks, open, both };
}
// Shares from the least to the most: '1.4–8.1 %'.
function span(shares) {
  const [least, most] = [Math.min(...shares), Math.max(...shares)].map(percent);
  return least === most ? most : `${least.replace("\u00a0%", "")}–${most}`;
}
// How many positions are sinks in some step and for how long, beside as many sinks drawn at random in every step.
function lived(recording, view) {
  const flags = recording.sinks(view, view.layer, view.head), { T, S } = recording;
  if (flags === null) return "";
  const { ever, total, chance } = recording.remember(`lives ${recording.judged(view, view.layer, view.head)} ${rule(view)}`, () => lives(recording, flags));
  if (!ever) return ": no sinks in any step.";
  const mean = (number) => few(Math.round((10 * total) / number) / 10);
  return `: ${ever} of ${S} positions ${ever === 1 ? "becomes a sink" : "become sinks"}, for ${mean(ever)} of ${T} steps on average; as many drawn at random per step would reach ${Math.round(chance)}, for ${mean(chance)} steps.`;
}
// chance: how many positions are expected to be a sink once where each step draws as many of each state at random.
function lives(recording, flags) {
  const { T, S, state } = recording, steps = new Uint32Array(S), never = new Float64Array(S).fill(1);
  for (let t = 0; t < T; t++) {
    const there = new Uint32Array(8), sinks = new Uint32Array(8);
    for (let i = t * S; i < (t + 1) * S; i++) { there[state[i]] += 1; sinks[state[i]] += flags[i]; }
    for (let s = 0; s < S; s++) {
      const own = state[t * S + s];
      steps[s] += flags[t * S + s];
      if (own !== ABSENT) never[s] *= 1 - sinks[own] / there[own];
    }
  }
  return { ever: steps.filter(Boolean).length, total: steps.reduce((sum, each) => sum + each, 0), chance: never.reduce((sum, each) => sum + 1 - each, 0) };
}
// 1 − Φ(k), to 1.5e-7 (Abramowitz and Stegun 7.1.26): how many standard deviations Gaussian noise reaches how often.
function gaussianTail(k) {
  const x = Math.abs(k) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
  const tail = 0.5 * t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp(-x * x);
  return k < 0 ? 1 - tail : tail;
}
