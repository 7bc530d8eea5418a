// Pictures of stacks: a press on a function makes it as wide as the picture, and words find functions and files.
"use strict";
(() => {
  const LABELLED = 26;  // pixels; a narrower function has no room for its name

  function element(name, properties) {
    return Object.assign(document.createElement(name), properties);
  }

  function enhance(picture) {
    const cells = Array.from(picture.children, node => ({
      node, start: parseFloat(node.getAttribute("x")), width: parseFloat(node.getAttribute("width")),
      top: Number(node.getAttribute("y")), said: node.querySelector("title").textContent,
    }));
    const whole = {start: 0, width: 100, top: -1, said: ""};
    const tools = element("form", {className: "tools"});
    const label = element("label", {textContent: "Find in the stacks "});
    const find = element("input", {type: "search", autocomplete: "off", placeholder: "function or file"});
    const back = element("button", {type: "button", textContent: "show all", hidden: true});
    const said = element("output", {className: "n"});
    said.setAttribute("aria-live", "polite");
    label.append(find);
    tools.append(label, back, said);
    let zoomed = whole;

    const holds = (outer, inner) => outer.top < inner.top &&
      outer.start <= inner.start + .01 && outer.start + outer.width >= inner.start + inner.width - .01;

    function draw() {
      const wide = picture.clientWidth || 1000;
      for (const cell of cells) {
        const above = holds(cell, zoomed);
        const shown = above || cell === zoomed || holds(zoomed, cell);
        const start = above ? 0 : (cell.start - zoomed.start) / zoomed.width * 100;
        const width = above ? 100 : cell.width / zoomed.width * 100;
        cell.node.setAttribute("x", start + "%");
        cell.node.setAttribute("width", width + "%");
        cell.node.classList.toggle("gone", !shown);
        cell.node.classList.toggle("above", above);
        cell.node.classList.toggle("tiny", width * wide / 100 < LABELLED);
      }
      back.hidden = zoomed === whole;
    }

    function search() {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      const hits = cells.filter(cell => words.length && words.every(word => cell.said.toLowerCase().includes(word)));
      for (const cell of cells) cell.node.classList.toggle("hit", hits.includes(cell));
      picture.classList.toggle("searched", words.length > 0);
      // A function below another hit is part of that one's share.
      const share = hits.filter(cell => !hits.some(other => holds(other, cell))).reduce((sum, cell) => sum + cell.width, 0);
      said.textContent = !words.length ? zoomed.said : !hits.length ? "nothing found"
        : (share < 1 ? "<1" : share > 99 && share < 99.99 ? ">99" : Math.round(share)) + " % of the time with the GIL held";
    }

    function zoom(cell) {
      zoomed = cell === zoomed ? whole : cell;
      draw();
      search();
    }

    for (const cell of cells) {
      cell.node.setAttribute("role", "button");
      cell.node.setAttribute("tabindex", "0");
      cell.node.setAttribute("aria-label", cell.said);
      cell.node.addEventListener("click", () => zoom(cell));
      cell.node.addEventListener("keydown", event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        zoom(cell);
      });
    }
    find.addEventListener("input", search);
    back.addEventListener("click", () => { zoom(whole); find.focus(); });
    tools.addEventListener("submit", event => event.preventDefault());
    new ResizeObserver(draw).observe(picture);
    picture.setAttribute("role", "group");
    picture.setAttribute("aria-label", "the stacks that hold the GIL");
    picture.classList.add("live");
    picture.before(tools);
    draw();
  }

  // Only when it is opened: a report may have thousands of pictures.
  document.addEventListener("toggle", event => {
    const picture = event.target.open && event.target.querySelector(".icicle:not(.live)");
    if (picture) enhance(picture);
  }, true);
})();
