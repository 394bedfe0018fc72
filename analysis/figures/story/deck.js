// Slides: keys, swipes and buttons lead through them, and the address says which one is shown.

const NEXT = ["ArrowRight", "ArrowDown", "PageDown", " "], BACK = ["ArrowLeft", "ArrowUp", "PageUp"];
const SWIPE = 50; // pixels

class Deck {
  // element: the deck. moved: told the number of the slide that is shown, from 1. left: told that it was closed.
  constructor(element, moved, left) {
    Object.assign(this, { element, moved, left, at: 0, slides: [...element.querySelectorAll(".slide")] });
    this.key = this.key.bind(this);
    const button = (name) => element.querySelector(`[data-do=${name}]`);
    this.back = button("back");
    this.next = button("next");
    this.back.addEventListener("click", () => this.go(this.at - 1));
    this.next.addEventListener("click", () => this.go(this.at + 1));
    button("notes").addEventListener("click", () => this.speak());
    button("close").addEventListener("click", () => this.left());
    element.addEventListener("pointerdown", (event) => (this.from = event.pointerType === "mouse" ? null : [event.clientX, event.clientY]));
    element.addEventListener("pointerup", (event) => this.swiped(event));
  }

  open(at) {
    this.element.hidden = false;
    document.addEventListener("keydown", this.key, true);
    this.show(at);
    this.element.focus({ preventScroll: true });
  }

  close() {
    document.removeEventListener("keydown", this.key, true);
    this.element.hidden = true;
  }

  show(at) {
    this.at = Math.min(Math.max(at, 0), this.slides.length - 1);
    this.slides.forEach((slide, number) => {
      slide.classList.toggle("shown", number === this.at);
      if (number === this.at) slide.removeAttribute("aria-hidden");
      else slide.setAttribute("aria-hidden", "true");
    });
    this.slides[this.at].scrollTop = 0;
    this.back.disabled = this.at === 0;
    this.next.disabled = this.at === this.slides.length - 1;
    this.element.querySelector(".where").textContent = `${this.at + 1} / ${this.slides.length}`;
  }

  go(at) {
    if (at < 0 || at >= this.slides.length) return;
    this.show(at);
    this.moved(this.at + 1);
  }

  speak() {
    const speaks = this.element.classList.toggle("speaks");
    this.element.querySelector("[data-do=notes]").setAttribute("aria-pressed", speaks);
  }

  swiped({ clientX, clientY }) {
    if (!this.from) return;
    const [x, y] = [clientX - this.from[0], clientY - this.from[1]];
    this.from = null;
    if (Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) this.go(this.at + (x < 0 ? 1 : -1));
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const on = event.composedPath()[0], pressed = on.matches?.("button") && event.key === " ";
    if (pressed) return;
    if (NEXT.includes(event.key)) this.go(this.at + 1);
    else if (BACK.includes(event.key)) this.go(this.at - 1);
    else if (event.key === "Home") this.go(0);
    else if (event.key === "End") this.go(this.slides.length - 1);
    else if (event.key === "n" || event.key === "N") this.speak();
    else if (event.key === "f" || event.key === "F") document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.();
    else if (event.key === "Escape") this.left();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
