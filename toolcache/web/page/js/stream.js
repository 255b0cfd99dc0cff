// Server-sent events, read by hand: an EventSource cannot send the header that carries a token, and a token has no place in
// an address.

import { ask, Refusal } from "./api.js";

const SILENCE = 5_000; // milliseconds without a word after which a connection counts as gone; the server speaks each second
const SILENT = new Refusal(0, "The server is silent.");
const LOST = new Refusal(0, "The server has hung up.");
const WAITS = [250, 500, 1_000, 2_000, 4_000];

export class Stream {
  /** `heard(document)` for each; `failed(refusal)` for each connection that came to nothing. */
  constructor(heard, failed) {
    this._heard = heard;
    this._failed = failed;
    this._control = null;
    this.lastAt = null;
    addEventListener("online", () => this._hurry?.());
    document.addEventListener("visibilitychange", () => document.hidden || this._hurry?.());
  }

  /** Listen to another address, or to the same one anew. */
  open(path) {
    this.close();
    const control = new AbortController();
    this._control = control;
    this._keep(path, control.signal);
  }

  close() {
    this._control?.abort();
    this._control = null;
  }

  async _keep(path, signal) {
    for (let tries = 0; !signal.aborted; tries += 1) {
      const before = this.lastAt;
      try {
        await this._listen(path, signal);
      } catch (refusal) {
        if (signal.aborted) return;
        this._failed(refusal instanceof Refusal ? refusal : LOST); // what a browser says of it is for nobody
        if (refusal.status === 401 || refusal.status === 403) return; // until there is another token
      }
      if (this.lastAt !== before) tries = 0;
      await this._wait(WAITS[Math.min(tries, WAITS.length - 1)], signal);
    }
  }

  _wait(milliseconds, signal) {
    return new Promise((done) => {
      const timer = setTimeout(done, milliseconds);
      this._hurry = () => (clearTimeout(timer), done());
      signal.addEventListener("abort", this._hurry, { once: true });
    });
  }

  async _listen(path, signal) {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(SILENT), SILENCE);
    try {
      const both = AbortSignal.any([signal, silence.signal]);
      const response = await ask(path, { signal: both, accept: "text/event-stream" });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(SILENT), SILENCE);
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) this._tell(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  _tell(event) {
    const lines = event.split("\n").filter((line) => line.startsWith("data:"));
    if (!lines.length) return;
    this.lastAt = performance.now();
    this._heard(JSON.parse(lines.map((line) => line.slice(5).trimStart()).join("\n")));
  }
}
