// Layers × heads: what share of each head's attention goes to what is chosen, its sinks where nothing is. The first column
// is the map of all heads averaged, whose sinks may take less than those of any head. Shares of sinks are on a scale of
// orange; shares of a position are in multiples of uniform attention, on the blue scale of the text.

class HeadsView extends View {
  plan() {
    const recordings = this.app.shown(), gap = 14, left = 36, top = recordings.length > 1 ? 46 : 30, width = (this.w - gap * (recordings.length - 1)) / recordings.length;
    return recordings.map((recording, n) => {
      const cw = (width - left - 6) / (recording.H + 1), ch = (this.h - top - 2) / recording.L, x0 = n * (width + gap) + left;
      return { recording, x0, y0: top, cw, ch, heads: x0 + cw + 6 };
    });
  }
  draw(view) {
    const plans = this.plan(), { theme, state } = this.app;
    this.begin();
    this.still(`${stepsShown(view)} ${view.position} ${target(view, plans[0].recording) ? "" : `${view.judged} ${rule(view)}`}`, () => { for (const plan of plans) this.drawGrid(view, plan); });
    for (const plan of plans) {
      this.number(view, plan);
      if (state.layer != null && (state.layer !== view.layer || state.head !== view.head)) this.outline(plan, state.layer, state.head, 1.5, theme.soft);
      if (view.layer != null) this.outline(plan, view.layer, view.head, 2.5, theme.ink);
    }
  }
  drawGrid(view, plan) {
    const { recording, x0, y0, cw, ch, heads } = plan, { L, H } = recording, done = finished(view, recording);
    const shares = done ? null : headShares(recording, view), to = target(view, recording), evens = (layer) => (to?.length ? recording.given(layer, null, stepRange(view, recording), to).even : 0);
    this.names(plan);
    for (let l = 0; l < L; l++) {
      const even = evens(l), y = y0 + l * ch;
      for (let h = 0; h < H; h++) this.cell(plan, heads + h * cw, y, shares ? shares[l * H + h] : NaN, even);
      this.cell(plan, x0, y, done ? NaN : shareOf(recording, view, l, null).share, even);
    }
    if (shares === null && !done) this.app.need({ cells: view, recording });
  }
  names({ recording, x0, y0, cw, ch, heads }) {
    const { g } = this, { theme } = this.app;
    g.fillStyle = theme.soft;
    if (this.app.shown().length > 1) { this.font(12, 600); g.textAlign = "left"; g.fillText(recording.name, x0, 8); }
    this.font(12);
    g.textAlign = "center";
    g.fillText("mean of", x0 + cw / 2, y0 - 20);
    g.fillText("heads", x0 + cw / 2, y0 - 8);
    for (let h = 0, every = Math.ceil(16 / cw); h < recording.H; h += every) g.fillText(h, heads + (h + 0.5) * cw, y0 - 8);
    g.fillText("head", heads + (recording.H * cw) / 2, y0 - 20);
    g.textAlign = "right";
    g.fillText("layer", x0 - 6, y0 - 8);
    for (let l = 0, every = Math.ceil(13 / ch); l < recording.L; l += every) g.fillText(l, x0 - 6, y0 + (l + 0.5) * ch);
  }
  // even: what uniform attention gives the chosen positions; 0 where the cells are about sinks.
  cell({ cw, ch }, x, y, share, even) {
    const { g } = this, { theme, ceiling } = this.app, { css } = even ? theme.ramp : theme.heat, gap = cw > 14 && ch > 14 ? 1 : cw > 7 && ch > 7 ? 0.5 : 0;
    const level = this.level(share, even, ceiling);
    g.fillStyle = level < 0 ? theme.empty : css[level];
    g.fillRect(x + gap / 2, y + gap / 2, cw - gap, ch - gap);
  }
  // Where in its scale a share lies, 0 … 255; −1 where there is none.
  level(share, even, ceiling) {
    return share === share ? Math.round(255 * (even ? placed(share / even, ceiling) : Math.min(1, share))) : -1;
  }
  // The share of the cell looked at.
  number(view, { recording, x0, y0, cw, ch, heads }) {
    if (view.layer == null || view.layer >= recording.L || (view.head ?? 0) >= recording.H || cw < 25 || ch < 15 || finished(view, recording)) return;
    const { g } = this, { theme, ceiling } = this.app, { share, even } = shareOf(recording, view), to = target(view, recording);
    const level = this.level(share, to ? even : 0, ceiling), { lightInk } = to ? theme.ramp : theme.heat, x = view.head == null ? x0 : heads + view.head * cw;
    if (level < 0) return;
    this.font(Math.min(12, ch * 0.6), 600);
    g.textAlign = "center";
    g.fillStyle = theme.inks[lightInk[level]];
    g.fillText(cw >= 38 ? percent(share) : Math.round(100 * share), x + cw / 2, y0 + (view.layer + 0.5) * ch + 0.5);
  }
  outline({ recording, x0, y0, cw, ch, heads }, layer, head, width, color) {
    if (layer >= recording.L || (head ?? 0) >= recording.H) return;
    const { g } = this, x = head == null ? x0 : heads + head * cw, y = y0 + layer * ch;
    if (width > 2 && cw > 14) { // ink on ink would not be seen
      g.strokeStyle = this.app.theme.panel;
      g.lineWidth = 1.5;
      g.strokeRect(x + 2, y + 2, cw - 4, ch - 4);
    }
    g.strokeStyle = color;
    g.lineWidth = width;
    g.strokeRect(x, y, cw, ch);
    if (head == null) { g.lineWidth = 1; g.strokeRect(heads, y, recording.H * cw, ch); }
  }
  hit(px, py) {
    for (const { recording, x0, y0, cw, ch, heads } of this.plan()) {
      const layer = Math.floor((py - y0) / ch), head = Math.floor((px - heads) / cw);
      if (layer < 0 && px >= x0 && px < heads) return { layer: null, head: null }; // the corner: the whole model
      if (layer < 0 || layer >= recording.L) continue;
      if (px >= x0 - 36 && px < heads) return { layer, head: null };
      if (head >= 0 && head < recording.H) return { layer, head };
    }
    return null;
  }
}
