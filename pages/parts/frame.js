// On narrow windows the sidebar begins folded.

const NARROW = 1100; // pixels: as the pages' own styles
const SIDEBAR = "[data-testid=stSidebar]";

function fold() {
  const sidebar = document.querySelector(SIDEBAR);
  if (innerWidth <= NARROW && sidebar?.dataset.collapsed === "false") {
    sidebar.querySelector("[data-testid=stSidebarCollapseButton] button")?.click();
  }
}

let begun = false;

export default function frame() {
  if (begun) return;
  begun = true;
  fold();
}
