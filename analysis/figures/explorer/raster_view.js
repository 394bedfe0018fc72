// Steps × positions of one map. Sinks are outlines around runs of steps, so that lifetimes can be read; a dot is where a
// token is written. Of several positions in one pixel the strongest is kept, so that no sink falls between pixels.

const TICKS = 18; // pixels beneath the maps for step numbers

class RasterView extends View {
  axis() { return new Axis(this.w, this.app.steps); }
  plan() {
    const recordings = this.app.shown(), n = recordings.length, title = n > 1 ? 18 : 0, room = (this.h - TICKS - n * title) / n, { zoom } = this.app.state;
    return recordings.map((recording, i) => {
      const p0 = zoom ? Math.min(zoom[0], recording.S - 1) : 0, p1 = zoom ? Math.min(zoom[1], recording.S - 1) : recording.S - 1;
      return { recording, y: title + i * (room + title), h: room - (i < n - 1 ? 6 : 0), p0, p1, rows: p1 - p0 + 1 };
    });
  }
  image(recording, view, plan) {
    const rows = Math.min(plan.rows, Math.max(1, Math.floor(plan.h * this.ratio))), { ceiling, theme, themeName } = this.app, times = recording.times(view.layer, view.head);
    if (times === null) return null;
    const { T, S } = recording, data = recording.remember(`image ${view.layer} ${view.head} ${plan.p0} ${plan.p1} ${rows} ${themeName} ${ceiling}`, () => {
      const best = new Float32Array(T * rows).fill(NaN), made = new ImageData(T, rows), pixels = new Uint32Array(made.data.buffer);
      for (let s = plan.p0; s <= plan.p1; s++) {
        const from = Math.floor(((s - plan.p0) * rows) / plan.rows) * T;
        for (let t = 0; t < T; t++) {
          const value = times[t * S + s];
          if (value === value && !(best[from + t] >= value)) best[from + t] = value;
        }
      }
      for (let i = 0; i < best.length; i++) if (best[i] === best[i]) pixels[i] = theme.ramp.pixels[Math.round(255 * placed(best[i], ceiling))];
      return made;
    });
    const canvas = (this.picture ??= document.createElement("canvas"));
    if (this.pictured !== data) {
      Object.assign(canvas, { width: T, height: rows }).getContext("2d").putImageData(data, 0, 0);
      this.pictured = data;
    }
    return canvas;
  }
  // Whether rows are high enough for dots where tokens are written.
  dotted() { return this.plan().every((plan) => plan.h / plan.rows >= 3); }
  // Runs of steps in which a position is a sink: [position, from, to].
  runs(recording, view) {
    const flags = recording.sinks(view, view.layer, view.head);
    if (flags === null) return [];
    const [layer, head] = recording.judged(view, view.layer, view.head);
    return recording.remember(`runs ${layer} ${head} ${rule(view)}`, () => {
      const { T, S } = recording, found = [];
      for (let s = 0; s < S; s++) {
        for (let t = 0, from = -1; t <= T; t++) {
          const on = t < T && flags[t * S + s];
          if (on && from < 0) from = t;
          if (!on && from >= 0) { found.push([s, from, t - 1]); from = -1; }
        }
      }
      return found;
    });
  }
  draw(view) {
    const plans = this.plan(), { zoom } = this.app.state, { show, layer, head, judged } = view;
    this.begin();
    if (!this.app.shown()[0].has(layer, head)) this.app.need({ heads: view });
    this.still(`${show} ${zoom} ${layer} ${head} ${judged} ${rule(view)}`, () => {
      this.lives = plans.map((plan) => this.paint(view, plan));
      this.bar(plans[0], this.axis());
      this.ticks(this.axis(), this.h - 7);
    });
    plans.forEach((plan, n) => this.mark(view, plan, this.lives[n]));
  }
  // A map, which is the same in every step; returns the positions that are sinks longest, with how many steps.
  paint(view, plan) {
    const { g } = this, { theme } = this.app, { recording } = plan, axis = new Axis(this.w, recording.T), ch = plan.h / plan.rows, y = (s) => plan.y + (s - plan.p0) * ch;
    if (this.app.shown().length > 1) { this.font(12, 600); g.textAlign = "left"; g.fillStyle = theme.soft; g.fillText(recording.name, axis.left, plan.y - 9); }
    g.fillStyle = theme.empty;
    g.fillRect(axis.left, plan.y, axis.width, plan.h);
    const image = this.image(recording, view, plan);
    g.imageSmoothingEnabled = false;
    if (image) g.drawImage(image, axis.edge(0), plan.y, axis.edge(recording.T) - axis.edge(0), plan.h);
    g.save();
    g.beginPath();
    g.rect(axis.left - 1, plan.y - 1, axis.width + 2, plan.h + 2);
    g.clip();
    const life = this.outlines(view, plan, axis, ch, y);
    if (this.dotted()) this.dots(plan, axis, ch, y);
    if (recording.openBlock) this.block(plan, axis, ch, y);
    g.restore();
    return [...life].sort((a, b) => b[1] - a[1]).slice(0, 40);
  }
  // The scale of colours, to the right of a map.
  bar({ y, h }, axis) {
    const { g } = this, { theme, themeName, ceiling } = this.app, x = axis.left + axis.width + 14, tall = Math.min(150, h - 12);
    const name = `${themeName} ${x} ${y} ${tall}`;
    if (this.scale?.name !== name) this.scale = { name, colors: scaleColors(g, theme.ramp.css, x + 0.5, y + 6.5, 9, tall, false) };
    colorBar(g, theme, this.scale.colors, x + 0.5, y + 6.5, 9, tall);
    this.font(12);
    g.textAlign = "left";
    g.fillStyle = theme.soft;
    for (const [part, text] of massMarks(ceiling)) {
      const lines = g.measureText(text).width > axis.right - 30 ? text.split(" ") : [text];
      lines.forEach((line, n) => g.fillText(line, x + 16, y + 6 + (1 - part) * tall + 12.5 * (n - (lines.length - 1) / 2)));
    }
  }
  // What is chosen and looked at in a map, and the names of its rows.
  mark(view, plan, life) {
    const { g } = this, { theme, state } = this.app, shared = this.axis(), axis = new Axis(this.w, plan.recording.T), ch = plan.h / plan.rows, y = (s) => plan.y + (s - plan.p0) * ch, inside = (s) => s >= plan.p0 && s <= plan.p1;
    g.save();
    g.beginPath();
    g.rect(axis.left - 1, plan.y - 1, axis.width + 2, plan.h + 2);
    g.clip();
    if (view.area) {
      const { t0, t1 } = view.area, p0 = view.area.p0 ?? plan.p0, p1 = view.area.p1 ?? plan.p1, x = shared.edge(t0), w = shared.edge(t1 + 1) - x;
      g.fillStyle = theme.brush;
      g.fillRect(x, y(p0), w, (p1 - p0 + 1) * ch);
      g.strokeStyle = theme.ink;
      g.lineWidth = 1.5;
      g.strokeRect(x, y(p0), w, (p1 - p0 + 1) * ch);
    }
    if (view.position != null && inside(view.position)) {
      g.strokeStyle = theme.ink;
      g.lineWidth = 1.2;
      for (const edge of [y(view.position), y(view.position) + Math.max(ch, 2)]) line(g, axis.left, edge, axis.left + axis.width, edge);
    }
    g.restore();
    g.lineWidth = 1.2;
    if (view.step !== state.step) { g.strokeStyle = theme.faint; line(g, shared.x(view.step), plan.y, shared.x(view.step), plan.y + plan.h); }
    g.strokeStyle = theme.ink;
    line(g, shared.x(state.step), plan.y, shared.x(state.step), plan.y + plan.h);
    this.labels(view, plan, axis, ch, y, inside, life);
  }
  outlines(view, plan, axis, ch, y) {
    const { g } = this, life = new Map();
    g.strokeStyle = this.app.theme.sink;
    g.lineWidth = ch >= 4 ? 1.5 : 1.2;
    g.beginPath();
    for (const [s, from, to] of this.runs(plan.recording, view)) {
      if (s < plan.p0 || s > plan.p1) continue;
      life.set(s, (life.get(s) ?? 0) + to - from + 1);
      const x = axis.edge(from), w = axis.edge(to + 1) - x;
      if (ch >= 3) g.rect(x + 0.5, y(s) + 0.5, w - 1, ch - 1);
      else { g.moveTo(x, y(s) + ch / 2); g.lineTo(x + w, y(s) + ch / 2); }
    }
    g.stroke();
    return life;
  }
  dots({ recording, p0, p1 }, axis, ch, y) {
    const { g } = this, { theme } = this.app, { T, S } = recording, radius = Math.min(1.9, ch / 3);
    for (const [bits, color] of [[WRITTEN, theme.inks[0]], [EDITED | TAKEN_BACK, theme.second]]) {
      g.fillStyle = color;
      g.strokeStyle = theme.inks[1];
      g.lineWidth = 1;
      g.beginPath();
      for (let t = 0; t < T; t++) for (let s = p0; s <= p1; s++) if (recording.done[t * S + s] & bits) { const x = axis.x(t), at = y(s) + ch / 2; g.moveTo(x + radius, at); g.arc(x, at, radius, 0, 7); }
      g.stroke();
      g.fill();
    }
  }
  block({ recording, p0, p1 }, axis, ch, y) {
    const { g } = this, { openBlock, T } = recording;
    g.strokeStyle = this.app.theme.soft;
    g.lineWidth = 1;
    g.setLineDash([3, 3]);
    for (let from = 0; from < T; ) {
      let to = from;
      while (to + 1 < T && openBlock[2 * to + 2] === openBlock[2 * from] && openBlock[2 * to + 3] === openBlock[2 * from + 1]) to++;
      const top = clamp(openBlock[2 * from] - p0, p1 - p0 + 1) + p0, end = clamp(openBlock[2 * from + 1] - p0, p1 - p0 + 1) + p0;
      g.strokeRect(axis.edge(from), y(top), axis.edge(to + 1) - axis.edge(from), (end - top) * ch);
      from = to + 1;
    }
    g.setLineDash([]);
  }
  // The position looked at, then the sinks, longest first, wherever there is room; round numbers where there are none.
  labels(view, plan, axis, ch, y, inside, life) {
    const { g } = this, { theme } = this.app, { recording } = plan, taken = [], wide = axis.left > 60;
    const label = (s, weight, color) => {
      const at = Math.max(plan.y + 6, Math.min(plan.y + plan.h - 6, y(s) + ch / 2));
      if (!inside(s) || taken.some((other) => Math.abs(other - at) < 12.5)) return;
      taken.push(at);
      this.font(12, weight);
      g.fillStyle = color;
      g.textAlign = "right";
      g.fillText(wide ? rowName(recording, s) : s, axis.left - 8, at, axis.left - 10);
    };
    if (view.position != null) label(view.position, 700, theme.ink);
    for (const [s] of life) label(s, 400, theme.sinkText);
    if (life.length) return;
    const every = Math.max(10, Math.ceil(plan.rows / 80) * 10);
    for (let s = Math.ceil(plan.p0 / every) * every; s <= plan.p1; s += every) label(s, 400, theme.faint);
  }
  hit(px, py) {
    for (const [track, plan] of this.plan().entries()) {
      if (py < plan.y - 2 || py > plan.y + plan.h + 4) continue;
      const position = plan.p0 + Math.floor(((py - plan.y) * plan.rows) / plan.h);
      return { step: this.axis().step(px), position: Math.max(plan.p0, Math.min(plan.p1, position)), track };
    }
    return null;
  }
}
