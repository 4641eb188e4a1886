  const PRINTED_ROWS = 40, SPARE_ROWS = 12;

  // ---- numbers -----------------------------------------------------------------------------------------------
  const figure = (value, digits) => value == null ? "–" : value.toLocaleString("en-US",
    { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "\u2212");
  const plain = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 9 }).replace("-", "\u2212");
  const summed = (steps) => { let total = 0; return steps.map((step) => (total += step)); };

  // ---- charts ------------------------------------------------------------------------------------------------
  // Triangles where deposits (up) and withdrawals (down) came: on the curve, or, if many, beside it on that of the money.
  const marks = (account, colour) => [["Money in", 1, "triangle-up"], ["Money out", -1, "triangle-down"]]
    .map(([name, sign, symbol]) => {
      const { place, amount } = account.marks;
      const own = place.map((row, i) => [row, amount[i]]).filter(([, value]) => value * sign > 0);
      const many = place.length > 40;
      const on = many ? account.put_in : account.equity;
      return {
        type: "scatter", mode: "markers", name, x: own.map(([row]) => account.time[row]), y: own.map(([row]) => on[row]),
        customdata: own.map(([, value]) => Math.abs(value)), hovertemplate: "%{customdata:,.0f}",
        marker: { symbol, size: many ? 6 : 9, color: sign > 0 ? colour.gain : colour.loss, line: { color: colour.paper, width: 1 } },
      };
    }).filter((trace) => trace.x.length);

  const charts = {
    equity(account, colour, state) {
      const format = { hovertemplate: "%{y:,.0f}" };
      const traces = [line(account.time, account.equity, account.name, colour.accent, format)];
      if (account.put_in) {
        const style = { ...format, line: { color: colour.third, width: 1.2, shape: "hv", dash: "dot" } };
        traces.unshift(line(account.time, account.put_in, "Money put in", colour.third, style));
      }
      if (account.benchmark) {
        const style = { ...format, line: { color: colour.other, width: 1.2 } };
        traces.unshift(line(account.time, account.benchmark, "Benchmark", colour.other, style));
      }
      traces.push(...marks(account, colour));
      const y = { type: state.scale, tickformat: state.scale === "log" ? ".3s" : ",.0f", nticks: 7 };
      const result = layout(colour, y, { showlegend: traces.length > 1 });
      // Marks would widen the axis beyond the curve.
      if (account.marks.place.length && account.time.length > 1) result.xaxis.range = [account.time[0], account.time.at(-1)];
      return [traces, result];
    },
    parts(account, colour, state) {
      const share = state.parts === "share";
      // A stack of values of which some are below zero would show sums that nobody has.
      const stacked = account.parts.every((part) => part.values.every((value) => value == null || value >= 0));
      const own = account.equity;
      const traces = account.parts.map((part, i) => {
        const tone = part.is_cash ? colour.other : colour.parts[i % colour.parts.length];
        const values = share ? part.values.map((value, t) => own[t] > 0 ? value / own[t] : null) : part.values;
        const style = { hovertemplate: share ? "%{y:.1%}" : "%{y:,.0f}", line: { color: tone, width: 1 } };
        if (stacked) Object.assign(style, { stackgroup: "parts", fillcolor: faded(tone, 0.55) });
        return line(account.time, values, part.name, tone, style);
      });
      return [traces, layout(colour, { tickformat: share ? ".0%" : ",.0f", nticks: 6, rangemode: "tozero" }, { showlegend: true })];
    },
    drawdown(account, colour) {
      const format = { hovertemplate: "%{y:.1%}" };
      const filled = { ...format, fill: "tozeroy", fillcolor: faded(colour.loss, 0.14), line: { color: colour.loss, width: 1.2 } };
      const traces = [line(account.time, account.drawdown, account.name, colour.loss, filled)];
      if (account.benchmark_drawdown) {
        const style = { ...format, line: { color: colour.other, width: 1 } };
        traces.unshift(line(account.time, account.benchmark_drawdown, "Benchmark", colour.other, style));
      }
      return [traces, layout(colour, { tickformat: ".0%", nticks: 5, rangemode: "tozero" }, { showlegend: traces.length > 1 })];
    },
    years(account, colour) {
      const { year, return: own, benchmark } = account.years;
      const format = { type: "bar", x: year, hovertemplate: "%{y:.1%}" };
      const traces = [{ ...format, y: own, name: account.name, marker: { color: own.map((value) => value < 0 ? colour.loss : colour.accent) } }];
      if (benchmark) traces.push({ ...format, y: benchmark, name: "Benchmark", marker: { color: colour.other } });
      const more = { bargap: 0.35, bargroupgap: 0.08, barcornerradius: 1 };
      const result = layout(colour, { tickformat: ".0%", nticks: 6, zeroline: true, zerolinecolor: colour.quiet, zerolinewidth: 1 }, more);
      Object.assign(result.xaxis, { type: "category", showspikes: false, nticks: 12, fixedrange: true });
      return [traces, result];
    },
    rolling(account, colour, state) {
      const tones = [faded(colour.other, 0.75), colour.third, colour.accent];
      const ratio = state.rolling === "sharpe";
      const traces = Object.entries(account.rolling.windows).map(([window, series], i) =>
        line(account.rolling.date, series[state.rolling], `${window} sessions`, tones[i],
          { hovertemplate: ratio ? "%{y:.2f}" : "%{y:.1%}", line: { color: tones[i], width: i === 2 ? 1.8 : 1.1 } }));
      const y = { tickformat: ratio ? ".1f" : ".0%", nticks: 6, zeroline: true, zerolinecolor: colour.line, zerolinewidth: 1.5 };
      return [traces, layout(colour, y, { showlegend: true })];
    },
    exposure(account, colour) {
      const format = { hovertemplate: "%{y:.1%}" };
      const area = { ...format, fill: "tozeroy", fillcolor: faded(colour.accent, 0.12), line: { color: colour.accent, width: 1.1 } };
      const traces = [line(account.time, account.gross, "Gross", colour.accent, area)];
      if (account.net) {
        traces.push(line(account.time, account.net, "Net", colour.third, format));
      }
      return [traces, layout(colour, { tickformat: ".0%", nticks: 5, rangemode: "tozero" }, { showlegend: traces.length > 1 })];
    },
    distribution(account, colour) {
      const { x, width, own, benchmark } = account.distribution;
      const tones = x.map((value) => value < 0 ? colour.loss : colour.gain);
      const traces = [{ type: "bar", x, y: own, width, name: account.name, hovertemplate: "%{y:.1%}", marker: { color: tones.map((tone) => faded(tone, 0.75)) } }];
      if (benchmark) {
        traces.push(line(x, benchmark, "Benchmark", colour.other, { hovertemplate: "%{y:.1%}", line: { color: colour.other, width: 1.4, shape: "hvh" } }));
      }
      const result = layout(colour, { tickformat: ".0%", nticks: 5, rangemode: "tozero" }, { bargap: 0.04 });
      Object.assign(result.xaxis, { tickformat: ".1%", hoverformat: ".2%", nticks: 9, zeroline: true, zerolinecolor: colour.quiet });
      return [traces, result];
    },
    turnover(account, colour) {
      const { month, value } = account.turnover;
      const traces = [{ type: "bar", x: month, y: value, name: "Turnover", hovertemplate: "%{y:.0%}", marker: { color: colour.accent } }];
      return [traces, layout(colour, { tickformat: ".0%", nticks: 5, rangemode: "tozero" }, { bargap: 0.15 })];
    },
    costs(account, colour) {
      const { fees, slippage } = account.costs;
      const format = { hovertemplate: "%{y:,.0f}" };
      const traces = [
        line(account.time, fees, "Fees", colour.accent, { ...format, line: { color: colour.accent, width: 1.4, shape: "hv" } }),
        line(account.time, slippage, "Slippage", colour.third, { ...format, line: { color: colour.third, width: 1.4, shape: "hv" } }),
      ];
      return [traces, layout(colour, { tickformat: ",.0f", nticks: 5, rangemode: "tozero" }, { showlegend: true })];
    },
    slippage(account, colour) {
      const { x, width, share } = account.slippage;
      const tones = x.map((value) => faded(value > 0 ? colour.loss : colour.gain, 0.75));
      const traces = [{ type: "bar", x, y: share, width, name: "Slippage", hovertemplate: "%{y:.1%}", marker: { color: tones } }];
      const result = layout(colour, { tickformat: ".0%", nticks: 5, rangemode: "tozero" }, { bargap: 0.04 });
      Object.assign(result.xaxis, { ticksuffix: " bp", hoverformat: ".2f", nticks: 9, zeroline: true, zerolinecolor: colour.quiet });
      return [traces, result];
    },
  };

  const states = data.accounts.map(() => ({ scale: "linear", rolling: "sharpe", parts: "value", drawn: false }));

  const draw = (section, only) => {
    const number = Number(section.dataset.account);
    const colour = colours();
    for (const place of section.querySelectorAll("[data-chart]")) {
      if (only && place.dataset.chart !== only) continue;
      const [traces, shape] = charts[place.dataset.chart](data.accounts[number], colour, states[number]);
      // On paper nothing resizes itself: the size is fixed to what the style sheet gives the place.
      if (root.classList.contains("printing")) Object.assign(shape, { width: place.clientWidth, height: place.clientHeight });
      Plotly.react(place, traces, shape, { displayModeBar: false, responsive: true, doubleClick: "reset" });
    }
    states[number].drawn = true;
  };

  const redrawAll = () => {
    tables.forEach((table) => table.paint(true));
    document.querySelectorAll("section.account:not([hidden])").forEach((section) => draw(section));
    document.querySelectorAll("section.account[hidden]").forEach((section) => { states[section.dataset.account].drawn = false; });
  };

  const wireSwitches = (section) => {
    const number = Number(section.dataset.account);
    for (const group of section.querySelectorAll("[data-switch]")) {
      const name = group.dataset.switch;
      const buttons = [...group.querySelectorAll("button")];
      if (name === "scale" && Math.min(...data.accounts[number].equity) <= 0) buttons[1].disabled = true;
      for (const button of buttons) {
        button.addEventListener("click", () => {
          buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
          states[number][name] = button.dataset.value;
          draw(section, name === "scale" ? "equity" : name);
        });
      }
    }
  };

  // ---- trades ------------------------------------------------------------------------------------------------
  const moment = (seconds) => {
    if (!seconds) return "–";
    const text = new Date(seconds * 1000).toISOString();
    return text.endsWith("T00:00:00.000Z") ? text.slice(0, 10) : text.slice(0, 16).replace("T", " ");
  };

  const unfold = (columns) => {
    const executed = summed(columns.executed), decided = summed(columns.decided), id = summed(columns.id);
    return executed.map((time, i) => ({
      id: id[i], executed: time, decided: decided[i], portfolio: columns.portfolio[i],
      ticker: data.tickers[columns.ticker[i]], side: columns.quantity[i] < 0 ? "Sell" : "Buy",
      quantity: Math.abs(columns.quantity[i]), price: columns.price[i],
      notional: columns.notional[i], fees: columns.fees[i], slippage: columns.slippage[i],
    }));
  };

  // Title, key, how it is written, class, width.
  const COLUMNS = [
    ["Executed (UTC)", "executed", moment, "", "8.6rem"], ["Portfolio", "portfolio", (code) => data.portfolios[code]],
    ["Ticker", "ticker", String], ["Side", "side", String, "", "3.4rem"], ["Quantity", "quantity", plain, "n"],
    ["Price", "price", (value) => figure(value, value < 10 ? 4 : 2), "n"], ["Notional", "notional", (value) => figure(value, 0), "n"],
    ["Fees", "fees", (value) => figure(value, 2), "n"], ["Slippage, bps", "slippage", (value) => figure(value, 1), "n"],
    ["Decided on bar", "decided", moment, "n", "8.6rem"],
  ];

  const sortable = (rows, key, falling) => {
    const sign = falling ? -1 : 1;
    return rows.slice().sort((a, b) => {
      const [x, y] = [a[key], b[key]];
      if (x == null || y == null) return (x == null) - (y == null) || a.id - b.id;
      return sign * (x < y ? -1 : x > y ? 1 : 0) || a.id - b.id;
    });
  };

  const cell = (tag, text, name) => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (name) element.className = name;
    return element;
  };

  // Only the rows in sight are in the page, with a gap above and below them as high as all others.
  const tradeTable = (article, own) => {
    const list = article.querySelector(".list");
    if (!list) return { paint() {} };
    const several = new Set(own.map((trade) => trade.portfolio)).size > 1;
    const columns = COLUMNS.filter(([, key]) => key !== "portfolio" || several);
    const [head, body, count] = [list.querySelector("thead"), list.querySelector("tbody"), article.querySelector(".count")];
    const filters = article.querySelector(".filters").elements;
    const view = { key: "executed", falling: false, rows: own, height: 0, from: -1 };
    // The text that the search looks through is made once, at the first search.
    const haystack = (trade) => (trade.text ??= [moment(trade.executed), trade.ticker, trade.side,
      data.portfolios[trade.portfolio]].join(" ").toLowerCase());

    const gap = (rows) => {
      const row = document.createElement("tr");
      row.className = "gap";
      row.style.height = `${Math.max(0, rows) * view.height}px`;
      return row;
    };
    const fill = (from, to) => {
      const rows = view.rows.slice(from, to).map((trade) => {
        const row = document.createElement("tr");
        row.append(...columns.map(([, key, text, name]) => cell("td", text(trade[key]), name)));
        return row;
      });
      body.replaceChildren(gap(from), ...rows, gap(view.rows.length - to));
      view.from = from;
    };
    const measure = () => {
      fill(0, 1);
      view.height = body.children[1]?.getBoundingClientRect().height ?? 0;
    };
    const tell = (printing) => {
      const hits = view.rows.length;
      const all = hits === own.length ? plain(hits) : `${plain(hits)} of ${plain(own.length)}`;
      count.textContent = printing && hits > PRINTED_ROWS ? `first ${PRINTED_ROWS} of ${all}` : all;
    };
    const paint = (anew) => {
      const printing = root.classList.contains("printing");
      if (anew) tell(printing);
      if (printing) return fill(0, Math.min(PRINTED_ROWS, view.rows.length));
      if (!list.clientHeight && !list.scrollHeight) return;
      if (!view.height) measure();
      // As many as the list can show: with few rows in it, it is lower than that.
      const seen = Math.ceil(parseFloat(getComputedStyle(list).maxHeight) / (view.height || 1));
      const from = Math.max(0, Math.floor(list.scrollTop / (view.height || 1)) - SPARE_ROWS);
      if (!anew && Math.abs(from - view.from) < SPARE_ROWS / 2 && view.from >= 0) return;
      fill(from, Math.min(view.rows.length, from + seen + 2 * SPARE_ROWS));
    };
    const select = () => {
      const words = filters.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const [ticker, side] = [filters.ticker.value, filters.side.value];
      const hits = own.filter((trade) => (!ticker || trade.ticker === ticker) && (!side || trade.side === side)
        && words.every((word) => haystack(trade).includes(word)));
      view.rows = sortable(hits, view.key, view.falling);
      list.scrollTop = 0;
      paint(true);
    };
    const titles = document.createElement("tr");
    titles.append(...columns.map(([title, key, , name, width]) => {
      const header = cell("th", "", name);
      header.scope = "col";
      if (width) header.style.width = width;
      const button = cell("button", title);
      button.type = "button";
      button.addEventListener("click", () => {
        view.falling = view.key === key && !view.falling;
        view.key = key;
        for (const other of titles.children) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", view.falling ? "descending" : "ascending");
        select();
      });
      header.append(button);
      return header;
    }));
    head.replaceChildren(titles);
    filters.ticker.append(...[...new Set(own.map((trade) => trade.ticker))].sort().map((ticker) => cell("option", ticker)));
    article.querySelector(".filters").addEventListener("input", select);
    article.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
    let waiting = false;
    list.addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; paint(); });
    });
    return { paint };
  };

  // ---- tabs --------------------------------------------------------------------------------------------------
  const sections = [...document.querySelectorAll("section.account")];
  const tabs = [...document.querySelectorAll("[role=tab]")];

  const open = (number) => {
    sections.forEach((section, i) => { section.hidden = i !== number; });
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === number));
      tab.tabIndex = i === number ? 0 : -1;
    });
    tables[number].paint(true);
    if (!states[number].drawn) draw(sections[number]);
    else sections[number].querySelectorAll("[data-chart]").forEach((place) => Plotly.Plots.resize(place));
  };

  const trades = unfold(data.trades);
  const tables = sections.map((section, number) => {
    // Beside a total, account n is portfolio n − 1; alone, account 0 holds every trade there is.
    const own = number === 0 ? trades : trades.filter((trade) => trade.portfolio === number - 1);
    wireSwitches(section);
    return tradeTable(section.querySelector(".trades"), own);
  });
  tabs.forEach((tab, number) => {
    tab.addEventListener("click", () => open(number));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      const next = (number + step + tabs.length) % tabs.length;
      open(next);
      tabs[next].focus();
    });
  });

  await loadPlotly();
  open(0);
  drawnBy(redrawAll);
