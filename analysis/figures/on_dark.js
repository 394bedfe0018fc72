// Colours that a figure has on a dark page in place of those that it is made with.

const ON_DARK = %ON_DARK%; // by colour: that on a dark page, and that of numbers on it
const NAMED = /(?<=color:)#[0-9a-f]{6}/g; // in the markup of a name

// Returns a figure as a dark page shows it.
function onDark({ data, layout, ...rest }) {
  return { ...rest, data: data.map(traceOnDark), layout: recolored(layout) };
}

function traceOnDark(trace) {
  const dark = recolored(trace), ink = ON_DARK[trace.marker?.color]?.[1];
  return ink && trace.textfont ? { ...dark, textfont: { ...dark.textfont, color: ink } } : dark;
}

function recolored(value) {
  if (typeof value === "string") return colorOnDark(value) ?? (value.includes("color:") ? value.replace(NAMED, (color) => colorOnDark(color) ?? color) : value);
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(recolored);
  if (value?.constructor !== Object) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, recolored(part)]));
}

function colorOnDark(color) {
  return Object.hasOwn(ON_DARK, color) ? ON_DARK[color][0] : undefined;
}
