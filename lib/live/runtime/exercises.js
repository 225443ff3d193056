/* Exercises and bets: the same judgement as lib/exercises.py, from the same data. */

const judge = (d, given) => {
  if (d.messages) return d.messages[given] || [false, d.nonsense];
  const m = /^ *([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?) *$/i.exec(given.replaceAll("−", "-")), v = m ? +m[1] : NaN;
  if (!isFinite(v)) return [false, d.nonsense];
  if (Math.abs(v - d.answer) <= d.tolerance) return [true, d.right];
  const hint = d.hints.find(([low, high]) => low <= v && v <= high);
  return [false, hint ? hint[2] : d.otherwise];
};
const exercise = el => {
  const form = el.querySelector("form"), set = form.querySelector("fieldset"), say = el.querySelector(".exercise-say"), d = spec(el), key = location.pathname + "#" + el.id;
  const given = () => { const i = form.elements.namedItem("given"); return i.type === "text" || i.value !== "" ? i.value : -1; };
  const answer = () => {
    const [correct, message] = judge(d, given());
    say.textContent = message;
    el.dataset.verdict = correct ? "right" : "wrong";
    if (d.kind === "bet" && given() !== -1) { set.disabled = true; try { sessionStorage.setItem(key, given()); } catch (e) { /* private window: not remembered */ } }
  };
  set.disabled = false;
  form.addEventListener("submit", e => { e.preventDefault(); answer(); });
  try { const bet = d.kind === "bet" && sessionStorage.getItem(key); if (bet) { form.elements.namedItem("given").value = bet; answer(); } } catch (e) { /* as above */ }
};
