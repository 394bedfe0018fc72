// Plays recordings: the text of every step, shaded by the attention it gets, with its sinks outlined, in the explorer's
// colours. All that is shown was sent once; playing asks nobody for anything. Texts come from models and people, so they
// are only ever set as textContent.

const PRESENT = 1, GIVEN = 2, UNDECIDED = 4, ACCEPTED = 8, SINK = 16, WRITTEN = 32, EDITED = 64, TAKEN_BACK = 128; // as in data.py
const FULL = 65535, CHOSEN = 65534;
const RATES = [2, 4, 8, 16, 32, 64]; // steps a second
const LONGEST = 25; // seconds that playing takes at the rate it begins with
const REST = 900; // milliseconds at the end of a text that played by itself, before it goes to the most telling step
const players = new WeakMap();
const playedOnce = new Set();

const make = (kind, name, text) => {
  const element = document.createElement(kind);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
};
const icon = (path) => {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg"), shape = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
};
const ICONS = {
  Play: "M4 2.5v11l9-5.5z", Pause: "M4 3h3v10H4zM9 3h3v10H9z", "Previous step": "M3 3h2v10H3zM13 3v10L6 8z", "Next step": "M11 3h2v10h-2zM3 3v10l7-5z",
};
const button = (label, act) => {
  const made = make("button", "control");
  made.type = "button";
  made.addEventListener("click", act);
  name(made, label);
  return made;
};
const name = (made, label) => {
  made.replaceChildren(icon(ICONS[label]));
  made.setAttribute("aria-label", label);
  made.title = label;
};
const visible = (label) => label.replaceAll("\n", "⏎").trim() || "␣";
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
// A step beside the first and the last one, which count from 0 as in the explorer.
const stepOf = (track, step) => `step ${step} (0–${track.frames.at(-1) - 1})`;
const percent = (share) => `${Math.round(100 * share)} %`;
// The explorer's colours of the theme around an element: of light text, the dark ones.
const themeAround = (element) => {
  const [red, green, blue] = getComputedStyle(element).color.match(/[\d.]+/g).map(Number);
  return THEMES[red + green + blue > 384 ? "dark" : "light"];
};

