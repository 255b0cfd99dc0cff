// Advice: what the cache would change about itself, and why it finds less than it could. Worked out when somebody asks.

import * as api from "./api.js";
import { body, el, say } from "./dom.js";
import * as format from "./format.js";

export class Advice {
  constructor() {
    this._go = el("button", { type: "button", onclick: () => this.read() }, "Work it out");
    this._note = el("p", { class: "note", role: "status" }, "Goes through what was counted and what is stored: a few seconds where that is much.");
    this._list = el("div", { class: "advice" });
    body("advice").append(el("div", { class: "row" }, this._go, this._note), this._list);
  }

  update() {}

  async read() {
    this._go.disabled = true;
    say(this._note, "Working …");
    try {
      const said = await api.advice();
      this._list.replaceChildren(...findings(said));
      say(this._note, `As of ${format.instant(Date.now() / 1000)}, from ${format.several(said.samples, "lookup")} that ${said.samples === 1 ? "was" : "were"} sampled.`);
    } catch (refusal) {
      say(this._note, refusal.message);
    } finally {
      this._go.disabled = false;
    }
  }
}

const ISSUES = {
  key_variance: "Keys vary that need not",
  short_ttl: "Values live too short",
  small_cache: "Memory is too small",
  errors: "A layer fails",
  cold: "Most is asked for only once",
};

function findings(said) {
  return [
    ...said.findings.map((one) => article(`${ISSUES[one.issue] ?? one.issue}: ${one.where}`, one.change, gain(one), evidence(one.evidence))),
    ...(said.findings.length ? [] : [article("Why lookups miss", said.reason || "Nothing is to be said of it.")]),
    article("Size of memory", said.size.reason, effect(said.size)),
    ...said.lifetimes.filter((one) => one.recommended !== null && one.recommended !== one.present).map((one) => article(`Lifetimes: ${one.domain}`, one.reason, effect(one))),
    article(
      "Entries of low value",
      said.low_value_count
        ? `${format.several(said.low_value_count, "entry", "entries")} of this process's memory ${said.low_value_count === 1 ? "was" : "were"} never asked for, and ${said.low_value_count === 1 ? "takes" : "take"} ${format.bytes(said.low_value_bytes)}.`
        : "None: what lies in this process's memory is asked for.",
      said.low_value.slice(0, 5).map((one) => `${one.key} (${format.bytes(one.size)})`).join(", "),
    ),
  ];
}

function article(title, ...sentences) {
  return el("article", null, el("h3", null, title), sentences.filter(Boolean).map((text) => el("p", null, text)));
}

const perDay = (one) => (one.dollars > 0 ? `, ${format.dollars(one.dollars)} a day` : "");
const gain = (one) => one.gain >= 0.0005 && `Expected: up to ${format.share(one.gain)} of lookups become hits${perDay(one)}.`;

function effect(one) {
  if (one.recommended === null || one.hit_rate <= one.present_hit_rate) return "";
  return `Expected: a hit rate of ${format.share(one.hit_rate)} instead of ${format.share(one.present_hit_rate)}${perDay(one)}.`;
}

function evidence(of) {
  const told = Object.entries(of).map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "number" ? Number(value.toPrecision(3)).toLocaleString("en") : value}`);
  return told.length ? `Because: ${told.join(", ")}.` : "";
}
