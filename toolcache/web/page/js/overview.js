// What one looks at first: five figures, the plots, what calls came to, and the same numbers as a table.

import { el, say } from "./dom.js";
import * as format from "./format.js";
import { plots, saving } from "./plots.js";
import { Table } from "./table.js";

const FIGURES = { rate: "Hit rate", calls: "Calls now", latency: "Latency, p50", saved: "Saved", held: "In memory" };

class Figure {
  constructor(label) {
    this._value = el("strong");
    this._note = el("small");
    this.element = el("div", { class: "figure" }, el("dt", null, label), el("dd", null, this._value, this._note));
  }

  show(value, note) {
    say(this._value, value);
    say(this._note, note);
  }
}

const NUMBERS = [
  { head: "From", text: (row) => format.instant(row.at) },
  { head: "Hits", number: true, text: (row) => format.count(row.hits) },
  { head: "Misses", number: true, text: (row) => format.count(row.misses) },
  { head: "Hit rate", number: true, text: (row) => (row.hits + row.misses ? format.share(row.hits / (row.hits + row.misses)) : "–") },
  { head: "p50", number: true, wide: true, text: (row) => format.latency(row.p50) },
  { head: "p95", number: true, text: (row) => format.latency(row.p95) },
  { head: "p99", number: true, wide: true, text: (row) => format.latency(row.p99) },
  { head: "Time saved", number: true, wide: true, text: (row) => format.span(row.seconds_saved) },
  { head: "Dollars saved", number: true, wide: true, text: (row) => format.dollars(row.dollars_saved) },
];

/** How many calls a second there were lately, of sums that only grow. */
class Speed {
  constructor() {
    this._seen = [];
  }

  told(at, calls, until) {
    const newest = this._seen.at(-1);
    if (newest && (calls < newest.calls || until < newest.until)) this._seen = []; // another period, or the oldest minute left
    this._seen.push({ at, calls, until });
    while (this._seen.length > 2 && at - this._seen[0].at > 10) this._seen.shift();
    const [oldest] = this._seen;
    return at > oldest.at ? (calls - oldest.calls) / (at - oldest.at) : null;
  }

  forget() {
    this._seen = [];
  }
}

export class Overview {
  constructor() {
    this._figures = Object.fromEntries(Object.entries(FIGURES).map(([name, label]) => [name, new Figure(label)]));
    document.getElementById("figures").append(...Object.values(this._figures).map((figure) => figure.element));
    this._plots = plots();
    document.getElementById("plots").append(...this._plots.map((plot) => plot.element));
    this._nothing = document.getElementById("nothing");
    this._details = document.getElementById("numbers");
    this._table = new Table({ caption: "Hits, misses, latency and savings", columns: NUMBERS, key: (row) => row.at });
    this._details.querySelector(".scroll").replaceWith(this._table.element);
    this._details.addEventListener("toggle", () => this._tabulate());
    this._speed = new Speed();
  }

  /** The period is another one: what was seen of the last one says nothing. */
  forget() {
    this._speed.forget();
  }

  update({ at, metrics }, changed) {
    if (!changed.has("metrics")) return;
    if (metrics.failed) {
      this._nothing.hidden = false;
      say(this._nothing, `The numbers cannot be read now (${metrics.failed}). What is shown is what was told last.`);
      return;
    }
    this._metrics = metrics;
    const total = metrics.total;
    const calls = total.hits + total.misses;
    this._figures.rate.show(calls ? format.share(total.hit_rate) : "–", `${format.count(total.hits)} of ${format.several(calls, "call")}`);
    this._now(at, metrics, calls);
    const { p50, p95, p99 } = total.latency;
    this._figures.latency.show(calls ? format.latency(p50) : "–", `p95 ${format.latency(p95)} · p99 ${format.latency(p99)}`);
    this._saved(metrics.saved);
    this._held(metrics.processes);
    saving.inDollars = metrics.points.dollars_saved.some((value) => value > 0);
    for (const plot of this._plots) plot.update(metrics.points, metrics.step, at);
    this._nothing.hidden = calls + total.sets + total.deletes > 0;
    say(
      this._nothing,
      "Nothing counted yet in this period: use the cache, here or in any process of the same namespace, and a second later it shows.",
    );
    this._tabulate();
  }

  _now(at, metrics, calls) {
    const points = metrics.points;
    const last = points.at.length - 1;
    const begun = at - points.at[last];
    const average = begun >= 5 ? (points.hits[last] + points.misses[last]) / begun : null; // until two documents can be compared
    const speed = this._speed.told(at, calls, points.at[last]) ?? average;
    const note = last >= 0 ? `${format.count(points.hits[last] + points.misses[last])} since ${format.point(points.at[last], metrics.step)}` : "";
    this._figures.calls.show(speed === null ? "–" : `${format.rate(speed)} /s`, note);
  }

  _saved(saved) {
    const computing = `${format.span(saved.seconds_saved)} of computing`;
    const [value, note] = saved.cost_saved > 0 ? [format.dollars(saved.cost_saved), computing] : [format.span(saved.seconds_saved), "of computing"];
    const tokens = saved.tokens_saved >= 1 ? ` · ${format.count(saved.tokens_saved)} tokens` : "";
    this._figures.saved.show(value, `${note}${tokens} · ${format.several(saved.computations_avoided, "time")}`);
  }

  _held(processes) {
    const sum = (name) => processes.reduce((all, one) => all + one[name], 0);
    this._figures.held.show(
      format.bytes(sum("bytes")),
      `of ${format.bytes(sum("max_bytes"))} · ${format.several(sum("entries"), "entry", "entries")} · ${format.several(processes.length, "process", "processes")}`,
    );
  }

  _tabulate() {
    if (!this._details.open || !this._metrics) return;
    const points = this._metrics.points;
    const rows = points.at.map((at, number) => Object.fromEntries(Object.entries(points).map(([name, column]) => [name, column[number]])));
    this._table.update(rows.reverse());
  }
}
