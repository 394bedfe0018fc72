// Mounts the explorer in an HTML file. Its bytes follow it; the address after # belongs to the first one in the file,
// but where it names a slide.

const hosts = [...document.querySelectorAll(".sinkscope-explorer")], box = hosts.find((host) => !host.shadowRoot), isFirst = box === hosts[0];
const root = box.attachShadow({ mode: "open" }), host = document.createElement("div"), style = document.createElement("style");
style.textContent = STYLE;
root.append(style, host);

// What explored.py made of the explorer's bytes, undone.
async function decoded(text) {
  const packed = fromBase85(text.slice(3)).subarray(0, -text[2] || undefined), unpacking = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return restored(new Uint8Array(await new Response(unpacking).arrayBuffer()));
}
// Five signs for each four bytes, the most significant first.
function fromBase85(text) {
  const signs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~", values = new Uint8Array(128), words = new DataView(new ArrayBuffer((text.length / 5) * 4));
  [...signs].forEach((sign, value) => { values[sign.charCodeAt(0)] = value; });
  for (let word = 0; word < text.length / 5; word++) {
    let sum = 0;
    for (let at = 5 * word; at < 5 * word + 5; at++) sum = 85 * sum + values[text.charCodeAt(at)];
    words.setUint32(4 * word, sum);
  }
  return new Uint8Array(words.buffer);
}
// Numbers of so many bytes, of which the first bytes of all came first.
function interleaved(planes, width) {
  const count = planes.length / width, bytes = new Uint8Array(planes.length);
  for (let i = 0; i < count; i++) for (let byte = 0; byte < width; byte++) bytes[width * i + byte] = planes[byte * count + i];
  return bytes;
}
function restored(coded) {
  const from = 4 + new DataView(coded.buffer).getUint32(0, true), header = JSON.parse(new TextDecoder().decode(coded.subarray(4, from))), entries = Object.entries(header.arrays);
  const padded = (size) => Math.ceil(size / 8) * 8, width = (kind) => Number(kind.slice(1));
  const whole = new Uint8Array(from + entries.reduce((end, [, [kind, at, size]]) => Math.max(end, padded(at + width(kind) * size)), 0)), late = [];
  whole.set(coded.subarray(0, from));
  let read = from;
  for (const [name, [kind, at, size]] of entries) {
    whole.set(interleaved(coded.subarray(read, (read += width(kind) * size)), width(kind)), from + at);
    if (kind === "f4") late.push([name, at, size]);
  }
  const view = (name, Kind) => { const [, at, size] = header.arrays[name]; return new Kind(whole.buffer, from + at, size); };
  const order = (name) => ["heads", "layers"].indexOf(name.split(".")[1]) >>> 0; // what is predicted comes after what it is predicted from
  for (const [name] of late.sort(([a], [b]) => order(a) - order(b))) {
    const [number, kind] = name.split("."), track = header.tracks[number], bits = view(name, Uint32Array), { positions } = track, cells = track.steps * positions;
    for (let i = 0; i < bits.length; i++) bits[i] = ((bits[i] >>> 1) ^ -(bits[i] & 1)) + (i >= positions ? bits[i - positions] : 0);
    const predict = (source, groups, parts) => {
      const values = view(`${number}.${source}`, Float32Array), mean = new Float32Array(1), meanBits = new Uint32Array(mean.buffer);
      for (let group = 0; group < groups; group++) {
        for (let cell = 0; cell < cells; cell++) {
          let total = 0;
          for (let part = 0; part < parts; part++) total += values[(group * parts + part) * cells + cell];
          mean[0] = total / parts;
          if (mean[0] === mean[0]) bits[group * cells + cell] += meanBits[0];
        }
      }
    };
    const [heads, , held] = header.arrays[`${number}.heads`];
    if (kind === "layers" && heads === "f4" && held === track.layers * track.heads * cells) predict("heads", track.layers, track.heads);
    if (kind === "model") predict("layers", 1, track.layers);
  }
  return whole;
}

const bytes = await decoded(box.nextElementSibling.textContent);
const href = (address) => `${location.href.split("#")[0]}#${new URLSearchParams(address)}`;
const named = () => (isFirst && location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : undefined);
box.explorer = mount(host, bytes, {
  address: named(),
  onState: (address) => isFirst && !/^#(slide-\d+|present)$/.test(location.hash) && history.replaceState(null, "", href(address)),
  href: location.protocol === "file:" ? undefined : href, // an address of this machine alone is no link to copy
});
addEventListener("hashchange", () => named() && box.explorer.follow(named()));
