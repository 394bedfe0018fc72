// What all views share: a canvas that fits its place, the step axis, and a few shapes.

class View {
  constructor(app, host, label) {
    Object.assign(this, { app, host, w: 0, h: 0 });
    this.canvas = host.querySelector("canvas");
    this.g = this.canvas.getContext("2d");
    this.canvas.setAttribute("aria-label", label);
    this.resized = new ResizeObserver(() => this.measure());
    this.resized.observe(host);
  }
  measure() {
    const box = this.host.getBoundingClientRect(), ratio = globalThis.devicePixelRatio || 1, w = Math.round(box.width), h = Math.round(box.height);
    if (!w || !h || (w === this.w && h === this.h && ratio === this.ratio)) return;
    Object.assign(this, { w, h, ratio, layout: null });
    this.canvas.width = w * ratio;
    this.canvas.height = h * ratio;
    this.app.invalidate();
  }
  begin() {
    const { g, w, h, ratio } = this;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, w, h);
    g.textBaseline = "middle";
    g.lineJoin = "round";
    g.setLineDash([]);
    return g;
  }
  // What seldom changes. It is painted in place where its key has changed, as it may change in every frame; where it stays,
  // once more on a canvas of its own, and copied from there.
  still(key, paint) {
    const { g, w, h, ratio, canvas, app } = this, name = `${app.themeName} ${app.version} ${w} ${h} ${ratio} ${key}`, stays = name === this.painted;
    this.painted = name;
    if (!stays) { paint(); return; }
    if (this.copied !== name) {
      this.copy ??= document.createElement("canvas");
      Object.assign(this.copy, { width: canvas.width, height: canvas.height });
      this.g = this.copy.getContext("2d");
      this.begin();
      paint();
      this.g = g;
      this.copied = name;
    }
    g.save();
    g.resetTransform();
    g.drawImage(this.copy, 0, 0);
    g.restore();
  }
  font(size, weight = 400) { this.g.font = `${weight} ${size}px ${this.app.font}`; }
  // Step numbers beneath a plot, and the axis's name to their left.
  ticks(axis, y) {
    const { g } = this, every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => (n * axis.width) / axis.steps > 34) ?? 1000;
    this.font(12);
    g.fillStyle = this.app.theme.soft;
    g.textAlign = "right";
    g.fillText("step", axis.left - 8, y);
    g.textAlign = "center";
    for (let t = 0; t < axis.steps; t += every) g.fillText(t, axis.x(t), y);
  }
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}
function rounded(g, x, y, w, h, radius) {
  g.beginPath();
  g.roundRect(x, y, w, h, Math.max(0, Math.min(radius, w / 2, h / 2)));
}
function line(g, x0, y0, x1, y1) {
  g.beginPath();
  g.moveTo(x0, y0);
  g.lineTo(x1, y1);
  g.stroke();
}

// A scale of colours, to the right or upwards.
function scaleColors(g, css, x, y, w, h, flat) {
  const colors = flat ? g.createLinearGradient(x, 0, x + w, 0) : g.createLinearGradient(0, y + h, 0, y);
  for (let i = 0; i < 256; i += 15) colors.addColorStop(i / 255, css[i]);
  return colors;
}
// Such a scale within a frame.
function colorBar(g, theme, colors, x, y, w, h) {
  g.fillStyle = colors;
  g.fillRect(x, y, w, h);
  g.strokeStyle = theme.line;
  g.lineWidth = 1;
  g.strokeRect(x, y, w, h);
}
// What stands where on the blue scale, from 0 to 1.
const massMarks = (ceiling) => [...[1, 2, 4, 8, 16].filter((n) => n < ceiling * 0.6).map((n) => [placed(n, ceiling), `${n} ×`]), [1, `≥ ${+ceiling.toFixed(1)} ×`]];

// The step axis that curve and raster share, so that one line through both is the step. The finished text is its end.
class Axis {
  constructor(width, steps) {
    const narrow = width < 480;
    this.narrow = narrow;
    this.left = narrow ? 46 : 112; // the names of positions stand there
    this.right = narrow ? 76 : 122; // those of curves, and the colour bar
    this.width = width - this.left - this.right;
    this.steps = steps;
  }
  edge(step) { return this.left + (step * this.width) / this.steps; }
  x(step) { return Math.min(this.left + ((step + 0.5) * this.width) / this.steps, this.left + this.width); }
  step(px) { return clamp(Math.floor(((px - this.left) * this.steps) / this.width), this.steps - 1); }
  stop(px) { return px >= this.left + this.width + 2 ? this.steps : this.step(px); } // also the finished text
}
