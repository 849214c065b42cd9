// Talking to the recorder: JSON, media, and the stream of events; the token, where it wants one.
import { sentence } from "./format.js";

const TOKEN = "offcam-token";
let token = sessionStorage.getItem(TOKEN);

/** What went wrong, in words for a person; status 0 where nobody answered. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const hasToken = () => Boolean(token);

export function setToken(value) {
  token = value;
  if (value) sessionStorage.setItem(TOKEN, value);
  else sessionStorage.removeItem(TOKEN);
}

async function request(path, options = {}) {
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  let reply;
  try {
    reply = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The recorder does not answer.", 0);
  }
  if (reply.ok) return reply;
  if (reply.status === 401) document.dispatchEvent(new CustomEvent("offcam-login"));
  const body = await reply.text();
  let message = body.trim();
  try {
    message = JSON.parse(body).error ?? message;
  } catch {
    // not JSON: the text as it is
  }
  throw new ApiError(message ? sentence(message) : `The recorder answered ${reply.status}.`, reply.status);
}

const query = (given) => {
  const pairs = Object.entries(given).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
};

async function getJson(path, given = {}, options = {}) {
  return (await request(path + query(given), options)).json();
}

const id = encodeURIComponent;
export const runs = () => getJson("/api/runs");
export const run = (runId) => getJson(`/api/runs/${id(runId)}`);
export const curve = (runId, given, options) => getJson(`/api/runs/${id(runId)}/curve`, given, options);
export const group = (runIds, given, options) => getJson("/api/group", { ids: runIds.join(","), ...given }, options);
export const nearest = (runId, number) => getJson(`/api/runs/${id(runId)}/nearest`, { number });
export const clips = (runId, given, options) => getJson(`/api/runs/${id(runId)}/clips`, given, options);
export const clip = (runId, key) => getJson(`/api/runs/${id(runId)}/clips/${id(key)}`);

/** An address for <img> and <video>. With a token those cannot fetch for themselves; `release` it then. */
export async function media(path) {
  if (!token) return path;
  return URL.createObjectURL(await (await request(path)).blob());
}

/** Why a file cannot be had, as the recorder says; null where it can. */
export async function trouble(path) {
  try {
    await (await request(path, { headers: { range: "bytes=0-0" } })).arrayBuffer();
    return null;
  } catch (error) {
    return error.message;
  }
}

export function release(url) {
  if (url?.startsWith("blob:")) URL.revokeObjectURL(url);
}

/** Save a file that the recorder serves. */
export async function save(path, name) {
  const url = await media(path);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => release(url), 60000);
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const SILENCE = 45000; // keep-alives come far more often

/**
 * Follow the events until the page goes. A hidden page lets go of its connection (browsers have six per host, for all
 * tabs together) and catches up when it is looked at again.
 *
 * @param {{event: (name: string, data: any) => void, up: () => void, down: (retryAt: number, why: string|null) => void}} told
 * @returns {() => void} try again at once
 */
export function follow(told) {
  let controller = null;
  let timer = null;
  let wait = FIRST_WAIT;

  async function connect() {
    clearTimeout(timer);
    controller?.abort();
    const mine = (controller = new AbortController());
    let watchdog = null;
    let refused = null;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => mine.abort(), SILENCE);
    };
    try {
      alive();
      const reply = await request("/api/events", { signal: mine.signal });
      told.up();
      wait = FIRST_WAIT;
      for await (const [name, data] of events(reply.body, alive)) told.event(name, JSON.parse(data));
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return; // asked for; reconnects after the login
      if (error.status) refused = error.message;
      if (error instanceof SyntaxError) console.error("an event that is no JSON", error);
    } finally {
      clearTimeout(watchdog);
    }
    if (mine !== controller || document.hidden) return; // another took over, or nobody looks
    told.down(Date.now() + wait, refused);
    timer = setTimeout(connect, wait);
    wait = Math.min(wait * 1.7, LONGEST_WAIT);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      controller?.abort();
    } else connect();
  });
  window.addEventListener("pagehide", () => controller?.abort());
  connect();
  return connect;
}

/** The events of a text/event-stream: [name, data] each. */
async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let name = "message";
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield [name, data.join("\n")];
        name = "message";
        data = [];
      } else if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
  }
}
