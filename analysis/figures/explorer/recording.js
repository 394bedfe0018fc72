// A recording's numbers: its maps of attention mass, which positions are sinks in them, and what share they take. The
// formulas are those of analysis/sinks/definitions.py, in float32 where that decides what is a sink.

const ACCEPTED = 2, UNDECIDED = 3, ABSENT = -1; // states of a token, as in analysis/sinks/step_inputs.py
const WRITTEN = 1, EDITED = 2, TAKEN_BACK = 4; // as in data.py
const f32 = Math.fround;
const TYPES = { f4: Float32Array, u4: Uint32Array, i4: Int32Array, i1: Int8Array, u1: Uint8Array, f2: Uint16Array };
const KEPT = 400; // results that are remembered
const MOST_LINES = 12; // from a token to what it attends to

// The header and the arrays of what `data.py` packed.
function unpacked(bytes) {
  const whole = bytes.byteOffset % 8 ? bytes.slice() : bytes, length = new DataView(whole.buffer, whole.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(whole.subarray(4, 4 + length)));
  const arrays = {};
  for (const [name, [type, at, size]] of Object.entries(header.arrays)) {
    const values = new TYPES[type](whole.buffer, whole.byteOffset + 4 + length + at, size);
    arrays[name] = type === "f2" ? widened(values) : values;
  }
  return { header, arrays };
}
// float16 as float32; every value has one.
function widened(halves) {
  const table = widened.table ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : (2 ** -14 * fraction) / 1024);
  });
  return Float32Array.from(halves, (bits) => table[bits]);
}

class Recording {
  constructor(told, arrays, prefix) {
    const of = (name) => arrays[prefix + name];
    Object.assign(this, told, { T: told.steps, L: told.layers, H: told.heads, S: told.positions });
    for (const name of ["model", "mean", "std", "meanEven", "stdEven", "uniform", "uniformModel", "visible", "visibleModel", "tokens", "state", "done", "confidence", "splits", "nullModel", "nullOwn", "nullHeads", "openBlock", "experts"]) this[name] = of(name);
    const { T, L, S } = this, cells = T * S, heads = of("heads");
    const mapsOf = (values) => Array.from({ length: values.length / cells }, (_, n) => values.subarray(n * cells, (n + 1) * cells));
    Object.assign(this, { layerMaps: mapsOf(of("layers")), uniforms: mapsOf(this.uniform), visibles: mapsOf(this.visible) });
    this.headMaps = new Map([...of("held")].map((index, n) => [index, heads.subarray(n * cells, (n + 1) * cells)]));
    this.whole = this.headMaps.size === L * this.H; // whether every head is here
    this.attention = new Map(); // full maps that were fetched, by step, layer and head
    this.cells = new Map(); // shares of all heads that were asked for, by what they are of
    this.cache = new Map();
    this.kept = {};
    this.keys = new Uint32Array(T);
    this.lastOpen = new Int32Array(S).fill(-1); // the last step whose input still held the position undecided, or not at all
    for (let t = 0; t < T; t++) {
      for (let s = 0; s < S; s++) {
        const state = this.state[t * S + s];
        if (state !== ABSENT) this.keys[t]++;
        if (state === UNDECIDED || state === ABSENT) this.lastOpen[s] = t;
      }
    }
  }

  // What was made for a key; the longest unused results are forgotten.
  remember(key, make) {
    const { cache } = this;
    let known = cache.get(key);
    if (known === undefined) {
      known = make();
      if (cache.size >= KEPT) cache.delete(cache.keys().next().value);
    } else cache.delete(key);
    cache.set(key, known);
    return known;
  }

  // What was made of a map, whatever is a sink in it.
  keep(name, layer, head, make) { return (this.kept[name] ??= [])[this.index(layer, head)] ??= make(); }

  // Takes in maps of heads that were asked for.
  receive(arrays) {
    for (const [index, values] of Object.entries(arrays)) this.headMaps.set(Number(index), values);
  }

