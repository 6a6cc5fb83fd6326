"use strict";
// Draws what was computed beforehand: no figure of a statistic is made here.
(() => {
  const { front, methods, figures } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const config = { responsive: true, displayModeBar: false };
  const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";  // on a phone a finger scrolls the page
  const GREY = "#848b94";
  const PRINT_PX = 660;

  const escape = (text) => String(text).replace(/[&<>{]/g, (c) => `&#${c.charCodeAt(0)};`);
  const shorten = (text, n) => (text.length <= n ? text : `${text.slice(0, Math.ceil(n / 2) - 1)}…${text.slice(-Math.floor(n / 2))}`);

  const cellOf = (kind, text, mark) => {
    const made = document.createElement(kind);
    if (mark) made.append(mark.cloneNode(true));
    made.append(text);
    return made;
  };

  // ---- figures made in Python

  function draw(place, name) {
    const figure = figures[name];
    if (!figure) return;
    place.dataset.drawn = name;
    const layout = { ...figure.layout, dragmode };
    if (layout.meta && place.clientWidth < 520) layout.yaxis = { ...layout.yaxis, ticktext: layout.meta.narrow };
    const legend = document.querySelector(`.legend[data-for="${place.id}"]`);
    const data = legend ? figure.data.map((trace) => ({ ...trace, visible: shown(legend, trace) })) : figure.data;
    Plotly.react(place, data, layout, config);
    if (legend) fillLegend(legend, place, figure);
  }

  const marks = new Map([...document.querySelectorAll("#score-table tbody th, .panel h3")]
    .map((cell) => [cell.lastChild.textContent, cell.querySelector(".mark")]));

  // Plotly's own legend covers its figure where there are many entries, and no key reaches it.
  const pressed = (legend, method) => [...legend.children].find((button) => button.dataset.method === method)?.ariaPressed;
  function shown(legend, trace) {
    const state = pressed(legend, trace.meta);
    return state ? state === "true" : trace.visible;
  }
  function fillLegend(legend, place, figure) {
    const entries = new Map();
    figure.data.forEach((trace) => entries.has(trace.meta) || entries.set(trace.meta, shown(legend, trace)));
    legend.replaceChildren(...[...entries].map(([method, visible]) => {
      const button = cellOf("button", method, marks.get(method));
      button.type = "button";
      button.dataset.method = method;
      button.ariaPressed = String(visible);
      button.addEventListener("click", () => {
        button.ariaPressed = String(button.ariaPressed !== "true");
        const lines = place.data.flatMap((trace, i) => (trace.meta === method ? [i] : []));
        Plotly.restyle(place, { visible: button.ariaPressed === "true" }, lines);
      });
      return button;
    }));
  }

  const waiting = new Map();
  const drawWaiting = (place) => {
    if (!waiting.has(place)) return;
    const name = waiting.get(place);
    waiting.delete(place);
    draw(place, name());
  };
  const observer = new IntersectionObserver(
    (entries) => entries.forEach((entry) => entry.isIntersecting && drawWaiting(entry.target)),
    { rootMargin: "600px" },
  );
  function drawWhenSeen(place, name) {
    waiting.set(place, name);
    observer.observe(place);
  }

  document.querySelectorAll("[data-figure]").forEach((place) => drawWhenSeen(place, () => place.dataset.figure));

  const ratesKind = byId("rates-kind");
  const rates = [...document.querySelectorAll("[data-rates]")];
  const ratesName = (place) => {
    const kind = ratesKind ? ratesKind.value : "rates-score-0" in figures ? "score" : "loss";
    return `rates-${kind}-${place.dataset.rates}`;
  };
  rates.forEach((place) => drawWhenSeen(place, () => ratesName(place)));
  ratesKind?.addEventListener("change", () =>
    rates.filter((place) => !waiting.has(place)).forEach((place) => draw(place, ratesName(place))));

  byId("training-kind")?.addEventListener("change", (event) => {
    const place = byId("figure-training");
    place.dataset.figure = `training-${event.target.value}`;
    if (!waiting.has(place)) draw(place, place.dataset.figure);
  });

  // ---- the front, for the two metrics chosen

  const place = byId("figure-front");
  const selects = [byId("front-x"), byId("front-y")];

  function ends(name, names) {
    const { scale } = front.axes[name];
    const log = scale === "log";
    const values = names.flatMap((n) => {
      const p = front.points[name][n];
      return [p.value, p.low, p.high].filter((v) => v !== null && (!log || v > 0)).map((v) => (log ? Math.log10(v) : v));
    });
    const low = Math.min(...values), high = Math.max(...values);
    const room = (high - low) * 0.09 || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  }

  const errors = (p, color) =>
    p.low === null || p.high === null ? undefined
      : { type: "data", symmetric: false, array: [p.high - p.value], arrayminus: [p.value - p.low], color, thickness: 1.3, width: 3 };

  function placeText(found, name) {
    const p = found.membership[name];
    if (p === undefined) return "none: a single run";
    return methods[name].single ? `${p.toFixed(2)} (one seed)` : p.toFixed(2);
  }

  function frontTraces(found, x, y, names) {
    return names.map((name) => {
      const a = front.points[x][name], b = front.points[y][name], m = methods[name];
      const p = found.membership[name];
      const hollow = m.single || p === undefined, chance = p ?? (found.members.includes(name) ? 0.8 : 0.3);
      const on = found.members.includes(name);
      const text = [
        `<b>${escape(name)}</b>`,
        `${escape(front.axes[x].label)}: ${escape(a.text)} (${escape(a.spread)})`,
        `${escape(front.axes[y].label)}: ${escape(b.text)} (${escape(b.spread)})`,
        on ? "on the front" : "not on the front",
        `probability of being on it: ${escape(placeText(found, name))}`,
      ];
      return {
        type: "scatter", mode: "markers", x: [a.value], y: [b.value], error_x: errors(a, m.color), error_y: errors(b, m.color),
        opacity: 0.65 + 0.35 * chance,
        marker: { color: m.color, symbol: hollow ? `${m.symbol}-open` : m.symbol, size: 9 + 8 * chance - (hollow ? 3 : 0), line: { width: hollow ? 2 : 0, color: m.color } },
        hovertext: text.join("<br>"), hoverinfo: "text", name: escape(name),
      };
    });
  }

  // From the best side of the first metric to its worst: along first, then up.
  function staircase(found, x, y, edgeX, edgeY) {
    const sign = front.axes[x].direction === "lower" ? 1 : -1;
    const steps = found.members
      .map((name) => [front.points[x][name].value, front.points[y][name].value])
      .sort((a, b) => sign * (a[0] - b[0]) || sign * (a[1] - b[1]));
    const path = [];
    steps.forEach(([a, b], i) => {
      path.push(i ? [a, steps[i - 1][1]] : [a, edgeY], [a, b]);
    });
    if (steps.length) path.push([edgeX, steps[steps.length - 1][1]]);
    return { type: "scatter", mode: "lines", x: path.map((p) => p[0]), y: path.map((p) => p[1]), line: { color: GREY, width: 1.6 }, hoverinfo: "skip" };
  }

  const pen = document.createElement("canvas").getContext("2d");
  const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  // Beside the error bars first.
  const SIDES = [["left", "bottom", 7, 6], ["right", "bottom", -7, 6], ["left", "top", 7, -6], ["right", "top", -7, -6],
    ["center", "bottom", 0, 11], ["center", "top", 0, -11], ["left", "middle", 11, 0], ["right", "middle", -11, 0]];

  // With a line to the point.
  const FARTHER = [24, 48, 80, 120, 170].flatMap((dx) => [12, -12, 32, -32, 54, -54, 80, -80, 110, -110, 140, -140].flatMap((dy) => [["left", "middle", dx, dy], ["right", "middle", -dx, dy]]));

  // A name beside each point where it covers nothing; those on the front come first and have one in any case.
  function labels(found, x, y, names) {
    const { xaxis, yaxis } = place._fullLayout;
    pen.font = "12px system-ui, sans-serif";
    const at = (name) => [xaxis.d2p(front.points[x][name].value), yaxis.d2p(front.points[y][name].value)];
    const taken = names.map((name) => { const [a, b] = at(name); return [a - 7, b - 7, a + 7, b + 7]; });
    const rank = (name) => (found.members.includes(name) ? 0 : 2) - (found.membership[name] || 0);
    const notes = [];
    for (const name of [...names].sort((a, b) => rank(a) - rank(b))) {
      const text = shorten(name, place.clientWidth < 520 ? 16 : 26), width = pen.measureText(text).width + 4, [a, b] = at(name);
      const inAnyCase = found.members.includes(name);
      for (const [number, [xanchor, yanchor, dx, dy]] of (inAnyCase ? [...SIDES, ...FARTHER, SIDES[0]] : SIDES).entries()) {
        const left = a + dx - (xanchor === "center" ? width / 2 : xanchor === "right" ? width : 0);
        const top = b - dy - (yanchor === "middle" ? 8 : yanchor === "bottom" ? 16 : 0);
        const box = [left, top, left + width, top + 16];
        const outside = left < 0 || top < 0 || box[2] > xaxis._length || box[3] > yaxis._length;
        if (number < SIDES.length + FARTHER.length && (outside || taken.some((other) => overlap(box, other)))) continue;
        taken.push(box);
        const [vx, vy] = [[xaxis, front.points[x][name].value], [yaxis, front.points[y][name].value]]
          .map(([axis, v]) => (axis.type === "log" ? Math.log10(v) : v));
        notes.push({ x: vx, y: vy, text: escape(text), xanchor, yanchor, font: { size: 12 }, borderpad: 0,
          ...(Math.abs(dx) > 12 ? { showarrow: true, arrowhead: 0, arrowwidth: 1, arrowcolor: GREY, standoff: 6, ax: dx, ay: -dy } : { showarrow: false, xshift: dx, yshift: dy }) });
        break;
      }
    }
    return notes;
  }

  function corner(x, y) {
    const left = front.axes[x].direction === "lower", top = front.axes[y].direction === "higher";
    const arrow = left ? (top ? "↖" : "↙") : top ? "↗" : "↘";
    return { xref: "paper", yref: "paper", x: left ? 0 : 1, y: top ? 1 : 0, xanchor: left ? "left" : "right", yanchor: top ? "bottom" : "bottom",
      yshift: top ? 2 : 4, text: left ? `${arrow} better` : `better ${arrow}`, showarrow: false, font: { size: 12 } };
  }

  function foundFor(x, y) {
    return front.fronts[`${x}|${y}`] || front.fronts[`${y}|${x}`];
  }

  function drawFront() {
    const [x, y] = selects.map((select) => select.value);
    const found = foundFor(x, y);
    if (!found) return;
    const names = Object.keys(methods).filter((name) => found.points.includes(name) && front.points[x][name] && front.points[y][name]);
    const [rangeX, rangeY] = [ends(x, names), ends(y, names)];
    const unlog = (name, v) => (front.axes[name].scale === "log" ? 10 ** v : v);
    const edgeX = unlog(x, rangeX[front.axes[x].direction === "lower" ? 1 : 0]);
    const edgeY = unlog(y, rangeY[front.axes[y].direction === "lower" ? 1 : 0]);
    const axis = (name, range) => ({ title: { text: escape(front.axes[name].title) }, type: front.axes[name].scale, range, automargin: true, zeroline: false,
      ticks: "outside", exponentformat: "none", nticks: front.axes[name].scale === "log" ? 8 : undefined });
    const layout = {
      dragmode, height: 480, margin: { l: 60, r: 16, t: 26, b: 52 }, showlegend: false, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "system-ui, sans-serif", size: 13 },
      hoverlabel: { bgcolor: "#1f2933", bordercolor: "#1f2933", font: { color: "#ffffff" }, align: "left" },
      xaxis: axis(x, rangeX), yaxis: axis(y, rangeY), annotations: [corner(x, y)],
    };
    if (printing) layout.width = PRINT_PX;
    const traces = [staircase(found, x, y, edgeX, edgeY), ...frontTraces(found, x, y, names)];
    Plotly.react(place, traces, layout, config).then(() =>
      Plotly.relayout(place, { annotations: [corner(x, y), ...labels(found, x, y, names)] }));
    place.dataset.drawn = `${x}|${y}`;
    frontText(found, x, y, names);
  }

  function fill(table, rows, x, y) {
    const head = ["method", front.axes[x].label, front.axes[y].label, "probability", ""].map((text) => cellOf("th", text));
    const line = document.createElement("tr");
    line.append(...head);
    table.tHead.replaceChildren(line);
    table.tBodies[0].replaceChildren(...rows.map(([name, ...texts]) => {
      const row = document.createElement("tr");
      row.append(cellOf("th", name, marks.get(name)), ...texts.map((text) => cellOf("td", text)));
      row.lastChild.className = "wrap";
      return row;
    }));
  }

  function frontText(found, x, y, names) {
    const describe = (name) => {
      const beaten = found.removable[name];
      const note = beaten === undefined ? "" : `one standard error of the score could remove it${beaten.length ? `: ${beaten.join(", ")} would beat it` : ""}`;
      return [name, front.points[x][name].text, front.points[y][name].text, placeText(found, name), note];
    };
    const sign = front.axes[x].direction === "lower" ? 1 : -1;
    const byX = (a, b) => sign * (front.points[x][a].value - front.points[x][b].value);
    const members = names.filter((name) => found.members.includes(name)).sort(byX);
    const others = names.filter((name) => !found.members.includes(name))
      .sort((a, b) => (found.membership[b] || 0) - (found.membership[a] || 0) || byX(a, b));
    fill(byId("front-table"), members.map(describe), x, y);
    fill(byId("front-others"), others.map(describe), x, y);
    const notes = byId("front-notes");
    notes.parentElement.hidden = !found.notes.length;
    notes.replaceChildren(...found.notes.map((text) => cellOf("li", text)));
    const hidden = Object.keys(methods).length - names.length;
    const zero = [x, y].filter((n) => front.axes[n].floor !== null && names.some((name) => front.points[n][name].value <= front.axes[n].floor));
    byId("front-caption").textContent = [
      ...[x, y].map((name) => `${front.axes[name].label}: ${front.axes[name].better}; ${front.axes[name].window}.`),
      found.hypervolume === null ? "" : `Hypervolume ${found.hypervolume}.`,
      zero.length ? `Zero has no place on a logarithmic axis and is drawn on its edge (${zero.map((n) => front.axes[n].label).join(", ")}).` : "",
      hidden ? `${hidden} without both values ${hidden === 1 ? "is" : "are"} not drawn.` : "",
    ].filter(Boolean).map((text) => (/[.!?]$/.test(text) ? text : `${text}.`)).join(" ");
  }

  let printing = false;
  if (place) {
    let former = selects.map((select) => select.value);
    selects.forEach((select, index) => select.addEventListener("change", () => {
      const now = selects.map((s) => s.value);
      if (now[0] === now[1]) selects[1 - index].value = former[index];  // a metric against itself: the two change places
      former = selects.map((s) => s.value);
      drawFront();
    }));
    drawFront();
    let timer, width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(timer);
      timer = setTimeout(drawFront, 150);
    });
  }

  // ---- tables

  document.querySelectorAll("table.sortable").forEach((table) => {
    const headings = [...table.tHead.rows[0].cells];
    const numeric = headings.map((_, i) => [...table.tBodies[0].rows].some((row) => row.cells[i].classList.contains("number")));
    headings.forEach((heading, index) => {
      heading.classList.toggle("number-heading", numeric[index]);
      [...table.tBodies[0].rows].forEach((row) => numeric[index] && row.cells[index].classList.add("number"));
      heading.querySelector("button").addEventListener("click", () => {
        const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        const key = (row) => { const { sort } = row.cells[index].dataset; return numeric[index] ? (sort === undefined ? null : Number(sort)) : row.cells[index].textContent; };
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [p, q] = [key(a), key(b)];
          if (p === null || q === null) return (p === null) - (q === null);  // what is missing stays last
          return sign * (numeric[index] ? p - q : p.localeCompare(q, undefined, { numeric: true }));
        });
        table.tBodies[0].append(...rows);
      });
    });
  });

  const matrix = byId("matrix");
  if (matrix) {
    const cells = [...matrix.tBodies[0].rows].map((row) => [...row.querySelectorAll("td")]);
    const tell = (cell) => { if (cell.title) byId("pair-text").textContent = cell.title; };
    cells.flat().forEach((cell) => {
      ["focus", "mouseenter", "click"].forEach((kind) => cell.addEventListener(kind, () => tell(cell)));
    });
    matrix.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      const row = cells.findIndex((line) => line.includes(event.target));
      if (!step || row < 0) return;
      const next = cells[row + step[0]]?.[cells[row].indexOf(event.target) + step[1]];
      if (!next) return;
      event.preventDefault();
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  // ---- paper: everything drawn, at its width

  addEventListener("beforeprint", () => {
    printing = true;
    [...waiting.keys()].forEach(drawWaiting);
    document.querySelectorAll("#recommendation details").forEach((details) => (details.open = true));
    document.querySelectorAll(".plot").forEach((p) => {
      if (p === place || !p._fullLayout) return;
      Plotly.relayout(p, { width: p.classList.contains("small") ? PRINT_PX / 2 - 20 : PRINT_PX });
    });
    if (place) drawFront();
  });
  addEventListener("afterprint", () => {
    printing = false;
    document.querySelectorAll(".plot").forEach((p) => p !== place && p._fullLayout && Plotly.relayout(p, { width: null, autosize: true }));
    if (place) drawFront();
  });
})();
