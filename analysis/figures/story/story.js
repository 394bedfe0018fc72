// Scrolling leads through the story: the sentence in the middle of the window lights up the marks it speaks of, and the
// player steps along with the findings that are about a recording. Nothing moves where reduced motion is asked for.

const MIDDLE = "-42% 0px -42% 0px"; // the band of the window in which a sentence is the current one

// root: holds the findings. Returns what ends it.
function lead(root) {
  const findings = [...root.querySelectorAll(".finding")], playing = findings.filter((finding) => finding.dataset.plays);
  if (!findings.length || matchMedia("(prefers-reduced-motion: reduce)").matches) return () => {};
  const marked = (finding) => finding.querySelectorAll("[data-beat]");
  const show = (finding, beat) => {
    for (const one of marked(finding)) one.classList.toggle("now", one.dataset.beat === beat);
  };
  for (const finding of findings) {
    // One group alone has nothing to be told apart from.
    if (new Set([...marked(finding)].map((one) => one.dataset.beat)).size > 1) finding.querySelector(".steps")?.classList.add("leads");
  }
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const finding = target.closest(".finding");
      if (isIntersecting && finding.querySelector(".leads")) show(finding, target.dataset.beat);
    }
  }, { rootMargin: MIDDLE });
  root.querySelectorAll(".beat").forEach((beat) => seen.observe(beat));

  // The first finding is of the step at which the player opens; along the others it goes from the first step to the last.
  let before = "";
  const follow = () => {
    const middle = innerHeight / 2, at = playing.find((finding) => {
      const { top, bottom } = finding.getBoundingClientRect();
      return top <= middle && bottom > middle;
    });
    if (!at) return;
    const { top, height } = at.getBoundingClientRect(), part = Math.min(Math.max((middle - top) / height, 0), 1);
    const seek = at === playing[0] ? "rest" : Math.round(100 * part) / 100, wish = `${at.id} ${seek}`;
    if (wish === before) return;
    const first = before === "";
    before = wish;
    if (!first) document.dispatchEvent(new CustomEvent("sinkscope-player", { detail: { seek } }));
  };
  document.addEventListener("scroll", follow, { capture: true, passive: true });
  return () => {
    seen.disconnect();
    document.removeEventListener("scroll", follow, { capture: true });
  };
}
