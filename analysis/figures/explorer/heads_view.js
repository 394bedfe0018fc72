// Layers × heads: what share of each head's attention goes to what is chosen, its sinks where nothing is. The first column
// is the whole layer's own map. Shares of sinks are on a square-root scale, as the colour follows the printed number;
// shares of a position are in multiples of uniform attention, on the scale of the text.

class HeadsView extends View {
  plan() {
    const recordings = this.app.shown(), gap = 14, left = 36, top = recordings.length > 1 ? 34 : 18, width = (this.w - gap * (recordings.length - 1)) / recordings.length;
    return recordings.map((recording, n) => {
      const cw = (width - left - 6) / (recording.H + 1), ch = (this.h - top - 2) / recording.L, x0 = n * (width + gap) + left;
      return { recording, x0, y0: top, cw, ch, heads: x0 + cw + 6 };
    });
  }
  draw(view) {
    this.begin();
    for (const plan of this.plan()) this.drawGrid(view, plan);
  }
  drawGrid(view, plan) {
    const { g } = this, { theme } = this.app, { recording, x0, y0, cw, ch, heads } = plan, { L, H } = recording, done = finished(view, recording);
    const shares = done ? null : headShares(recording, view), to = target(view, recording);
    this.names(plan);
    this.font(Math.min(12, ch * 0.6));
    g.textAlign = "center";
    const marks = done ? null : headEvens(recording, view), nulls = done ? null : headNulls(recording, view), evens = (layer) => (to?.length ? recording.given(layer, null, stepRange(view, recording), to).even : 0);
    for (let l = 0; l < L; l++) {
      const even = evens(l);
      for (let h = 0; h < H; h++) this.cell(plan, heads + h * cw, y0 + l * ch, shares ? shares[l * H + h] : NaN, even, marks?.[l * H + h], nulls?.[l]);
      const layer = done ? { share: NaN } : shareOf(recording, view, l, null);
      this.cell(plan, x0, y0 + l * ch, layer.share, even, to ? undefined : layer.even);
    }
    if (shares === null && !done) this.app.need({ cells: view, recording });
    const pinned = this.app.state;
    if (pinned.layer != null && (pinned.layer !== view.layer || pinned.head !== view.head)) this.outline(plan, pinned.layer, pinned.head, 1.5, theme.soft);
    if (view.layer != null) this.outline(plan, view.layer, view.head, 2.5, theme.ink);
  }
  names({ recording, x0, y0, cw, ch, heads }) {
    const { g } = this, { theme } = this.app;
    g.fillStyle = theme.soft;
    if (this.app.shown().length > 1) { this.font(11, 600); g.textAlign = "left"; g.fillText(recording.name, x0, 8); }
    this.font(11);
    g.textAlign = "center";
    g.fillText("all", x0 + cw / 2, y0 - 8);
    for (let h = 0, every = Math.ceil(16 / cw); h < recording.H; h += every) g.fillText(h || cw < 40 ? h : "head 0", heads + (h + 0.5) * cw, y0 - 8);
    g.textAlign = "right";
    g.fillText("layer", x0 - 6, y0 - 8);
    for (let l = 0, every = Math.ceil(13 / ch); l < recording.L; l += every) g.fillText(l, x0 - 6, y0 + (l + 0.5) * ch);
  }
  // mark: what an even split gives the cell's own sinks, a tick on a line as long as their share. band: what the heads of
  // the layer give theirs with random weights.
  cell({ cw, ch }, x, y, share, even, mark, band) {
    const { g } = this, { theme, ceiling } = this.app, { ramp } = theme, gap = cw > 14 && ch > 14 ? 1 : cw > 7 && ch > 7 ? 0.5 : 0;
    const level = share === share ? Math.round(255 * (even ? placed(share / even, ceiling) : Math.min(1, Math.sqrt(share)))) : -1;
    g.fillStyle = level < 0 ? theme.empty : ramp.css[level];
    g.fillRect(x + gap / 2, y + gap / 2, cw - gap, ch - gap);
    if (cw < 25 || ch < 15 || level < 0) return;
    const marked = mark > 0 && ch >= 22;
    g.fillStyle = theme.inks[ramp.lightInk[level]];
    g.fillText(cw >= 38 && (share >= 0.001 || cw >= 50) ? percent(share) : Math.round(100 * share), x + cw / 2, y + ch / 2 + (marked ? -2 : 0.5));
    if (!marked) return;
    g.fillRect(x + 4, y + ch - 5, (cw - 8) * share, 1);
    g.fillRect(x + 3.5 + (cw - 8) * mark, y + ch - 8, 1.5, 6);
    if (!band) return;
    g.globalAlpha = 0.45;
    g.fillRect(x + 4 + (cw - 8) * band[0], y + ch - 8, Math.max(2, (cw - 8) * (band[1] - band[0])), 7);
    g.globalAlpha = 1;
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
