// What the page asks the server, and how: the one place that knows addresses, and who asks.

const TOKEN = "toolcache-token";

let token = stored();

function stored() {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return ""; // storage may be forbidden: the token is then kept for as long as the page is open
  }
}

export function hasToken() {
  return token !== "";
}

export function useToken(text) {
  token = text;
  try {
    if (text) sessionStorage.setItem(TOKEN, text);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // see above
  }
}

/** An answer that is no success; `status` is 0 where there was none at all. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const WORDS = {
  401: "The server wants a token.",
  403: "Your token does not allow this: it takes one that may write.",
  404: "There is nothing of that name any more.",
  413: "That is too long.",
  429: "The server was asked too often: wait a little.",
};

/** Where the page lies is where the server lies, whatever prefix a proxy puts before both. */
export async function ask(path, { method = "GET", body, signal, accept = "application/json" } = {}) {
  const headers = { Accept: accept };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(`api/v1/${path}`, document.baseURI), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer.");
  }
  if (!response.ok) {
    const said = await reason(response);
    if (response.status === 401) document.dispatchEvent(new CustomEvent("tokenwanted"));
    throw new Refusal(response.status, WORDS[response.status] ?? said);
  }
  return response;
}

async function reason(response) {
  try {
    const said = await response.json();
    if (typeof said.detail === "string" && said.detail) return said.detail;
  } catch {
    // no JSON, no reason
  }
  return `The server answered with ${response.status}.`;
}

async function json(path, options) {
  return (await ask(path, options)).json();
}

function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** A key that is shortened, or a domain's, is told apart from one that reads the same. */
const entry = (row) => `cache/keys/${encodeURIComponent(row.key)}${row.encoded ? "?encoded=true" : ""}`;

export const keys = (pattern, cursor, limit) => json(`cache/keys${query({ pattern, cursor, limit })}`);
export const inspect = (row) => json(entry(row));
export const remove = (row) => json(entry(row), { method: "DELETE" });
export const invalidate = (what) => json("cache/invalidate", { method: "POST", body: what });
export const top = (by) => json(`cache/top${query({ by })}`);
export const advice = () => json("page/advice");
