// The list of runs: what is live, what was, a filter, and a box each to lay several curves over one another.
import { arrange, fill, h, icon, say, throttle } from "./dom.js";
import { ago, amount, count, short, total, whole } from "./format.js";
import { matching } from "./runlist.js";
import { change, state } from "./state.js";
import { MOST_RUNS } from "./view.js";

/**
 * @import { Run } from "./api.js"
 * @typedef {ReturnType<Runs["row"]>} Row
 */

const LIST_AT_MOST = 300;

export class Runs {
  /** @param {HTMLElement} nav */
  constructor(nav) {
    this.nav = nav;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    this.list = h("ul.run-list");
    this.note = h("p.note", { role: "status" });
    this.title = h("span.runs-title", {}, "Runs");
    this.fold = h("button.fold", { type: "button", "aria-expanded": "false", "aria-controls": "run-drawer", onclick: () => this.unfold() }, this.title, icon("chevron"));
    const typed = throttle((/** @type {string} */ value) => change({ filter: value }, { replace: true }), 120);
    this.filter = h("input.search", { type: "search", placeholder: "Filter runs", "aria-label": "Filter runs by name, environment or folder", value: state().filter, oninput: (event) => typed(event.currentTarget.value.trim()) });
    this.drawer = h("div.drawer", { id: "run-drawer" }, this.filter, this.list, this.note);
    fill(nav, this.fold, h("h2.wide", {}, "Runs"), this.drawer);
  }

  unfold(open = this.fold.getAttribute("aria-expanded") !== "true") {
    this.fold.setAttribute("aria-expanded", String(open));
  }

  /**
   * @param {Run[]} runs in the order to show
   * @param {string[]} chosen ids
   * @param {Map<string, string>} names
   */
  show(runs, chosen, names) {
    this.nav.hidden = !runs.length;
    const { filter } = state();
    if (document.activeElement !== this.filter) this.filter.value = filter;
    const found = matching(runs, filter);
    const shown = found.slice(0, LIST_AT_MOST);
    const before = this.rows;
    this.rows = new Map();
    for (const run of shown) {
      const row = before.get(run.id) ?? this.row(run.id);
      this.rows.set(run.id, row);
      this.update(row, run, chosen, names);
    }
    arrange(this.list, [...this.rows.values()].map(({ node }) => node));
    say(this.note, !found.length && runs.length ? `No run matches “${filter}”.` : found.length > shown.length ? `${whole(found.length - shown.length)} more: narrow them down with the filter.` : "");
    const first = runs.find((run) => run.id === chosen[0]);
    fill(this.title, "Runs ", h("span.count", {}, whole(runs.length)), first ? h("span.muted", {}, ` · ${names.get(first.id)}`) : null);
  }

  /** @param {string} id */
  row(id) {
    const box = h("input", { type: "checkbox", onchange: (event) => this.lay(id, event.currentTarget) });
    const [dot, name, env, last, facts] = [h("i.dot"), h("span.name"), h("span.env"), h("b.last"), h("span.facts")];
    const button = h("button.run", { type: "button", onclick: () => this.choose(id) }, h("span.first", {}, dot, name, last), h("span.second", {}, env, facts));
    const node = h("li", {}, box, button);
    return { node, box, button, dot, name, env, last, facts };
  }

  /** @type {(row: Row, run: Run, chosen: string[], names: Map<string, string>) => void} */
  update(row, run, chosen, names) {
    const place = chosen.indexOf(run.id);
    const name = names.get(run.id) ?? run.name;
    say(row.name, name);
    row.button.title = run.folder;
    row.button.setAttribute("aria-current", place === 0 ? "true" : "false");
    row.box.checked = place >= 0;
    row.box.setAttribute("aria-label", `Show ${name} in the plot`);
    row.box.className = place >= 0 ? `c${(place % 8) + 1}` : "";
    row.node.classList.toggle("chosen", place >= 0);
    row.dot.className = run.live ? "dot live" : "dot";
    row.dot.title = run.live ? "live" : "ended";
    if (run.problem) {
      say(row.env, "cannot be read");
      say(row.last, "");
      say(row.facts, "");
      return;
    }
    say(row.env, run.env_id ?? "");
    say(row.last, amount(run.return.last100_mean));
    row.last.title = "Mean return of the last 100 episodes";
    say(row.facts, `${run.plain ? count(total(run.clips), "video") : `${short(run.episodes)} ep`} · ${run.live ? "live" : ago(run.updated)}`);
  }

  /** @param {string} id */
  choose(id) {
    change({ runs: [id], tab: "", from: null, to: null });
    this.unfold(false);
  }

  /** @type {(id: string, box: HTMLInputElement) => void} */
  lay(id, box) {
    const { runs } = state();
    if (box.checked && runs.length >= MOST_RUNS) box.checked = false;
    else if (box.checked) change({ runs: [...runs, id], from: null, to: null });
    else if (runs.length > 1) change({ runs: runs.filter((other) => other !== id), from: null, to: null });
    else box.checked = true; // one is always shown
  }
}
