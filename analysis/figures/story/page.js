// The story as a component of a page: its findings beside a player, or its slides.

const shown = new WeakMap();

export default function story({ data, parentElement, setTriggerValue, setStateValue }) {
  const before = shown.get(parentElement);
  if (before?.content === data.content) return;
  before?.end();
  const box = before?.box ?? parentElement.appendChild(document.createElement("div"));
  box.innerHTML = data.html; // written by the server, which escapes every text in it
  const deck = box.querySelector(".deck");
  let end;
  if (deck) {
    let telling;
    const told = (number) => {
      clearTimeout(telling);
      telling = setTimeout(() => setStateValue("slide", number), 300);
    };
    const slides = new Deck(deck, told, () => setTriggerValue("left", true));
    slides.open(data.slide - 1);
    end = () => slides.close();
  } else end = lead(box);
  shown.set(parentElement, { content: data.content, box, end });
  return () => {
    end();
    box.remove();
    shown.delete(parentElement);
  };
}
