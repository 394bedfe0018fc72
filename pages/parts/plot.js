// Draws a figure of Plotly and changes it in place: at once where it is seen; near to that once the page is scrolled, or
// has had a while for what is seen; further below as it comes near. Without a figure it loads what draws them, once the
// browser has nothing else to do.

const SCRIPT = "%SCRIPT%";
const SEEN = "0px";
const NEAR = "800px 0px";
const WHILE = 2000; // ms
const HEIGHT = 450; // pixels, of a figure that does not say its own
const LEGIBLE = 9; // pixels of the smallest number in a cell; hover and table have those of smaller cells
const BAR = 32; // pixels above a figure that fills the screen, for its tool bar
const FULL = {
  width: 512,
  height: 512,
  path:
    "M64 64h160v56H120v104H64zM288 64h160v160h-56V120H288zM64 288h56v104h104v56H64zM392 288h56v160H288v-56h104z",
};
%TOOL_BAR%
const plots = new WeakMap();
let library = null;
let path = null;
let opened = 0; // when the first plot of that page came

export default function ({ data, parentElement, setTriggerValue }) {
  if (!data) {
    const whenIdle = window.requestIdleCallback ?? setTimeout; // Safari has only the latter
    whenIdle(() => plotly().catch(console.error)); // a plot tries again
    return;
  }
  let plot = plots.get(parentElement);
  if (!plot) plots.set(parentElement, (plot = new Plot(parentElement)));
  plot.tell = (point) => setTriggerValue("click", point);
  plot.show(data);
  return () => {
    plots.delete(parentElement);
    plot.end();
  };
}

class Plot {
  constructor(parent) {
    this.host = document.createElement("div");
    this.host.className = "sinkscope-plot";
    this.host.setAttribute("role", "figure");
    parent.append(this.host);
    this.near = false;
    this.ended = false;
    this.drawn = Promise.resolve();
    this.main = this.host.closest("[data-testid=stMain]");
    this.further = () => {
      clearTimeout(this.waiting);
      this.main?.removeEventListener("scroll", this.further);
      this.look(NEAR);
    };
    this.sizing = new ResizeObserver(() => this.fit());
    this.printing = () => this.draw();
    addEventListener("beforeprint", this.printing);
  }

  show(bytes) {
    const theme = themeOf(this.host);
    const isNew = !this.bytes || !isSame(this.bytes, bytes);
    if (!isNew && theme === this.theme) return;
    this.stale = true;
    this.theme = theme;
    if (isNew) {
      this.bytes = bytes;
      const { alt, figure } = this.read();
      const wide = figure.layout.meta?.wide;
      this.from = wide?.from ?? Infinity;
      this.heights = [figure.layout.height ?? HEIGHT, wide?.layout.height];
      this.host.setAttribute("aria-label", alt);
      this.host.style.minHeight = `${this.size().height}px`; // the page does not jump when it is drawn
    }
    if (!this.watched) {
      this.watched = true;
      const left = whileLeft();
      this.look(left > 0 ? SEEN : NEAR);
      if (left > 0) {
        this.main?.addEventListener("scroll", this.further);
        this.waiting = setTimeout(this.further, left);
      }
      this.sizing.observe(this.host);
    } else if (this.near) this.draw();
  }

  // Draws it whenever it is nearer than this margin to what is seen.
  look(margin) {
    this.looking?.disconnect();
    this.looking = new IntersectionObserver(
      (entries) => {
        this.near = entries.at(-1).isIntersecting;
        if (this.near) this.draw();
      },
      { root: this.main, rootMargin: margin },
    );
    this.looking.observe(this.host);
  }

  read() {
    return JSON.parse(new TextDecoder().decode(this.bytes));
  }

  size() {
    const isFull = document.fullscreenElement === this.host;
    const width = this.host.clientWidth;
    const height = this.heights[Number(width >= this.from)];
    return { width, height: isFull ? window.innerHeight - BAR : height };
  }

  draw() {
    this.drawn = this.drawn.then(() => this.drawNow()).catch((error) => this.fail(error));
  }

