// Finds a message on the page of all: those that share most of their words with what is typed, whatever the numbers.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("find-message");
  if (!box) return;
  const input = box.querySelector("input"), count = box.querySelector("output");
  const words = (text) => [...new Set(text.toLowerCase().match(/[a-z_]{2,}/g) || [])];
  const items = [...document.querySelectorAll("details.messages li")].map((li) => ({ li, has: new Set(words(li.textContent)) }));

  input.addEventListener("input", () => {
    const asked = words(input.value);
    const shared = items.map(({ has }) => asked.filter((word) => has.has(word)).length);
    const best = Math.max(...shared), least = Math.max(best - 1, 0.6 * asked.length);
    items.forEach(({ li }, i) => { li.hidden = asked.length > 0 && shared[i] < least; });
    for (const list of document.querySelectorAll("details.messages")) {
      const found = list.querySelector("li:not([hidden])") !== null;
      list.hidden = !found;
      list.open = asked.length > 0 && found;
    }
    const left = items.filter(({ li }) => !li.hidden).length;
    count.textContent = asked.length ? `${left} like it` : "";
  });
});
