// Mounts the explorer in an HTML file. Its bytes follow it; the address after # belongs to the first one in the file,
// but where it names a slide.

const hosts = [...document.querySelectorAll(".sinkscope-explorer")], box = hosts.find((host) => !host.shadowRoot), isFirst = box === hosts[0];
const root = box.attachShadow({ mode: "open" }), host = document.createElement("div"), style = document.createElement("style");
style.textContent = STYLE;
root.append(style, host);
const packed = Uint8Array.from(atob(box.nextElementSibling.textContent), (letter) => letter.charCodeAt(0));
const unpacking = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
const planes = new Uint8Array(await new Response(unpacking).arrayBuffer()), count = planes.length / 4;
const bytes = new Uint8Array(planes.length); // fragment.py put the first bytes of all numbers first
for (let i = 0; i < count; i++) for (let byte = 0; byte < 4; byte++) bytes[4 * i + byte] = planes[byte * count + i];
const href = (address) => `${location.href.split("#")[0]}#${new URLSearchParams(address)}`;
const named = () => (isFirst && location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : undefined);
box.explorer = mount(host, bytes, {
  address: named(),
  onState: (address) => isFirst && !/^#(slide-\d+|present)$/.test(location.hash) && history.replaceState(null, "", href(address)),
  href,
});
addEventListener("hashchange", () => named() && box.explorer.follow(named()));