  async drawNow() {
    if (!this.stale || this.ended || !this.host.clientWidth) return;
    const Plotly = await plotly();
    if (!this.stale || this.ended) return;
    this.stale = false;
    const { figure: read, config, clicks } = this.read(); // read anew, as Plotly writes into what it is given
    this.isWide = this.host.clientWidth >= this.from;
    this.host.style.minHeight = `${this.size().height}px`;
    const theme = JSON.parse(this.theme);
    const laid = this.isWide ? widened(read) : read;
    const figure = isDark(theme) ? onDark(laid) : laid;
    const layout = { ...figure.layout, ...this.size(), template: template(theme, figure.layout.font?.size) };
    layout.uirevision = subject(figure);
    if (clicks) Object.assign(layout, { hovermode: layout.hovermode ?? "closest", dragmode: "pan" });
    this.clicks = clicks;
    const isFirst = !this.host.classList.contains("js-plotly-plot");
    if (isFirst) this.host.textContent = "";
    // Where only what is outlined changes, as with a click on a cell, Plotly needs not draw the cells again.
    const { shapes = [], ...rest } = layout;
    const beside = JSON.stringify([figure.data, rest, config, clicks]);
    if (!isFirst && beside === this.beside) await Plotly.relayout(this.host, { shapes });
    else await Plotly.react(this.host, figure.data, layout, this.configured(config, clicks));
    this.beside = beside;
    if (!isFirst) return;
    oneStop(this.host);
    onlyLegible(this.host);
    this.host.on("plotly_afterplot", () => onlyLegible(this.host));
    this.host.on("plotly_click", ({ points: [point] }) => this.clicks && this.tell(clicked(point)));
  }

  // The same object for the same config, as Plotly makes a plot anew for another one; the file's name changes more often.
  configured({ toImageButtonOptions: saving, ...config }, clicks) {
    this.saving = saving;
    const told = JSON.stringify([config, clicks]);
    if (told === this.told) return this.config;
    this.told = told;
    const save = {
      name: "Save",
      title: "Save this plot",
      icon: window.Plotly.Icons.camera,
      click: () => window.Plotly.downloadImage(this.host, this.saving),
    };
    const full = { name: "Fullscreen", title: "Fullscreen", icon: FULL, click: () => this.toggleFull() };
    return (this.config = { ...toolBar([save, full], !clicks), ...config });
  }

  fit() {
    if (!this.host.classList.contains("js-plotly-plot")) {
      if (this.near) this.draw();
      return;
    }
    const { width, height } = this.size();
    if (width && width >= this.from !== this.isWide) {
      this.stale = true;
      this.draw();
      return;
    }
    const { width: before, height: tall } = this.host._fullLayout;
    if (width && (width !== before || height !== tall)) window.Plotly.relayout(this.host, { width, height });
  }

  toggleFull() {
    if (document.fullscreenElement === this.host) document.exitFullscreen();
    else this.host.requestFullscreen();
  }

  fail(error) {
    console.error(error);
    this.stale = true; // it is tried again with the next change
    if (window.Plotly) window.Plotly.purge(this.host);
    this.host.classList.remove("js-plotly-plot");
    this.host.textContent = "This plot could not be drawn. Reload the page; the server's log may say more.";
  }

  end() {
    this.ended = true;
    clearTimeout(this.waiting);
    this.main?.removeEventListener("scroll", this.further);
    this.looking?.disconnect();
    this.sizing.disconnect();
    removeEventListener("beforeprint", this.printing);
    if (window.Plotly) window.Plotly.purge(this.host);
    this.host.remove();
  }
}

function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = SCRIPT;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      reject(new Error(`${SCRIPT} could not be loaded`));
    };
    document.head.append(script);
  });
  return library;
}

// A figure whose names stand beside its rows where there is room (`analysis/figures/intervals.py`).
function widened({ data, layout }) {
  const { layout: changed, y } = layout.meta.wide;
  return { data: data.map((trace, place) => ({ ...trace, y: y[place] })), layout: { ...layout, ...changed } };
}

function isSame(first, second) {
  return first.length === second.length && first.every((byte, place) => byte === second[place]);
}

