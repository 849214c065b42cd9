// A run in the list of runs: a line beside the run that is shown; with all runs a row of a table, or on a phone a card.
import * as api from "./api.js";
import { fill, h, icon, say } from "./dom.js";
import { ago, amount, count, isCounted, short, total } from "./format.js";
import { showNow } from "./now.js";
import { DOTS, nowOf } from "./runlist.js";
import { drawSparkline, sparkline } from "./sparkline.js";

/**
 * @import { Run } from "./api.js"
 * @typedef {{open: (id: string) => void, lay: (id: string, box: HTMLInputElement) => void}} Does what is done with a run
 */

export class RunRow {
  /**
   * @param {string} id of the run
   * @param {Does} does
   */
  constructor(id, { open, lay }) {
    this.box = h("input", { type: "checkbox", onchange: (event) => lay(id, event.currentTarget) });
    this.poster = h("span.thumb", {}, icon("film"));
    this.shown = ""; // the clip whose poster is there
    this.dot = h("i.dot");
    this.name = h("span.name");
    this.env = h("span.env");
    this.state = h("span.state-badge");
    this.last = h("b.last");
    this.best = h("span.cell.best");
    this.episodes = h("span.cell.episodes");
    this.steps = h("span.cell.steps");
    this.updated = h("span.cell.updated");
    this.many = h("span");
    this.when = h("span.when");
    this.facts = h("span.facts", {}, this.many, this.when);
    this.line = sparkline();
    const title = h("span.first", {}, this.dot, this.name);
    this.button = h("button.run", { type: "button", onclick: () => open(id) }, this.poster, title, h("span.second", {}, this.env, this.facts), this.state, this.line, this.last, this.best, this.episodes, this.steps, this.updated);
    this.node = h("li", {}, this.box, this.button);
  }

  /**
   * @param {Run} run
   * @param {string} name
   * @param {number} place in the plot, -1 where it is not there
   * @param {string} inner how it is called below the name of its folder, where that stands above it
   */
  update(run, name, place, inner) {
    say(this.name, inner || name);
    this.button.title = run.folder;
    if (place === 0) this.button.setAttribute("aria-current", "true");
    else this.button.removeAttribute("aria-current");
    this.box.checked = place >= 0;
    this.box.setAttribute("aria-label", `Show ${name} in the plot`);
    this.box.className = place >= 0 ? `c${(place % 8) + 1}` : "";
    this.node.classList.toggle("chosen", place >= 0);
    this.dot.className = `dot ${DOTS[run.state] ?? "over"}`;
    this.dot.title = run.state;
    say(this.state, run.problem ? "cannot be read" : run.state);
    this.state.className = `state-badge ${run.state}`;
    this.numbers(run);
    this.picture(run);
  }

  /** @param {Run} run */
  numbers(run) {
    const broken = Boolean(run.problem);
    const when = run.state === "ended" ? ago(run.updated) : run.state;
    const many = run.plain ? count(total(run.clips), "video") : `${short(isCounted(run) ? run.episodes : null)} ep`;
    say(this.env, broken ? "cannot be read" : (run.env_id ?? ""));
    say(this.last, broken ? "" : amount(run.return.last100_mean));
    this.last.title = "Mean return of the last 100 episodes";
    say(this.best, broken ? "" : amount(run.return.max));
    say(this.episodes, broken || run.plain ? "" : short(isCounted(run) ? run.episodes : null));
    say(this.steps, broken || run.plain ? "" : short(isCounted(run) ? run.steps : null));
    say(this.updated, broken ? "" : run.state === "live" ? "now" : ago(run.updated));
    say(this.many, broken ? "" : many);
    say(this.when, broken ? "" : ` · ${when}`);
    this.when.classList.toggle("said", run.state !== "ended"); // by the badge, too
    drawSparkline(this.line, run.sparkline);
  }

  /** @param {Run} run whose newest clip's poster is shown, once it is in sight */
  picture(run) {
    const { id, newest_clip: clip } = run;
    showNow(this.poster, nowOf(run));
    const wanted = clip?.key ?? "";
    if (wanted === this.shown || !clip) return;
    this.shown = wanted;
    const path = api.clipPath(id, clip.key, "poster");
    const image = h("img", { alt: "", loading: "lazy", decoding: "async" });
    // the one that is there stays until the new one can take its place
    image.addEventListener("error", () => image.remove(), { once: true });
    image.addEventListener("load", () => fill(this.poster, image, this.poster.querySelector(".now")), { once: true });
    if (api.hasToken()) {
      image.removeAttribute("loading");
      image.addEventListener("load", () => api.release(image.src), { once: true });
      api.media(path).then((url) => image.setAttribute("src", url), () => image.remove());
    } else image.src = api.mediaPath(path);
    this.poster.append(image);
  }
}
