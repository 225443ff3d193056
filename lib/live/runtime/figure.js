/* A live figure on the page: its controls, when it computes, and how it is drawn. */

const FRAME = 14, PATIENCE = 250;                        // ms: one frame's computing; how long a job may block a newer one
const root = page && page.documentElement;
const make = (tag, text, parent) => { const e = page.createElement(tag); if (text !== undefined) e.textContent = text; if (parent) parent.append(e); return e; };
const words = text => String(text || "").replace(/<[^>]*>/g, " ").trim();
const title = ({ layout = {} }) => words(layout.title?.text ?? layout.title);
const spec = el => JSON.parse(el.querySelector("script[type='application/json']").textContent);

let plotly;                                              // loaded once, when the first figure comes near
const needPlotly = () => plotly ||= window.Plotly ? Promise.resolve() : new Promise((ok, no) => {
  const s = make("script");
  s.src = new URL("plotly.min.js", home);
  s.onload = ok;
  s.onerror = () => { plotly = 0; no(Error("the drawing library did not load")); };
  page.head.append(s);
});

/* The book's look. Colours of the roles (lib/figures.py) are lightened on a dark page. */
const NIGHT = { "#0072b2": "#58b0e8", "#d55e00": "#ff8f4d", "#009e73": "#3ccb9f", "#cc79a7": "#e5a3c8", "#e69f00": "#f0b840", "#56b4e9": "#8accf4", "#767676": "#b4bcc4" };
const tint = (o, map) => typeof o === "string" ? map[o.toLowerCase()] || o
  : Array.isArray(o) ? (typeof o[0] === "number" || o.length > 999 ? o : o.map(v => tint(v, map)))
  : o && o.constructor === Object ? Object.fromEntries(Object.entries(o).map(([k, v]) => [k, tint(v, map)])) : o;
/* Ticks of a logarithmic axis in full: 1, 2, 5 within two decades, fewer beyond; Plotly would print lone small digits. */
const decades = (axis, values) => {
  const range = axis.range ? axis.range.map(e => 10 ** e) : values.filter(v => v > 0 && v < Infinity), top = Math.max(...range), low = Math.min(...range);
  if (!(top > 0)) return;
  const span = Math.log10(top / low), every = Math.ceil(span / 8) || 1, ticks = span < 2 ? [1, 2, 5] : span < 4 ? [1, 3] : [1];
  axis.tickvals = [];
  for (let e = Math.floor(Math.log10(low)) - 1; e <= Math.log10(top) + 1; e++) if (span < 4 || e % every === 0) for (const m of ticks) axis.tickvals.push(+(m + "e" + e));
  axis.ticktext = axis.tickvals.map(v => v >= 1e5 || v < 1e-4 ? v.toExponential().replace("e+", "e") : String(v));
};
const dress = (fig, night, narrow, css) => {
  const map = night ? NIGHT : {}, clear = "rgba(0,0,0,0)";
  const { data, layout: { width, height, ...layout } } = tint({ layout: {}, ...fig }, map);      // a copy: Plotly writes into it
  const rule = night ? "rgba(255,255,255," : "rgba(30,40,50,";
  const axis = { gridcolor: rule + ".1)", zerolinecolor: rule + ".28)", automargin: true, constrain: "domain", nticks: 6, showgrid: data.some(t => !t.z), title: { standoff: 8 } };
  const legend = { orientation: "h", x: 0, xanchor: "left", y: narrow ? -.2 : 1.02, yanchor: narrow ? "top" : "bottom", bgcolor: clear };
  const margin = narrow ? { l: 48, r: 8, t: 8, b: 44 } : { l: 64, r: 16, t: 16, b: 52 };
  const look = {
    paper_bgcolor: clear, plot_bgcolor: clear, font: { family: css.fontFamily, size: narrow ? 12 : 13, color: css.color },
    colorway: tint(Object.keys(NIGHT).slice(0, 6), map), xaxis: axis, yaxis: axis, scene: { xaxis: axis, yaxis: axis, zaxis: axis }, legend, margin, title: { x: 0, xref: "paper", automargin: true },
  };
  layout.template = { layout: look, data: { heatmap: [{ colorscale: "Cividis", colorbar: { thickness: 12, outlinewidth: 0 } }] } };
  layout.autosize = true;
  for (const k in layout) if (/^[xy]axis/.test(k) && layout[k].type === "log" && !layout[k].tickvals) {
    layout[k] = { ...layout[k] };
    decades(layout[k], data.flatMap(t => ((t[k[0] + "axis"] || k[0]) === k.replace("axis", "") ? Array.from(t[k[0]] || []) : [])));
  }
  if (narrow) { layout.legend = { ...layout.legend, ...legend }; layout.margin = margin; }
  if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;                // a finger scrolls the page
  return { data, layout };
};
const CONFIG = { displayModeBar: false, showSendToCloud: false };

