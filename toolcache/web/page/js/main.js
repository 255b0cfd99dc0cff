// The page: listens to the server, and has each part of itself show what it was told.

import * as api from "./api.js";
import { Advice } from "./advice.js";
import { Alerts } from "./alerts.js";
import * as dialogs from "./dialogs.js";
import { Entries } from "./entries.js";
import { Hot } from "./hot.js";
import { Layers } from "./layers.js";
import { Names } from "./names.js";
import { Overview } from "./overview.js";
import { Processes } from "./processes.js";
import { Status } from "./status.js";
import { Stream } from "./stream.js";

const overview = new Overview();
const entries = new Entries();
const hot = new Hot((row) => entries.inspect(row));
new Advice();
const status = new Status();
const views = [status, overview, new Layers(), new Names(), new Alerts(), new Processes()];

let told = {};
let asking = false;

function heard(document_) {
  const changed = new Set(Object.keys(document_));
  told = { ...told, ...document_ };
  if (changed.has("may_write")) entries.allow(document_.may_write);
  for (const view of views) {
    try {
      view.update(told, changed);
    } catch (error) {
      console.error(error); // one part that fails takes no other with it
    }
  }
}

const stream = new Stream(heard, (refusal) => status.failed(refusal));

function listen() {
  const period = document.querySelector("#period input:checked").value;
  overview.forget();
  stream.open(`events?period=${period}`);
}

async function wantToken() {
  if (asking) return;
  asking = true;
  const typed = await dialogs.token(api.hasToken());
  asking = false;
  if (!typed) return;
  api.useToken(typed);
  begin();
}

function begin() {
  document.getElementById("leave").hidden = !api.hasToken();
  listen();
  hot.read();
  entries.read();
}

document.getElementById("period").addEventListener("change", listen);
document.getElementById("leave").addEventListener("click", () => {
  api.useToken("");
  location.reload();
});
document.addEventListener("tokenwanted", wantToken);
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  entries.focus();
});
setInterval(() => status.tick(stream.lastAt), 1_000);
addEventListener("pagehide", () => stream.close());
addEventListener("pageshow", (event) => event.persisted && listen());

begin();
