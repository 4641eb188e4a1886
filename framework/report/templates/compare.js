  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const state = { scale: "linear", span: "own" };

  // Runs beyond the eighth take the same colours again, in lines of another kind.
  const look = (colour, i) => ({
    color: colour.parts[i % colour.parts.length], width: 1.5, dash: DASHES[Math.floor(i / colour.parts.length) % DASHES.length],
  });

  // A run as it is, or, from the first to the last common session, as one unit that begins there.
  const shown = (run) => {
    if (state.span === "own") return run;
    const [start, end] = data.common;
    const rows = run.time.map((_, i) => i).filter((i) => run.time[i].slice(0, 10) >= start && run.time[i].slice(0, 10) <= end);
    const base = run.growth[rows[0]];
    const growth = rows.map((i) => run.growth[i] == null || !base ? null : run.growth[i] / base);
    let peak = 1;
    const drawdown = growth.map((value) => {
      if (value == null) return null;
      peak = Math.max(peak, value);
      return value / peak - 1;
    });
    return { name: run.name, time: rows.map((i) => run.time[i]), growth, drawdown };
  };

  const lines = (colour, series, format) => data.runs.map(shown).map((run, i) =>
    line(run.time, run[series], run.name, null, {
      hovertemplate: format, line: look(colour, i), mode: run.time.length > 1 ? "lines" : "markers", marker: { color: look(colour, i).color },
    }));

  const charts = {
    growth(colour) {
      const y = { type: state.scale, tickformat: state.scale === "log" ? ".3~g" : ".2~f", nticks: 7 };
      return [lines(colour, "growth", "%{y:.3f}"), layout(colour, y, { showlegend: true })];
    },
    drawdown(colour) {
      return [lines(colour, "drawdown", "%{y:.1%}"), layout(colour, { tickformat: ".0%", nticks: 5, rangemode: "tozero" }, { showlegend: true })];
    },
    years(colour) {
      const traces = data.runs.map((run, i) => ({
        type: "bar", x: data.years, y: data.yearly[i], name: run.name, hovertemplate: "%{y:.1%}", marker: { color: look(colour, i).color },
      }));
      const y = { tickformat: ".0%", nticks: 6, zeroline: true, zerolinecolor: colour.quiet, zerolinewidth: 1 };
      const result = layout(colour, y, { showlegend: true, barmode: "group", bargap: 0.3, bargroupgap: 0.06, barcornerradius: 1 });
      Object.assign(result.xaxis, { type: "category", showspikes: false, nticks: 12, fixedrange: true });
      return [traces, result];
    },
  };

  const draw = () => {
    const colour = colours();
    for (const place of document.querySelectorAll("[data-chart]")) {
      const [traces, shape] = charts[place.dataset.chart](colour);
      // On paper nothing resizes itself: the size is fixed to what the style sheet gives the place.
      if (root.classList.contains("printing")) Object.assign(shape, { width: place.clientWidth, height: place.clientHeight });
      Plotly.react(place, traces, shape, { displayModeBar: false, responsive: true, doubleClick: "reset" });
    }
  };

  for (const group of document.querySelectorAll("[data-switch]")) {
    const buttons = [...group.querySelectorAll("button")];
    // What was lost wholly has no logarithm.
    if (group.dataset.switch === "scale") buttons[1].disabled = data.runs.some((run) => run.growth.some((value) => value != null && value <= 0));
    for (const button of buttons) {
      button.addEventListener("click", () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        state[group.dataset.switch] = button.dataset.value;
        draw();
      });
    }
  }

  await loadPlotly();
  draw();
  drawnBy(draw);