  // The tokens that the one looked at attends to above an even split, as [position, share], most first; null where the map
  // of this head in this step was not fetched, or the token asked nothing in it.
  attends(view) {
    const step = ownStep(view, this), map = view.over === "step" && !view.area && view.position != null ? this.attention.get(`${step} ${view.layer} ${view.head}`) : null;
    if (!map) return null;
    const there = [];
    for (let s = 0; s < this.S; s++) if (this.stateAt(step, s) !== ABSENT) there.push(s);
    const at = there.indexOf(view.position), row = map.subarray(at * there.length, (at + 1) * there.length);
    if (at < 0 || map.length !== there.length ** 2 || row[at] !== row[at]) return null;
    const even = 1 / row.reduce((seen, share) => seen + (share > 0), 0);
    return [...row].map((share, i) => [there[i], share]).filter(([, share]) => share > even).sort((a, b) => b[1] - a[1]).slice(0, MOST_LINES);
  }
  // The experts of a token in a layer and step; null where the layer has none or the token was not routed.
  expertsOf(step, layer, position) {
    const place = this.expertLayers.indexOf(layer);
    if (!this.experts || place < 0) return null;
    const { T, S } = this, K = this.experts.length / (this.expertLayers.length * T * S), found = [];
    for (let k = 0; k < K; k++) {
      const expert = this.experts[((place * T + step) * K + k) * S + position];
      if (expert >= 0) found.push(expert);
    }
    return found.length ? found : null;
  }
  word(step, position) { return this.words[this.tokens[step * this.S + position]] ?? ""; }
  finalWord(position) { return this.words[this.tokens[this.T * this.S + position]] ?? ""; }
  // The last step before this one that chose the token there, and with which probability; null where the model chose none.
  chosen(step, position) {
    for (let t = step - 1; t >= 0; t--) {
      const sure = this.confidence[t * this.S + position];
      if (sure === sure) return { step: t, sure };
    }
    return null;
  }
  // What the step before did to the token there, as bits.
  doneTo(step, position) { return step > 0 ? this.done[(step - 1) * this.S + position] : 0; }
  stateAt(step, position) { return this.state[step * this.S + position]; }

  index(layer, head) { return layer == null ? 0 : head == null ? 1 + layer : 1 + this.L + layer * this.H + head; }
  has(layer, head) { return head == null || this.headMaps.has(layer * this.H + head); }

  // Mass (T·S) of the whole model, of a layer or of a head; null while a head is on its way.
  mass(layer, head) {
    if (layer == null) return this.model;
    return head == null ? this.layerMaps[layer] : this.headMaps.get(layer * this.H + head) ?? null;
  }
  uniformOf(layer) {
    if (layer == null) return this.uniformModel;
    return this.uniforms[this.uniforms.length > 1 ? layer : 0];
  }
  visibleOf(layer) { return layer == null || this.visibles.length === 1 ? this.visibleModel : this.visibles[layer]; }
  // Multiples of uniform attention (T·S), in which models that attend differently compare.
  times(layer, head) {
    const mass = this.mass(layer, head);
    if (mass === null || this.even) return mass;
    return this.keep("times", layer, head, () => divided(mass, this.uniformOf(layer)));
  }

  // Whether sinks are judged on multiples of an even split: where a mask gives some positions more than others, unless raw
  // mass is chosen, and by definitions that do not take the mask into account themselves. Files of earlier versions lack it.
  evened(view) { return Boolean(this.meanEven) && view.basis === "even" && view.definition !== "mean-attention"; }
  // How many positions of each step get attention under an even split, (T).
  reached(layer) {
    return this.keep("reached", layer, null, () => {
      const uniform = this.uniformOf(layer), counts = new Uint32Array(this.T);
      for (let i = 0; i < uniform.length; i++) counts[Math.floor(i / this.S)] += uniform[i] > 0;
      return counts;
    });
  }
  // What the mass of a position of a step must exceed: a number, or one for each position.
  level(view, step, layer, head) {
    const at = this.index(layer, head) * this.T + step, even = this.evened(view);
    const row = even ? { mean: this.meanEven[at], std: this.stdEven[at], count: this.reached(layer)[step] } : { mean: this.mean[at], std: this.std[at], count: this.keys[step] };
    return LEVELS[view.definition](f32(view.threshold), row, () => this.visibleOf(layer).subarray(step * this.S, (step + 1) * this.S));
  }
  // The map on which sinks are judged: the coarser of what is shown and what was chosen.
  judged(view, layer, head) {
    if (view.judged === "model") return [null, null];
    return [layer, view.judged === "layer" ? null : head];
  }
  // The sinks of one step among the tokens that are counted: positions.
  sinksOf(view, step, layer, head) {
    const mass = this.evened(view) ? this.times(layer, head) : this.mass(layer, head), level = this.level(view, step, layer, head), from = step * this.S, bit = 1 << view.split, found = [];
    const each = typeof level !== "number";
    for (let s = 0; s < this.S; s++) if (mass[from + s] > (each ? level[s] : level) && this.splits[from + s] & bit) found.push(s);
    return found;
  }
  // Which positions are sinks in each step, (T·S); null while the map is on its way.
  sinks(view, layer, head) {
    const [l, h] = this.judged(view, layer, head);
    if (!this.has(l, h)) return null;
    return this.remember(`sinks ${l} ${h} ${rule(view)}`, () => {
      const flags = new Uint8Array(this.T * this.S);
      for (let t = 0; t < this.T; t++) for (const s of this.sinksOf(view, t, l, h)) flags[t * this.S + s] = 1;
      return flags;
    });
  }

