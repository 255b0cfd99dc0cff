// Tables whose rows stay where they are while their numbers change: focus, selection and scrolling survive each second.

import { el, say } from "./dom.js";

/**
 * A column: `head`, and either `text(row)` or `draw(cell, row)`; `number` aligns it to the right, `wide` leaves it out on
 * a phone.
 */
export class Table {
  constructor({ caption, columns, key, opens, none }) {
    this._columns = columns;
    this._key = key;
    this._opens = opens;
    this._rows = new Map();
    this._body = el("tbody");
    const heads = columns.map((column) => el("th", { scope: "col", class: style(column) }, column.head));
    this._table = el("table", null, el("caption", { class: "hidden" }, caption), el("thead", null, el("tr", null, heads)), this._body);
    this._none = el("p", { class: "empty", hidden: true }, none ?? "");
    this._more = el("p", { class: "more", hidden: true });
    this.element = el("div", { class: "scroll" }, this._table, this._none, this._more);
  }

  update(rows, more = 0) {
    const kept = new Set();
    let before = null;
    for (const row of rows) {
      const name = String(this._key(row));
      kept.add(name);
      let line = this._rows.get(name);
      if (!line) {
        line = this._line(row);
        this._rows.set(name, line);
      }
      const next = before ? before.nextSibling : this._body.firstChild;
      if (next !== line) this._body.insertBefore(line, next);
      before = line;
      this._columns.forEach((column, number) => {
        const cell = line.cells[number];
        if (column.draw) column.draw(cell, row);
        else say(number === 0 && this._opens ? cell.firstChild : cell, String(column.text(row) ?? ""));
      });
    }
    for (const [name, line] of this._rows) {
      if (!kept.has(name)) {
        line.remove();
        this._rows.delete(name);
      }
    }
    this._table.hidden = !rows.length;
    this._none.hidden = rows.length > 0 || !this._none.textContent;
    this._more.hidden = !more;
    say(this._more, more ? `and ${more} more` : "");
  }

  _line(row) {
    const cells = this._columns.map((column, number) => {
      const cell = el(number ? "td" : "th", { class: style(column), scope: number ? undefined : "row", "data-head": column.head });
      if (!number && this._opens) {
        cell.append(el("button", { type: "button", class: "link", onclick: () => this._opens(row) }));
      }
      return cell;
    });
    return el("tr", null, cells);
  }
}

function style(column) {
  return [column.number && "number", column.wide && "wide", column.kind].filter(Boolean).join(" ") || undefined;
}
