// The entries that are asked for most, and those that take most room: read when somebody looks, not each second.

import * as api from "./api.js";
import { Tabs, body, el, say } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

const WAYS = { hits: "Most hits", bytes: "Largest", dollars: "Dearest" };

export class Hot {
  constructor(opens) {
    this._tabs = new Tabs("Top entries by", WAYS, () => this.read());
    this._read = el("button", { type: "button", onclick: () => this.read() }, "Read again");
    this._note = el("p", { class: "note", role: "status" });
    this._table = new Table({
      caption: "Top entries",
      key: (row) => row.key,
      opens,
      none: "Nothing to tell yet of this process's memory. A server beside the processes that use the cache has none of theirs: mount it in one of them to see its entries here; all entries are listed below.",
      columns: [
        { head: "Key", kind: "key", text: (row) => row.key },
        { head: "Hits", number: true, text: (row) => format.count(row.hits) },
        { head: "Size", number: true, text: (row) => format.bytes(row.size) },
        { head: "Time saved", number: true, wide: true, text: (row) => format.span(row.seconds * row.hits) },
        { head: "Dollars saved", number: true, wide: true, text: (row) => format.dollars(row.dollars) },
      ],
    });
    this._tabs.panel.append(this._table.element);
    body("hot").append(el("div", { class: "row" }, this._tabs.list, this._read), this._tabs.panel, this._note);
  }

  update() {}

  async read() {
    const by = this._tabs.name;
    this._read.disabled = true;
    try {
      const { entries } = await api.top(by);
      if (by !== this._tabs.name) return;
      this._table.update(entries);
      say(this._note, `As of ${format.instant(Date.now() / 1000)}.`);
    } catch (refusal) {
      say(this._note, refusal.message);
    } finally {
      this._read.disabled = false;
    }
  }
}
