// Colours of both themes. Two sequential scales in OKLCH with even steps of lightness: dark is more on a light page, light
// is more on a dark one. Blue (ramp) is attention to a position, orange (heat) attention to sinks.

const channel = (value) => {
  const v = Math.min(1, Math.max(0, value));
  return Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055));
};
// OKLCH to sRGB (Ottosson 2020).
function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180), b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map(channel);
}
// 256 colours between two (lightness, chroma, hue), more colourful by `hump` in between.
function ramp(from, to, hump) {
  const css = [], pixels = new Uint32Array(256), lightInk = new Uint8Array(256), lightHatch = new Uint8Array(256);
  for (let i = 0; i < 256; i++) {
    const t = i / 255, mix = (n) => from[n] + (to[n] - from[n]) * t, lightness = mix(0);
    const [red, green, blue] = oklch(lightness, mix(1) + hump * Math.sin(Math.PI * t), mix(2));
    css.push(`rgb(${red},${green},${blue})`);
    pixels[i] = (255 << 24) | (blue << 16) | (green << 8) | red; // RGBA, little-endian
    lightInk[i] = lightness > 0.57 ? 0 : 1;
    lightHatch[i] = lightness > 0.72 ? 0 : 1;
  }
  return { css, pixels, lightInk, lightHatch };
}
const THEMES = {
  light: {
    ramp: ramp([0.985, 0.008, 235], [0.3, 0.12, 268], 0.055), heat: ramp([0.985, 0.012, 75], [0.46, 0.13, 40], 0.055), ink: "#14181f", soft: "#5b6472", faint: "#6f7886", line: "#dfe3e9",
    panel: "#ffffff", sink: "#e5600f", sinkText: "#c04a00", brush: "rgba(20,24,31,.10)", second: "#7a5195",
    inks: ["#14181f", "#ffffff"], quiet: "#b9c1cc", band: "#d3d9e0", empty: "#eef0f3",
  },
  dark: {
    ramp: ramp([0.225, 0.018, 262], [0.95, 0.07, 190], 0.085), heat: ramp([0.235, 0.02, 45], [0.9, 0.09, 80], 0.075), ink: "#f2f4f7", soft: "#a7b0bd", faint: "#8a94a3", line: "#2c333e",
    panel: "#10141d", sink: "#e5600f", sinkText: "#ff9145", brush: "rgba(255,255,255,.13)", second: "#c9a3e6",
    inks: ["#0d1117", "#f2f4f7"], quiet: "#4a5464", band: "#3a4351", empty: "#1d232d",
  },
};
// Of hatched cells: thin lines, so that light ones are seen on more colours than light letters.
const HATCH = { light: "rgba(255,255,255,.75)", dark: "rgba(20,24,31,.5)" };
// Of small text about what is drawn in a color.
const textColor = (theme, color) => (color === theme.sink ? theme.sinkText : color);
const EVEN = 0.14; // of the scale, up to uniform attention; from there every doubling is the same distance
const placed = (times, ceiling) => (times <= 1 ? EVEN * Math.max(times, 0) : EVEN + (1 - EVEN) * Math.min(1, Math.log(times) / Math.log(ceiling)));