function clicked({ x, y, customdata, curveNumber }) {
  const given = ArrayBuffer.isView(customdata) ? Array.from(customdata) : customdata;
  return { x, y, customdata: given ?? null, curve: curveNumber };
}

// Shows the numbers in cells where all of them have room.
function onlyLegible(host) {
  const numbers = [...host.querySelectorAll(".heatmap-label text")];
  const isSmall = numbers.some((number) => parseFloat(number.style.fontSize) < LEGIBLE);
  for (const number of numbers) number.style.visibility = isSmall ? "hidden" : "";
}

// What a visitor zoomed or hid stays so while the plot is one of the same things.
function subject({ data, layout }) {
  const axes = Object.entries(layout).filter(([name]) => /^[xy]axis\d*$/.test(name));
  return JSON.stringify([
    data.map(({ type, name, z }) => [type, name, z?.shape]),
    axes.map(([name, { title, ticktext, labelalias, range, type }]) => [name, title, ticktext, labelalias, range, type]),
  ]);
}

// Milliseconds in which the page that was opened has what is seen drawn first; a plot that comes later is waited for.
function whileLeft() {
  if (location.pathname !== path) {
    path = location.pathname;
    opened = performance.now();
  }
  return opened + WHILE - performance.now();
}

function themeOf(element) {
  const style = getComputedStyle(element);
  const value = (name) => style.getPropertyValue(`--st-${name}`).trim();
  return JSON.stringify({
    text: value("text-color"),
    background: value("background-color"),
    line: value("border-color"),
    font: value("font"),
    headings: value("heading-font"),
    series: value("chart-categorical-colors").split(","),
    sequential: value("chart-sequential-colors").split(","),
    diverging: value("chart-diverging-colors").split(","),
  });
}

function isDark({ text, background }) {
  const [ink, paper] = [text, background].map((color) => pixel(color).slice(0, 3).reduce((sum, part) => sum + part));
  return paper < ink;
}

// size: of the ticks in pixels, after which all texts go.
function template({ text, background, line, font, headings, series, sequential, diverging }, size = 12) {
  const ink = mixed(text, background, 0.78);
  const ticks = { color: ink, size };
  const axis = {
    automargin: true,
    gridcolor: line,
    zerolinecolor: line,
    tickcolor: line,
    tickfont: ticks,
    title: { font: ticks },
  };
  const scale = even(sequential), colorbar = { title: { font: ticks }, tickfont: ticks };
  return {
    data: { heatmap: [{ colorscale: scale, colorbar }], scatter: [{ marker: { line: { width: 0 } } }] },
    layout: {
      font: { color: ink, family: font, size },
      title: { color: text, font: { color: text, family: headings, size: 16 }, x: 0, xanchor: "left" },
      paper_bgcolor: background,
      plot_bgcolor: background,
      colorway: series,
      colorscale: { sequential: scale, sequentialminus: scale, diverging: even(diverging) },
      legend: { font: ticks, title: { font: ticks, side: "top" }, valign: "top" },
      margin: { pad: 8, l: 0, r: 0 },
      hoverlabel: { bgcolor: background, bordercolor: line, font: { ...ticks, family: font } },
      xaxis: { ...axis, showgrid: false, zeroline: false },
      yaxis: axis,
      coloraxis: {
        colorscale: scale,
        colorbar: { ...colorbar, thickness: 16, outlinewidth: 0 },
      },
    },
  };
}

function even(colors) {
  return colors.map((color, place) => [place / (colors.length - 1), color]);
}

// Plotly knows no `color-mix`.
function mixed(first, second, share) {
  const parts = [first, second].map(pixel);
  const [red, green, blue] = [0, 1, 2].map((at) => Math.round(share * parts[0][at] + (1 - share) * parts[1][at]));
  return `rgb(${red},${green},${blue})`;
}

// Red, green, blue and alpha of a colour, 0 … 255.
function pixel(color) {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  brush.fillStyle = color;
  brush.fillRect(0, 0, 1, 1);
  return brush.getImageData(0, 0, 1, 1).data;
}
