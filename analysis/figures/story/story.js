// Scrolling leads through the story. The sentence that the middle of the window has come to lights up the marks it speaks
// of. The player, beside the first screen, goes through its text as the first finding about it comes up from below. A
// finding's `data-read` is the number of the sentence that is read. Nothing moves where reduced motion is asked for.

// Where in the window the top of that finding is, from its top 0 to its foot 1, when the player is at its first and its
// last step.
const FIRST = 0.85, LAST = 0.45;
const LEAST = 0.05; // part of a window that is scrolled before it moves

// root: holds the findings. Returns what ends it.
function lead(root) {
  const findings = [...root.querySelectorAll(".finding")];
  if (!findings.length || matchMedia("(prefers-reduced-motion: reduce)").matches) return () => {};
  const marked = (finding) => [...finding.querySelectorAll("[data-beat]")];
  // One group alone has nothing to be told apart from.
  const leads = new Set(findings.filter((finding) => new Set(marked(finding).map((one) => one.dataset.beat)).size > 1));
  leads.forEach((finding) => finding.querySelector(".steps")?.classList.add("leads"));
  const played = findings.find((finding) => finding.dataset.plays), host = root.getRootNode().host ?? root;
  let scroller, before;
  // The player is at the step it opens at until the reader goes on from the first screen; from there it goes through the
  // whole text, from the first step to the last.
  const turn = () => {
    if (!scroller || !played) return;
    const { top } = played.getBoundingClientRect(), first = Math.min(FIRST * innerHeight, scroller.scrollTop + top - LEAST * innerHeight);
    const part = Math.min(1, (first - top) / (first - LAST * innerHeight)), seek = part < 0 ? "rest" : Math.round(100 * part) / 100;
    if (seek === before) return;
    before = seek;
    document.dispatchEvent(new CustomEvent("sinkscope-player", { detail: { seek } }));
  };
  const follow = () => {
    turn();
    const middle = innerHeight / 2, at = findings.find((finding) => {
      const { top, bottom } = finding.getBoundingClientRect();
      return top <= middle && bottom > middle;
    });
    if (!at) return;
    const { top, height } = at.getBoundingClientRect(), part = (middle - top) / height;
    const beats = at.querySelectorAll(".beat").length, beat = String(Math.min(Math.floor(part * beats), beats - 1));
    if (at.dataset.read !== beat) {
      at.dataset.read = beat;
      if (leads.has(at)) marked(at).forEach((one) => one.classList.toggle("now", one.dataset.beat === beat));
    }
  };
  const onScroll = ({ target }) => {
    if (!target.contains(host)) return; // of a text in the player
    scroller = target.scrollingElement ?? target;
    follow();
  };
  const sizes = new ResizeObserver(follow); // what is drawn later moves the findings without a scroll
  sizes.observe(root);
  document.addEventListener("scroll", onScroll, { capture: true, passive: true });
  return () => {
    sizes.disconnect();
    document.removeEventListener("scroll", onScroll, { capture: true });
  };
}
