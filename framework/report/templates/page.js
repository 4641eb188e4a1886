"use strict";
// The frame of every page's script: what all of them need, then the page's own, which `script` names.
(async () => {
  const root = document.documentElement;

  const unpack = async (id) => {
    const packed = atob(document.getElementById(id).textContent);
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).text();
  };

  const trouble = (message) => {
    const note = document.getElementById("trouble");
    note.textContent = message;
    note.hidden = false;
  };

  if (typeof DecompressionStream === "undefined") {
    trouble("This browser is too old to unpack what is drawn here; any browser since 2023 can.");
    return;
  }

  const data = JSON.parse(await unpack("packed-data"));

  const colours = () => {
    const style = getComputedStyle(root);
    const read = (name) => style.getPropertyValue("--" + name).trim();
    const names = ["paper", "ink", "quiet", "line", "accent", "other", "third", "gain", "loss"];
    return { ...Object.fromEntries(names.map((name) => [name, read(name)])),
      parts: [0, 1, 2, 3, 4, 5, 6, 7].map((number) => read(`part-${number}`)) };
  };

  const faded = (colour, share) => {
    const [red, green, blue] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    return `rgba(${red},${green},${blue},${share})`;
  };

  const axis = (colour) => ({
    gridcolor: colour.line, gridwidth: 1, linecolor: colour.line, zeroline: false, automargin: true,
    tickfont: { color: colour.quiet, size: 11 }, fixedrange: true, ticks: "",
  });

  const layout = (colour, y, more = {}) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, color: colour.ink, size: 12 },
    margin: { l: 8, r: 8, t: 8, b: 24 }, hovermode: "x unified", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    hoverlabel: { bgcolor: colour.paper, bordercolor: colour.line, font: { color: colour.ink, size: 12 } },
    showlegend: false, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { color: colour.quiet, size: 11 } },
    xaxis: { ...axis(colour), showgrid: false, fixedrange: false, showspikes: true, spikemode: "across",
      spikethickness: 1, spikecolor: colour.other, spikedash: "solid", spikesnap: "cursor" },
    yaxis: { ...axis(colour), ...y }, ...more,
  });

  const line = (x, y, name, colour, more = {}) => ({
    type: "scatter", mode: "lines", x, y, name, line: { color: colour, width: 1.6 }, connectgaps: false, ...more,
  });

  const loadPlotly = async () => {
    const script = document.createElement("script");
    script.textContent = await unpack("packed-plotly");
    document.head.append(script);
  };

  // Draws again when the looks change: light or dark, screen or paper. Called once all is drawn.
  const drawnBy = (redrawAll) => {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
    addEventListener("beforeprint", () => { root.classList.add("printing"); redrawAll(); });
    addEventListener("afterprint", () => {
      root.classList.remove("printing");
      redrawAll();
      // Drawn again they still have the size of the paper.
      for (const place of document.querySelectorAll(".js-plotly-plot")) if (place.offsetParent) Plotly.Plots.resize(place);
    });
    root.dataset.ready = "true";
  };

{% include script %}
})().catch((error) => {
  const note = document.getElementById("trouble");
  note.textContent = `The charts could not be drawn: ${error.message}`;
  note.hidden = false;
  console.error(error);
});
