/* Formulas, set by KaTeX, which is loaded only where there are formulas. `bookMath(element)` sets what is added later.
   Sphinx writes the macros of _config.yml (mathjax3_config) into window.MathJax; they serve here as well. */
(() => {
  const home = new URL("vendor/katex/", document.currentScript.src);
  const add = (tag, attributes) => new Promise((ok, no) => {
    const element = Object.assign(document.createElement(tag), attributes, { onload: ok, onerror: () => no(Error("KaTeX did not load")) });
    document.head.append(element);
  });
  const script = (name) => add("script", { src: new URL(name, home).href });
  let ready;
  const load = () => ready ??= Promise.all([
    add("link", { rel: "stylesheet", href: new URL("katex.min.css", home).href }),
    script("katex.min.js").then(() => script("auto-render.min.js")),
  ]);
  const settings = () => ({
    delimiters: [
      { left: "\\[", right: "\\]", display: true },
      { left: "\\(", right: "\\)", display: false },
      { left: "$", right: "$", display: false },
      ...["align", "align*", "equation", "gather"].map((name) => ({ left: `\\begin{${name}}`, right: `\\end{${name}}`, display: true })),
    ],
    macros: Object.fromEntries(Object.entries(window.MathJax?.tex?.macros ?? {}).map(([name, body]) => [`\\${name}`, Array.isArray(body) ? body[0] : body])),
    throwOnError: false,
    strict: false,
  });
  /* A comma or a full stop after a formula must not begin the next line. */
  const keepTogether = (element) => {
    const next = element.nextSibling;
    if (element.tagName !== "SPAN" || next?.nodeType !== Node.TEXT_NODE || !/^[,.;:!?)]/.test(next.data)) return;
    const both = document.createElement("span");
    both.style.whiteSpace = "nowrap";
    element.before(both);
    both.append(element, next.data[0]);
    next.data = next.data.slice(1);
  };
  window.bookMath = async (root = document.body) => {
    const own = root.matches?.(".math, .mathjax_process") ? [root] : [];
    const found = [...own, ...root.querySelectorAll(".math, .mathjax_process")].filter((e) => !e.dataset.set && /[$\\]/.test(e.textContent));
    if (!found.length) return;
    await load();
    for (const element of found) {
      element.dataset.set = "1";
      window.renderMathInElement(element, settings());
      keepTogether(element);
    }
  };
  const begin = () => window.bookMath().then(() => { document.documentElement.dataset.math = "set"; });
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", begin) : begin();
})();
