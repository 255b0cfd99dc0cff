// Each layer: whether it answers, what it came to, and minute by minute when it did not; and what calls came to.

import { body, el, say, svg } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

const NAMES = { memory: "Memory", redis: "Redis", file: "Files" };
const STATES = { closed: "closed", open: "open", half_open: "half open", "half-open": "half open" };

function state(layer, health) {
  if (layer === "memory") return { mood: "ok", text: "in this process" };
  const known = health?.layers?.[layer];
  if (!known) return { mood: "none", text: "not of this server" };
  const open = known.breaker !== "closed" || (known.write_breaker ?? "closed") !== "closed";
  const breaker = known.breaker !== "closed" ? known.breaker : (known.write_breaker ?? "closed");
  const which = known.breaker === "closed" && open ? "breaker of writes" : "breaker";
  const text = `${known.usable === false ? "no answer" : open ? "resting" : "answers"}, ${which} ${STATES[breaker] ?? breaker}`;
  return { mood: known.usable === false || open ? "bad" : "ok", text };
}

/** The strip of a layer: a bar for each minute, hour or day, by what went wrong in it. */
class Strip {
  constructor() {
    this._bars = svg("g");
    this._svg = svg("svg", { class: "strip", role: "img", preserveAspectRatio: "none" }, this._bars);
    this.element = el("div", { class: "history" }, this._svg);
  }

  update(name, history, metrics) {
    const points = history.down_seconds.length;
    this._svg.setAttribute("viewBox", `0 0 ${points} 10`);
    while (this._bars.childNodes.length > points) this._bars.lastChild.remove();
    while (this._bars.childNodes.length < points) this._bars.append(svg("rect", { width: "0.8", y: "0", height: "10" }, svg("title")));
    this._bars.childNodes.forEach((bar, at) => {
      const [down, faults, opened] = [history.down_seconds[at], history.faults[at], history.opened[at]];
      bar.setAttribute("x", String(at + 0.1));
      bar.setAttribute("class", down > 0 ? "down" : faults || opened ? "fault" : "fine");
      say(bar.firstChild, `${format.point(metrics.points.at[at], metrics.step)}: ${told(down, faults, opened)}`);
    });
    const sum = (values) => values.reduce((all, one) => all + one, 0);
    const whole = told(sum(history.down_seconds), sum(history.faults), sum(history.opened));
    this._svg.setAttribute("aria-label", `${name}, from ${format.instant(metrics.since)} on: ${whole}`);
  }
}

function told(down, faults, opened) {
  const said = [
    down > 0 && `away for ${format.span(down)}`,
    faults > 0 && format.several(faults, "fault"),
    opened > 0 && `breaker opened ${opened === 1 ? "once" : `${format.count(opened)} times`}`,
  ].filter(Boolean);
  return said.join(", ") || "nothing went wrong";
}

const numbers = (head, name, text = format.count, wide = false) => ({ head, number: true, wide, text: (row) => text(row[name]) });

export class Layers {
  constructor() {
    this._strips = new Map();
    this._table = new Table({
      caption: "Layers",
      key: (row) => row.name,
      columns: [
        { head: "Layer", text: (row) => NAMES[row.name] ?? row.name },
        { head: "State", kind: "state", draw: (cell, row) => this._state(cell, row) },
        { head: "Hit rate", number: true, text: (row) => (row.hits + row.misses ? format.share(row.hit_rate) : "–") },
        numbers("Hits", "hits", format.count, true),
        numbers("Misses", "misses", format.count, true),
        numbers("Writes", "writes", format.count, true),
        { head: "p95", number: true, text: (row) => (row.latency.count ? format.latency(row.latency.p95) : "–") },
        numbers("Faults", "faults"),
        numbers("Away", "down_seconds", (value) => (value ? format.span(value) : "–"), true),
        numbers("Opened", "opened", format.count, true),
        { head: "History", kind: "strips", draw: (cell, row) => this._strip(cell, row) },
      ],
    });
    this._kinds = el("dl", { class: "kinds" });
    this._note = el("p", { class: "note" });
    const marks = [["fine", "nothing went wrong"], ["fault", "operations failed"], ["down", "away"]].map(([kind, text]) =>
      el("span", null, svg("svg", { viewBox: "0 0 9 9", "aria-hidden": "true" }, svg("rect", { class: kind, width: "9", height: "9" })), text),
    );
    body("layers").append(this._table.element, el("p", { class: "marks" }, marks), this._note, el("h3", null, "What calls came to"), this._kinds);
    this._cells = new Map();
  }

  update({ metrics, health }, changed) {
    if (health && !health.failed) this._health = health;
    if (!metrics || metrics.failed || !(changed.has("metrics") || changed.has("health"))) return;
    this._metrics = metrics;
    this._table.update(this._rows(metrics));
    this._owed();
    this._came(metrics.total, metrics.dispatch);
  }

  /** Those that have counted something, and those that this server has. */
  _rows({ layers, points }) {
    const none = points.at.map(() => 0);
    const idle = { hits: 0, misses: 0, writes: 0, faults: 0, down_seconds: 0, opened: 0, latency: { count: 0 } };
    const nothing = { ...idle, history: { down_seconds: none, faults: none, opened: none } };
    return Object.keys(NAMES)
      .filter((name) => name === "memory" || layers[name] || this._health?.layers[name])
      .map((name) => ({ name, ...(layers[name] ?? nothing), state: state(name, this._health) }));
  }

  _state(cell, row) {
    if (!cell.firstChild) cell.append(el("span", { class: "dot" }), el("span"));
    cell.firstChild.setAttribute("class", `dot ${row.state.mood}`);
    say(cell.lastChild, row.state.text);
  }

  _strip(cell, row) {
    let strip = this._strips.get(row.name);
    if (!strip) {
      strip = new Strip();
      this._strips.set(row.name, strip);
    }
    if (strip.element.parentNode !== cell) cell.replaceChildren(strip.element);
    strip.update(NAMES[row.name], row.history, this._metrics);
  }

  _owed() {
    const health = this._health;
    if (!health) return;
    const where = Object.entries(health.layers).map(([name, layer]) => `${NAMES[name]}: ${layer.where}`);
    const owed = health.pending ? `${format.several(health.pending, "write")} of this host ${health.pending === 1 ? "waits" : "wait"} for Redis` : "";
    say(this._note, [...where, `coherence: ${health.coherence}`, owed].filter(Boolean).join(" · "));
  }

  _came(total, dispatch) {
    const kinds = [
      ["memory", total.hits_memory],
      ["Redis", total.hits_redis],
      ["files", total.hits_file],
      ["waited for another", total.hits_waited],
      ["close in meaning", total.hits_semantic],
      ["missed", total.misses],
      ["of them answered stale", total.stale],
      ["refreshed", total.refreshed],
      ["passed by", total.bypassed],
      ["computed", total.computed],
      ["stored", total.sets],
      ["deleted", total.deletes],
      ["not storable", total.not_stored],
      ["evicted", total.evictions],
      ["run once", dispatch.executions],
      ["replayed", dispatch.replays + dispatch.joins],
    ];
    for (const [name, value] of kinds) {
      let cell = this._cells.get(name);
      if (!cell) {
        cell = el("dd");
        this._cells.set(name, cell);
        this._kinds.append(el("div", null, el("dt", null, name), cell));
      }
      cell.parentNode.classList.toggle("zero", !value);
      say(cell, format.count(value));
    }
  }
}
