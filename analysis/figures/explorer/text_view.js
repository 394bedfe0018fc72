// The text of the step: every token shaded by the attention it gets, sinks outlined, masks hatched. Every place is as wide
// as the finished token, so that no line moves while it plays; a text too long for words becomes squares.

const NOTE = 22; // pixels beneath the text for what a token attends to

class TextView extends View {
  plan() {
    const { app, w, h } = this, recordings = app.shown(), key = `${recordings.map((each) => `${each.name} ${each.attention.size > 0}`)} ${w} ${h}`;
    if (this.layout?.key === key) return this.layout;
    const titled = recordings.length > 1;
    for (let size = 25; size >= 9; size--) {
      this.font(size);
      let y = 2;
      const boxes = [], titles = [];
      for (const recording of recordings) {
        if (titled) { titles.push({ recording, y }); y += 20; }
        let x = 2;
        const places = [], row = size + 11, words = recording.remember(`words ${size} ${app.version}`, () => Array.from({ length: recording.S }, (_, s) => this.g.measureText(visible(recording.finalWord(s))).width));
        for (let s = 0; s < recording.S; s++) {
          const width = Math.max(words[s] + size * 0.62, size * 1.35);
          if (x + width > w - 2) { x = 2; y += row; }
          places.push([x, y + 2, width, size + 7]);
          x += width + 2.5;
        }
        y += row + (titled ? 8 : 0);
        boxes.push(places);
      }
      if (y <= h - (recordings.some((each) => each.experts || each.attention.size) ? NOTE : 0)) return (this.layout = { key, size, boxes, recordings, titles });
    }
    return (this.layout = this.squares(key, recordings, titled));
  }
  squares(key, recordings, titled) {
    const { w, h } = this, room = h / recordings.length - 30 - (titled ? 20 : 0), boxes = [], titles = [];
    let y = 0, size = 0, below = 0;
    for (const recording of recordings) {
      if (titled) { titles.push({ recording, y }); y += 20; }
      size = Math.max(3, Math.floor(Math.sqrt((w * room) / recording.S) - 0.5));
      while (size > 3 && Math.ceil(recording.S / Math.floor(w / size)) * size > room) size--;
      const across = Math.max(1, Math.floor(w / size));
      boxes.push(Array.from({ length: recording.S }, (_, s) => [(s % across) * size, y + Math.floor(s / across) * size, size - 1, size - 1]));
      below = y + Math.ceil(recording.S / across) * size;
      y = below + 30;
    }
    return { key, small: true, size, boxes, recordings, titles, below };
  }

