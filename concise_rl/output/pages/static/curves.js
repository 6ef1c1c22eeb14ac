// Curves by uPlot, in the page's colours: hover shows the values at a step in every panel of the group.
const Curves = (() => {
  // Dashes tell the curves of a panel apart where colours do not.
  const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [14, 5], [4, 2]];
  const HEIGHT = 210;
  const drawn = [];

  const FORMATS = {
    percent: (value) => `${(100 * value).toFixed(1)} %`,
    seconds: (value) => (value < 120 ? `${+value.toPrecision(3)} s` : `${(value / 60).toFixed(1)} min`),
    number: (value) => {
      const size = Math.abs(value);
      if (value === 0) return "0";
      if (size >= 1e6 || size < 1e-3) return value.toExponential(1);
      return size >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
    },
  };

  // Steps that a curve does not have are left undefined, which uPlot draws across; its own nulls stay gaps.
  function joined(panel) {
    return uPlot.join(panel.series.map((series) => [series.x, series.y]));
  }

  // What is drawn: of a stacked panel the sums from the first curve on.
  function aligned(panel) {
    const [steps, ...curves] = joined(panel);
    if (!panel.stacked) return [steps, ...curves];
    return [steps, ...curves.map((_, last) => steps.map((_, i) => curves.slice(0, last + 1).reduce((sum, curve) => sum + (curve[i] ?? 0), 0)))];
  }

  function range(panel) {
    return (_, low, high) => {
      if (low === null || high === null) return [panel.low ?? 0, panel.high ?? 1];
      const bottom = Math.min(low, panel.low ?? low);
      const top = Math.max(high, panel.high ?? high);
      const margin = (top - bottom) * 0.06 || Math.abs(top) * 0.1 || 1;
      return [bottom === panel.low ? bottom : bottom - margin, top === panel.high ? top : top + margin];
    };
  }

  function options(panel, group, label, width) {
    const write = FORMATS[panel.format];
    const axis = { stroke: Theme.color("muted"), grid: { stroke: Theme.color("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const values = joined(panel);
    const dots = values[0].length < 2;
    const shade = (index) => Theme.color(`series-${panel.series[index].color}`).replace("rgb(", "rgba(").replace(")", ", 0.35)");
    return {
      width, height: HEIGHT,
      cursor: { sync: { key: group, setSeries: false }, points: { size: 6 }, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range: range(panel) } },
      legend: { live: true },
      bands: panel.stacked ? panel.series.slice(1).map((_, index) => ({ series: [index + 2, index + 1], fill: shade(index + 1) })) : [],
      axes: [
        { ...axis, size: 28, values: (_, values) => values.map((value) => (Number.isInteger(value) ? value.toLocaleString("en") : "")) },
        { ...axis, size: 58, values: (_, values) => values.map((value) => (value === null ? "" : write(value))) },
      ],
      series: [
        { label, value: (plot, value, _, at) => String((at === null ? plot.data[0].at(-1) : value) ?? "–") },
        ...panel.series.map((series, index) => ({
          label: series.label,
          stroke: Theme.color(`series-${series.color}`),
          width: panel.stacked ? 1 : 2,
          fill: panel.stacked && index === 0 ? shade(0) : undefined,
          dash: panel.stacked ? [] : DASHES[index % DASHES.length],
          points: { show: dots },
          value: (_, __, at, step) => shown(step === null ? last(values[at]) : values[at][step], write),
        })),
      ],
    };
  }

  // While nothing is pointed at, the legend has the last values.
  function last(values) {
    return values.findLast((value) => value !== null && value !== undefined);
  }

  function shown(value, write) {
    return value === null || value === undefined ? "–" : write(value);
  }

  // For those who do not see the canvas: where each curve begins and ends.
  function summary(panel) {
    const write = FORMATS[panel.format];
    const ends = panel.series.map((series) => {
      const values = series.y.filter((value) => value !== null);
      return values.length ? `${series.label} from ${write(values[0])} to ${write(values.at(-1))}` : `${series.label} without values`;
    });
    return `${panel.title}: ${ends.join(", ")}`;
  }

  function element(panel) {
    const section = document.createElement("section");
    section.className = "panel";
    const title = document.createElement("h3");
    title.textContent = panel.title;
    const note = document.createElement("p");
    note.textContent = panel.note;
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", summary(panel));
    section.append(title, note, plot);
    return { section, plot };
  }

  // The legend shows each curve's dashes beside its name, and of an area a box.
  function dashLegend(one) {
    one.plot.querySelectorAll(".u-legend .u-series:not(:first-child) .u-marker").forEach((marker, index) => {
      let end = 0;
      const color = (place) => (place % 2 ? "transparent" : "var(--curve)");
      const dashes = one.panel.stacked ? [] : DASHES[index % DASHES.length];
      const stops = dashes.map((length, place) => `${color(place)} ${end}px ${(end += length)}px`);
      marker.style.setProperty("--curve", `var(--series-${one.panel.series[index].color})`);
      marker.style.height = one.panel.stacked ? "10px" : "3px";
      marker.style.background = stops.length ? `repeating-linear-gradient(90deg, ${stops})` : "var(--curve)";
    });
  }

  function paint(one) {
    one.uplot?.destroy();
    one.uplot = new uPlot(options(one.panel, one.group, one.label, one.plot.clientWidth), aligned(one.panel), one.plot);
    dashLegend(one);
  }

  // Draw panels into an element, in place of what it holds.
  function draw(root, panels, group, label) {
    forget(root);
    root.replaceChildren();
    for (const panel of panels) {
      const { section, plot } = element(panel);
      root.append(section);
      const one = { root, panel, group, label, plot, uplot: null };
      one.observer = new ResizeObserver(() => {
        if (one.uplot && one.uplot.width !== plot.clientWidth) one.uplot.setSize({ width: plot.clientWidth, height: HEIGHT });
      });
      one.observer.observe(plot);
      drawn.push(one);
      paint(one);
    }
  }

  function forget(root) {
    for (const one of drawn.filter((other) => other.root === root)) {
      one.observer.disconnect();
      one.uplot?.destroy();
      drawn.splice(drawn.indexOf(one), 1);
    }
  }

  document.addEventListener("themechange", () => drawn.forEach(paint));
  for (const root of document.querySelectorAll("[data-curves]")) {
    const panels = JSON.parse(document.getElementById(root.dataset.curves).textContent);
    draw(root, panels, root.dataset.group, root.dataset.label);
  }
  return { draw };
})();
