// Keeps the page as it is served fresh. Without this file nothing is missing but that.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  // become changes what differs between an element and what it should be, so that focus, selection and what is unfolded stay.
  function become(now, then) {
    for (const { name, value } of [...then.attributes]) {
      if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
    for (const { name } of [...now.attributes]) {
      if (!then.hasAttribute(name) && name !== "open") now.removeAttribute(name);
    }
    inside(now, then);
  }
  function inside(now, then) {
    const wanted = [...then.childNodes];
    wanted.forEach((want, i) => {
      const have = now.childNodes[i];
      if (!have) now.append(want);
      else if (have.nodeName !== want.nodeName) have.replaceWith(want);
      else if (have.nodeType === Node.ELEMENT_NODE) become(have, want);
      else if (have.data !== want.data) have.data = want.data;
    });
    while (now.childNodes.length > wanted.length) now.lastChild.remove();
  }

  function onPage(e) {
    const { title, state, layout, html } = JSON.parse(e.data);
    if (layout !== root.dataset.layout) { // the node has been started again since, as another version or into a cluster
      location.reload();
      return;
    }
    for (const id in html) {
      const then = document.createElement("template");
      then.innerHTML = html[id];
      if ($(id)) inside($(id), then.content);
    }
    document.title = title;
    if (root.dataset.state !== state) {
      const icon = document.querySelector("link[rel=icon]");
      icon.href = icon.dataset[state];
      root.dataset.state = state;
    }
  }

  // Charts: uPlot in place of the pictures that came with the page.
  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const short = (n, units, step) => {
    let i = 0;
    while (Math.abs(n) >= step && i < units.length - 1) { n /= step; i++; }
    return (n >= 9.95 || Number.isInteger(n) ? n.toFixed(0) : n.toFixed(n < 0.095 ? 2 : 1)) + units[i];
  };
  const write = {
    count: (n) => short(n, ["", "k", "M"], 1000),
    rate: (n) => short(n, ["", "k", "M"], 1000) + "/s",
    latency: (s) => (s < 1 ? short(s * 1000, [" ms"], 1000) : short(s, [" s"], 1000)),
    bytes: (n) => short(n, [" B", " KiB", " MiB", " GiB", " TiB"], 1024),
  };
  const powers = Array.from({ length: 50 }, (_, i) => 2 ** i); // what divides bytes well
  const charts = new Map();
  const history = { times: [], series: {} };

  function chart(box) {
    const names = box.dataset.series.split(" "), scale = write[box.dataset.scale];
    const lines = ["--line", "--line-2"];
    const axis = { stroke: () => color("--quiet"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const note = document.createElement("p");
    note.className = "note";
    const data = () => [history.times, ...names.map((n) => history.series[n] || history.times.map(() => null))];
    const picture = box.querySelector("svg");
    const label = picture ? picture.getAttribute("aria-label") : box.parentElement.innerText;
    box.replaceChildren();
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", label);
    const plot = new uPlot({
      width: box.clientWidth, height: 96, padding: [6, 14, 0, 0],
      legend: { show: false }, cursor: { y: false, drag: { setScale: false } },
      scales: { x: { range: (_, first, last) => [last - 600, last] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      series: [{}, ...names.map((_, i) => ({
        stroke: () => color(lines[i]), width: 1.5, points: { show: false }, dash: i ? [4, 3] : undefined,
        fill: i ? undefined : () => color("--area"),
      }))],
      axes: [
        { ...axis, space: 60, size: 20, gap: 3, grid: { show: false }, values: (_, at) => at.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })) },
        { ...axis, space: 30, size: 48, gap: 4, incrs: box.dataset.scale === "bytes" ? powers : undefined, grid: { stroke: () => color("--grid"), width: 1 }, values: (u, at) => at.map((n) => (n && u.data.slice(1).some((all) => all.some((v) => v)) ? scale(n) : "")) },
      ],
      hooks: { setCursor: [(u) => {
        const i = u.cursor.idx;
        note.textContent = i == null ? "" : names.map((_, n) => u.data[n + 1][i]).map((v) => (v == null ? "–" : scale(v))).join(" · ")
          + " at " + new Date(u.data[0][i] * 1000).toLocaleTimeString([], { hourCycle: "h23" });
      }] },
    }, data(), box);
    box.append(note);
    new ResizeObserver(() => { if (box.clientWidth) plot.setSize({ width: box.clientWidth, height: 96 }); }).observe(box);
    charts.set(box, () => plot.setData(data()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
  }

  function onChart(e) {
    const { whole, times, series } = JSON.parse(e.data);
    const drop = whole ? history.times.length : Math.max(0, history.times.length + times.length - 300);
    history.times = history.times.slice(drop).concat(times);
    for (const name in series) history.series[name] = (history.series[name] || []).slice(drop).concat(series[name]);
    for (const box of document.querySelectorAll("[data-series]")) {
      if (charts.has(box)) charts.get(box)();
      else if (box.dataset.series.split(" ").some((n) => history.series[n]?.some((v) => v != null))) chart(box);
    }
  }

  // The connection. One that is lost comes back by itself, unless the node refuses: then it is tried again after a while.
  let source, lastWord;
  function say(text, state) {
    $("live").textContent = text;
    root.dataset.live = state;
  }
  function watch() {
    clearTimeout(lastWord);
    source = new EventSource("/live");
    const heard = (take) => (e) => {
      take(e);
      say("Live", "on");
      clearTimeout(lastWord);
      lastWord = setTimeout(() => say("No news since", "off"), 10000);
    };
    source.addEventListener("page", heard(onPage));
    source.addEventListener("chart", heard(onChart));
    source.onerror = () => {
      say("Not connected since", "off");
      if (source.readyState === EventSource.CLOSED) lastWord = setTimeout(watch, 30000);
    };
  }
  document.addEventListener("visibilitychange", () => { // nobody looks: the node need not tell
    if (document.hidden) { source.close(); clearTimeout(lastWord); } else watch();
  });
  if (!document.hidden) watch();
})();
