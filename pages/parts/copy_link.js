// Copies a text, or the address of the page as it stands, without the part that is this browser's own. Where the browser keeps the
// clipboard from pages, as it does on plain HTTP, it is shown to be copied by hand.

function address() {
  const here = new URL(location.href);
  here.pathname = here.pathname.replace(/\/~[\w-]{16}(?=\/|$)/, "");
  return here.href;
}

export default function copyLink({ parentElement, data }) {
  if (parentElement.querySelector("button")) return;
  const text = () => data?.text ?? address();
  const button = document.createElement("button"), field = document.createElement("input"), said = document.createElement("span");
  button.type = "button";
  button.textContent = data?.label ?? "Copy the link to this page";
  field.readOnly = true;
  field.hidden = true;
  field.setAttribute("aria-label", data?.text ? "What is copied" : "The address of this page");
  said.setAttribute("role", "status");
  let resting;
  const say = (text) => {
    said.textContent = text;
    clearTimeout(resting);
    resting = setTimeout(() => (said.textContent = ""), 4000);
  };
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      field.hidden = true;
      say("Copied.");
    } catch {
      field.hidden = false;
      field.value = text();
      field.focus();
      field.select();
      say("Copy it from the field.");
    }
  });
  field.addEventListener("focus", () => field.select());
  parentElement.append(button, field, said);
}