async function unpacked(track) {
  const bytes = Uint8Array.from(atob(track.cells), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const cells = track.frames.length * track.positions;
  return {
    ...track,
    last: track.frames.length - 1,
    token: new Uint32Array(buffer, 0, cells),
    mass: new Uint16Array(buffer, 4 * cells, cells),
    confidence: new Uint16Array(buffer, 6 * cells, cells),
    chosenIn: new Uint16Array(buffer, 8 * cells, cells),
    flags: new Uint8Array(buffer, 10 * cells, cells),
  };
}

// One recording's text.
class TrackView {
  constructor(track, place, player, titled) {
    Object.assign(this, { track, player, shown: -1, looked: -1 });
    this.root = make("section", "track");
    this.heading = make("span");
    this.place = make("span");
    this.place.style.whiteSpace = "nowrap"; // no line ends within a range of steps
    this.told = make("span", "told");
    if (titled) {
      const title = make("div", "title");
      title.append(this.heading, this.told);
      this.root.append(title);
      if (place.children.length && !player.branches) this.folds(title);
    }
    this.text = make("div", "text");
    this.text.setAttribute("role", "group");
    this.text.setAttribute("aria-label", titled ? `Text: ${track.name ?? track.title}` : "Text of this step");
    this.slots = Array.from({ length: track.positions }, (_, position) => this.slot(position));
    this.text.append(...this.slots);
    this.root.append(this.text);
    place.append(this.root);
    this.slots[0].tabIndex = 0;
  }

  // Where there is little room, a second text shows once it is asked for.
  folds(title) {
    const fold = make("button", "fold");
    const open = (on) => {
      this.root.classList.toggle("folded", !on);
      fold.setAttribute("aria-expanded", on);
      fold.textContent = on ? "Hide text" : "Show text";
    };
    fold.type = "button";
    fold.addEventListener("click", () => open(this.root.classList.contains("folded")));
    title.prepend(fold);
    open(false);
  }

  slot(position) {
    const slot = make("button", "slot");
    slot.type = "button";
    slot.tabIndex = -1;
    if (position % 10 === 0) slot.dataset.position = position;
    slot.addEventListener("pointerdown", (event) => event.preventDefault()); // the keys stay with the player
    slot.addEventListener("click", () => this.choose(position));
    slot.addEventListener("pointerenter", () => this.look(position));
    slot.addEventListener("pointerleave", () => this.look(-1));
    slot.addEventListener("focus", () => this.look(position));
    return slot;
  }

  // Every place is as wide as the widest token that ever stands in it, so that no line moves while it plays.
  measure() {
    const style = getComputedStyle(this.slots[0]), size = parseFloat(style.fontSize) || 15;
    const pen = make("canvas").getContext("2d"), widths = new Map();
    pen.font = `700 ${size}px ${style.fontFamily}`;
    const width = (token) => {
      if (!widths.has(token)) widths.set(token, token === this.track.mask ? 0 : pen.measureText(visible(this.track.names[token])).width);
      return widths.get(token);
    };
    const { token, flags, positions } = this.track, widest = new Float32Array(positions);
    for (let cell = 0; cell < token.length; cell++) {
      if (flags[cell] & PRESENT) widest[cell % positions] = Math.max(widest[cell % positions], width(token[cell]));
    }
    this.slots.forEach((slot, position) => { slot.style.width = `${(Math.max(widest[position] / size, 0.9) + 0.95).toFixed(3)}em`; });
  }

  show(frame) {
    this.showing = frame;
    const { track } = this, at = this.own(frame), row = at * track.positions, { theme } = this.player;
    const block = track.blocks && at < track.last ? track.blocks[at] : null;
    let first = -1;
    for (let position = 0; position < track.positions; position++) {
      const cell = row + position, flags = track.flags[cell], open = block && position >= block[0] && position < block[1];
      if (first < 0 && flags & WRITTEN) first = position;
      const level = this.level(cell), state = `${flags} ${open} ${track.token[cell]} ${level} ${theme.panel}`;
      if (this.slots[position].state === state) continue;
      this.dress(position, cell, flags, open, level);
      this.slots[position].state = state;
    }
    this.shown = at;
    this.heading.replaceChildren(track.name ?? track.title, this.place);
    this.place.textContent = this.where(at);
    this.told.textContent = this.summary();
    if (first >= 0) this.follow(this.slots[first]);
  }

  // Its own step, where texts beside each other may have their own number of them. at: its frame.
  where(at) {
    const { track, player } = this, step = track.frames[at], [first] = player.views;
    if (player.views.length < 2 || player.branches || at === track.last) return "";
    return `, ${stepOf(track, step)}`;
  }

  // The frame of this recording beside one of the player's: as far in its own writing; of a branch, the same step.
  own(frame) {
    const { track, player } = this;
    return player.branches ? Math.min(frame, track.last) : Math.floor((frame * track.last) / Math.max(player.last, 1) + 0.5);
  }

  // Place of a cell on the scale of colours, from 0 to 255; −1 where it gets no attention.
  level(cell) {
    const { mass, highest } = this.track;
    return mass[cell] ? Math.round(255 * placed((mass[cell] / FULL) * highest, this.player.ceiling)) : -1;
  }

  dress(position, cell, flags, open, level) {
    const { track } = this, slot = this.slots[position], mask = track.token[cell] === track.mask;
    const kinds = ["slot"];
    const add = (name, holds) => holds && kinds.push(name);
    add("absent", !(flags & PRESENT));
    add("given", flags & GIVEN);
    add("undecided", flags & UNDECIDED);
    add("accepted", flags & ACCEPTED);
    add("sink", flags & SINK);
    add("new", flags & WRITTEN);
    add("edited", flags & EDITED);
    add("taken", flags & TAKEN_BACK);
    add("open", open);
    slot.textContent = mask || !(flags & PRESENT) ? "" : visible(track.names[track.token[cell]]);
    add("branched", this.branchedAt(position));
    slot.className = kinds.join(" ");
    if (mask) slot.setAttribute("aria-label", "[MASK]");
    else slot.removeAttribute("aria-label");
    paint(slot, this.player.theme, level);
  }

  // Whether a position holds the token that a person wrote, where this text left another one.
  branchedAt(position) {
    const { branch, frames, last } = this.track, at = Math.min(this.showing, last);
    return Boolean(branch) && branch[1] === position && (at === last || frames[at] > branch[0]);
  }

  // The word that was decided at a position in a frame, or null.
  decided(position, frame) {
    const { track } = this;
    if (position >= track.positions) return null;
    const cell = Math.min(frame, track.last) * track.positions + position, flags = track.flags[cell];
    return flags & PRESENT && !(flags & UNDECIDED) ? track.names[track.token[cell]] : null;
  }

  // Marks where a text that was branched and its branch hold other words; how many.
  differ(other, frame) {
    let count = 0;
    this.others = this.slots.map((slot, position) => {
      const [here, there] = [this.decided(position, frame), other.decided(position, frame)];
      const differs = here !== null && there !== null && here !== there;
      slot.classList.toggle("differs", differs);
      count += differs;
      return differs ? there : null;
    });
    return count;
  }

  // Long texts scroll in their own box, to what is being written.
  follow(slot) {
    const box = this.text;
    if (box.scrollHeight <= box.clientHeight + 4) return;
    const top = slot.offsetTop - box.offsetTop;
    if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 40) box.scrollTop = top - 40;
  }

  summary() {
    const { track } = this, row = this.shown * track.positions;
    if (this.shown === track.last) return "finished: the model no longer reads this text";
    let sinks = 0, tokens = 0, open = 0;
    for (let cell = row; cell < row + track.positions; cell++) {
      if (!track.mass[cell]) continue;
      tokens += 1;
      if (!(track.flags[cell] & SINK)) continue;
      sinks += 1;
      if (track.flags[cell] & UNDECIDED) open += 1;
    }
    if (!sinks) return "no sink";
    const level = track.thresholds[this.shown], above = level === null ? "" : ` (above ${level.toFixed(1)} ×)`;
    const opened = open ? `; ${open} ${track.mask < 0 ? "undecided" : "masked"}` : "";
    return `${sinks} of ${tokens} ${sinks === 1 ? "is a sink" : "are sinks"}${above}${opened}`;
  }

  describe(position) {
    const { track } = this, cell = this.shown * track.positions + position, flags = track.flags[cell];
    const quoted = (cell) => (track.token[cell] === track.mask ? "[MASK]" : `‘${visible(track.names[track.token[cell]])}’`);
    const last = track.last * track.positions + position;
    const later = track.token[last] === track.mask ? "" : ` (later ${quoted(last)})`;
    if (!(flags & PRESENT)) return `position ${position}, not there yet${later}`;
    const masked = track.token[cell] === track.mask ? "masked" : "noise";
    const told = flags & UNDECIDED ? [`position ${position}, still ${masked}${later}`] : [`${quoted(cell)} at ${position}`];
    if (flags & GIVEN) told.push("given by the prompt");
    else if (!(flags & UNDECIDED)) told.push(this.howWritten(cell, position));
    if (this.others?.[position]) told.push(`‘${visible(this.others[position])}’ in the other text`);
    if (flags & ACCEPTED) told.push("may be taken back");
    if (flags & (EDITED | TAKEN_BACK)) told.push(`${flags & EDITED ? "edited" : "taken back"}, was ${quoted(cell - track.positions)}`);
    if (this.shown < track.last) told.push(`${((track.mass[cell] / FULL) * track.highest).toFixed(2)} × an even split`);
    if (flags & SINK) told.push("attention sink");
    return told.join(" · ");
  }

  howWritten(cell, position) {
    const { confidence, chosenIn } = this.track;
    if (confidence[cell]) return `chosen in step ${chosenIn[cell]} with ${percent((confidence[cell] - 1) / CHOSEN)}`;
    return this.branchedAt(position) ? "written by hand: the branch" : "not chosen by the model";
  }

  look(position) {
    this.looked = position;
    this.player.tell(position < 0 ? "" : this.describe(position));
  }

  choose(position) {
    if (position < 0 || position >= this.track.positions) return;
    this.player.choose(this, position);
  }
}

