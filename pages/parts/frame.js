// On narrow windows the sidebar begins folded; a page that the browser has lost is asked for again.

const NARROW = 1100; // pixels: as the pages' own styles
const SIDEBAR = "[data-testid=stSidebar]";
const PAGE = "[data-testid=stMain]";
const AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]";
const LOOK = 500; // ms between two looks, of which two must find nothing

function fold() {
  const sidebar = document.querySelector(SIDEBAR);
  if (innerWidth <= NARROW && sidebar?.dataset.collapsed === "false") {
    sidebar.querySelector("[data-testid=stSidebarCollapseButton] button")?.click();
  }
}

// Streamlit drops a page whenever it hears of another one. A part of the page just left may speak so late that it is
// answered after the new page, and one of the new page next: then nothing draws the page again.
function watch() {
  let empty = false;
  setInterval(() => {
    const lost = document.querySelector(AT_REST) && !document.querySelector(PAGE)?.innerText.trim();
    if (lost && empty) ask("lost", true);
    empty = lost && !empty;
  }, LOOK);
}

let ask; // of the last drawing

export default function frame({ setTriggerValue }) {
  const begun = ask;
  ask = setTriggerValue;
  if (begun) return;
  fold();
  watch();
}
