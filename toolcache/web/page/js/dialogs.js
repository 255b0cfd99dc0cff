// What opens above the page. Each is a <dialog>: Esc closes it, and the focus goes back to where it was.

import { el, id } from "./dom.js";

/** Show a dialog; resolves with what it was closed with: "" where it was given up. */
export function open(title, attributes, ...children) {
  const heading = el("h2", { id: id("dialog") }, title);
  const close = el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close("") }, "×");
  const dialog = el("dialog", { "aria-labelledby": heading.id, ...attributes }, el("header", null, heading, close), ...children);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close("")); // beside it
  document.body.append(dialog);
  const over = new Promise((done) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(dialog.returnValue);
    });
  });
  dialog.showModal();
  return { dialog, over };
}

/** Whether somebody means it. */
export async function confirm(title, text, yes) {
  const no = el("button", { type: "button", autofocus: true, onclick: () => dialog.close("") }, "Keep it");
  const go = el("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, yes);
  const { dialog, over } = open(title, { class: "ask", role: "alertdialog" }, el("p", null, text), el("div", { class: "row end" }, no, go));
  return (await over) === "yes";
}

/** A token, typed; "" where it was given up. */
export async function token(wrong) {
  const input = el("input", { type: "password", id: id("token"), autocomplete: "off", required: true, autofocus: true, spellcheck: "false" });
  const form = el(
    "form",
    { method: "dialog", onsubmit: (event) => (event.preventDefault(), dialog.close(input.value.trim())) },
    el("p", null, wrong ? "That token was refused." : "This server asks who you are."),
    el("label", { for: input.id }, "Token"),
    input,
    el("p", { class: "note" }, "It is kept until this tab is closed, sent in a header, and never part of an address."),
    el("div", { class: "row end" }, el("button", { type: "submit", class: "strong" }, "Go on")),
  );
  const { dialog, over } = open("Token", { class: "ask" }, form);
  return over;
}
