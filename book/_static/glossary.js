/* Cards with definitions: tie each to its link, keep it inside the window, let Escape hide it. */
(() => {
  "use strict";

  const place = (term) => {
    const card = term.querySelector(".term-card");
    term.classList.remove("term-dismissed");
    card.style.left = "0";
    const over = card.getBoundingClientRect().right - (document.documentElement.clientWidth - 8);
    if (over > 0) {
      card.style.left = `${-over}px`;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const terms = [...document.querySelectorAll(".term")];
    terms.forEach((term) => {
      term.querySelector("a").setAttribute("aria-describedby", term.dataset.card);
      term.addEventListener("mouseenter", () => place(term));
      term.addEventListener("focusin", () => place(term));
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        terms.forEach((term) => term.classList.add("term-dismissed"));
      }
    });
  });
})();
