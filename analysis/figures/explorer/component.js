// The explorer as a component of Streamlit's pages. The bytes come once; the theme is the page's, not the system's.

const mounted = new WeakMap(), played = new Set();
const explorers = (globalThis.sinkscopeExplorers ??= new Map()); // by content: feed.js hands them what they asked for
const isDark = (color) => {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.3 * red + 0.6 * green + 0.1 * blue < 128;
};

export default function component({ parentElement, data, setTriggerValue }) {
  const host = parentElement.querySelector(".host"), bytes = new Uint8Array(data), { header } = unpacked(bytes), { content, state } = header;
  const paper = getComputedStyle(host).getPropertyValue("--st-background-color").trim();
  if (/^#[0-9a-f]{6}$/i.test(paper)) host.dataset.theme = isDark(paper) ? "dark" : "light";
  const known = mounted.get(parentElement), given = JSON.stringify(state);
  if (known?.app.content === content) {
    if (known.given !== given) known.app.follow(state);
    known.given = given;
    return undefined;
  }
  known?.app.unmount();
  const plays = state.play && !played.has(state.play);
  played.add(state.play);
  const app = mount(host, bytes, {
    onState: (address) => setTriggerValue("view", { content, address }),
    onAsk: state.asks ? (token) => setTriggerValue("token", { content, ...token }) : undefined,
    onNeed: (needed) => setTriggerValue("need", needed),
    play: plays ? Number(state.from ?? 0) : undefined,
    rests: state.from === undefined,
  });
  mounted.set(parentElement, { app, given });
  explorers.set(content, app);
  const waiting = globalThis.sinkscopeFeeds?.get(content);
  if (waiting) app.receive(waiting);
  globalThis.sinkscopeFeeds?.delete(content);
  return () => {
    explorers.delete(content);
    mounted.delete(parentElement);
    app.unmount();
  };
}