// Fills a place with a colour of the scale, under ink that reads on it.
const paint = (slot, theme, level) => {
  const { ramp, inks, ink } = theme, light = level >= 0 ? ramp.lightInk[level] : ink === inks[1];
  slot.style.backgroundColor = level < 0 ? "" : ramp.css[level];
  slot.style.setProperty("--on", level < 0 ? "" : inks[light]);
  slot.style.setProperty("--stripe", (level >= 0 ? ramp.lightHatch[level] : light) ? HATCH.light : HATCH.dark);
  slot.classList.toggle("middling", level > 80 && level < 190); // on which pale ink does not read
};

class Player {
  constructor(place) {
    Object.assign(this, { views: [], frame: 0, playing: false, content: "", pageStep: 0, telling: null, drawn: 0 });
    this.root = make("div", "player");
    this.root.tabIndex = 0;
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "Player. Space plays and pauses, arrow keys step, Home and End go to the first and last step.");
    document.addEventListener("click", (event) => event.target.closest?.("a[href]") && this.leave(), true);
    const printed = (on) => () => {
      this.printing = on;
      this.color();
    };
    addEventListener("beforeprint", printed(true));
    addEventListener("afterprint", printed(false));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.color());
    document.addEventListener("sinkscope-player", (event) => this.seek(event.detail.seek)); // of a story that is read
    this.back = button("Previous step", () => this.jump(this.frame - 1));
    this.toggle = button("Play", () => this.turn());
    this.forth = button("Next step", () => this.jump(this.frame + 1));
    this.toggle.classList.add("main");
    this.scrub = make("input", "scrub");
    this.scrub.type = "range";
    this.scrub.min = 0;
    this.scrub.setAttribute("aria-label", "Denoising step");
    this.scrub.addEventListener("input", () => this.jump(Number(this.scrub.value)));
    this.rate = make("select", "rate");
    this.rate.setAttribute("aria-label", "Speed");
    this.rate.append(...RATES.map((rate) => new Option(`${rate} steps/s`, rate)));
    this.best = make("button", "best");
    this.best.type = "button";
    this.best.addEventListener("click", () => this.jump(this.frameOf(this.telling)));
    this.status = make("div", "status");
    this.status.setAttribute("role", "status");
    this.info = make("div", "info");
    this.tracks = make("div", "tracks");
    this.legend = make("div", "legend");
    const bar = make("div", "bar");
    bar.append(this.back, this.toggle, this.forth, this.scrub, this.rate, this.best);
    this.root.append(bar, this.legend, this.status, this.tracks, this.info);
    this.root.addEventListener("keydown", (event) => this.key(event));
    place.append(this.root);
    this.tick = this.tick.bind(this);
  }

  async update(data, send) {
    Object.assign(this, { send, telling: data.telling, picked: data.picked });
    this.branches = data.tracks.length > 1 && data.tracks.some((track) => track.branch);
    if (data.content !== this.content) {
      const tracks = await Promise.all(data.tracks.map(unpacked));
      const branch = String(tracks[0].branch);
      const other = !this.content || tracks[0].last !== this.last || branch !== this.branch;
      this.branch = branch;
      this.content = data.content;
      this.tracks.replaceChildren();
      this.last = Math.max(...tracks.map((track) => track.last));
      this.views = tracks.map((track) => new TrackView(track, this.tracks, this, tracks.length > 1));
      this.tracks.classList.toggle("two", tracks.length > 1);
      // Where colours end: at the strongest share, to half a doubling, as in the explorer.
      this.ceiling = 2 ** (Math.max(2, Math.round(2 * Math.log2(Math.max(2, ...tracks.map((track) => track.highest))))) / 2);
      this.scrub.max = this.last;
      this.theme = undefined; // so that all is drawn
      if (other) {
        this.playing = false;
        this.rate.value = RATES.find((rate) => rate >= 8 && this.last / rate <= LONGEST) || RATES.at(-1);
        this.frame = this.frameOf(data.step);
      }
      document.fonts.ready.then(() => this.views.forEach((view) => view.measure()));
      this.views.forEach((view) => view.measure());
      this.color();
      this.pageStep = data.step;
      if (this.sought !== undefined) this.seek(this.sought);
      this.sought = undefined;
    } else if (data.step !== this.given && data.step !== this.pageStep && !this.playing) {
      this.frame = this.frameOf(data.step); // the page went there itself
      this.pageStep = data.step;
    }
    if (!this.playing) this.show();
    this.recording = data.recording;
    this.given = data.step;
    this.best.hidden = this.telling === null;
    this.best.textContent = `Strongest step: ${this.telling}`;
    if (data.play && !playedOnce.has(data.play)) {
      playedOnce.add(data.play);
      if (!still()) {
        // A branch is played from where it leaves to its end.
        this.restAt = data.from === undefined ? this.frameOf(data.step) : undefined;
        this.frame = data.from === undefined ? 0 : this.frameOf(data.from);
        this.turn(true);
      }
    }
    this.color(); // the theme may have changed
  }

  // Takes up the theme around it; on paper the light one.
  color() {
    const theme = this.printing ? THEMES.light : themeAround(this.root);
    if (theme === this.theme || !this.views.length) return;
    this.theme = theme;
    this.root.style.setProperty("--sink", theme.sink);
    this.explain(this.views.map((view) => view.track));
    this.show();
  }

  frameOf(step) {
    const frames = this.views[0].track.frames;
    let frame = frames.length - 2;
    while (frame > 0 && frames[frame] > step) frame--;
    return frame;
  }

  // The page's step: that of the last forward for the finished text.
  get step() {
    const { frames, last } = this.views[0].track;
    return frames[Math.min(this.frame, last - 1)];
  }

  turn(on = !this.playing) {
    if (on && this.frame >= this.last) this.frame = 0;
    this.playing = on;
    if (on) this.owed = 0;
    clearTimeout(this.resting);
    name(this.toggle, on ? "Pause" : "Play");
    this.status.setAttribute("aria-live", on ? "off" : "polite");
    this.show();
    if (!on) this.report();
  }

  jump(frame) {
    clearTimeout(this.resting);
    this.restAt = undefined;
    this.frame = Math.max(0, Math.min(frame, this.last));
    if (this.playing) this.turn(false);
    else this.show(), this.report();
  }

  // Tells the page where it rests, once it does.
  report() {
    clearTimeout(this.reporting);
    if (this.leaving) return;
    this.reporting = setTimeout(() => {
      if (this.playing || this.step === this.pageStep) return;
      this.pageStep = this.step;
      this.send("step", { step: this.step, recording: this.recording });
    }, 200);
  }

  // A link was followed: what is told from now on would bring the page back that is being left.
  leave() {
    this.playing = false;
    clearTimeout(this.reporting);
    clearTimeout(this.resting);
    this.leaving = true;
    setTimeout(() => (this.leaving = false), 5000);
  }

  // Goes along with what is read: to the step it opens at, or as far as the reader is, from 0 to 1. It stays where it
  // plays, and where the keys are with it.
  seek(to) {
    if (!this.views.length) return void (this.sought = to); // still being unpacked
    if (this.playing || this.root.matches(":focus-within")) return;
    const frame = to === "rest" ? this.frameOf(this.telling ?? 0) : Math.round(to * this.last);
    if (frame !== this.frame) (this.frame = frame), this.show();
  }

  show() {
    this.views.forEach((view) => view.show(this.frame));
    this.drawn += 1;
    this.scrub.value = this.frame;
    this.scrub.setAttribute("aria-valuetext", this.frame === this.last ? "finished" : `step ${this.step}`);
    this.back.disabled = this.frame === 0;
    this.forth.disabled = this.frame === this.last;
    const where = this.frame === this.last ? "Finished text" : stepOf(this.views[0].track, this.step).replace("s", "S");
    this.status.replaceChildren(make("b", "", where));
    this.status.classList.toggle("heard", this.views.length > 1 && !this.branches); // titles tell it
    if (this.branches) {
      const [first, second] = this.views, count = first.differ(second, this.frame);
      second.differ(first, this.frame);
      this.status.append(count ? ` · ${count} token${count > 1 ? "s differ" : " differs"}` : " · the two texts are alike so far");
    }
    this.views.forEach((view, index) => view.slots.forEach((slot, position) => {
      slot.classList.toggle("picked", Boolean(this.picked) && this.picked[0] === index && this.picked[1] === position);
    }));
    if (this.views.length === 1) this.status.append(` · ${this.views[0].told.textContent}`);
    const looked = this.views.find((view) => view.looked >= 0);
    if (looked) this.tell(looked.describe(looked.looked));
    if (this.playing && !this.ticking) {
      this.ticking = true;
      requestAnimationFrame((now) => ((this.before = now), this.tick(now)));
    }
  }

  tick(now) {
    const seconds = Math.min((now - this.before) / 1000, 0.25);
    this.before = now;
    if (!this.root.isConnected) return void (this.ticking = this.playing = false);
    if (this.playing) {
      this.owed += seconds * Number(this.rate.value);
      if (this.owed >= 1) {
        this.frame = Math.min(this.frame + Math.floor(this.owed), this.last);
        this.owed %= 1;
        this.show();
        if (this.frame === this.last) this.end();
      }
    }
    this.ticking = this.playing;
    if (this.ticking) requestAnimationFrame(this.tick);
  }

  end() {
    const restAt = this.restAt;
    this.restAt = undefined;
    this.turn(false);
    if (restAt === undefined) return;
    clearTimeout(this.reporting);
    this.resting = setTimeout(() => this.jump(restAt), REST);
  }

  tell(text) {
    this.info.textContent = text;
  }

  choose(view, position) {
    if (this.playing) this.turn(false);
    clearTimeout(this.reporting);
    this.root.focus({ preventScroll: true });
    const step = this.step;
    this.pageStep = step;
    this.picked = [this.views.indexOf(view), position];
    this.show();
    this.send("token", { track: this.views.indexOf(view), step, finished: this.frame === this.last, position, recording: this.recording });
  }

  key(event) {
    const on = event.target, token = on.classList.contains("slot");
    if (event.altKey || event.ctrlKey || event.metaKey || on === this.rate) return;
    const steps = { ArrowLeft: this.frame - 1, ArrowRight: this.frame + 1, Home: 0, End: this.last };
    if (event.key === " " && (on === this.root || on === this.scrub || token)) this.turn();
    else if (token && event.key.startsWith("Arrow")) this.walk(on, ["ArrowLeft", "ArrowUp"].includes(event.key) ? -1 : 1);
    else if (event.key in steps) this.jump(steps[event.key]);
    else return;
    event.preventDefault();
  }

  walk(slot, by) {
    const view = this.views.find((each) => each.slots.includes(slot)), next = view.slots[view.slots.indexOf(slot) + by];
    if (!next) return;
    slot.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  // The bar of colours, marked at an even split, at doublings and where it ends.
  scale() {
    const { css } = this.theme.ramp, bar = make("span", "scale"), colors = make("i", "colors");
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", "Colours: attention in multiples of an even split");
    colors.style.background = `linear-gradient(90deg, ${css.filter((_, at) => at % 15 === 0)})`;
    const doublings = [2, 4, 8, 16].filter((times) => times < this.ceiling * 0.6);
    const marks = [1, ...doublings].map((times) => [times, `${times} ×`]).concat([[this.ceiling, `≥ ${+this.ceiling.toFixed(1)} ×`]]);
    bar.append("attention, × even split", colors, ...marks.map(([times, text]) => {
      const mark = make("b", "", text);
      mark.style.left = `${100 * placed(times, this.ceiling)}%`;
      return mark;
    }));
    return bar;
  }

  explain(tracks) {
    const has = (bit) => tracks.some((track) => track.flags.some((flags) => flags & bit));
    const samples = [
      ["undecided", tracks.every((track) => track.mask < 0) ? "undecided: noise" : "masked", has(UNDECIDED)], ["sink", "sink", has(SINK)],
      ["given", "grey: prompt", has(GIVEN)], ["new", "bold: new", has(WRITTEN)], ["accepted", "may be taken back", has(ACCEPTED)], ["edited", "edited", has(EDITED)],
      ["taken", "taken back", has(TAKEN_BACK)], ["branched", "written by hand", tracks.some((track) => track.branch)], ["differs", "differs", this.branches], ["open", "open block", tracks.some((track) => track.blocks)],
    ];
    const words = ["given", "new"]; // that are their own sample
    this.legend.replaceChildren(this.scale(), ...samples.filter(([, , holds]) => holds).map(([kind, text]) => {
      const entry = make("span", "entry"), sample = make("span", `slot ${kind}`, words.includes(kind) ? text : "");
      paint(sample, this.theme, -1);
      entry.append(sample, ...(words.includes(kind) ? [] : [text]));
      return entry;
    }));
    this.tell("");
  }
}

export default function player({ data, parentElement, setTriggerValue }) {
  let there = players.get(parentElement);
  if (!there) players.set(parentElement, (there = new Player(parentElement)));
  there.update(data, setTriggerValue);
}
