// Keeps a component silent once the visitor leaves its page. A message names the page it comes from: Streamlit merges one
// that a component sends of its own accord with the click on a link to another page that came just before, or answers it
// after that, and shows the page that was left, empty.

const LEFT = 20_000; // milliseconds after which a page that is still there was not left
const leaving = (globalThis.sinkscopeLeaving ??= watched());

function watched() {
  const state = { at: -Infinity, path: location.pathname }, leave = () => { state.at = performance.now(); };
  const elsewhere = (event) => event.button > 0 || event.ctrlKey || event.metaKey || event.shiftKey;
  addEventListener("click", (event) => {
    const link = event.composedPath().find((each) => each.href && each.pathname);
    if (link && link.target !== "_blank" && link.host === location.host && link.pathname !== location.pathname && !elsewhere(event)) leave();
  }, true);
  addEventListener("popstate", () => { if (location.pathname !== state.path) leave(); });
  return state;
}
function unlessLeaving(tell) {
  const since = performance.now();
  return (...told) => { if (since > leaving.at || performance.now() > leaving.at + LEFT) tell(...told); };
}

export default (given) => {
  leaving.path = location.pathname;
  return component({ ...given, setTriggerValue: unlessLeaving(given.setTriggerValue), setStateValue: unlessLeaving(given.setStateValue) });
};
