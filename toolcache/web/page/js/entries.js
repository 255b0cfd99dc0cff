// The entries: found by a pattern, page by page; looked into, deleted, forgotten in bulk.

import * as api from "./api.js";
import * as dialogs from "./dialogs.js";
import { body, el, id, say } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

const PAGE = 20;
const SHOWN = 100_000; // characters of a value that are shown
const WAYS = {
  pattern: { text: "whose key matches", like: "weather_*" },
  tag: { text: "with the tag", like: "products:phones" },
  domain: { text: "of the domain", like: "search" },
  agent: { text: "of the agent", like: "faq" },
};

export class Entries {
  constructor() {
    this._pattern = "*";
    this._pages = [];
    this._at = 0;
    this._table = new Table({
      caption: "Entries",
      key: (row) => row.key,
      opens: (row) => this.inspect(row),
      none: "No key matches. A * stands for any characters, a ? for one: embedding:*, weather_????.",
      columns: [
        { head: "Key", kind: "key", text: (row) => row.key },
        { head: "Size", number: true, text: (row) => format.bytes(row.size) },
        { head: "Age", number: true, wide: true, text: (row) => format.span(Date.now() / 1000 - row.created_at) },
        { head: "Lives for", number: true, text: (row) => (row.stale ? "stale" : format.span(row.ttl ?? Infinity)) },
        { head: "Hits here", number: true, wide: true, text: (row) => format.count(row.hits) },
        { head: "Layer", wide: true, text: (row) => row.layer },
        { head: "Tags", wide: true, kind: "tags", text: (row) => row.tags.join(", ") },
      ],
    });
    this._note = el("p", { class: "note", role: "status" });
    this._back = el("button", { type: "button", disabled: true, onclick: () => this._turn(-1) }, "Previous");
    this._next = el("button", { type: "button", disabled: true, onclick: () => this._turn(1) }, "Next");
    const pages = el("div", { class: "row end" }, this._note, this._back, this._next);
    body("entries").append(this._search(), this._table.element, pages, this._forgetting());
    this._table.element.querySelector("table").hidden = true;
  }

  update() {}

  /** What a token may do decides what is offered. */
  allow(writing) {
    this._writing = writing;
    for (const button of document.querySelectorAll("#entries .danger")) button.disabled = !writing;
  }

  focus() {
    this._input.focus();
    this._input.select();
  }