/* Controls: read and write settings through the native inputs. */
const along = ([lo, hi, mid, count], value, i) => i <= 0 ? lo : i >= count ? hi : i === mid ? value
  : +(i < mid ? lo * (value / lo) ** (i / mid) : value * (hi / value) ** ((i - mid) / (count - mid))).toPrecision(4);
const control = (c, form) => {
  const i = form.elements.namedItem(c.name), out = form.querySelector(`output[for="${i.id}"]`);
  const read = {
    slider: () => c.log ? along(c.log, c.value, +i.value) : +i.value,
    seed: () => Math.min(c.largest, Math.max(0, Math.round(i.value))),
    toggle: () => i.checked,
    choice: () => c.options[i.selectedIndex],
  }[c.kind];
  const write = v => {
    if (c.kind === "toggle") i.checked = String(v) === "true";
    else if (c.kind === "choice") { const n = c.options.findIndex(o => String(o) === String(v)); if (n >= 0) i.selectedIndex = n; }
    else if (c.log) {
      const [lo, hi, mid, count] = c.log, part = (a, b) => Math.log(v / a) / Math.log(b / a);
      if (v > 0) i.value = Math.round(v > c.value ? mid + (count - mid) * part(c.value, hi) : mid * part(lo, c.value)) || 0;
    } else if (v !== "" && isFinite(v)) i.value = v;
  };
  const label = () => {
    if (!out) return;
    out.value = format(read(), c.format);
    i.setAttribute("aria-valuetext", out.value + (c.unit ? " " + c.unit : ""));
    i.style.setProperty("--at", (i.value - i.min) / (i.max - i.min));
  };
  return { ...c, read, write, label, key: () => c.kind === "choice" ? i.value : c.kind === "toggle" && String(read()) };
};

/* The numbers of a figure as columns: [heading, values]. Tables of numbers (heatmaps) become long columns x, y, z. */
const columns = ({ data, layout = {} }) => data.flatMap((t, n) => {
  const name = words(t.name) || (data[1] ? "trace " + (n + 1) : ""), wide = t.z?.[0]?.length >= 0;
  const head = k => [name, words(layout[k + "axis" + (t[k + "axis"] || "").slice(1)]?.title?.text) || k].filter(Boolean).join(": ");
  const each = f => [].concat(...Array.from(t.z, (row, r) => Array.from(row, (v, c) => f(v, r, c))));
  if (wide) return [["x", each((v, r, c) => t.x ? t.x[c] : c)], ["y", each((v, r) => t.y ? t.y[r] : r)], ["z", each(v => v)]].map(([k, v]) => [head(k), v]);
  const list = k => t[k]?.length ? [[head(k), Array.from(t[k])]] : [];
  return [...(t.y && !t.x ? [[head("x"), Array.from(t.y, (_, i) => i)]] : []), ...["x", "y", "z", "r", "theta", "values", "labels"].flatMap(list)];
});

const height = cols => Math.max(0, ...cols.map(c => c[1].length));

