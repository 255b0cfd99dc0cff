// Alerts: which ones fire, which ones there are, and what became of them.

import { body, el, say } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

export class Alerts {
  constructor() {
    this._note = el("p", { class: "empty" });
    this._table = new Table({
      caption: "Alerts",
      key: (row) => row.name,
      columns: [
        { head: "Alert", text: (row) => row.name },
        { head: "State", kind: "state", draw: (cell, row) => mood(cell, row.state) },
        { head: "Condition", wide: true, text: (row) => row.condition },
        { head: "Now", number: true, text: (row) => row.value },
        { head: "Since", number: true, text: (row) => (row.since ? format.instant(row.since) : "–") },
      ],
    });
    this._history = new Table({
      caption: "What alerts did",
      key: (row) => `${row.at} ${row.name} ${row.state}`,
      columns: [
        { head: "At", text: (row) => format.instant(row.at) },
        { head: "Alert", text: (row) => row.name },
        { head: "What", kind: "state", draw: (cell, row) => mood(cell, row.state) },
        { head: "Value", number: true, text: (row) => row.value },
      ],
    });
    this._past = el("details", { "aria-label": "History of alerts" }, el("summary", null, "History"), this._history.element);
    body("alerts").append(this._note, this._table.element, this._past);
  }

  update({ alerts }, changed) {
    if (!alerts || !changed.has("alerts")) return;
    const rules = alerts.rules ?? [];
    this._note.hidden = rules.length > 0;
    say(
      this._note,
      alerts.failed ? `Alerts cannot be read now (${alerts.failed}).` : "No alert is declared: cache.alerts, or a file of them, says when to call whom.",
    );
    this._table.update(rules);
    this._history.update(alerts.history ?? []);
    this._past.hidden = !(alerts.history ?? []).length;
  }
}

function mood(cell, state) {
  if (!cell.firstChild) cell.append(el("span", { class: "dot" }), el("span"));
  cell.firstChild.setAttribute("class", `dot ${state === "firing" || state === "fired" ? "bad" : state === "pending" ? "warn" : "ok"}`);
  say(cell.lastChild, state);
}
