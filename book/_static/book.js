/* Plain Plotly figures of the book: drawn when the reader comes near, dressed like the live ones (live.js, loaded before this file). */
(() => {
  "use strict";
  const root = document.documentElement;
  const {dress, needPlotly} = window.live;
  const config = {responsive: true, displayModeBar: false, displaylogo: false, showSendToCloud: false};
  const drawn = [];

  /* The card says the title in the page's own type, so the plot leaves it out. */
  function dressed({place, figure}) {
    const {data, layout: {title, ...layout}} = dress(figure, root.dataset.theme === "dark", place.clientWidth < 480, getComputedStyle(place));
    return {data, layout: {...layout, height: figure.layout.height || 400}, frames: figure.frames, config: {...config, ...figure.config}};
  }

  async function draw(box) {
    const figure = JSON.parse(box.querySelector("script").textContent);
    const stills = [...box.querySelectorAll(".book-still")];
    const place = document.createElement("div");
    place.className = "book-plot";
    try {
      await needPlotly();
      stills.at(-1).after(place);
      await window.Plotly.newPlot(place, dressed({place, figure}));
      stills.forEach((picture) => picture.remove());
      drawn.push({place, figure});
      box.dataset.drawn = "1";
    } catch (error) {
      place.remove(); // the still picture stays
      const note = document.createElement("p");
      note.className = "book-note";
      note.textContent = "This figure could not be drawn; its still picture is shown.";
      box.append(note);
      console.error(error);
    }
  }

  /* The theme's buttons: the search button and folded cells are named by their visible text; titles inside the colour button's pictures are not part of its name. */
  const tidy = () => {
    document.querySelectorAll(".search-button__button, div.cell summary[aria-label]").forEach((button) => button.removeAttribute("aria-label"));
    document.querySelectorAll(".theme-switch-button title").forEach((title) => title.remove());
    /* Anchors between the entries of the bibliography forbid the roles of a list. */
    document.querySelectorAll(".citation-list, .citation-list > [role=doc-biblioentry]").forEach((list) => list.removeAttribute("role"));
    document.querySelectorAll(".theme-switch").forEach((picture) => picture.removeAttribute("title"));
  };
  tidy();
  window.addEventListener("load", tidy);

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, {rootMargin: "400px"});
  document.querySelectorAll(".book-plotly").forEach((box) => near.observe(box));

  new MutationObserver(() => {
    for (const one of drawn) window.Plotly.react(one.place, dressed(one));
  }).observe(root, {attributes: true, attributeFilter: ["data-theme"]});
})();
