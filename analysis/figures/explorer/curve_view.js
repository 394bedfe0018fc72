// A number per step, beside its baselines: what an even split gives or Gaussian noise, and untrained models. The scrubber stands
// above it.

const LADDERS = { percent: [0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1], count: [2, 5, 10, 20, 50, 100, 200, 500], entropy: [1] };

class CurveView extends View {
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
    const axis = this.axis(), { position, layer, head, judged, measure, area, over, show } = view;
    this.begin();
    this.still(`${show} ${over} ${area ? Object.values(area) : ""} ${position} ${layer} ${head} ${judged} ${measure} ${rule(view)}`, () => { this.curves = this.paint(view, axis); });
    for (const { own, y, recording, values, color } of this.curves) this.dot(own, y, recording, view, values, color);
    this.scrubber(axis, view, this.h - 18);
  }
  // Everything that is the same in every step; returns the curves, on which the step is marked.
  paint(view, axis) {
    const { g } = this, { theme } = this.app, recordings = this.app.shown(), top = 30, bottom = this.h - 18, first = recordings[0], to = target(view, first), curves = [];
    const others = (recording) => (view.layer == null || recordings.length > 1 || !recording.whole ? [] : Array.from({ length: recording.H }, (_, h) => h).filter((h) => h !== view.head));
    const drawn = recordings.map((recording) => ({
      recording, main: this.values(recording, view, view.layer, view.head),
      others: others(recording).map((h) => this.values(recording, view, view.layer, h)).filter(Boolean),
    }));
    const random = recordings.length === 1 && !to && view.measure !== "entropy" ? first.nulls(view, view.layer, view.head).map((each) => each[view.measure]) : [];
    const ends = random.length ? [Math.min, Math.max].map((end) => Float64Array.from(random[0], (_, t) => end(...random.map((each) => each[t])))) : [];
    const unit = to || view.measure === "share" ? "percent" : view.measure;
    const most = this.top(unit, [...drawn.flatMap((each) => [each.main, ...each.others]).filter(Boolean).flatMap((each) => [each.values, each.even ?? []]), ...ends]);
    const y = (value) => bottom - ((bottom - top) * value) / most;
    this.grid(axis, unit, most, y, top, bottom);
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
      g.lineWidth = 2.2;
      path(main.values, own);
      g.stroke();
      curves.push({ own, y, recording, values: main.values, color });
      if (to && to[0] === to[1] && recordings.length === 1) this.written(axis, recording, to[0], top, bottom);
    });
    this.legend(axis, top, view, drawn, random.length, to);
    return curves;
  }
  top(unit, lists) {
    let most = 0;
    for (const values of lists) for (const value of values) if (value > most) most = value;
    return LADDERS[unit].find((each) => each >= most * 1.02) ?? (most || 1);
  }
  grid(axis, unit, most, y, top, bottom) {
    const { g } = this, { theme } = this.app;
    this.font(11);
    g.strokeStyle = theme.line;
    g.fillStyle = theme.soft;
    g.lineWidth = 1;
    g.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y(part * most)) + 0.5;
      line(g, axis.left, at, axis.left + axis.width, at);
      g.fillText(unit === "percent" ? percent(part * most) : String(+(part * most).toFixed(2)), axis.left - 8, at);
    }
    this.ticks(axis, this.h - 7);
  }
  dot(axis, y, recording, view, values, color) {
    const { g } = this, t = clamp(ownStep(view, recording), recording.T - 1);
    if (values[t] !== values[t]) return;
    g.fillStyle = color;
    g.beginPath();
    g.arc(axis.x(t), y(values[t]), 4, 0, 7);
    g.fill();
    g.strokeStyle = this.app.theme.panel;
    g.lineWidth = 1.5;
    g.stroke();
  }
  written(axis, recording, position, top, bottom) {
    const last = recording.lastOpen[position], { g } = this, { theme } = this.app;
    if (last < 0 || last >= recording.T - 1) return;
    const x = axis.edge(last + 1), left = x > this.w - 90;
    g.strokeStyle = theme.faint;
    g.lineWidth = 1;
    line(g, x, top, x, bottom);
    this.font(10.5);
    g.fillStyle = theme.soft;
    g.textAlign = left ? "right" : "left";
    g.fillText("written", x + (left ? -4 : 4), bottom - 8);
  }
  legend(axis, top, view, drawn, random, to) {
    const { g } = this, { theme } = this.app, several = drawn.length > 1;
    const base = to || view.measure === "share" ? "even split" : view.measure === "count" ? "Gaussian reference" : "uniform attention";
    const mean = ({ values }) => (several || to || view.measure !== "share" ? "" : ` (mean ${percent(meanOver(values, [0, values.length - 1]))})`);
    const entries = several ? drawn.map(({ recording }, n) => [recording.name, n ? theme.second : to || view.measure === "entropy" ? theme.ink : theme.sink, []]) : [[to ? "attention" : view.measure === "entropy" ? "entropy" : `sinks${drawn[0].main ? mean(drawn[0].main) : ""}`, to || view.measure === "entropy" ? theme.ink : theme.sink, []]];
    if (drawn.some(({ main }) => main?.even)) entries.push([base, theme.soft, [4, 3]]);
    if (random) entries.push([view.head != null ? "an untrained model’s heads" : random === 1 ? "an untrained model" : `${random} untrained models`, random === 1 ? theme.faint : theme.band, random === 1 ? [1, 3] : [], random === 1 ? 2 : 9]);
    if (drawn[0].others.length) entries.push(["other heads", theme.quiet, []]);
    this.font(11);
    g.textAlign = "left";
    let x = axis.left + 8, y = top + 10;
    for (const [text, color, dash, width = 2] of entries) {
      const wide = g.measureText(text).width + 36;
      if (x + wide - 14 > this.w && x > axis.left + 8) { x = axis.left + 8; y += 15; }
      g.globalAlpha = 0.85;
      g.fillStyle = theme.panel;
      g.fillRect(x - 4, y - 8, wide, 15);
      g.globalAlpha = 1;
      g.strokeStyle = color;
      g.lineWidth = width;
      g.setLineDash(dash);
      line(g, x, y - 0.5, x + 18, y - 0.5);
      g.setLineDash([]);
      g.fillStyle = theme.soft;
      g.fillText(text, x + 22, y);
      x += wide;
    }
  }
  scrubber(axis, view, bottom) {
    const { g } = this, { theme, state, steps } = this.app, y = 12, here = axis.x(state.step);
    g.lineCap = "round";
    g.lineWidth = 4;
    g.strokeStyle = theme.line;
    line(g, axis.x(0), y, axis.x(steps), y);
    g.strokeStyle = theme.ink;
    line(g, axis.x(0), y, here, y);
    g.lineCap = "butt";
    g.lineWidth = 1.2;
    if (view.step !== state.step) { g.strokeStyle = theme.faint; line(g, axis.x(view.step), y, axis.x(view.step), bottom); }
    g.strokeStyle = theme.ink;
    line(g, here, y, here, bottom);
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
