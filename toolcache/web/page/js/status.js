// The one line that says whether all is well, and the two that say what is not: no word from the server, a layer away.

import { say } from "./dom.js";
import * as format from "./format.js";

const SILENT = 2_500; // milliseconds without a word after which the numbers are old
const NAMES = { redis: "Redis", file: "The file log" };

function away(health) {
  return Object.entries(health.layers).filter(([, layer]) => layer.usable === false || layer.breaker !== "closed");
}

export class Status {
  constructor() {
    this._status = document.getElementById("status");
    this._text = document.getElementById("status-text");
    this._lost = document.getElementById("lost");
    this._outage = document.getElementById("outage");
    this._heard = document.getElementById("heard");
    this._refusal = null;
    this._opened = performance.now();
  }

  update({ at, health }, changed) {
    this._refusal = null;
    this._show(this._lost, "");
    say(this._heard, `Heard at ${format.instant(at)}.`);
    if (!health || !changed.has("health")) return;
    if (health.failed) {
      this._mood("bad", `health cannot be read (${health.failed})`);
      return;
    }
    say(document.getElementById("namespace"), health.namespace);
    document.title = `${health.status === "ok" ? "" : "! "}toolcache · ${health.namespace}`;
    const down = away(health);
    const readOnly = Object.values(health.layers).some((layer) => (layer.write_breaker ?? "closed") !== "closed");
    if (!health.enabled) this._mood("warn", "switched off");
    else if (down.length) this._mood("bad", `${down.map(([name]) => NAMES[name]).join(" and ")} away`);
    else if (readOnly) this._mood("warn", "writes are refused");
    else this._mood("ok", "all layers answer");
    this._show(this._outage, down.map(([name, layer]) => outage(name, layer, health)).join(" "), owed(health, down));
  }

  failed(refusal) {
    this._refusal = refusal;
    this.tick(null);
  }

  /** Each second: how long ago the server said something; `lastAt` as the stream knows it. */
  tick(lastAt) {
    if (lastAt !== null) this._last = lastAt;
    const since = performance.now() - (this._last ?? this._opened);
    if (since < SILENT && !this._refusal) return;
    if (this._refusal?.status === 401 || this._refusal?.status === 403) {
      this._mood("warn", "waits for a token");
      this._show(this._lost, this._refusal.message);
      return;
    }
    const heard = this._last === undefined ? "Nothing was heard yet." : `Last heard ${format.ago(since / 1_000)}: what is shown is as old.`;
    this._mood("bad", "connection lost");
    this._show(this._lost, this._refusal?.message ?? "The server is silent.", `${heard} Trying again …`);
  }

  _mood(mood, text) {
    this._status.firstChild.setAttribute("class", `dot ${mood}`);
    say(this._text, text);
  }

  /** What changes from second to second is no part of what a screen reader calls out. */
  _show(banner, text, detail = "") {
    banner.hidden = !text;
    say(banner.firstElementChild, text);
    say(banner.lastElementChild, detail);
  }
}

function outage(name, layer, health) {
  const others = name === "redis" && health.layers.file ? "memory and files stand in" : "memory stands in";
  return `${NAMES[name]} does not answer${layer.last_fault ? ` (${layer.last_fault})` : ""}: ${others}.`;
}

function owed(health, down) {
  if (!down.length || !health.pending) return "";
  return `${format.several(health.pending, "write")} ${health.pending === 1 ? "waits" : "wait"} to be told.`;
}
