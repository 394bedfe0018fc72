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
  return choice === null ? "" : `The model chose it at step ${choice.step} with probability ${choice.sure.toFixed(2)}. `;
}
// What the token looked at attends to where its head's map was fetched, and its experts where the layer has some.
function attending(recording, view) {
  const [step, last] = stepRange(view, recording);
  if (view.position == null || step !== last || finished(view, recording)) return "";
  const most = recording.attends(view)?.[0], experts = recording.expertsOf(step, view.layer, view.position);
  const attends = most ? `It attends most to ${most[0] === view.position ? "itself" : tokenName(recording, step, most[0])} (${percent(most[1])}).` : "";
  return attends + (experts ? `${most ? " " : ""}Layer ${view.layer} sends it to expert${experts.length > 1 ? "s" : ""} ${experts.join(", ")}.` : "");
}
// Whether numbers are averaged over all steps.
function throughout(view, recording) {
  const [t0, t1] = stepRange(view, recording);
  return t0 === 0 && t1 === recording.T - 1 && t1 > 0;
}
function during(view, recording) {
  const [t0, t1] = stepRange(view, recording);
  if (t0 === t1) return `at step ${t0}${view.several ? ` (0–${recording.T - 1})` : ""}`;
  return throughout(view, recording) ? `on average over all ${recording.T} steps` : `on average over steps ${t0}–${t1}`;
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
    const name = one ? tokenName(recording, t0, to[0]) : `position ${to[0]} (finished text: ${quoted(recording.finalWord(to[0]))})`;
    return [`${capital(name)}, takes `, percent(share), ` ${of} ${when}; an even split gives ${percent(even)}.`];
  }
  if (to) return [`Positions ${to[0]}–${to[1]} take `, percent(share), ` ${of} ${when}; an even split gives ${percent(even)}.`];
  const peak = count > 0 && atPeak(recording, view), lead = `${view.several ? when : capital(when)}, ${peak ? "where sinks take most, " : ""}`;
  if (count === 0) return [`${lead}there are no sinks in ${place(view)}: no token${view.split ? ` counted (${recording.splitNames[view.split]})` : ""} exceeds ${criterion(view)}.`];
  const [be, take] = count === 1 ? ["is a sink", "It takes"] : ["are sinks", "They take"];
  const flags = one ? recording.sinks(view, view.layer, view.head) : null, { sinks, open, both } = flags ? overlap(recording, flags, t0, t0) : { both: 0 };
  const which = both < sinks ? `${both} ` : both === open ? (open > 1 ? "exactly those " : "the only one ") : sinks > 1 ? "all " : "";
  const still = both ? `, ${which}still ${recording.noise ? "undecided" : "masked"}` : "";
  const raw = recording.even ? "" : recording.evened(view) ? " relative to an even split" : " by raw attention", under = recording.even ? "" : " under its mask";
  const given = `; an even split gives ${percent(even)}${under}`;
  return [lead, `${few(count)} of ${recording.keys[t1]} tokens ${be}`, `${still}${raw}. ${take} `, `${percent(share)} ${of}`, `${given}.`];
}
// What a sink of the step exceeds, as the end of "sink"; empty where that is not one multiple of an even split.
function sinkLevel(recording, view) {
  const [t0, t1] = stepRange(view, recording), [layer, head] = recording.judged(view, view.layer, view.head);
  if (t0 !== t1 || finished(view, recording) || !recording.has(layer, head) || !(recording.even || recording.evened(view))) return "";
  const level = recording.level(view, t0, layer, head);
  return typeof level === "number" ? `: > ${multiple(level)}` : "";
}
const multiple = (times) => `${times >= 9.95 ? Math.round(times) : times.toFixed(1)}\u00a0×`;
// What sinks of untrained models take, what sinks take over all steps and a note, or more of one token, as [text, news,
// text, …].
function beside(recording, view, note) {
  const to = target(view, recording);
  if (finished(view, recording) || !recording.has(view.layer, view.head)) return [];
  if (to) return to.length && to[0] === to[1] ? [livedOne(recording, view, to[0])] : [];
  const share = recording.series(view, view.layer, view.head)?.share, nulls = recording.nulls(view, view.layer, view.head);
  if (!share) return [];
  if (!nulls.length) return [`Over all steps sinks take ${percent(meanOver(share, [0, recording.T - 1]))} of ${view.layer == null ? "" : "its "}attention.${note}`];
  const several = nulls.length > 1, steps = (apart) => share.reduce((sum, value, t) => sum + apart(value, nulls.map((each) => each.share[t])), 0);
  const above = steps((value, others) => value > Math.max(...others)), below = steps((value, others) => value < Math.min(...others));
  const own = view.layer == null ? "model" : view.head == null ? "layer" : "head", than = several ? "their range" : "it";
  return [`${untrained(recording, view, nulls)} This ${own} is above ${than} in `, `${above} of ${recording.T} steps`, ` (${byChance(recording.T, nulls.length)})${below ? `, below it in ${below}` : ""}.${note}`];
}
// In how many of some steps one more untrained model is above all of n others: each of the n + 1 is as likely to be highest.
function byChance(steps, n) {
  const expected = Math.round(steps / (n + 1));
  return `chance: ${expected || "less than 1"}`;
}
// When the model chose a token, and in how many steps it is a sink.
function livedOne(recording, view, position) {
  const flags = recording.sinks(view, view.layer, view.head), [t0, t1] = stepRange(view, recording), { T, S } = recording;
  let life = 0, there = 0;
  for (let t = 0; t < T; t++) { life += flags[t * S + position]; there += recording.stateAt(t, position) !== ABSENT; }
  return `${t0 === t1 ? chosenWhen(recording, t0, position) : ""}${life ? `It is a sink in ${life} of ${there} steps.` : "It is never a sink here."}`;
}
// Whether one step is shown and it is the one in which the share of sinks peaks.
function atPeak(recording, view) {
  const [t0, t1] = stepRange(view, recording);
  return t0 === t1 && !view.several && t0 === recording.strongest(view, view.layer, view.head);
}
// What sinks of untrained models take at the same time, and each at its own peak where this model's share peaks.
function untrained(recording, view, nulls) {
  const peak = atPeak(recording, view), several = nulls.length > 1, of = view.head == null ? "" : `the ${nulls.length} heads of this layer in `;
  const models = several && !of ? `${nulls.length} equally sharp untrained models` : "an equally sharp untrained model";
  const most = (value) => percent(Math.max(...nulls.map(({ share }) => value(share))));
  const here = most((share) => meanOver(share, stepRange(view, recording))), any = most((share) => share[peakOf(share)]);
  return `In ${of}${models}, sinks take ${several ? "at most " : ""}${here}${peak ? ` in this step (${several ? "" : "at most "}${any} in any)` : ""}.`;
}
const meanOf = (values) => meanOver(values, [0, values.length - 1]);
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
// How many tokens are sinks in some step and for how long, beside as many of each state drawn at random in every step, with
// the range of such draws; null while the map is on its way.
function lived(recording, view) {
  if (recording.sinks(view, view.layer, view.head) === null) return null;
  const { ever, total, chance, range } = livesOf(recording, view);
  if (!ever) return "No token is a sink at any step.";
  const [low, high] = range, than = ever < low ? "fewer than the" : ever > high ? "more than the" : "close to the";
  const expected = `${Math.round(chance)} (95\u00a0% of draws: ${low === high ? low : `${low}–${high}`})`;
  const where = recording.judged(view, view.layer, view.head)[0] == null ? "With layers averaged, " : "";
  return `${where}${ever} of ${recording.S} tokens ${ever === 1 ? "is" : "are"} a sink at some step, ${than} ${expected} expected if each step’s sinks were random among tokens of the same state (prompt${recording.autoregressive ? "" : recording.noise ? ", undecided" : ", masked"} or written). ${lastingOf(recording, livesOf(recording, view))}`;
}
// For how long the median sink lasts and the longest one, by its position where no other lasts as long.
function lastingOf({ T }, { steps, ever }) {
  const lasted = [...steps].filter(Boolean).sort((a, b) => a - b), middle = (lasted[(ever - 1) >> 1] + lasted[ever >> 1]) / 2, longest = lasted.at(-1);
  if (ever === 1) return `It lasts ${longest} of ${T} steps.`;
  const which = lasted.at(-2) < longest ? `position ${steps.indexOf(longest)}, the longest,` : "the longest";
  return `The median sink lasts ${few(middle)} of ${T} steps; ${which} ${longest}.`;
}
// For how long sinks last, their mean beside chance, and how many of them are open positions.
function lasting(recording, view) {
  const lives = livesOf(recording, view), { ever, total, chance } = lives;
  if (!ever) return "";
  return `${ever === 1 ? "One token is a sink. " : ""}${lastingOf(recording, lives)} On average sinks last ${perToken(total, ever)} steps; drawn by chance among tokens of the same state, ${perToken(total, chance)}.${overAll(recording, view)}`;
}
const perToken = (steps, tokens) => few(Math.round((10 * steps) / tokens) / 10);
const livesOf = (recording, view) => recording.remember(`lives ${recording.judged(view, view.layer, view.head)} ${rule(view)}`, () => lives(recording, recording.sinks(view, view.layer, view.head)));
// chance: how many positions are expected to be a sink once where each step draws as many of each state at random. range: in
// which 95 % of such draws lie.
function lives(recording, flags) {
  const { T, S, state } = recording, steps = new Uint32Array(S), never = new Float64Array(S).fill(1), there = new Uint32Array(8), sinks = new Uint32Array(8), missed = new Float64Array(8); // by state, from ABSENT
  for (let t = 0; t < T; t++) {
    there.fill(0);
    sinks.fill(0);
    for (let i = t * S; i < (t + 1) * S; i++) { there[state[i] - ABSENT] += 1; sinks[state[i] - ABSENT] += flags[i]; }
    for (let own = 0; own < 8; own++) missed[own] = own ? 1 - sinks[own] / there[own] : 1;
    for (let s = 0; s < S; s++) {
      steps[s] += flags[t * S + s];
      never[s] *= missed[state[t * S + s] - ABSENT];
    }
  }
  return { steps, ever: steps.filter(Boolean).length, total: steps.reduce((sum, each) => sum + each, 0), chance: never.reduce((sum, each) => sum + 1 - each, 0), range: drawnRange(recording, flags) };
}
const MOST_DRAWS = 1000, LEAST_DRAWS = 100, DRAWN_AT_MOST = 100_000; // sinks, in all draws together
// The range of how many positions are a sink once in 95 % of draws. The same draws for the same sinks.
function drawnRange({ T, S, state }, flags) {
  const total = flags.reduce((sum, each) => sum + each, 0), draws = Math.min(MOST_DRAWS, Math.max(LEAST_DRAWS, Math.floor(DRAWN_AT_MOST / Math.max(total, 1))));
  const seen = new Uint8Array(draws * S), counts = new Uint32Array(draws);
  let seed = 1;
  for (let t = 0; t < T; t++) {
    const there = new Map(), sinks = new Map();
    for (let s = 0; s < S; s++) {
      const own = state[t * S + s];
      if (flags[t * S + s]) sinks.set(own, (sinks.get(own) ?? 0) + 1);
      if (there.has(own)) there.get(own).push(s);
      else there.set(own, [s]);
    }
    for (const [own, many] of sinks) {
      const places = there.get(own);
      for (let n = 0; n < draws; n++) {
        for (let i = 0; i < many; i++) { // the first ones of a shuffle
          seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
          const at = i + Math.floor((seed / 2 ** 32) * (places.length - i)), s = places[at];
          places[at] = places[i];
          places[i] = s;
          if (!seen[n * S + s]) { seen[n * S + s] = 1; counts[n]++; }
        }
      }
    }
  }
  counts.sort();
  return [counts[Math.floor(0.025 * draws)], counts[Math.ceil(0.975 * draws) - 1]];
}
// 1 − Φ(k), to 1.5e-7 (Abramowitz and Stegun 7.1.26): how many standard deviations Gaussian noise reaches how often.
function gaussianTail(k) {
  const x = Math.abs(k) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
  const tail = 0.5 * t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp(-x * x);
  return k < 0 ? 1 - tail : tail;
}