  // Share of a map's attention that goes to chosen cells of a step, beside what uniform attention gives them.
  share(layer, head, step, positions) {
    const mass = this.mass(layer, head), uniform = this.uniformOf(layer), from = step * this.S;
    const [all, allEven] = this.totals(layer, head);
    let paid = 0, even = 0;
    for (const s of positions) {
      const value = mass[from + s];
      if (value === value) { paid += value; even += uniform[from + s]; }
    }
    return [paid / all[step], even / allEven[step]];
  }
  totals(layer, head) {
    return this.keep("totals", layer, head, () => {
      const sums = (values) => Float64Array.from({ length: this.T }, (_, t) => {
        let sum = 0;
        for (let i = t * this.S; i < (t + 1) * this.S; i++) if (values[i] === values[i]) sum += values[i];
        return sum;
      });
      return [sums(this.mass(layer, head)), this.keep("even", layer, null, () => sums(this.uniformOf(layer)))];
    });
  }
  // By step: share of a map's attention to its sinks, what uniform attention gives them, how many they are.
  series(view, layer, head) {
    if (!this.has(layer, head) || this.sinks(view, layer, head) === null) return null;
    return this.remember(`series ${layer} ${head} ${view.judged} ${rule(view)}`, () => {
      const { T, S } = this, flags = this.sinks(view, layer, head), mass = this.mass(layer, head), uniform = this.uniformOf(layer), [all, allEven] = this.totals(layer, head);
      const share = new Float64Array(T), even = new Float64Array(T), count = new Uint32Array(T);
      for (let t = 0; t < T; t++) {
        for (let i = t * S; i < (t + 1) * S; i++) {
          if (!flags[i]) continue;
          count[t]++;
          if (mass[i] === mass[i]) { share[t] += mass[i]; even[t] += uniform[i]; }
        }
        share[t] /= all[t];
        even[t] /= allEven[t];
      }
      return { share, even, count };
    });
  }
  // The step in which a map's sinks take most; null while the map is on its way.
  strongest(view, layer, head) {
    const share = this.series(view, layer, head)?.share;
    return share ? peakOf(share) : null;
  }
  // What `series` has of one step, of which nothing else is computed.
  shareAt(view, step, layer, head) {
    const [l, h] = this.judged(view, layer, head);
    if (!this.has(layer, head) || !this.has(l, h)) return null;
    const positions = this.sinksOf(view, step, l, h), [share, even] = this.share(layer, head, step, positions);
    return { share, even, count: positions.length };
  }
  // The same to positions p0 … p1, mean over steps t0 … t1 that hold one of them.
  given(layer, head, [t0, t1], [p0, p1]) {
    if (!this.has(layer, head)) return { share: NaN, even: NaN };
    let share = 0, even = 0, steps = 0;
    for (let t = t0; t <= t1; t++) {
      const there = [];
      for (let s = p0; s <= p1; s++) if (this.stateAt(t, s) !== ABSENT) there.push(s);
      if (!there.length) continue;
      const [paid, level] = this.share(layer, head, t, there);
      share += paid; even += level; steps++;
    }
    return { share: share / steps, even: even / steps };
  }
  // Share to sinks, mean over steps t0 … t1, of every head, (L·H); of steps that are not looked at nothing is computed.
  strengths(view, [t0, t1]) {
    return this.remember(`strengths ${view.judged} ${rule(view)} ${t0} ${t1}`, () => {
      const { L, H } = this, share = new Float64Array(L * H);
      for (let t = t0; t <= t1; t++) {
        const common = view.judged === "model" ? this.sinksOf(view, t, null, null) : null;
        for (let l = 0; l < L; l++) {
          const shared = view.judged === "layer" ? this.sinksOf(view, t, l, null) : common;
          for (let h = 0; h < H; h++) {
            share[l * H + h] += this.share(l, h, t, shared ?? this.sinksOf(view, t, l, h))[0] / (t1 - t0 + 1);
          }
        }
      }
      return share;
    });
  }
  // Entropy of a map over its positions, 1 where attention is uniform, (T).
  entropy(layer, head) {
    return this.remember(`entropy ${layer} ${head}`, () => {
      const mass = this.mass(layer, head), [all] = this.totals(layer, head);
      return Float64Array.from({ length: this.T }, (_, t) => {
        let sum = 0;
        for (let i = t * this.S; i < (t + 1) * this.S; i++) {
          const part = mass[i] / all[t];
          if (part > 0) sum -= part * Math.log(part);
        }
        return sum / Math.log(Math.max(this.keys[t], 2));
      });
    });
  }
  // The same shape with random weights and equally sharp attention on the same inputs, each draw a recording of its own; none where it was not
  // observed. The heads of the first one are here unless there are too many.
  get draws() {
    const cells = this.T * this.S;
    return (this.drawn ??= Array.from({ length: (this.nullModel?.length ?? 0) / cells }, (_, n) => this.withMaps(this.nullModel.subarray(n * cells, (n + 1) * cells), n ? [] : this.nullHeads ?? [])));
  }
  // By step, the series that a map's sinks stand beside: of every draw for the whole model, of the first one for a layer,
  // of all heads of the layer for a head.
  nulls(view, layer, head) {
    const [first] = this.draws;
    if (layer == null) return this.draws.map((each) => each.series(view, null, null));
    if (!first?.whole) return [];
    return head == null ? [first.series(view, layer, null)] : Array.from({ length: this.H }, (_, h) => first.series(view, layer, h));
  }
  withMaps(model, all) {
    const { T, S, L, H } = this, cells = T * S, heads = all.length ? Array.from({ length: L * H }, (_, i) => all.subarray(i * cells, (i + 1) * cells)) : [];
    const layerMaps = heads.length ? Array.from({ length: L }, (_, l) => averaged(heads.slice(l * H, (l + 1) * H))) : [], maps = [model, ...layerMaps, ...heads];
    const [mean, std] = moments(maps, T, S), layerOf = (m) => (m === 0 ? null : m <= layerMaps.length ? m - 1 : Math.floor((m - 1 - layerMaps.length) / H));
    const [meanEven, stdEven] = this.even ? [] : moments(maps.map((map, m) => divided(map, this.uniformOf(layerOf(m)))), T, S);
    return Object.assign(Object.create(Recording.prototype), this, {
      model, layerMaps, headMaps: new Map(heads.entries()), whole: heads.length > 0, mean, std, meanEven, stdEven, nullModel: null, drawn: [], attention: new Map(), cells: new Map(), cache: new Map(), kept: {},
    });
  }
  // Where colours end: the 99.5th percentile of what single heads give, to half a doubling.
  get ceiling() {
    return this.highest ??= (() => {
      const sample = [], maps = this.headMaps.size ? [...this.headMaps.keys()].map((i) => this.times(Math.floor(i / this.H), i % this.H)) : this.layerMaps.map((_, layer) => this.times(layer, null));
      const every = Math.max(1, Math.floor((maps.length * this.T * this.S) / 200_000));
      for (const map of maps) for (let i = 0; i < map.length; i += every) if (map[i] === map[i]) sample.push(map[i]);
      const sorted = Float64Array.from(sample).sort();
      return 2 ** (Math.max(2, Math.round(2 * Math.log2(sorted[Math.floor(sorted.length * 0.995)] ?? 2))) / 2);
    })();
  }
}

