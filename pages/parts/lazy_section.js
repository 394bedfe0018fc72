// Keeps the height of what lies below, and asks for it as it comes near to what is seen, or after a while.

const NEAR = "800px 0px";
const WHILE = 2000; // ms
const COMING = 1000; // ms that what was asked for takes to be there, so that nothing jumps meanwhile
const places = new WeakMap();

export default function component({ data, parentElement, setStateValue }) {
  let place = places.get(parentElement);
  if (!place) places.set(parentElement, (place = new Place(parentElement, () => setStateValue("asked", true))));
  place.show(data);
  return () => {
    places.delete(parentElement);
    place.end();
  };
}

class Place {
  constructor(element, ask) {
    const own = element.closest("[data-testid=stElementContainer]");
    own.style.position = "absolute"; // it leaves no gap
    this.part = own.parentElement;
    this.main = own.closest("[data-testid=stMain]");
    this.ask = () => {
      this.end();
      ask();
    };
    this.scrolled = () => this.look(NEAR);
  }

  show({ asked, height }) {
    this.part.toggleAttribute("data-waits", !asked);
    if (asked) setTimeout(() => (this.part.style.minHeight = ""), COMING);
    if (asked || this.looking) return;
    this.part.style.minHeight = `${height}px`;
    this.look("0px");
    this.main.addEventListener("scroll", this.scrolled, { once: true });
    this.waiting = setTimeout(this.ask, WHILE);
  }

  look(margin) {
    this.looking?.disconnect();
    this.looking = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.ask(), {
      root: this.main,
      rootMargin: margin,
    });
    this.looking.observe(this.part);
  }

  end() {
    clearTimeout(this.waiting);
    this.main.removeEventListener("scroll", this.scrolled);
    this.looking?.disconnect();
  }
}