  draw(view) {
    const g = this.begin(), { theme, state } = this.app, plan = this.plan(), { layer, head, judged } = view;
    this.still(`${stepsShown(view)} ${state.step} ${layer} ${head} ${judged} ${rule(view)}`, () => plan.recordings.forEach((recording, n) => this.drawText(view, recording, plan.boxes[n], plan)));
    this.font(12, 600);
    g.fillStyle = theme.soft;
    g.textAlign = "left";
    for (const { recording, y } of plan.titles) g.fillText(recording.name + (finished(view, recording) ? " · finished" : ""), 2, y + 9);
    plan.recordings.forEach((recording, n) => {
      this.mark(view, plan.boxes[n][view.position], plan);
      this.lines(view, recording, plan.boxes[n]);
    });
    if (plan.small) this.words(view, plan);
    this.font(13);
    g.fillStyle = theme.ink;
    g.textAlign = "left";
    g.fillText(attending(plan.recordings[0], view), 2, this.h - NOTE / 2, this.w - 4);
  }
  drawText(view, recording, boxes, plan) {
    const { g } = this, { theme } = this.app, { S } = recording, done = finished(view, recording), [t0, t1] = stepRange(view, recording), one = t0 === t1;
    const times = recording.times(view.layer, view.head), flags = done ? null : recording.sinks(view, view.layer, view.head), block = one && !done && recording.openBlock ? [recording.openBlock[2 * t0], recording.openBlock[2 * t0 + 1]] : null;
    const sinks = [];
    this.font(plan.size);
    g.textAlign = "center";
    for (let s = 0; s < S; s++) {
      const cell = { s, box: boxes[s], ...this.cell(view, recording, s, t0, t1, times, flags, done) };
      this.token(view, recording, cell, plan, one || done);
      if (cell.life > 0) sinks.push(cell);
      if (block && s >= block[0] && s < block[1] && !plan.small) {
        g.fillStyle = theme.soft;
        g.fillRect(boxes[s][0], boxes[s][1] + boxes[s][3] + 1.5, boxes[s][2] + 2.5, 1.5);
      }
    }
    g.strokeStyle = theme.sink;
    g.lineWidth = plan.small ? 1.5 : 2.5;
    for (const { box: [x, y, w, h], life } of sinks) {
      g.globalAlpha = Math.max(0.15, life);
      rounded(g, x - 0.5, y - 0.5, w + 1, h + 1, plan.small ? 1 : 4);
      g.stroke();
    }
    g.globalAlpha = 1;
  }
  // Around the position looked at.
  mark(view, box, plan) {
    if (view.position == null || !box) return;
    const { g } = this, [x, y, w, h] = box;
    g.strokeStyle = this.app.theme.ink;
    g.lineWidth = 2;
    rounded(g, x - 2.5, y - 2.5, w + 5, h + 5, plan.small ? 2 : 6);
    g.stroke();
  }
  // Lines from the token looked at to those it attends to, the wider the more; a ring where it attends to itself.
  lines(view, recording, boxes) {
    const attended = recording.attends(view), { g } = this, { theme } = this.app;
    if (!attended) return;
    const centre = ([x, y, w, h]) => [x + w / 2, y + h / 2], [fromX, fromY] = centre(boxes[view.position]);
    g.save();
    g.strokeStyle = theme.second;
    g.lineCap = "round";
    for (const [position, share] of attended.toReversed()) {
      const [x, y] = centre(boxes[position]);
      g.globalAlpha = 0.35 + 0.6 * Math.sqrt(share);
      g.lineWidth = 1.2 + 9 * share;
      g.beginPath();
      if (position === view.position) g.arc(x, boxes[position][1] - 3, 5, 0, 2 * Math.PI);
      else {
        g.moveTo(fromX, fromY);
        g.quadraticCurveTo((fromX + x) / 2, Math.min(fromY, y) - 14 - Math.abs(x - fromX) / 8, x, y);
      }
      g.stroke();
    }
    g.restore();
  }
  // What is shown of a position: multiples of uniform attention, in which part of the steps it is a sink, its state.
  cell(view, recording, s, t0, t1, times, flags, done) {
    if (done) return { times: NaN, life: 0, state: 1, word: recording.finalWord(s) };
    const { S } = recording;
    let sum = 0, steps = 0, life = 0;
    for (let t = t0; t <= t1; t++) {
      const value = times ? times[t * S + s] : NaN;
      if (value === value) { sum += value; steps++; }
      life += flags ? flags[t * S + s] : 0;
    }
    const one = t0 === t1;
    return { times: sum / steps, life: life / (t1 - t0 + 1), state: one ? recording.stateAt(t0, s) : 1, word: one ? recording.word(t0, s) : recording.finalWord(s), fresh: one ? recording.doneTo(t0, s) : 0 };
  }
  token(view, recording, { s, box: [x, y, w, h], times, state, word, fresh }, plan, one) {
    const { g } = this, { theme, ceiling } = this.app, { ramp } = theme, out = view.area?.p0 != null && (s < view.area.p0 || s > view.area.p1);
    const level = times === times ? Math.round(255 * placed(times, ceiling)) : -1;
    g.globalAlpha = out ? 0.22 : 1;
    if (level >= 0) {
      g.fillStyle = ramp.css[level];
      rounded(g, x, y, w, h, plan.small ? 1 : 4);
      g.fill();
    }
    if (plan.small) { g.globalAlpha = 1; return; }
    const hidden = state === UNDECIDED && !recording.noise;
    if (hidden && one) this.hatch(x, y, w, h, level);
    else if (state !== ABSENT) {
      g.fillStyle = out ? theme.soft : level >= 0 ? theme.inks[ramp.lightInk[level]] : theme.ink;
      g.globalAlpha = out ? 0.8 : state === 0 || state === UNDECIDED ? 0.75 : 1;
      if (fresh) this.font(plan.size, 700);
      g.fillText(visible(word), x + w / 2, y + h / 2 + 0.5, w);
      if (fresh) this.font(plan.size);
      if (state === UNDECIDED && one) this.hatch(x, y, w, h, level);
    }
    if (fresh & (EDITED | TAKEN_BACK) || (recording.branch?.[1] === s && ownStep(view, recording, this.app.state.step) > recording.branch[0])) {
      g.strokeStyle = theme.second;
      g.lineWidth = 2;
      line(g, x + 3, y + h - 2, x + w - 3, y + h - 2);
    }
    if (state === ACCEPTED) {
      g.strokeStyle = theme.soft;
      g.lineWidth = 1;
      g.setLineDash([3, 3]);
      rounded(g, x + 1, y + 1, w - 2, h - 2, 4);
      g.stroke();
      g.setLineDash([]);
    }
    g.globalAlpha = 1;
  }
  hatch(x, y, w, h, level) {
    const { g } = this, light = level >= 0 ? this.app.theme.ramp.lightHatch[level] : this.app.themeName === "dark";
    g.save();
    rounded(g, x, y, w, h, 4);
    g.clip();
    g.strokeStyle = light ? HATCH.light : HATCH.dark;
    g.lineWidth = 1;
    g.beginPath();
    for (let d = -h; d < w; d += 5) { g.moveTo(x + d, y + h); g.lineTo(x + d + h, y); }
    g.stroke();
    g.restore();
  }
  // Beneath squares, the words around the position looked at.
  words(view, plan) {
    const { g } = this, { theme } = this.app, recording = plan.recordings[0], t = clamp(ownStep(view, recording), recording.T - 1), done = finished(view, recording);
    const centre = view.position ?? Math.max(0, recording.lastOpen.findIndex((last) => last >= t));
    let x = 2;
    g.textAlign = "left";
    for (let s = Math.max(0, centre - 4); s < recording.S && x < this.w - 50; s++) {
      const masked = !done && recording.stateAt(t, s) === UNDECIDED && !recording.noise;
      this.font(13, s === view.position ? 700 : 400);
      g.fillStyle = s === view.position ? theme.ink : theme.soft;
      const word = masked ? "▨" : visible(done ? recording.finalWord(s) : recording.word(t, s));
      g.fillText(word, x, plan.below + 16);
      x += g.measureText(word).width + 6;
    }
  }
  hit(px, py) {
    const { boxes } = this.plan();
    for (let track = 0; track < boxes.length; track++) {
      const position = boxes[track].findIndex(([x, y, w, h]) => px >= x - 1.5 && px <= x + w + 1.5 && py >= y - 3 && py <= y + h + 3);
      if (position >= 0) return { position, track };
    }
    return null;
  }
}