  _search() {
    this._input = el("input", { type: "search", id: id("search"), value: "*", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-keyshortcuts": "/" });
    const search = (event) => {
      event.preventDefault();
      this._pattern = this._input.value.trim() || "*";
      this.read();
    };
    return el(
      "form",
      { role: "search", class: "row", onsubmit: search },
      el("label", { for: this._input.id }, "Keys like"),
      this._input,
      el("button", { type: "submit" }, "Search"),
    );
  }

  /** The first page, anew. */
  async read() {
    this._pages = [];
    await this._turn(0);
  }

  /** Another page. Those behind are kept: the server's list goes forward only. */
  async _turn(step) {
    const at = step ? this._at + step : 0;
    for (const button of [this._back, this._next]) button.disabled = true;
    try {
      if (!this._pages[at]) this._pages[at] = await api.keys(this._pattern, this._pages[at - 1]?.cursor, PAGE);
      this._at = at;
      this._show();
    } catch (refusal) {
      say(this._note, refusal.status === 410 ? "That list was left alone for too long: search again." : refusal.message);
    }
  }

  _show() {
    const page = this._pages[this._at];
    const before = this._pages.slice(0, this._at).reduce((all, one) => all + one.keys.length, 0);
    this._table.update(page.keys);
    this._back.disabled = this._at === 0;
    this._next.disabled = !page.cursor;
    const range = page.keys.length ? `${format.count(before + 1)} to ${format.count(before + page.keys.length)}` : "";
    say(this._note, page.complete ? range : `${range} Not all: a layer could not be listed, so these are of the others.`.trim());
  }

  async inspect(row) {
    const facts = el("dl", { class: "facts" });
    const value = el("pre", { tabindex: "0", "aria-label": "Value", hidden: true });
    const note = el("p", { class: "note", role: "status" }, "Reading …");
    const gone = el("button", { type: "button", class: "danger", disabled: !this._writing, onclick: () => this._delete(row, dialog, note) }, "Delete");
    const { dialog } = dialogs.open(row.key, { class: "inspect" }, facts, value, el("div", { class: "row end" }, note, gone));
    try {
      const entry = await api.inspect(row);
      facts.append(...describe(entry).map(([name, said]) => el("div", null, el("dt", null, name), el("dd", null, said))));
      say(note, show(value, entry));
    } catch (refusal) {
      say(note, refusal.message);
      gone.disabled = true;
    }
  }

  async _delete(row, dialog, note) {
    if (!(await dialogs.confirm("Delete this entry?", `${row.key} is removed from every layer, for every process.`, "Delete"))) return;
    try {
      await api.remove(row);
      dialog.close("");
      await this.read();
      say(this._note, "Deleted.");
    } catch (refusal) {
      say(note, refusal.message);
    }
  }

  _forgetting() {
    const way = el("select", { id: id("way") }, Object.entries(WAYS).map(([name, { text }]) => el("option", { value: name }, text)));
    const what = el("input", { type: "text", id: id("what"), required: true, spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": "Which", placeholder: WAYS.pattern.like });
    way.addEventListener("change", () => (what.placeholder = WAYS[way.value].like));
    const said = el("p", { class: "note", role: "status" });
    const forget = async (event) => {
      event.preventDefault();
      const text = what.value.trim();
      const asked = `Every entry ${WAYS[way.value].text} ${text} is forgotten in every layer, for every process.`;
      if (!text || !(await dialogs.confirm("Forget these entries?", asked, "Forget"))) return;
      try {
        const done = await api.invalidate(way.value === "tag" ? { tags: [text] } : { [way.value]: text });
        say(said, receipt(done));
        await this.read();
      } catch (refusal) {
        say(said, refusal.message);
      }
    };
    return el(
      "form",
      { class: "row forget", "aria-label": "Forget entries", onsubmit: forget },
      el("label", { for: way.id }, "Forget entries"),
      way,
      what,
      el("button", { type: "submit", class: "danger", disabled: true }, "Forget …"),
      said,
    );
  }
}

/** Show a value, if it was sent; what is to be said of that. */
function show(at, entry) {
  if (!("value" in entry)) return "Values are not shown by this server: they may hold secrets (values=True shows them).";
  const text = typeof entry.value === "string" ? entry.value : JSON.stringify(entry.value, null, 2);
  at.hidden = false;
  say(at, text.slice(0, SHOWN));
  return text.length > SHOWN ? `The first ${format.count(SHOWN)} of ${format.count(text.length)} characters.` : "";
}

function describe(entry) {
  return [
    ["Type", entry.type],
    ["Size", format.bytes(entry.size)],
    ["Found in", entry.layer],
    ["Stored", `${format.instant(entry.created_at)}, ${format.ago(entry.age)}`],
    ["Good until", entry.expires_at === null ? "it is deleted" : `${format.instant(entry.expires_at)}, ${entry.stale ? "so it is stale" : `for ${format.span(entry.ttl)}`}`],
    ["Hits in this memory", format.count(entry.hits)],
    ["Tags", entry.tags.length ? entry.tags.join(", ") : "none"],
  ];
}

const SAID = { done: "done", queued: "told as soon as it is back", failed: "failed" };

function receipt(done) {
  const layers = Object.entries({ memory: "memory", redis: "Redis", files: "files" }).filter(([name]) => done[name]);
  const removed = done.removed === null || done.removed === undefined ? "" : `${format.several(done.removed, "entry", "entries")} removed. `;
  return `Forgotten. ${removed}${layers.map(([name, text]) => `${text}: ${SAID[done[name]] ?? done[name]}`).join(", ")}.`;
}
