"use strict";
// A pointer for the plots. It reads the values from the drawing: data-x and data-y say what places mean.
(() => {
  const svgNS = document.documentElement.namespaceURI.replace("1999/xhtml", "2000/svg");
  const axis = (text) => {
    const [low, high, from, to, scale, ...unit] = text.split(" ");
    return {low: +low, high: +high, from: +from, to: +to, log: scale === "log", unit: unit.join(" ")};
  };
  const valueAt = (a, place) => {
    const share = (place - a.from) / (a.to - a.from);
    return a.log ? a.low * Math.pow(a.high / a.low, share) : a.low + share * (a.high - a.low);
  };
  const digits = (v) => v === 0 ? "0" : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(3));
  const bytes = (v) => {
    for (const u of ["B", "kB", "MB", "GB"]) { if (Math.abs(v) < 1000) return digits(v) + " " + u; v /= 1000; }
    return digits(v) + " TB";
  };
  const text = (v, unit) => {
    switch (unit) {
      case "ms": return v < 1 ? digits(v * 1000) + " µs" : v >= 1000 ? digits(v / 1000) + " s" : digits(v) + " ms";
      case "bytes": return bytes(v);
      case "bytes per second": return bytes(v) + "/s";
      case "per second": return digits(v) + "/s";
      case "share": return digits(v * 100) + " %";
      case "time": return v.toFixed(v < 100 ? 1 : 0) + " s";
      case "percentile": return "p" + +(100 - 100 / v).toPrecision(7);
    }
    return digits(v);
  };
  const pointsOf = (line) => line.cached ??= line.getAttribute("points").split(" ").map((p) => p.split(",").map(Number));
  const clear = (figure) => figure.querySelectorAll(".tip, .pointer").forEach((e) => e.remove());

  const show = (figure, svg, event) => {
    clear(figure);
    const box = svg.getBoundingClientRect();
    const place = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const x = axis(svg.dataset.x), y = axis(svg.dataset.y);
    const near = new Map();
    for (const line of svg.querySelectorAll("polyline")) {
      for (const p of pointsOf(line)) {
        const old = near.get(line.dataset.name);
        if (!old || Math.abs(p[0] - place) < Math.abs(old.p[0] - place)) near.set(line.dataset.name, {p, line});
      }
    }
    if (near.size === 0) return;
    const at = [...near.values()].map((n) => n.p[0]).reduce((a, b) => Math.abs(a - place) < Math.abs(b - place) ? a : b);
    const tip = document.createElement("div");
    tip.className = "tip";
    const head = document.createElement("b");
    head.textContent = text(valueAt(x, at), x.unit);
    tip.append(head);
    for (const [name, {p, line}] of near) {
      if (Math.abs(p[0] - at) > 6) continue;
      const row = document.createElement("div"), colour = document.createElement("i");
      colour.className = [...line.classList].pop();
      row.append(colour, name + "  " + text(valueAt(y, p[1]), y.unit));
      tip.append(row);
    }
    const pointer = document.createElementNS(svgNS, "line");
    pointer.setAttribute("class", "pointer");
    for (const [k, v] of [["x1", at], ["x2", at], ["y1", y.to], ["y2", y.from]]) pointer.setAttribute(k, v);
    svg.append(pointer);
    figure.append(tip);
    const left = at / svg.viewBox.baseVal.width * box.width + box.left - figure.getBoundingClientRect().left;
    tip.style.top = "42px";
    tip.style.left = (left + tip.offsetWidth + 30 > figure.clientWidth ? left - tip.offsetWidth - 12 : left + 12) + "px";
  };

  document.addEventListener("pointermove", (event) => {
    const figure = event.target.closest?.("figure");
    document.querySelectorAll("figure:has(.tip)").forEach((f) => { if (f !== figure) clear(f); });
    const svg = figure?.querySelector("svg");
    if (svg) show(figure, svg, event);
  });
})();
