// Around every page: a link that skips the sidebar, first of all that Tab comes to; and on narrow windows the sidebar
// begins folded.

const NARROW = 1100; // pixels: as the pages' own styles
const SIDEBAR = "[data-testid=stSidebar]", MAIN = "[data-testid=stMain]";

function skipLink() {
  if (document.getElementById("skip-to-page")) return;
  const link = document.createElement("a");
  Object.assign(link, { id: "skip-to-page", href: "#page", textContent: "Skip to the page" });
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const main = document.querySelector(MAIN);
    main.tabIndex = -1;
    main.focus();
  });
  document.body.prepend(link);
}

function fold() {
  const sidebar = document.querySelector(SIDEBAR);
  if (innerWidth <= NARROW && sidebar?.dataset.collapsed === "false") {
    sidebar.querySelector("[data-testid=stSidebarCollapseButton] button")?.click();
  }
}

let begun = false;

export default function frame() {
  skipLink();
  if (begun) return;
  begun = true;
  fold();
}