// Mass in multiples of what uniform attention gives.
const divided = (mass, uniform) => Float32Array.from(mass, (value, i) => (uniform[i] > 0 ? value / uniform[i] : NaN));
// The mean of maps of one shape.
function averaged(maps) {
  const mean = new Float32Array(maps[0].length);
  for (let i = 0; i < mean.length; i++) { let sum = 0; for (const map of maps) sum += map[i]; mean[i] = sum / maps.length; }
  return mean;
}
// Mean and standard deviation of every step of every map, over the positions it holds.
function moments(maps, T, S) {
  const mean = new Float32Array(maps.length * T), std = new Float32Array(maps.length * T);
  maps.forEach((map, m) => {
    for (let t = 0; t < T; t++) {
      let sum = 0, square = 0, n = 0;
      for (let i = t * S; i < (t + 1) * S; i++) if (map[i] === map[i]) { sum += map[i]; n++; }
      for (let i = t * S; i < (t + 1) * S; i++) if (map[i] === map[i]) square += (map[i] - sum / n) ** 2;
      mean[m * T + t] = sum / n;
      std[m * T + t] = Math.sqrt(square / n);
    }
  });
  return [mean, std];
}
// What decides which positions are sinks, as the name of a result.
const rule = (view) => `${view.definition} ${view.threshold} ${view.split} ${view.basis}`;
// The level that a sink exceeds, as THRESHOLDS of analysis/sinks/definitions.py, rounded after each operation as there.
const LEVELS = {
  std: (k, { mean, std }) => f32(mean + f32(k * std)),
  "mean-attention": (level, row, visible) => visible().map((seen) => (seen > 0 ? level * seen : NaN)),
  "above-others": (epsilon, { mean, count }) => (count > 1 ? f32(mean + f32(f32(epsilon * (count - 1)) / count)) : epsilon),
};