/* From still picture to live figure. */
const hydrate = async el => {
  const $ = q => el.querySelector(q), plot = $(".live-plot"), say = $(".live-say"), bar = $("progress"), numbers = $("details"), form = $("form");
  const s = spec(el), controls = s.controls.map(c => control(c, form)), engines = {};
  const read = () => Object.fromEntries(controls.map(c => [c.name, c.read()]));
  const state = el.live = { values: read(), outputs: null, figure: null, ms: 0, drawMs: 0, draws: 0, ready: false, worker: false };
  let job, last = 0, waiting, frame = 0, quiet, waiters = [], zoom = 1, narrow, moved;

  const progress = p => {
    bar.value = p;
    el.classList.add("live-busy");
    if (waiting && performance.now() - job.at > PATIENCE) start();
  };
  const crew = office(s.variants, progress);
  let heavy = s.worker === true;

  /* -> outputs, or undefined when a newer setting has taken over. */
  const compute = async mine => {
    if (heavy && crew.able && s.worker !== false) {
      const reply = await crew.ask(mine);
      if (job !== mine) return;
      if (reply) { state.worker = true; state.ms = reply.ms; heavy = s.worker === true || reply.ms > FRAME / 2; return reply.outs; }
      if (crew.able) return;
    }
    state.worker = false;
    const task = (engines[mine.key] ||= engine(s.variants[mine.key])).begin(mine.values);
    const began = performance.now();
    while (!task.advance(FRAME)) {                       // no worker here: the same program in slices
      if (!heavy) { heavy = true; if (crew.able && s.worker !== false) return compute(mine); }
      progress(task.progress);
      await new Promise(ok => setTimeout(ok));
      if (job !== mine) return;
    }
    state.ms = performance.now() - began;
    return task.outputs;
  };

  const start = async () => {
    frame = 0;
    if (job && performance.now() - job.at < PATIENCE) { waiting = true; return; }
    waiting = false;
    const mine = job = { id: ++last, at: performance.now(), values: read(), key: controls.map(c => c.key()).filter(k => k).join("|") };
    try {
      const outs = await compute(mine);
      if (job !== mine || !outs) return;
      const { template, binds } = s.variants[mine.key];
      Object.assign(state, { values: mine.values, outputs: outs, figure: fill(template, binds, outs) });
      await draw();
      el.classList.remove("live-stuck");
    } catch (e) {
      if (job !== mine) return;
      if (!state.ready) throw e;
      el.classList.add("live-stuck");
      moved = false;
      say.textContent = "This setting could not be shown: " + e.message;
      console.error(e);
    }
    if (job !== mine) return;
    job = 0;
    el.classList.remove("live-busy");
    if (waiting) return start();
    waiters.splice(0).forEach(ok => ok());
  };

  const draw = async () => {
    const began = performance.now(), fig = state.figure;
    narrow = plot.clientWidth < 480;
    const { data, layout } = dress(fig, root.dataset.theme === "dark", narrow, getComputedStyle(plot));
    layout.uirevision = zoom;
    delete layout.title;                                 // the card shows it as text
    if (!state.draws) plot.replaceChildren();
    await Plotly.react(plot, data, layout, CONFIG);
    $(".live-title").textContent = title(fig);
    state.drawMs = performance.now() - began;
    state.draws++;
    rest();
  };
  /* When nothing has moved for a moment: the table, the words for screen readers, the address. */
  const rest = () => {
    clearTimeout(quiet);
    quiet = setTimeout(() => {
      if (job || frame || play.on()) return;             // the next drawing comes here again
      if (numbers.open) table();
      if (!moved) return;
      say.textContent = title(state.figure) || "Changed.";
      keep(link());
      moved = false;
    }, 400);
  };

  const table = () => {
    const t = $("table"), cols = columns(state.figure), rows = height(cols), shown = Math.min(rows, 200);
    t.replaceChildren();
    make("caption", title(state.figure) + (rows > shown ? ` (first ${shown} of ${rows} rows; the CSV file has all)` : ""), t);
    const head = t.createTHead().insertRow(), body = t.createTBody();
    for (const [name] of cols) make("th", name, head).scope = "col";
    for (let i = 0; i < shown; i++) { const row = body.insertRow(); for (const [, v] of cols) make("td", typeof v[i] === "number" ? +v[i].toPrecision(6) : v[i] ?? "", row); }
  };
  const csv = () => {
    const cols = columns(state.figure), cell = v => /[",\n]/.test(v = String(v ?? "")) ? `"${v.replace(/"/g, '""')}"` : v, a = make("a");
    const lines = [cols.map(c => c[0]), ...Array.from({ length: height(cols) }, (_, i) => cols.map(c => c[1][i]))];
    a.href = URL.createObjectURL(new Blob(lines.map(l => l.map(cell).join(",") + "\n"), { type: "text/csv" }));
    a.download = s.name + ".csv";
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 1e4);
  };
  const link = () => {
    const url = new URL(location);
    for (const c of controls) { const k = el.id + "." + c.name; c.read() === c.value ? url.searchParams.delete(k) : url.searchParams.set(k, c.read()); }
    return url;
  };
  const keep = url => { try { history.replaceState(history.state, "", url); } catch (e) { /* from disk, some browsers forbid it */ } };
  const share = async button => {
    const url = link();
    url.hash = el.id;
    let done = "Link copied";
    try { await navigator.clipboard.writeText(url); } catch (e) { done = "It is in the address bar"; keep(url); }
    say.textContent = button.textContent = done;
    setTimeout(() => { button.textContent = "Copy link"; }, 3e3);
  };

  const change = () => { moved = true; controls.forEach(c => c.label()); frame ||= requestAnimationFrame(start); };
  const settle = () => { change(); return new Promise(ok => waiters.push(ok)); };
  const play = player(el, settle, rest);
  state.link = link;
  state.set = values => { for (const c of controls) if (c.name in values) c.write(values[c.name]); return settle(); };
  form.addEventListener("input", change);
  form.addEventListener("submit", e => e.preventDefault());
  el.addEventListener("click", e => {
    const b = e.target.closest("button"), act = b && b.dataset, draws = act && controls.find(c => c.name === act.draw);
    if (draws) { draws.write((draws.read() + 1) % (draws.largest + 1)); change(); }
    else if (act && act.play) play.press(b);
    else if (act && act.do === "reset") { play.stop(); controls.forEach(c => c.write(c.value)); zoom++; change(); }
    else if (act && act.do === "share") share(b);
    else if (act && act.do === "csv") csv();
  });
  numbers.addEventListener("toggle", () => numbers.open && state.ready && table());

  const stills = [...plot.children];
  try {
    const asked = new URLSearchParams(location.search);
    for (const c of controls) { const v = asked.get(el.id + "." + c.name); if (v !== null) c.write(v); }
    controls.forEach(c => c.label());
    await needPlotly();
    await start();
    el.querySelectorAll(":disabled").forEach(e => { e.disabled = false; });
    el.classList.add("live-on");
    state.ready = true;
    new MutationObserver(() => draw()).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
    let width = plot.clientWidth;
    new ResizeObserver(() => { if (plot.clientWidth && plot.clientWidth !== width) { width = plot.clientWidth; requestAnimationFrame(() => width < 480 === narrow ? Plotly.Plots.resize(plot) : draw()); } }).observe(plot);
  } catch (e) {
    plot.replaceChildren(...stills);
    el.classList.add("live-off");
    el.classList.remove("live-busy");
    say.textContent = `This figure is a still picture here: ${e.message}.`;
    console.error(e);
  }
};

/* Used at build time: the still picture of a page's figure (or of a plain Plotly figure). */
const still = async (s, theme, width, css) => {
  let fig = s;
  if (s.variants) {
    const v = s.variants[s.first], task = engine(v).begin(Object.fromEntries(s.controls.map(c => [c.name, c.value])));
    while (!task.advance(1e3));
    fig = fill(v.template, v.binds, task.outputs);
  }
  const height = fig.layout?.height || 320;
  const { data, layout } = dress(fig, theme === "dark", false, css);
  const picture = await Plotly.toImage({ data, layout: { ...layout, title: "", width, height }, config: CONFIG }, { format: "svg", width, height });
  return decodeURIComponent(picture.slice(picture.indexOf(",") + 1));
};

if (page) {
  window.live = { load, lattice, fill, format, hydrate, still, dress, needPlotly };
  let turn = Promise.resolve();                          // one by one, so that the page answers in between
  const begin = () => {
    const near = new IntersectionObserver(seen => {
      for (const { isIntersecting, target } of seen) if (isIntersecting) {
        near.unobserve(target);
        turn = turn.then(() => hydrate(target)).catch(console.error).then(() => new Promise(ok => setTimeout(ok)));
      }
    }, { rootMargin: "600px" });
    page.querySelectorAll("figure.live").forEach(el => near.observe(el));
    page.querySelectorAll(".exercise-card").forEach(exercise);
  };
  page.readyState === "loading" ? page.addEventListener("DOMContentLoaded", begin) : begin();
}
