// The story in an HTML file: its findings follow the scrolling, and #slide-2 in the address opens its second slide.

lead(document.querySelector("main"));
const box = document.querySelector(".deck"), asked = () => Number(/^#slide-(\d+)$/.exec(location.hash)?.[1] ?? (location.hash === "#present" ? 1 : 0));
const plain = () => location.href.split("#")[0];
const deck = new Deck(box, (number) => history.replaceState(history.state, "", `${plain()}#slide-${number}`), () => {
  if (history.state?.presents) history.back();
  else history.replaceState(null, "", plain()), follow();
});
const follow = () => {
  const number = asked(), open = document.body.classList.toggle("presents", number > 0);
  document.getElementById("printed-slides").media = open ? "print" : "not all";
  if (open) deck.open(number - 1);
  else deck.close();
};
for (const link of document.querySelectorAll("a[href='#slide-1']")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    history.pushState({ presents: true }, "", `${plain()}#slide-1`);
    follow();
  });
}
const appendix = document.getElementById("appendix");
for (const link of document.querySelectorAll("a[href='#appendix']")) link.addEventListener("click", () => (appendix.open = true));
// The numbers are packed; the link gets them once it is asked for.
const numbers = document.getElementById("numbers");
numbers.addEventListener("click", async (event) => {
  if (numbers.href.startsWith("blob:")) return;
  event.preventDefault();
  const packed = Uint8Array.from(atob(document.getElementById("packed-numbers").textContent), (letter) => letter.charCodeAt(0));
  const unpacking = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  numbers.href = URL.createObjectURL(new Blob([await new Response(unpacking).arrayBuffer()], { type: "application/json" }));
  numbers.click();
});
addEventListener("popstate", follow);
addEventListener("hashchange", follow);
follow();
