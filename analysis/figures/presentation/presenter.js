// Leads through the slides of a page by the keyboard, as clickers send it too. A slide that is taller than the window is
// scrolled through before the next one comes. A player plays when its slide is reached.

const NEXT = ["ArrowRight", "ArrowDown", "PageDown"], BACK = ["ArrowLeft", "ArrowUp", "PageUp"];
const SLACK = 8; // pixels
const AT_ONCE = 0.8; // of the window's height that one key scrolls through a tall slide
const HINT = "Arrow keys or a clicker lead on, Esc leaves, F fills the screen · ";

class Presenter {
  // slides: gives the elements, in order. counter: says which one is shown. leave: called for Esc.
  constructor(slides, counter, leave) {
    Object.assign(this, { slides, counter, leave, at: -1 });
    this.key = this.key.bind(this);
    this.look = this.look.bind(this);
    document.addEventListener("keydown", this.key);
    document.addEventListener("scroll", this.look, { capture: true, passive: true });
    this.look();
  }

  stop() {
    document.removeEventListener("keydown", this.key);
    document.removeEventListener("scroll", this.look, { capture: true });
    tell("leave");
  }

  // The slide that fills the window.
  get current() {
    const middle = innerHeight / 2, all = this.slides();
    const found = all.findIndex((slide) => slide.getBoundingClientRect().bottom > middle);
    return found < 0 ? all.length - 1 : found;
  }

  look() {
    const all = this.slides(), at = this.current;
    if (at < 0 || (at === this.at && all.length === this.of)) return;
    const arrived = at !== this.at;
    Object.assign(this, { at, of: all.length });
    this.counter.textContent = `${at ? "" : HINT}${at + 1} / ${all.length}`;
    if (arrived) tell(hasPlayer(all[at]) ? "start" : "stop");
  }

  go(at, end = false) {
    const slide = this.slides()[at];
    if (slide) slide.scrollIntoView({ behavior: "instant", block: end ? "end" : "start" });
    this.look();
  }

  by(direction) {
    const slide = this.slides()[this.current];
    if (!slide) return;
    const { top, bottom } = slide.getBoundingClientRect();
    const rest = direction > 0 ? bottom - innerHeight : -top;
    const before = this.current;
    if (rest > SLACK) scroller(slide).scrollBy({ top: direction * Math.min(rest, AT_ONCE * innerHeight), behavior: "instant" });
    else this.go(before + direction, direction < 0);
    this.look();
  }

  key(event) {
    const on = event.composedPath()[0];
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (on.matches?.("input, textarea, select") && !event.key.startsWith("Page") && event.key !== "Escape") return;
    if (NEXT.includes(event.key)) this.by(1);
    else if (BACK.includes(event.key)) this.by(-1);
    else if (event.key === "Home") this.go(0);
    else if (event.key === "End") this.go(this.slides().length - 1);
    else if (event.key === " ") hasPlayer(this.slides()[this.current]) ? tell("toggle") : this.by(1);
    else if (event.key === "f" || event.key === "F") document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
    else if (event.key === "Escape") this.leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const tell = (detail) => document.dispatchEvent(new CustomEvent("sinkscope-player", { detail }));
const hasPlayer = (slide) => Boolean(slide?.querySelector("[data-slide='player'], .sinkscope-player, [class*='st-key-player_slide']"));

function scroller(element) {
  for (let box = element.parentElement; box; box = box.parentElement) {
    if (box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(box).overflowY)) return box;
  }
  return document.scrollingElement;
}

function counterIn(place) {
  const counter = document.createElement("div");
  counter.setAttribute("role", "status");
  counter.style.cssText = "position:fixed;right:1rem;bottom:.6rem;z-index:1000001;font:14px system-ui,sans-serif;opacity:.65;pointer-events:none";
  place.append(counter);
  return counter;
}

export function present(slides, place, leave) {
  const counter = counterIn(place), presenter = new Presenter(slides, counter, () => leave());
  return () => (presenter.stop(), counter.remove());
}

export default function presenter({ parentElement, setTriggerValue }) {
  if (parentElement.presenting) return;
  const slides = () => [...document.querySelectorAll("[class*='st-key-slide_']")];
  const stop = present(slides, parentElement, () => setTriggerValue("left", true));
  const found = setInterval(() => document.dispatchEvent(new Event("scroll")), 400); // slides come one after the other
  parentElement.presenting = true;
  return () => {
    clearInterval(found);
    parentElement.presenting = false;
    stop();
  };
}
