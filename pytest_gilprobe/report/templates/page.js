"use strict";
(() => {
  const table = document.getElementById("overview");
  const form = document.getElementById("controls");
  if (!table || !form) return;
  const body = table.tBodies[0];
  const collator = new Intl.Collator(undefined, {numeric: true});
  const find = document.getElementById("find");
  const noted = document.getElementById("noted");
  const shown = document.getElementById("shown");
  const all = document.getElementById("all");
  const chosen = new Set();
  const worded = table.classList.contains("matrix") ? Infinity : 3;  // so many columns are sorted by their words
  // To lay out 5,000 rows anew takes seconds: show so many at first, all on request.
  let most = body.rows.length > 1000 ? 300 : Infinity;
  const items = Array.from(body.rows, (row, at) => ({
    row, at, card: document.getElementById("w" + row.id.slice(1)), answer: row.dataset.answer || "",
    numbers: (row.dataset.sort || "").split(",").map(text => text === "" ? NaN : Number(text)),
    noted: "noted" in row.dataset, text: "",
  }));
  const text = item => item.text ||
    (item.text = (item.row.textContent + " " + (item.card ? item.card.textContent : "")).toLowerCase());

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const item of items) {
      const keep = (!chosen.size || chosen.has(item.answer)) && (!noted || !noted.checked || item.noted) &&
        words.every(word => text(item).includes(word));
      found += keep;
      item.row.hidden = !keep || found > most;
      if (item.card) item.card.hidden = item.row.hidden;
    }
    shown.textContent = found === items.length ? "" : found + " of " + items.length + " workloads";
    all.hidden = found <= most;
    all.textContent = "showing the first " + most + ": show all " + found;
  }

  function key(item, column) {
    return column < worded ? item.row.cells[column].textContent.trim() : item.numbers[column - worded];
  }

  function compare(a, b) {
    if (typeof a === "string" || typeof b === "string") return collator.compare(String(a), String(b));
    if (Number.isNaN(a) || a === undefined) return Number.isNaN(b) || b === undefined ? 0 : 1;
    return Number.isNaN(b) || b === undefined ? -1 : a - b;
  }

  function sort(header, column) {
    const downwards = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", downwards ? "descending" : "ascending");
    const known = item => typeof item.key === "string" || item.key === item.key && item.key !== undefined;
    for (const item of items) item.key = item.row.cells.length > column || column >= worded ? key(item, column) : "";
    items.sort((a, b) => known(a) !== known(b) ? known(b) - known(a)
      : (downwards ? -1 : 1) * compare(a.key, b.key) || a.at - b.at);
    // The cards stay in the report's order: to move 5,000 elements with content-visibility takes Chromium 20 s.
    for (const item of items) item.row.hidden = true;
    body.append(...items.map(item => item.row));
    filter();
  }

  for (const [column, header] of Array.from(table.tHead.rows[0].cells).entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header, column));
    header.append(button);
  }
  for (const chip of document.querySelectorAll("#answers > [data-answer]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "mixed");
    button.title = "show only these";
    button.append(...chip.childNodes);
    button.addEventListener("click", () => {
      const answer = chip.dataset.answer;
      if (!chosen.delete(answer)) chosen.add(answer);
      for (const each of document.querySelectorAll("#answers button"))
        each.setAttribute("aria-pressed", chosen.size ? String(chosen.has(each.parentNode.dataset.answer)) : "mixed");
      filter();
    });
    chip.append(button);
  }
  find.addEventListener("input", filter);
  if (noted) noted.addEventListener("change", filter);
  form.addEventListener("submit", event => event.preventDefault());
  all.addEventListener("click", () => { most = Infinity; filter(); });
  form.hidden = false;
  if (most < Infinity) filter();
})();
