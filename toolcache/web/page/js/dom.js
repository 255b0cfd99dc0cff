// Elements, made of tags, attributes and text. Nothing here, or anywhere else, makes markup of text: keys, tags and values
// are whatever somebody stored.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Set a text if it is another: selections and what a screen reader follows stay. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function body(section) {
  return document.querySelector(`#${section} > .body`);
}

export function empty(text) {
  return el("p", { class: "empty" }, text);
}

let ids = 0;
export function id(of) {
  ids += 1;
  return `${of}-${ids}`;
}

/** Tabs as the ARIA pattern has them: arrows move, Home and End go to the ends, one panel for all. */
export class Tabs {
  constructor(label, names, chosen) {
    this._chosen = chosen;
    this.panel = el("div", { role: "tabpanel", id: id("panel"), tabindex: "0" });
    this._tabs = Object.entries(names).map(([name, text]) =>
      el(
        "button",
        { role: "tab", type: "button", id: id("tab"), "aria-controls": this.panel.id, onclick: () => this.choose(name) },
        text,
      ),
    );
    this._names = Object.keys(names);
    this.list = el("div", { role: "tablist", "aria-label": label, onkeydown: (event) => this._key(event) }, this._tabs);
    this.name = this._names[0];
    this._mark();
  }

  choose(name) {
    this.name = name;
    this._mark();
    this._chosen(name);
  }

  _mark() {
    for (const [number, tab] of this._tabs.entries()) {
      const here = this._names[number] === this.name;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      if (here) this.panel.setAttribute("aria-labelledby", tab.id);
    }
  }

  _key(event) {
    const here = this._names.indexOf(this.name);
    const last = this._names.length - 1;
    const moves = { ArrowRight: here === last ? 0 : here + 1, ArrowLeft: here ? here - 1 : last, Home: 0, End: last };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.choose(this._names[moves[event.key]]);
    this._tabs[moves[event.key]].focus();
  }
}
