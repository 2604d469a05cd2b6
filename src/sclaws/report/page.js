// Draws the charts, and lets the reader choose models, choose levels and sort tables. Data come as arrays with the
// field names beside them; text from the user's files is only ever text.
"use strict";
(() => {
  const panels = JSON.parse(document.getElementById("charts").textContent);
  const views = new Map();
  const all = (query, root = document) => Array.from(root.querySelectorAll(query));

  const rows = ({ fields, rows }) => rows.map((row) => Object.fromEntries(row.map((value, i) => [fields[i], value])));
  const text = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

  // A row names its curve by number; here it gets the curve's model and levels, and the words of its tooltip.
  function whole(row, curves) {
    const told = { ...row, ...(row.curve === undefined ? {} : curves[row.curve]) };
    if (row.predicted === undefined) return told;
    const range = row.low === null || row.high === null ? "" : ` (${text.format(row.low)} to ${text.format(row.high)})`;
    told.x_text = text.format(row.x);
    told.y_text = `${text.format(row.y)}${range}${row.note ? ": " + row.note : ""}`;
    told.law_text = row.predicted === null ? "–" : text.format(row.predicted);
    return told;
  }

  async function draw({ id, spec, data }, curves) {
    const element = document.getElementById(id);
    const narrow = element.clientWidth < 480;
    const filled = Object.entries(data).map(([name, table]) => [name, rows(table).map((row) => whole(row, curves))]);
    const full = { ...spec, datasets: Object.fromEntries(filled) };
    if (narrow && full.height === 340) full.height = 270;
    try {
      const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
      const { view } = await vegaEmbed(element, full, options);
      views.set(id, view);
    } catch (error) {
      element.textContent = "This chart could not be drawn: " + error.message + " The numbers are in the tables below.";
      console.error(error);
    }
  }

  const tell = (root, signal, value) => Promise.all(all(".chart", root).map((element) => {
    const view = views.get(element.id);
    const known = view && Object.hasOwn(view.getState({ signals: () => true }).signals, signal);
    return known ? view.signal(signal, value).runAsync() : null;
  }));

  function pills(card) {
    const buttons = all(".pill", card);
    buttons.forEach((button) => button.addEventListener("click", () => {
      const pressed = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!pressed));
      tell(card, "shown", buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.model));
    }));
    all("select", card).forEach((select) => select.addEventListener("change", () => {
      tell(card, select.dataset.signal, select.value);
    }));
  }

  function sortable(table) {
    const heads = all("th", table);
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)], [p, q] = [parseFloat(x), parseFloat(y)];
        if (Number.isNaN(p) !== Number.isNaN(q)) return Number.isNaN(p) ? 1 : -1;  // what has no number stays last
        return (up ? 1 : -1) * (Number.isNaN(p) ? x.localeCompare(y) : p - q);
      };
      const body = table.tBodies[0];
      body.append(...Array.from(body.rows).sort(compare));
    }));
  }

  all(".card").forEach(pills);
  all("table.sortable").forEach(sortable);
  (async () => {
    for (const panel of panels) {
      const curves = rows(panel.curves);
      for (const chart of panel.charts) {
        const fold = document.getElementById(chart.id).closest("details:not([open])");  // it has no width yet
        if (fold) fold.addEventListener("toggle", () => draw(chart, curves), { once: true });
        else await draw(chart, curves);
      }
    }
    document.documentElement.dataset.drawn = String(views.size);
  })();
})();
