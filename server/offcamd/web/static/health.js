// The recorder's health, always in sight: whether it is there, how much waits, how far it lags, what was dropped.
import { fill, h, say } from "./dom.js";
import { bytes, count, reasons, short, span, total, whole } from "./format.js";

const FULL = 0.8; // of the queue: worth a warning
const LAGGING = 2; // seconds
const RECENT_MS = 60000; // drops older than this are history

/** @import { Stats } from "./api.js" */

/**
 * @param {string} key
 * @param {string} label
 */
function item(key, label) {
  const value = h("b");
  return { value, node: h("span.item", { dataset: { item: key } }, h("span.label", {}, label), value) };
}

export class Health {
  /**
   * @param {HTMLElement} host
   * @param {HTMLElement} banner
   */
  constructor(host, banner) {
    this.banner = banner;
    this.word = h("span");
    this.dot = h("i.dot");
    this.bar = h("meter.queue", { min: "0", max: "1", value: "0", "aria-label": "Queue" });
    this.items = { queue: item("queue", "queue"), lag: item("lag", "lag"), drops: item("drops", "dropped") };
    this.items.queue.node.append(this.bar);
    this.numbers = h("span.numbers", { hidden: true }, Object.values(this.items).map(({ node }) => node));
    this.panel = h("dl.health-panel");
    const summary = h("summary", { "aria-label": "More about the recorder" }, "more");
    this.details = h("details", { hidden: true }, summary, this.panel);
    fill(host, h("span.state", {}, this.dot, this.word), this.numbers, this.details);
    document.addEventListener("click", (event) => {
      if (event.target instanceof Node && !this.details.contains(event.target)) this.details.open = false;
    });
    this.details.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.details.open = false;
      summary.focus();
    });
    /** @type {"" | "files" | "daemon"} */
    this.kind = ""; // what is behind this page, once it is known
    this.dropped = Infinity; // frames, as it was last said
    this.droppedAt = -Infinity;
    this.last = 0; // when anything was heard, in ms
    this.countdown = 0;
  }

  /** No daemon behind this page: `offcam view`. */
  /** @param {string} words what is shown instead */
  none(words) {
    this.kind = "files";
    this.dot.className = "dot";
    say(this.word, words);
    this.numbers.hidden = true;
    this.details.hidden = true;
  }

  /** There is a daemon, whose numbers come with the next event. */
  waiting() {
    this.kind = "daemon";
  }

  /** @param {Stats} stats */
  show(stats) {
    this.kind = "daemon";
    this.last = Date.now();
    const queue = stats.queue_bytes / Math.max(1, stats.queue_limit_bytes);
    const dropped = total(stats.frames.dropped);
    if (dropped > this.dropped) this.droppedAt = performance.now();
    this.dropped = dropped;
    const lagging = stats.encode_lag_seconds > LAGGING && !stats.encoders.give_way;
    const behind = queue > FULL || lagging;
    const broken = Object.keys(stats.problems); // parts of the daemon that are down
    this.dot.className = broken.length ? "dot down" : behind ? "dot warn" : stats.streams ? "dot live" : "dot ok";
    say(this.word, broken.length ? `${broken.join(", ")} down` : behind ? "behind" : stats.streams ? `recording ${count(stats.streams, "stream")}` : "idle");
    this.bar.value = queue;
    this.bar.textContent = `${Math.round(queue * 100)} %`;
    this.set("queue", bytes(stats.queue_bytes), queue > FULL, `${bytes(stats.queue_bytes)} of ${bytes(stats.queue_limit_bytes)} wait to be encoded`);
    this.set("lag", span(stats.encode_lag_seconds), lagging, `The encoders are this far behind the agents${stats.encoders.give_way ? ": they give way to other programs until somebody waits for a video" : ""}`);
    this.set("drops", short(dropped), performance.now() - this.droppedAt < RECENT_MS, dropped ? `Frames dropped since the start: ${reasons(stats.frames.dropped)}` : "No frame has been dropped");
    this.numbers.hidden = false;
    this.details.hidden = false;
    if (this.details.open || !this.panel.children.length) this.more(stats);
  }

  /** @type {(key: keyof Health["items"], text: string, bad: boolean, title: string) => void} */
  set(key, text, bad, title) {
    const { node, value } = this.items[key];
    say(value, text);
    node.title = title;
    node.classList.toggle("bad", bad);
  }

  /** @param {Stats} stats */
  more(stats) {
    const { memory, recent_errors: errors } = stats;
    const clients = memory.clients.slice(0, 6).map((client) => bytes(client.rss_bytes));
    const rows = [
      ["Up", span(stats.uptime_seconds)],
      ["Version", `offcam ${stats.version}, pid ${stats.pid}`],
      ["Endpoint", stats.endpoint],
      ["Clients", `${whole(stats.clients)}, ${count(stats.streams, "stream")}`],
      ["Frames", `${whole(stats.frames.encoded)} encoded of ${whole(stats.frames.offered)}`],
      ["Dropped", reasons(stats.frames.dropped) || "none"],
      ["Steps dropped", reasons(stats.steps.dropped) || "none"],
      ["Lost", reasons(stats.lost) || "none"],
      ["Spool", `${bytes(stats.spool_bytes)} of ${bytes(stats.spool_limit_bytes)} on disk`],
      ...(memory.daemon_rss_bytes ? [["Memory", `${bytes(memory.daemon_rss_bytes)}${clients.length ? `; clients ${clients.join(", ")}` : ""}`]] : []),
      ["Down", Object.values(stats.problems).join(" · ") || "nothing"],
      ["Errors", errors.slice(-3).join(" · ") || "none"],
    ];
    fill(this.panel, rows.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
  }

  /**
   * Nobody answers; what is shown is of the past.
   * @param {number} retryAt in ms since the epoch
   * @param {string | null} why as the recorder says, where it does
   * @param {() => void} again
   */
  down(retryAt, why, again) {
    this.dot.className = "dot down";
    say(this.word, "no connection");
    const since = this.last ? ` What you see is as of ${new Date(this.last).toLocaleTimeString("en-GB")}.` : "";
    const start = this.kind === "files" ? "offcam view FOLDER" : "offcam start";
    clearInterval(this.countdown);
    const words = h("span");
    const tell = () => say(words, `${why ?? "The recorder does not answer."}${since} ${retryAt > Date.now() ? `Trying again in ${Math.ceil((retryAt - Date.now()) / 1000)} s.` : "Trying again…"}${why ? "" : " If it has ended, start it with "}`);
    tell();
    this.countdown = setInterval(tell, 1000);
    fill(this.banner, words, !why && [h("code", {}, start), "."], h("button.quiet.inline", { type: "button", onclick: again }, "Try now"));
    this.banner.hidden = false;
  }

  up() {
    clearInterval(this.countdown);
    this.last = Date.now();
    this.banner.hidden = true;
  }
}
