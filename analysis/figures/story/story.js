// Scrolling leads through the story. The sentence that the middle of the window has come to lights up the marks it speaks
// of, and the player steps along with the findings that are about a recording. A finding's `data-read` is the number of
// that sentence. Nothing moves where reduced motion is asked for.

const REST = 0.4; // part of a finding that is about the step the player opens at

// root: holds the findings. Returns what ends it.
function lead(root) {
  const findings = [...root.querySelectorAll(".finding")];
  if (!findings.length || matchMedia("(prefers-reduced-motion: reduce)").matches) return () => {};
  const marked = (finding) => [...finding.querySelectorAll("[data-beat]")];
  // One group alone has nothing to be told apart from.
  const leads = new Set(findings.filter((finding) => new Set(marked(finding).map((one) => one.dataset.beat)).size > 1));
  leads.forEach((finding) => finding.querySelector(".steps")?.classList.add("leads"));
  let scrolled = false, before;
  const turn = (finding, seek) => {
    if (!scrolled || !finding.dataset.plays || seek === before) return;
    before = seek;
    document.dispatchEvent(new CustomEvent("sinkscope-player", { detail: { seek } }));
  };
  const follow = () => {
    const middle = innerHeight / 2, at = findings.find((finding) => {
      const { top, bottom } = finding.getBoundingClientRect();
      return top <= middle && bottom > middle;
    });
    if (!at) return findings[0].getBoundingClientRect().top > middle ? turn(findings[0], "rest") : undefined;
    const { top, height } = at.getBoundingClientRect(), part = (middle - top) / height;
    const beats = at.querySelectorAll(".beat").length, beat = String(Math.min(Math.floor(part * beats), beats - 1));
    if (at.dataset.read !== beat) {
      at.dataset.read = beat;
      if (leads.has(at)) marked(at).forEach((one) => one.classList.toggle("now", one.dataset.beat === beat));
    }
    // The player is at the step it opens at until the reader comes to the end of its finding; from there it goes through
    // the whole text, from the first step to the last.
    turn(at, part < REST ? "rest" : Math.round((100 * (part - REST)) / (1 - REST)) / 100);
  };
  const onScroll = () => ((scrolled = true), follow());
  const sizes = new ResizeObserver(follow); // what is drawn later moves the findings without a scroll
  sizes.observe(root);
  document.addEventListener("scroll", onScroll, { capture: true, passive: true });
  return () => {
    sizes.disconnect();
    document.removeEventListener("scroll", onScroll, { capture: true });
  };
}
