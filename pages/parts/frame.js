// On narrow windows the sidebar begins folded; a page that the browser has lost is asked for again.

const NARROW = 1100; // pixels: as the pages' own styles
const SIDEBAR = "[data-testid=stSidebar]";
const PAGE = "[data-testid=stMain]";
const AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]";
const LOOK = 1000, LOOKS = 5; // ms between two looks, and how many of them find nothing before the page is asked for
const ASKED = "sinkscope-asked-again", PAUSE = 60000; // ms before it is asked for once more

function fold() {
  const sidebar = document.querySelector(SIDEBAR);
  if (innerWidth <= NARROW && sidebar?.dataset.collapsed === "false") {
    sidebar.querySelector("[data-testid=stSidebarCollapseButton] button")?.click();
  }
}

// A slow browser can be left with an empty page while a click crosses a refresh of the sidebar. Its address is kept.
function watch() {
  let empty = 0;
  setInterval(() => {
    empty = document.querySelector(AT_REST) && !document.querySelector(PAGE)?.innerText.trim() ? empty + 1 : 0;
    if (empty < LOOKS || Date.now() - Number(sessionStorage.getItem(ASKED)) < PAUSE) return;
    sessionStorage.setItem(ASKED, String(Date.now()));
    location.reload();
  }, LOOK);
}

let begun = false;

export default function frame() {
  if (begun) return;
  begun = true;
  fold();
  watch();
}
