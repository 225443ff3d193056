/* Plain Plotly figures of the book: drawn when the reader comes near, in the colours of the page. Live figures have their own runtime (live.js). */
(() => {
  "use strict";
  const root = document.documentElement;
  const address = new URL("plotly.min.js", document.currentScript.src).href;

  /* One Plotly for the page, shared with live.js. */
  const plotly = () => {
    if (window.Plotly) return Promise.resolve(window.Plotly);
    window.livePlotly ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = () => done(window.Plotly);
      script.onerror = () => failed(new Error("plotly.min.js could not be loaded"));
      document.head.append(script);
    });
    return window.livePlotly;
  };

  /* What the theme decides: text, grid and axis colours. Colours of the data stay the author's. */
  const look = (layout) => {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--book-ink").trim();
    const border = style.getPropertyValue("--book-border").trim();
    const update = {"font.color": ink, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)"};
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      for (const part of ["gridcolor", "zerolinecolor", "linecolor"]) update[`${axis}.${part}`] = border;
    }
    return update;
  };

  async function draw(box) {
    const figure = JSON.parse(box.querySelector("script").textContent);
    const place = document.createElement("div");
    box.append(place);
    try {
      const Plotly = await plotly();
      box.dataset.ready = "1";
      box.querySelectorAll(".book-still").forEach((picture) => picture.remove());
      await Plotly.newPlot(place, figure.data, {...figure.layout, width: undefined, autosize: true}, {
        responsive: true,
        displaylogo: false,
        ...figure.config,
        showSendToCloud: false,
      });
      if (figure.frames) await Plotly.addFrames(place, figure.frames);
      await Plotly.relayout(place, look(place._fullLayout));
      box.dataset.drawn = "1";
    } catch (error) {
      delete box.dataset.ready; // the still pictures remain
      place.remove();
      const note = document.createElement("p");
      note.textContent = "This figure could not be drawn; its still picture is shown instead.";
      box.append(note);
      console.error(error);
    }
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, {rootMargin: "400px"});

  document.querySelectorAll(".book-plotly").forEach((box) => near.observe(box));

  new MutationObserver(() => {
    document.querySelectorAll(".book-plotly[data-drawn] .js-plotly-plot").forEach((place) => {
      window.Plotly.relayout(place, look(place._fullLayout));
    });
  }).observe(root, {attributes: true, attributeFilter: ["data-theme"]});
})();
