// What the tests ask a report page and do with it; what they know of the page's structure is here and nowhere else.
"use strict";
globalThis.probe = (() => {
  // What is drawn of data; the legend has lines as well.
  const DRAWN = ".cartesianlayer .trace path[d]";
  const section = () => document.querySelector("section.account:not([hidden])");
  const trades = () => section().querySelector(".trades");
  const search = () => trades().querySelector("input[type=search]");
  const heads = () => [...trades().querySelectorAll("thead th")];
  const count = () => trades().querySelector("[aria-live]");
  const list = () => trades().querySelector(".list");
  const tabs = () => [...document.querySelectorAll("[role=tab]")];
  const place = (name) => section().querySelector(`[data-chart=${name}]`);
  // The line that was drawn last, which is the account's own.
  const last = (name) => [...place(name).querySelectorAll(`${DRAWN}.js-line`)].at(-1);

  // Until what was done is on the screen.
  const settled = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));

  const charts = () => [...section().querySelectorAll("[data-chart]")].map((found) => {
    const box = found.querySelector("svg.main-svg")?.getBoundingClientRect();
    return {
      name: found.dataset.chart, plotted: found.classList.contains("js-plotly-plot"),
      width: box?.width ?? 0, height: box?.height ?? 0, room: found.clientWidth,
      names: found.data?.map((trace) => trace.name) ?? [], traces: found.querySelectorAll(".cartesianlayer .trace").length,
      paths: found.querySelectorAll(DRAWN).length,
    };
  });

  const table = () => {
    const titles = heads();
    const rows = [...trades().querySelectorAll("tbody tr")].filter((row) => row.cells.length === titles.length);
    return {
      heads: titles.map((head) => head.textContent), order: titles.map((head) => head.ariaSort),
      rows: rows.map((row) => [...row.cells].map((cell) => cell.textContent)), count: count().textContent,
    };
  };

  const then = async (result) => { await settled(); return result(); };

  return {
    charts, table,
    ready: () => document.documentElement.dataset.ready === "true",
    trouble: () => document.getElementById("trouble").hidden ? "" : document.getElementById("trouble").textContent,
    resources: () => performance.getEntriesByType("resource").map((entry) => entry.name),
    images: () => document.images.length,

    // Tabs: names; which is selected and which account is shown.
    tabs: () => tabs().map((tab) => tab.firstChild.textContent.trim()),
    shown: () => ({
      tab: tabs().findIndex((tab) => tab.ariaSelected === "true"),
      accounts: [...document.querySelectorAll("section.account")].flatMap((one, i) => one.hidden ? [] : [i]),
    }),
    open: (number) => { tabs()[number]?.click(); return then(probe.shown); },
    press: (key) => {
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      return then(probe.shown);
    },
    focus: (number) => tabs()[number].focus(),

    // Switches beside charts, and the charts that they change.
    switches: () => [...section().querySelectorAll("[data-switch] button[aria-pressed=false]:not(:disabled)")]
      .map((button) => [button.closest("[data-switch]").dataset.switch, button.dataset.value]),
    choose: (name, value) => {
      section().querySelector(`[data-switch=${name}] [data-value=${value}]`).click();
      return then(() => section().querySelector(`[data-switch=${name}] [aria-pressed=true]`).dataset.value);
    },
    chart: (name) => ({
      type: place(name).layout.yaxis.type ?? "linear", drawn: last(name).getAttribute("d"),
      labels: [...place(name).querySelectorAll(".ytick text")].map((label) => label.textContent),
    }),
    tones: () => ({ paper: getComputedStyle(document.body).backgroundColor, line: getComputedStyle(last("equity")).stroke }),

    // The list of trades; only rows about those in sight are in the page.
    find: (words) => {
      search().value = words;
      search().dispatchEvent(new InputEvent("input", { bubbles: true }));
      return then(table);
    },
    sort: (title) => {
      heads().find((head) => head.textContent === title).querySelector("button").click();
      return then(table);
    },
    filter: (name, value) => {
      const choice = trades().querySelector(`select[name=${name}]`);
      choice.value = value;
      choice.dispatchEvent(new InputEvent("input", { bubbles: true }));
      return then(table);
    },
    choices: (name) => [...trades().querySelectorAll(`select[name=${name}] option`)].map((option) => option.value),
    scroll: (views) => {
      list().scrollTop = views === "end" ? list().scrollHeight : list().scrollTop + views * list().clientHeight;
      return then(table);
    },
    // Rows of the list that a reader sees, and how much of the list's height they leave empty.
    sight: () => {
      const box = list().getBoundingClientRect();
      const top = list().querySelector("thead th").getBoundingClientRect().bottom;
      const seen = [...list().querySelectorAll("tbody tr:not(.gap)")].map((row) => row.getBoundingClientRect())
        .filter((row) => row.bottom > top && row.top < box.bottom);
      return { rows: seen.length, empty: seen.length ? Math.max(seen[0].top - top, box.bottom - seen.at(-1).bottom) : box.height };
    },
    print: (on) => {
      dispatchEvent(new Event(on ? "beforeprint" : "afterprint"));
      return then(() => ({ printing: document.documentElement.classList.contains("printing"), rows: table().rows.length,
        widths: charts().map((chart) => chart.width) }));
    },
    // Something of known size to compare a step with: the texts of so many trades, made and put in order.
    reference: (rows) => Array.from({ length: rows }, (_, i) =>
      [new Date((i * 7919 % rows) * 6e7).toISOString(), "TICKER", i % 2 ? "buy" : "sell"].join(" ").toLowerCase()).sort().length,

    // What stands out of the window to the right, other than inside of what scrolls by itself.
    overflow: () => {
      const inside = (element) => element && (/auto|scroll|hidden|clip/.test(getComputedStyle(element).overflowX)
        || inside(element.parentElement));
      const root = document.documentElement;
      const out = root.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")].filter((element) =>
        element.getBoundingClientRect().right > innerWidth + 0.5 && !inside(element.parentElement));
      return { width: root.scrollWidth, window: innerWidth, out: out.slice(0, 5).map((element) => element.outerHTML.slice(0, 120)) };
    },
  };
})();
