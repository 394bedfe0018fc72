// The tool bar of a figure, on pages and in exported files. Plotly's own buttons stand in it by an allow-list only, as one
// of them uploads what is shown.

const TOOLS = ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"];
const ON_BAR = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };

// Plotly's config. own: buttons of ours. navigates: whether the figure can be zoomed and moved by buttons.
function toolBar(own, navigates = true) {
  const isTouched = matchMedia("(hover: none)").matches;
  return {
    displayModeBar: isTouched ? false : "hover",
    displaylogo: false,
    plotlyServerURL: "",
    modeBarButtons: navigates ? [TOOLS, own] : [own],
  };
}

// Makes the bar of a figure that was drawn one stop of the keyboard; arrows lead through its buttons.
function oneStop(figure) {
  const buttons = () => [...figure.querySelectorAll(".modebar-btn")];
  const hold = (held) => buttons().forEach((button) => (button.tabIndex = button === held ? 0 : -1));
  const start = () => {
    const [first] = buttons();
    first?.closest(".modebar").setAttribute("role", "toolbar");
    if (!buttons().some((button) => button.tabIndex === 0 && button.hasAttribute("tabindex"))) hold(first);
  };
  figure.on("plotly_afterplot", start);
  figure.addEventListener("keydown", (event) => {
    const all = buttons(), at = all.indexOf(event.target), by = ON_BAR[event.key];
    if (at < 0 || by === undefined) return;
    const next = all[Math.max(0, Math.min(all.length - 1, at + by))];
    hold(next);
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  });
  start();
}
