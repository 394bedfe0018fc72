// A number per step, beside its baselines: what an even split gives or Gaussian noise, and untrained models. The scrubber stands
// above it.

const LADDERS = { percent: [0.02, 0.04, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1], count: [2, 5, 10, 20, 50, 100, 200, 500], entropy: [1] };

const MEASURES = { share: "attention to sinks", count: "number of sinks", entropy: "entropy" };

const CURVE = 2.2, ROW = 16; // pixels: of a curve, and of a row of names beneath

const valueTold = (unit, value) => (unit === "percent" ? percent(value) : String(+value.toFixed(2)));

class CurveView extends View {
  wraps = new Map(); // texts that were broken into lines
  axis() { return new Axis(this.w, this.app.steps); }
  // Values and baseline of one map, (T) each; null while it is on its way.
  values(recording, view, layer, head) {
    const to = target(view, recording);
    if (!recording.has(layer, head) || (to && !to.length)) return null;
    if (to) {
      return recording.remember(`to ${layer} ${head} ${to}`, () => {
        const steps = Array.from({ length: recording.T }, (_, t) => recording.given(layer, head, [t, t], to));
        return { values: steps.map((each) => each.share), even: steps.map((each) => each.even) };
      });
    }
    if (view.measure === "entropy") return { values: recording.entropy(layer, head), even: new Float32Array(recording.T).fill(1) };
    const series = recording.series(view, layer, head);
    if (series === null) return null;
    if (view.measure === "share") return { values: series.share, even: series.even };
    const gaussian = view.definition === "std" && view.split === 0;
    return { values: series.count, even: gaussian ? Float64Array.from(recording.keys, (n) => n * gaussianTail(view.threshold)) : null };
  }
  draw(view) {
    const axis = this.axis(), { position, layer, head, judged, measure, area, over, show } = view, counts = measure !== "entropy" && !target(view, this.app.shown()[0]);
    this.begin();
    this.still(`${show} ${over} ${area ? Object.values(area) : ""} ${position} ${layer} ${head} ${measure} ${counts ? `${judged} ${rule(view)}` : ""}`, () => { this.curves = this.paint(view, axis); });
    for (const [n, curve] of this.curves.entries()) this.dot(view, curve, n === 0);
    this.scrubber(axis, view, this.bottom);
  }
  // Everything that is the same in every step; returns the curves, on which the step is marked.
  paint(view, axis) {
    const { g } = this, { theme } = this.app, recordings = this.app.shown(), top = axis.narrow ? 14 : 32, first = recordings[0], to = target(view, first), curves = [];
    const others = (recording) => (view.layer == null || recordings.length > 1 || !recording.whole ? [] : Array.from({ length: recording.H }, (_, h) => h).filter((h) => h !== view.head));
    const random = recordings.length === 1 && !to && view.measure !== "entropy" ? first.nulls(view, view.layer, view.head).map((each) => each[view.measure]) : [];
    // Untrained models have as many sinks as they have: an even split over the sinks of this one is no baseline of theirs.
    const based = (main) => (main && random.length && view.measure === "share" ? { values: main.values, even: null } : main);
    const drawn = recordings.map((recording) => ({
      recording, main: based(this.values(recording, view, view.layer, view.head)),
      others: others(recording).map((h) => this.values(recording, view, view.layer, h)).filter(Boolean),
    }));
    const ends = random.length ? [Math.min, Math.max].map((end) => Float64Array.from(random[0], (_, t) => end(...random.map((each) => each[t])))) : [];
    const named = this.names(view, drawn, ends, random.length, to), rows = axis.narrow ? this.rows(named) : [], bottom = this.bottom = this.h - 22 - ROW * rows.length;
    const unit = to || view.measure === "share" ? "percent" : view.measure;
    const most = this.top(unit, [...drawn.flatMap((each) => [each.main, ...each.others]).filter(Boolean).flatMap((each) => [each.values, each.even ?? []]), ...ends]);
    const y = (value) => bottom - ((bottom - top) * value) / most;
    this.grid(axis, unit, most, y, top, bottom);
    this.title(axis, to ? `attention to ${aim(view, to)}` : MEASURES[view.measure], top, bottom);
    if (view.area) {
      g.fillStyle = theme.brush;
      g.fillRect(axis.edge(view.area.t0), top, axis.edge(view.area.t1 + 1) - axis.edge(view.area.t0), bottom - top);
    }
    const path = (values, along = axis) => {
      let pen = false;
      g.beginPath();
      for (let t = 0; t < values.length; t++) {
        if (values[t] !== values[t]) { pen = false; continue; }
        if (pen) g.lineTo(along.x(t), y(values[t])); else g.moveTo(along.x(t), y(values[t]));
        pen = true;
      }
    };
    if (random.length > 1) {
      const [low, high] = ends;
      g.fillStyle = theme.band;
      g.beginPath();
      for (let t = 0; t < low.length; t++) g.lineTo(axis.x(t), y(low[t]));
      for (let t = high.length - 1; t >= 0; t--) g.lineTo(axis.x(t), y(high[t]));
      g.fill();
    }
    if (random.length === 1) { g.strokeStyle = theme.faint; g.lineWidth = 1.4; g.setLineDash([1, 3]); path(random[0]); g.stroke(); g.setLineDash([]); }
    drawn.forEach(({ recording, main, others: beside }, n) => {
      if (!main) return;
      const own = new Axis(this.w, recording.T), color = n ? theme.second : to || view.measure === "entropy" ? theme.ink : theme.sink;
      g.strokeStyle = theme.quiet;
      g.lineWidth = 1;
      for (const each of beside) { path(each.values, own); g.stroke(); }
      if (main.even) { g.setLineDash([4, 3]); g.strokeStyle = n ? theme.second : theme.soft; g.lineWidth = 1.2; path(main.even, own); g.stroke(); g.setLineDash([]); }
      g.strokeStyle = color;
      g.lineWidth = CURVE;
      path(main.values, own);
      g.stroke();
      curves.push({ own, y, recording, values: main.values, color, unit });
      if (to && to[0] === to[1] && recordings.length === 1) this.written(axis, recording, to[0], top, bottom);
    });
    if (axis.narrow) this.legend(rows, bottom + 22);
    else this.labels(axis, [top, bottom], named, y);
    return curves;
  }
  top(unit, lists) {
    let most = 0;
    for (const values of lists) for (const value of values) if (value > most) most = value;
    return LADDERS[unit].find((each) => each >= most * 1.02) ?? (most || 1);
  }
  grid(axis, unit, most, y, top, bottom) {
    const { g } = this, { theme } = this.app;
    this.font(12);
    g.strokeStyle = theme.line;
    g.fillStyle = theme.soft;
    g.lineWidth = 1;
    g.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y(part * most)) + 0.5;
      line(g, axis.left, at, axis.left + axis.width, at);
      g.fillText(valueTold(unit, part * most), axis.left - 8, at);
    }
    this.ticks(axis, bottom + 15);
  }
  // The name of the axis, upwards beside its numbers.
  title(axis, text, top, bottom) {
    const { g } = this;
    this.font(12);
    g.textAlign = "center";
    g.fillStyle = this.app.theme.soft;
    g.save();
    g.translate(Math.max(axis.left - 52, 6), (top + bottom) / 2);
    g.rotate(-Math.PI / 2);
    g.fillText(text, 0, 0, bottom - top + 20);
    g.restore();
  }
  // The step looked at on a curve; named: with its value beside it.
  dot(view, { own, y, recording, values, color, unit }, named) {
    const { g } = this, t = clamp(ownStep(view, recording), recording.T - 1), x = own.x(t), at = y(values[t]);
    if (values[t] !== values[t]) return;
    g.fillStyle = color;
    g.beginPath();
    g.arc(x, at, 4, 0, 7);
    g.fill();
    g.strokeStyle = this.app.theme.panel;
    g.lineWidth = 1.5;
    g.stroke();
    if (!named) return;
    g.fillStyle = textColor(this.app.theme, color);
    const left = x > own.left + 48;
    this.font(12, 600);
    g.textAlign = left ? "right" : "left";
    g.lineWidth = 4; // a curve beneath it would not let it be read
    const told = [valueTold(unit, values[t]), x + (left ? -9 : 9), Math.max(at - 9, 34)];
    g.strokeText(...told);
    g.fillText(...told);
  }
  written(axis, recording, position, top, bottom) {
    const last = recording.lastOpen[position], { g } = this, { theme } = this.app;
    if (last < 0 || last >= recording.T - 1) return;
    const x = axis.edge(last + 1), left = x > axis.left + axis.width - 60;
    g.strokeStyle = theme.faint;
    g.lineWidth = 1;
    line(g, x, top, x, bottom);
    this.font(11.5);
    g.fillStyle = theme.soft;
    g.textAlign = left ? "right" : "left";
    g.fillText("written", x + (left ? -4 : 4), bottom - 8);
  }
  // What is drawn, as it is named: [text, color, dash, width, the value at the end].
  names(view, drawn, ends, random, to) {
    const { theme } = this.app, several = drawn.length > 1, ink = to || view.measure === "entropy" ? theme.ink : theme.sink, last = (values) => values?.findLast((value) => value === value) ?? 0;
    const base = to || view.measure === "share" ? "even split" : view.measure === "count" ? "Gaussian noise" : "even split", untrained = view.head != null ? "untrained heads" : random === 1 ? "untrained model" : `range of ${random} untrained models`;
    return [
      ...drawn.map(({ recording, main }, n) => [several ? recording.name : to ? "attention" : view.measure === "entropy" ? "entropy" : "sinks", n ? theme.second : ink, [], CURVE, last(main?.values)]),
      ...drawn.slice(0, 1).filter(({ main }) => main?.even).map(({ main }) => [base, theme.soft, [4, 3], 1.2, last(main.even)]),
      ...(random ? [[untrained, random === 1 ? theme.faint : theme.band, random === 1 ? [1, 3] : [], random === 1 ? 1.4 : 9, (last(ends[0]) + last(ends[1])) / 2]] : []),
      ...(drawn[0].others.length ? [["other heads", theme.quiet, [], 1, last(drawn[0].others[0].values)]] : []),
    ];
  }
  // Names at the right end, each as near to its curve as the others allow.
  labels(axis, [top, bottom], named, y) {
    const { g } = this, x = axis.left + axis.width + 6, room = axis.right - 24;
    this.font(12);
    const placed = named.map(([text, color, dash, width, value]) => ({ lines: this.wrapped(text, room), color, dash, width, at: y(value) })).sort((a, b) => a.at - b.at);
    const tall = ({ lines }) => 13.5 * lines.length;
    let free = top - 6;
    for (const each of placed) { each.from = Math.max(free, each.at - tall(each) / 2); free = each.from + tall(each); }
    free = bottom + 10;
    for (const each of placed.toReversed()) { each.from = Math.min(each.from, free - tall(each)); free = each.from; }
    g.textAlign = "left";
    for (const { lines: [first, ...rest], color, dash, width, from } of placed) {
      this.named(first, color, dash, width, x, from + 6, room);
      rest.forEach((text, n) => g.fillText(text, x + 18, from + 19.5 + 13.5 * n, room));
    }
  }
  // Names beneath the curves, where there is no room beside them: in rows of [name, where it stands].
  rows(named) {
    const rows = [];
    let x = this.w;
    this.font(12);
    for (const each of named) {
      const wide = this.g.measureText(each[0]).width + 18;
      if (x + wide > this.w) { rows.push([]); x = 0; }
      rows.at(-1).push([each, x]);
      x += wide + 14;
    }
    return rows;
  }
  legend(rows, from) {
    this.g.textAlign = "left";
    this.font(12);
    rows.forEach((row, n) => row.forEach(([[text, color, dash, width], x]) => this.named(text, color, dash, width, x, from + ROW * (n + 0.5))));
  }
  named(text, color, dash, width, x, y, room) {
    const { g } = this;
    g.strokeStyle = color;
    g.lineWidth = width;
    g.setLineDash(dash);
    line(g, x, y, x + 13, y);
    g.setLineDash([]);
    g.fillStyle = width === CURVE ? textColor(this.app.theme, color) : this.app.theme.soft;
    g.fillText(text, x + 18, y + 0.5, room);
  }
  wrapped(text, room) {
    const name = `${text} ${room} ${this.app.version}`, known = this.wraps.get(name), lines = [""];
    if (known) return known;
    for (const word of text.split(" ")) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (lines.at(-1) && this.g.measureText(longer).width > room) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    this.wraps.set(name, lines);
    return lines;
  }
  // The step, as a line; with a slider where there is none of its own (explorer.css).
  scrubber(axis, view, bottom) {
    const { g } = this, { theme, state, steps } = this.app, y = 12, here = axis.x(state.step);
    g.lineWidth = 1.2;
    if (view.step !== state.step) { g.strokeStyle = theme.faint; line(g, axis.x(view.step), y, axis.x(view.step), bottom); }
    g.strokeStyle = theme.ink;
    line(g, here, y, here, bottom);
    if (axis.narrow) return;
    g.lineCap = "round";
    g.lineWidth = 4;
    g.strokeStyle = theme.line;
    line(g, axis.x(0), y, axis.x(steps), y);
    g.strokeStyle = theme.ink;
    line(g, axis.x(0), y, here, y);
    g.lineCap = "butt";
    g.fillStyle = theme.ink;
    g.beginPath();
    g.arc(here, y, 7, 0, 7);
    g.fill();
    g.strokeStyle = theme.panel;
    g.lineWidth = 2;
    g.stroke();
  }
  hit(px, py) {
    const scrub = py < 26;
    return { step: scrub ? this.axis().stop(px) : this.axis().step(px), scrub };
  }
}
