/* Play: a slider that moves to its end by itself, only when asked. Each move waits until the last one is drawn. Who
   wants little motion gets one clear jump per press instead. */

const PACE = 80;                                         // ms: at most about twelve moves a second
const calm = page && matchMedia("(prefers-reduced-motion: reduce)");

/* `move` draws what the controls say and resolves when that is done; `rest` tells the reader where it ended. */
const player = (el, move, rest) => {
  const buttons = [...el.querySelectorAll("[data-play]")], form = el.querySelector("form");
  const slider = b => form.elements.namedItem(b.dataset.play);
  let on, turn = 0;                                      // the button that plays; a paused run does not come back
  const near = new IntersectionObserver(seen => seen.at(-1).isIntersecting || me.stop());
  const show = () => {
    for (const b of buttons) {
      const word = calm.matches ? "Step" : b === on ? "Pause" : "Play";
      b.setAttribute("aria-label", word + " " + slider(b).labels[0].textContent);
      b.textContent = calm.matches ? word : "";          // the others are pictures
      b.classList.toggle("live-playing", b === on);
    }
  };
  const advance = i => {
    const count = Math.round((i.max - i.min) / i.step), at = Math.round((i.value - i.min) / i.step);
    if (at >= count) i.value = i.min;
    else i.stepUp(calm.matches ? Math.ceil((Math.floor(at * 10 / count) + 1) * count / 10) - at : 1);   // the next tenth
    return move();
  };
  const me = {
    on: () => on,
    stop: () => {
      if (!on) return;
      on = 0;
      turn++;
      near.disconnect();
      show();
      rest();
    },
    press: async b => {
      const pause = b === on, i = slider(b);
      me.stop();
      if (pause) return;
      if (calm.matches) return advance(i);
      const mine = turn;
      on = b;
      show();
      near.observe(el);
      do await Promise.all([advance(i), new Promise(ok => setTimeout(ok, PACE))]);
      while (turn === mine && +i.value < i.max && !el.classList.contains("live-stuck"));
      if (turn === mine) me.stop();
    },
  };
  const touched = e => on && e.target === slider(on) && me.stop();
  form.addEventListener("pointerdown", touched);
  form.addEventListener("input", touched);
  page.addEventListener("visibilitychange", () => page.hidden && me.stop());
  calm.addEventListener("change", () => { me.stop(); show(); });
  show();
  return me;
};
