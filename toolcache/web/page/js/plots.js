// The four plots: what calls came to, the hit rate, how long calls took, what was saved.

/* global uPlot */

import { el, say } from "./dom.js";
import * as format from "./format.js";

const HEIGHT = 132;

/** A colour of the style sheet, which may be one of two, as the canvas wants it. */
function colour(name) {
  const probe = el("span", { class: `ink-${name}`, hidden: true });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function faint(of) {
  return of.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*$/, "rgba($1,$2,$3,0.16)");
}

// A line for each power of ten, and no other.
const TENS = {
  filter: (_, splits) => splits,
  splits: (_, __, least, most) => {
    const [from, to] = [Math.ceil(Math.log10(least) - 1e-9), Math.floor(Math.log10(most) + 1e-9)];
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => 10 ** (from + at));
  },
};
const FONT = "11px system-ui, sans-serif";

/**
 * One plot. `lines`: { name, ink, column(points), text, fill, bars }; `tick(value)` says what stands at its scale;
 * `range` and `log` as uPlot has them.
 */
export class Plot {
  constructor({ title, lines, tick, range, log = false, summary }) {
    this._lines = lines;
    this._tick = tick;
    this._range = range;
    this._log = log;
    this._summary = summary;
    this._values = lines.map((line) => el("b"));
    this._at = el("span", { class: "at" });
    const legend = lines.map((line, number) =>
      el("span", { class: `legend ink-${line.ink}` }, line.name && [el("i"), el("span", null, `${line.name} `)], this._values[number]),
    );
    this._box = el("div", { class: "canvas", role: "img", "aria-label": title });
    this._title = title;
    const head = el("figcaption", null, el("strong", null, title), el("span", { class: "legends" }, legend), this._at);
    this.element = el("figure", { class: "plot", "aria-label": title }, head, this._box);
    document.addEventListener("themechange", () => this._redraw());
    new ResizeObserver(() => this._resize()).observe(this._box);
  }

  update(points, step, now) {
    this._points = points;
    this._step = step;
    this._data = [points.at, ...this._lines.map((line) => line.column(points))];
    if (!this._plot) this._make();
    else this._plot.setData(this._data);
    this._show(null);
    this._box.setAttribute("aria-label", `${this._title}: ${this._summary(points, now)}`);
  }

  _resize() {
    if (this._plot && this._box.clientWidth) this._plot.setSize({ width: this._box.clientWidth, height: HEIGHT });
  }

  _redraw() {
    if (!this._plot) return;
    this._plot.destroy();
    this._make();
  }

  _make() {
    const [ink, line] = [colour("muted"), colour("line")];
    const axis = { stroke: ink, font: FONT, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const options = {
      width: this._box.clientWidth || 300,
      height: HEIGHT,
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: this._range, distr: this._log ? 3 : 1 } },
      axes: [
        { ...axis, grid: { show: false }, size: 22, gap: 3, space: 60, values: (_, at) => at.map((one) => format.point(one, this._step)) },
        { ...axis, ...(this._log ? TENS : null), size: 58, gap: 4, space: 28, values: (_, values) => values.map((value) => (value === null ? "" : this._tick(value))) },
      ],
      series: [{}, ...this._lines.map((one) => this._series(one))],
      hooks: { setCursor: [(plot) => this._show(plot.cursor.idx)] },
    };
    this._plot = new uPlot(options, this._data, this._box);
  }

  _series(one) {
    const stroke = colour(one.ink);
    const series = { stroke, width: one.bars ? 0 : (one.width ?? 1.5), points: { show: false }, spanGaps: false };
    if (one.bars) return { ...series, fill: stroke, paths: uPlot.paths.bars({ size: [0.7, 14], gap: 1 }) };
    return one.fill ? { ...series, fill: faint(stroke) } : series;
  }

  /** The numbers beneath the pointer, or the newest ones. */
  _show(place) {
    if (!this._points) return;
    const last = this._points.at.length - 1;
    const here = place ?? last;
    this._lines.forEach((line, number) => {
      const value = (line.value ?? line.column)(this._points)[here];
      say(this._values[number], value === null || value === undefined ? "–" : line.text(value));
    });
    say(this._at, place === null || place === undefined ? "" : format.instant(this._points.at[here]));
  }
}

const known = (values) => values.filter((value) => value !== null && value !== undefined);
const most = (values) => (known(values).length ? Math.max(...known(values)) : null);
const last = (values) => values[values.length - 1];
const sum = (values) => values.reduce((all, one) => all + one, 0);

function rates(points) {
  return points.hits.map((hits, at) => (hits + points.misses[at] ? hits / (hits + points.misses[at]) : null));
}

const both = (points) => points.hits.map((hits, at) => hits + points.misses[at]);
const fromZero = (_, __, top) => [0, top > 0 ? top * 1.08 : 1];
const positive = (column) => (points) => points[column].map((value) => (value > 0 ? value : null));

export function plots() {
  const costs = (points) => sum(points.dollars_saved) > 0;
  return [
    new Plot({
      title: "Calls",
      lines: [
        { name: "misses", ink: "miss", bars: true, column: both, value: (points) => points.misses, text: format.count },
        { name: "hits", ink: "hit", bars: true, column: (points) => points.hits, text: format.count },
      ],
      tick: format.count,
      range: fromZero,
      summary: (points) =>
        `${format.count(sum(points.hits))} hits and ${format.count(sum(points.misses))} misses, at most ${format.count(most(both(points)))} calls at a time.`,
    }),
    new Plot({
      title: "Hit rate",
      lines: [{ name: "", ink: "hit", fill: true, column: rates, text: format.share }],
      tick: (value) => `${Math.round(value * 100)} %`,
      range: () => [0, 1.02],
      summary: (points) => {
        const seen = known(rates(points));
        return seen.length
          ? `lowest ${format.share(Math.min(...seen))}, highest ${format.share(Math.max(...seen))}, last ${format.share(last(seen))}.`
          : "no calls.";
      },
    }),
    new Plot({
      title: "Latency",
      lines: [
        { name: "p99", ink: "p99", column: positive("p99"), text: format.latency },
        { name: "p95", ink: "p95", column: positive("p95"), text: format.latency },
        { name: "p50", ink: "hit", width: 2, column: positive("p50"), text: format.latency },
      ],
      tick: format.latency,
      log: true,
      summary: (points) => `at most ${format.latency(most(points.p50))} for half of the calls, ${format.latency(most(points.p99))} for 99 of 100.`,
    }),
    new Plot({
      title: "Saved",
      lines: [
        {
          name: "",
          ink: "hit",
          bars: true,
          column: (points) => (costs(points) ? points.dollars_saved : points.seconds_saved),
          text: (value) => (saving.inDollars ? format.dollars(value) : format.span(value)),
        },
      ],
      tick: (value) => (saving.inDollars ? format.dollars(value) : format.span(value)),
      range: fromZero,
      summary: (points) => `${format.span(sum(points.seconds_saved))} of computing, ${format.dollars(sum(points.dollars_saved))}.`,
    }),
  ];
}

/** Whether what was saved is told in money, or in time. */
export const saving = { inDollars: false };
