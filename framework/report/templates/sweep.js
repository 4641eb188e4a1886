  const CELL = 46;  // pixels that a number in a cell of the map needs
  const [ROW, LOW, HIGH] = [36, 240, 560];  // pixels of a row of the map, and of all of it: least and most
  const BARS = 40;  // most bars of the spread
  const form = document.querySelector(".choices");
  const state = { scale: "linear", figure: 0, group: 0, across: 0, up: 1, only: data.axes.map(() => null) };

  // Plotly takes some of HTML for markup in what it is told to write.
  const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const labels = (axis) => axis.labels.map(plain);

  const mixed = (one, other, share) => {
    const parts = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    const [first, second] = [parts(one), parts(other)];
    return `rgb(${first.map((part, i) => Math.round(part * share + second[i] * (1 - share))).join(",")})`;
  };

  const group = () => data.groups[state.group];
  const figure = () => data.figures[state.figure];
  const known = (values) => values.filter((value) => value != null);

  const ends = (values) => [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];

  // Above zero and below it in two colours, the deeper the farther from it; what has no good and bad side in one.
  const scale = (colour, values) => {
    const [low, high] = ends(values);
    const [faint, full] = [0.1, 0.65].map((share) => (tone) => mixed(tone, colour.paper, share));
    const ramp = (...stops) => ({ zmin: low, zmax: high, colorscale: stops });
    if (!figure().signed) return ramp([0, faint(colour.accent)], [1, full(colour.accent)]);
    if (low >= 0) return ramp([0, faint(colour.gain)], [1, full(colour.gain)]);
    if (high <= 0) return ramp([0, full(colour.loss)], [1, faint(colour.loss)]);
    return ramp([0, full(colour.loss)], [-low / (high - low), faint(colour.other)], [1, full(colour.gain)]);
  };

  const described = (trial) => data.axes.map((axis, i) => `${plain(axis.name)} ${plain(axis.labels[group().codes[i][trial]])}`).join("<br>");

  // Of all trials that share two values, the best: the one with the most of the objective, which is the first figure.
  const cells = () => {
    const { codes, figures } = group();
    const { across, up, only } = state;
    const fixed = data.axes.map((_, i) => i).filter((i) => i !== across && i !== up && only[i] != null);
    const best = data.axes[up].labels.map(() => data.axes[across].labels.map(() => null));
    for (let trial = 0; trial < figures[0].length; trial += 1) {
      if (figures[0][trial] == null || fixed.some((i) => codes[i][trial] !== only[i])) continue;
      const [row, column] = [codes[up][trial], codes[across][trial]];
      const other = best[row][column];
      if (other == null || figures[0][trial] > figures[0][other]) best[row][column] = trial;
    }
    return best;
  };

  const category = (colour, axis) => ({ type: "category", title: { text: plain(axis.name), font: { size: 11, color: colour.quiet } },
    showspikes: false, showgrid: false, fixedrange: true });

  const map = (colour, place) => {
    const [across, up] = [data.axes[state.across], data.axes[state.up]];
    const best = cells(), { figures, best: top } = group();
    const z = best.map((row) => row.map((trial) => trial == null ? null : figures[state.figure][trial]));
    const values = known(z.flat());
    const height = Math.min(HIGH, Math.max(LOW, up.labels.length * ROW + 60), place.clientWidth);
    place.style.height = `${height}px`;
    const roomy = place.clientWidth / across.labels.length >= CELL && up.labels.length <= height / 20;
    const trace = {
      type: "heatmap", x: labels(across), y: labels(up), z, name: plain(figure().title), xgap: 1, ygap: 1, showscale: !roomy,
      customdata: best.map((row) => row.map((trial) => trial == null ? "" : described(trial))),
      hovertemplate: `%{customdata}<br>${plain(figure().title)}: %{z:${figure().format}}<extra></extra>`, hoverongaps: false,
      ...(values.length ? scale(colour, values) : {}),
      ...(roomy ? { texttemplate: `%{z:${figure().format}}`, textfont: { size: 11, color: colour.ink } } : {}),
      colorbar: { thickness: 10, outlinewidth: 0, tickformat: figure().format, tickfont: { color: colour.quiet, size: 11 } },
    };
    const result = layout(colour, {}, { hovermode: "closest", dragmode: false, height });
    Object.assign(result.xaxis, category(colour, across));
    Object.assign(result.yaxis, category(colour, up));
    result.shapes = best.flatMap((row, y) => row.flatMap((trial, x) => trial !== top || top == null ? [] : [{
      type: "rect", xref: "x", yref: "y", x0: x - 0.5, x1: x + 0.5, y0: y - 0.5, y1: y + 0.5, line: { color: colour.ink, width: 2 },
    }]));
    return [[trace], result];
  };

  const curve = (colour) => {
    const [axis] = data.axes, { codes, figures, best } = group(), own = figures[state.figure];
    const order = own.map((_, trial) => trial).filter((trial) => own[trial] != null).sort((a, b) =>
      axis.numbers ? axis.numbers[codes[0][a]] - axis.numbers[codes[0][b]] : codes[0][a] - codes[0][b]);
    const where = (trial) => axis.numbers ? axis.numbers[codes[0][trial]] : plain(axis.labels[codes[0][trial]]);
    const format = { hovertemplate: `%{y:${figure().format}}` };
    const traces = [line(order.map(where), order.map((trial) => own[trial]), plain(figure().title), colour.accent,
      { ...format, mode: order.length > 80 ? "lines" : "lines+markers", marker: { size: 6, color: colour.accent } })];
    if (best != null && own[best] != null) traces.push({ type: "scatter", mode: "markers", x: [where(best)], y: [own[best]], name: "The best",
      marker: { size: 13, symbol: "circle-open", color: colour.third, line: { width: 2 } }, ...format });
    const result = layout(colour, { tickformat: figure().format, nticks: 7 }, { showlegend: traces.length > 1, hovermode: "closest" });
    Object.assign(result.xaxis, axis.numbers ? { type: "linear", showspikes: false } : category(colour, axis));
    result.xaxis.title = { text: plain(axis.name), font: { size: 11, color: colour.quiet } };
    return [traces, result];
  };

  // Bars of equal width from the lowest value to the highest, the fewer the fewer values there are.
  const counted = (values) => {
    if (!values.length) return [];
    const [low, high] = ends(values);
    const most = high > low ? Math.min(BARS, Math.ceil(3 * Math.sqrt(values.length))) : 1;
    const width = (high - low || Math.abs(high) || 1) / most;
    const bars = Array.from({ length: most }, (_, i) => ({ middle: high > low ? low + (i + 0.5) * width : low, width: width * 0.96, count: 0 }));
    for (const value of values) bars[Math.min(most - 1, Math.floor((value - low) / width))].count += 1;
    return bars;
  };

  // An upright line over the whole height, with a name in the legend.
  const upright = (x, name, colour, dash) => ({
    type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, name, showlegend: true, line: { color: colour, width: 2, dash },
  });

  const charts = {
    map: (colour, place) => data.axes.length > 1 ? map(colour, place) : curve(colour),
    spread(colour) {
      const { figures, best, expected } = group(), own = figures[state.figure];
      const bars = counted(known(own));
      const traces = [{ type: "bar", x: bars.map((bar) => bar.middle), y: bars.map((bar) => bar.count), width: bars.map((bar) => bar.width),
        name: "Trials", showlegend: false, hovertemplate: `%{y} around %{x:${figure().format}}<extra></extra>`, marker: { color: faded(colour.accent, 0.6) } }];
      const y = { tickformat: ",d", nticks: 5, rangemode: "tozero", ...(Math.max(...traces[0].y) < 5 ? { dtick: 1 } : {}) };
      const result = layout(colour, y, { hovermode: "closest", showlegend: true, bargap: 0.04 });
      Object.assign(result.xaxis, { tickformat: figure().format, showspikes: false, nticks: 9, zeroline: true, zerolinecolor: colour.quiet });
      result.shapes = [];
      if (best != null && own[best] != null) result.shapes.push(upright(own[best], "The best", colour.gain, "solid"));
      if (figure().sharpe && expected != null) result.shapes.push(upright(expected, "Expected of the best without skill", colour.third, "dash"));
      // What is expected may lie beyond all that there is.
      if (bars.length) {
        const [low, high] = ends([...known(own), ...result.shapes.map((shape) => shape.x0)]);
        result.xaxis.range = [low - bars[0].width, high + bars[0].width];
      }
      return [traces, result];
    },
    steps(colour) {
      const { test, before, after } = data.steps, format = data.figures[0]?.format ?? ".2f";
      const bars = (y, name, tone) => ({ type: "bar", x: test, y, name, hovertemplate: `%{y:${format}}`, marker: { color: tone } });
      const result = layout(colour, { tickformat: format, nticks: 6, zeroline: true, zerolinecolor: colour.quiet, zerolinewidth: 1 },
        { showlegend: true, barmode: "group", bargap: 0.35, bargroupgap: 0.06, barcornerradius: 1 });
      Object.assign(result.xaxis, { type: "category", showspikes: false, nticks: 12, fixedrange: true });
      return [[bars(before, "In training", colour.other), bars(after, "In the test", colour.accent)], result];
    },
    growth(colour) {
      const { time, growth, begins } = data.tests;
      const y = { type: state.scale, tickformat: state.scale === "log" ? ".3~g" : ".2~f", nticks: 7 };
      const result = layout(colour, y);
      result.shapes = begins.map((x) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, layer: "below",
        line: { color: colour.line, width: 1 } }));
      return [[line(time, growth, "Growth", colour.accent, { hovertemplate: "%{y:.3f}" })], result];
    },
    drawdown(colour) {
      const { time, drawdown } = data.tests;
      const filled = { hovertemplate: "%{y:.1%}", fill: "tozeroy", fillcolor: faded(colour.loss, 0.14), line: { color: colour.loss, width: 1.2 } };
      return [[line(time, drawdown, "Drawdown", colour.loss, filled)], layout(colour, { tickformat: ".0%", nticks: 5, rangemode: "tozero" })];
    },
  };

  const draw = (only) => {
    const colour = colours();
    for (const place of document.querySelectorAll("[data-chart]")) {
      if (only && !only.includes(place.dataset.chart)) continue;
      const [traces, shape] = charts[place.dataset.chart](colour, place);
      // On paper nothing resizes itself: the size is fixed to what the style sheet gives the place.
      if (root.classList.contains("printing")) Object.assign(shape, { width: place.clientWidth, height: place.clientHeight });
      Plotly.react(place, traces, shape, { displayModeBar: false, responsive: true, doubleClick: "reset" });
    }
  };

  // ---- what is shown -----------------------------------------------------------------------------------------
  const tell = () => {
    document.getElementById("spread").textContent = figure().title;
    const others = data.axes.map((axis, i) => i).filter((i) => i !== state.across && i !== state.up);
    const fixed = others.filter((i) => state.only[i] != null).map((i) => `${data.axes[i].name} ${data.axes[i].labels[state.only[i]]}`);
    const free = others.some((i) => state.only[i] == null);
    const what = data.axes.length < 3 ? figure().title : `${figure().title}${free ? " of the best trial with these values" : ""}`;
    const where = form.elements.group?.selectedOptions[0].textContent.trim();
    document.getElementById("shown").textContent = [what, ...fixed, ...(where ? [where.toLowerCase()] : [])].join(", ");
    for (const label of form.querySelectorAll("[data-axis]")) label.hidden = !others.includes(Number(label.dataset.axis));
  };

  form?.addEventListener("input", ({ target }) => {
    const [name, axis] = target.name.split("-");
    if (axis) state.only[axis] = target.value === "" ? null : Number(target.value);
    else {
      const [other, before] = [name === "across" ? "up" : "across", state[name]];
      state[name] = Number(target.value);
      // One axis cannot be both: the two change places.
      if (["across", "up"].includes(name) && state[other] === state[name]) form.elements[other].value = state[other] = before;
    }
    tell();
    draw(["map", "spread"]);
  });
  form?.addEventListener("submit", (event) => event.preventDefault());

  for (const section of document.querySelectorAll("[data-switch=scale]")) {
    const buttons = [...section.querySelectorAll("button")];
    // What was lost wholly has no logarithm.
    buttons[1].disabled = data.tests.growth.some((value) => value <= 0);
    for (const button of buttons) {
      button.addEventListener("click", () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        state.scale = button.dataset.value;
        draw(["growth"]);
      });
    }
  }

  // ---- the table of the best ---------------------------------------------------------------------------------
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    const key = (row, column) => row.cells[column].dataset.sort;
    const compared = (column, sign) => (a, b) => {
      const [x, y] = [key(a, column), key(b, column)];
      if (x != null && y != null) return sign * (Number(x) - Number(y));
      // Numbers come before words, and what is not known last, either way round.
      return (x == null) - (y == null) || sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
    };
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const falling = head.ariaSort ? head.ariaSort === "ascending" : column > data.axes.length;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      body.replaceChildren(...[...body.rows].sort(compared(column, falling ? -1 : 1)));
    }));
  };
  document.querySelectorAll("table.ranking").forEach(sortable);

  await loadPlotly();
  if (form) tell();
  draw();
  drawnBy(() => draw());
