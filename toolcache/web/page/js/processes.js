// Who has counted in the period: each cache of each process of the fleet.

import { body } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

const QUIET = 10; // seconds after which a process that counts nothing, or is gone, says nothing new

export class Processes {
  constructor() {
    this._table = new Table({
      caption: "Processes",
      key: (row) => row.owner,
      none: "No process has counted in this period. One that uses the cache with metrics=True, the default, shows a second later.",
      columns: [
        { head: "Process", kind: "key", text: (row) => `${row.host || "?"} · ${row.pid || row.owner.slice(0, 8)}` },
        { head: "Last heard", text: (row) => (this._now - row.seen_at < QUIET ? "now" : format.ago(this._now - row.seen_at)) },
        { head: "Runs for", number: true, wide: true, text: (row) => format.span(row.seen_at - row.began_at) },
        { head: "Entries", number: true, wide: true, text: (row) => format.count(row.entries) },
        { head: "Memory", number: true, text: (row) => format.bytes(row.bytes) },
        { head: "Limit", number: true, wide: true, text: (row) => format.bytes(row.max_bytes) },
        { head: "Owed to Redis", number: true, wide: true, text: (row) => format.count(row.pending) },
        { head: "Coherence", wide: true, text: (row) => row.coherence },
        { head: "Breakers", text: (row) => breakers(row.breakers) },
      ],
    });
    body("processes").append(this._table.element);
  }

  update({ at, metrics }, changed) {
    if (changed.has("metrics") && !metrics.failed) this._rows = metrics;
    if (!this._rows) return;
    this._now = at;
    this._table.update(this._rows.processes, this._rows.more_processes);
  }
}

function breakers(of) {
  const open = Object.entries(of).filter(([, state]) => state !== "closed");
  if (open.length) return open.map(([name, state]) => `${name} ${state.replace("_", " ")}`).join(", ");
  return Object.keys(of).length ? "all closed" : "–";
}
