// Domains, agents, tools and models: whose calls they were, and what came of them.

import { Tabs, body, svg } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

const LABELS = { domain: "Domains", agent: "Agents", tool: "Tools", model: "Models" };
const NONE = {
  domain: "Nothing counted yet: a domain shows with its first call.",
  agent: "No agent has called yet: they are told apart by for_agent(…), get_response(…) and memories.",
  tool: "No tool was called yet through call_tool(…) or described by get_metadata(…).",
  model: "No model was asked yet through get_embedding(…), get_completion(…) or get_response(…).",
};

/** A line of how many calls there were, as wide as its cell. */
export function sparkline(cell, values, label) {
  if (!cell.firstChild) {
    cell.append(svg("svg", { class: "spark", role: "img", preserveAspectRatio: "none" }, svg("path")));
  }
  const top = Math.max(...values, 1);
  const width = Math.max(1, values.length - 1);
  const path = values.map((value, at) => `${at ? "L" : "M"}${at} ${(20 - (value / top) * 18 - 1).toFixed(1)}`).join("");
  cell.firstChild.setAttribute("viewBox", `0 0 ${width} 20`);
  cell.firstChild.setAttribute("aria-label", label);
  cell.firstChild.firstChild.setAttribute("d", path);
}

const COLUMNS = [
  { head: "Name", kind: "key", text: (row) => row.name },
  { head: "Calls", number: true, text: (row) => format.count(row.hits + row.misses) },
  { head: "Hit rate", number: true, text: (row) => (row.hits + row.misses ? format.share(row.hit_rate) : "–") },
  { head: "Computed", number: true, wide: true, text: (row) => format.count(row.computed) },
  { head: "p50", number: true, wide: true, text: (row) => (row.latency.count ? format.latency(row.latency.p50) : "–") },
  { head: "p95", number: true, wide: true, text: (row) => (row.latency.count ? format.latency(row.latency.p95) : "–") },
  { head: "Time saved", number: true, wide: true, text: (row) => format.span(row.seconds_saved) },
  { head: "Dollars saved", number: true, wide: true, text: (row) => format.dollars(row.cost_saved) },
  {
    head: "Calls over time",
    kind: "sparks",
    draw: (cell, row) => sparkline(cell, row.calls, `${row.name}: at most ${format.several(Math.max(...row.calls, 0), "call")} at a time`),
  },
];

export class Names {
  constructor() {
    this._tabs = new Tabs("Calls by", LABELS, () => this._show());
    this._tables = Object.fromEntries(
      Object.entries(LABELS).map(([label, caption]) => [label, new Table({ caption, columns: COLUMNS, key: (row) => row.name, none: NONE[label] })]),
    );
    this._tabs.panel.append(...Object.values(this._tables).map((table) => table.element));
    body("names").append(this._tabs.list, this._tabs.panel);
    this._show();
  }

  update({ metrics }, changed) {
    if (!changed.has("metrics") || metrics.failed) return;
    for (const [label, table] of Object.entries(this._tables)) {
      table.update(metrics.by[label].rows, metrics.by[label].more);
    }
  }

  _show() {
    for (const [label, table] of Object.entries(this._tables)) table.element.hidden = label !== this._tabs.name;
  }
}
