// On narrow windows the sidebar begins folded; a page that the browser has lost is asked for again; Back undoes what the visitor
// did, one step at a time.

const NARROW = 1100; // pixels: as the pages' own styles
const SIDEBAR = "[data-testid=stSidebar]";
const PAGE = "[data-testid=stMain]", PAGES = "[data-testid=stSidebarNav]";
const SLIDES = ".deck";
const AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]";
const LOOK = 500, LOOKS = 2; // ms between two looks, and how many find nothing before the page is asked for
const ASKS = 2; // before the address is loaded anew, which nothing typed survives
const LOADED = "sinkscope-loaded-anew", PAUSE = 60000; // ms before it is loaded once more

function fold() {
  const sidebar = document.querySelector(SIDEBAR);
  if (innerWidth <= NARROW && sidebar?.dataset.collapsed === "false") {
    sidebar.querySelector("[data-testid=stSidebarCollapseButton] button")?.click();
  }
}

// Streamlit drops a page whenever it hears of another one. A part of the page just left may speak so late that it is
// answered after the new page, and one of the new page next: then nothing draws the page again.
function watch() {
  let empty = 0, asked = 0;
  setInterval(() => {
    if (isShown(document.querySelector(PAGE))) empty = asked = 0;
    else if (document.querySelector(AT_REST)) empty += 1;
    if (empty < LOOKS) return;
    empty = 0;
    if (asked++ < ASKS) return ask("lost", true);
    if (Date.now() - Number(sessionStorage.getItem(LOADED)) < PAUSE) return;
    sessionStorage.setItem(LOADED, String(Date.now()));
    location.reload();
  }, LOOK);
}

// Slides are in a shadow tree, whose words the page does not count as its own.
function isShown(page) {
  if (page?.innerText.trim()) return true;
  return [...(page?.querySelectorAll("*") ?? [])].some(({ shadowRoot }) => shadowRoot?.querySelector(SLIDES));
}

// The server completes the address of a page it draws, in several steps, the first of which may still be at the page that was left.
// What follows one act of the visitor is one entry of the browser's history at most, and an address that only says more is none.
const VIEWS = ["ask", "present"]; // views of a page that a parameter alone opens

function count() {
  let acted = false, left; // left: the address before it was completed
  const push = history.pushState.bind(history), replace = history.replaceState.bind(history);
  for (const act of ["pointerdown", "click", "keydown"]) addEventListener(act, () => { acted = true; left = undefined; }, true);
  addEventListener("popstate", () => (acted = false), true);
  // Streamlit keeps the parameters where the list of pages leads to the page that is open: a view of it would stay.
  addEventListener("click", (event) => {
    const link = event.target.closest?.(`${PAGES} a`), isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const isOpen = VIEWS.some((view) => new URLSearchParams(location.search).has(view));
    if (!isPlain || !isOpen || link?.pathname !== location.pathname) return;
    event.preventDefault();
    event.stopPropagation();
    push({}, "", link.pathname);
    dispatchEvent(new PopStateEvent("popstate"));
  }, true);
  history.pushState = (state, title, url) => {
    const before = new URL(location.href), after = new URL(url, location.href), isSame = after.pathname === before.pathname;
    const says = ([name, value]) => after.searchParams.get(name) === value;
    const opens = VIEWS.some((view) => after.searchParams.has(view) && !before.searchParams.has(view));
    if (!acted || (isSame && !opens && [...before.searchParams].every(says))) {
      left ??= before.href;
      return replace(state, title, url);
    }
    if (!isSame && left) replace(history.state, title, left);
    push(state, title, url);
    acted = false;
  };
}

let ask; // of the last drawing

export default function frame({ setTriggerValue }) {
  const begun = ask;
  ask = setTriggerValue;
  if (begun) return;
  fold();
  watch();
  count();
}
