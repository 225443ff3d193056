/* Off the main thread. The same script, loaded as a Web Worker, computes in slices so that it can hear the next
   request: the latest setting wins. `ask` is the page's side. */

const page = typeof document === "object" && document;
const home = page && page.currentScript && page.currentScript.src;
const engine = variant => variant.grid ? lattice(variant.grid) : load(variant.program);

if (!page && typeof importScripts === "function") {
  const engines = {};
  let job;
  const slice = () => {
    const { id, task } = job;
    try {
      if (!task.advance(40)) { postMessage({ id, progress: task.progress }); return setTimeout(slice); }
      postMessage({ id, outs: task.outputs, ms: performance.now() - job.began });
    } catch (e) { postMessage({ id, error: e.message }); }
    job = 0;
  };
  onmessage = ({ data: { id, key, variant, values } }) => {
    const idle = !job;
    try {
      if (variant) engines[key] = engine(variant);
      job = { id, task: engines[key].begin(values), began: performance.now() };
      if (idle) setTimeout(slice);
    } catch (e) { postMessage({ id, error: e.message }); job = 0; }
  };
}

/* One worker for one figure. ask(job) gives {outs, ms}, or undefined when a newer job replaced this one or when no
   worker can be made here (opened from disk, or forbidden): then `able` is false and the page computes by itself. */
const office = (variants, onProgress) => {
  let worker, open;
  const sent = {}, me = { able: !!home };
  const close = reply => { const done = open; open = 0; if (done) done.ok(reply); };
  me.ask = job => new Promise((ok, no) => {
    close();
    open = { id: job.id, ok, no };
    try {
      if (!worker) {
        worker = new Worker(home);
        worker.onerror = e => { e.preventDefault(); me.able = false; worker.terminate(); close(); };
        worker.onmessage = ({ data }) => {
          if (!open || data.id !== open.id) return;
          if (data.error) open.no(Error(data.error)); else if (data.outs) close(data); else onProgress(data.progress);
        };
      }
      worker.postMessage({ id: job.id, key: job.key, values: job.values, variant: sent[job.key] ? 0 : variants[job.key] });
      sent[job.key] = 1;
    } catch (e) { me.able = false; close(); }
  });
  return me;
};
