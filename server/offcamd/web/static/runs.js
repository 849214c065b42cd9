// The list of runs: what is live, what was, a filter, and a box each to lay several curves over one another.
import { fill, h, icon, say, throttle } from "./dom.js";
import { ago, amount, count, short, total, whole } from "./format.js";
import { change, MOST_RUNS, state } from "./state.js";

const LIST_AT_MOST = 300;

export class Runs {
  constructor(nav) {
    this.nav = nav;
    this.rows = new Map();
    this.list = h("ul.run-list");
    this.note = h("p.note", { role: "status" });
    this.title = h("span.runs-title", {}, "Runs");
    this.fold = h("button.fold", { type: "button", "aria-expanded": "false", "aria-controls": "run-drawer", onclick: () => this.unfold() }, this.title, icon("chevron"));
    const typed = throttle((value) => change({ filter: value }, { replace: true }), 120);
    this.filter = h("input.search", { type: "search", placeholder: "Filter runs", "aria-label": "Filter runs by name, environment or folder", value: state().filter, oninput: (event) => typed(event.target.value.trim()) });
    this.drawer = h("div.drawer", { id: "run-drawer" }, this.filter, this.list, this.note);
    fill(nav, this.fold, h("h2.wide", {}, "Runs"), this.drawer);
  }

  unfold(open = this.fold.getAttribute("aria-expanded") !== "true") {
    this.fold.setAttribute("aria-expanded", String(open));
  }

  /** @param {object[]} runs in the order to show; @param {string[]} chosen ids */
  show(runs, chosen, names) {
    this.nav.hidden = !runs.length;
    const { filter } = state();
    if (document.activeElement !== this.filter) this.filter.value = filter;
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = runs.filter((run) => {
      const text = `${run.name} ${run.env_id ?? ""} ${run.folder} ${run.live ? "live" : ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const shown = matching.slice(0, LIST_AT_MOST);
    const rows = new Map(shown.map((run) => [run.id, this.rows.get(run.id) ?? this.row(run.id)]));
    this.rows = rows;
    shown.forEach((run, place) => {
      const row = rows.get(run.id);
      this.update(row, run, chosen, names);
      if (this.list.children[place] !== row.node) this.list.insertBefore(row.node, this.list.children[place] ?? null);
    });
    while (this.list.children.length > shown.length) this.list.lastChild.remove();
    say(this.note, !matching.length && runs.length ? `No run matches “${filter}”.` : matching.length > shown.length ? `${whole(matching.length - shown.length)} more: narrow them down with the filter.` : "");
    const first = runs.find((run) => run.id === chosen[0]);
    fill(this.title, "Runs ", h("span.count", {}, whole(runs.length)), first ? h("span.muted", {}, ` · ${names.get(first.id)}`) : null);
  }

  row(id) {
    const box = h("input", { type: "checkbox", onchange: () => this.lay(id, box) });
    const [dot, name, env, last, facts] = [h("i.dot"), h("span.name"), h("span.env"), h("b.last"), h("span.facts")];
    const button = h("button.run", { type: "button", onclick: () => this.choose(id) }, h("span.first", {}, dot, name, last), h("span.second", {}, env, facts));
    const node = h("li", {}, box, button);
    return { node, box, button, dot, name, env, last, facts };
  }

  update(row, run, chosen, names) {
    const place = chosen.indexOf(run.id);
    say(row.name, names.get(run.id));
    row.button.title = run.folder;
    row.button.setAttribute("aria-current", place === 0 ? "true" : "false");
    row.box.checked = place >= 0;
    row.box.setAttribute("aria-label", `Show ${names.get(run.id)} in the plot`);
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
    say(row.last, amount(run.return?.last100_mean ?? null));
    row.last.title = "Mean return of the last 100 episodes";
    say(row.facts, `${run.plain ? count(total(run.clips), "video") : `${short(run.episodes)} ep`} · ${run.live ? "live" : ago(run.updated)}`);
  }

  choose(id) {
    change({ runs: [id], tab: "", from: null, to: null });
    this.unfold(false);
  }

  lay(id, box) {
    const { runs } = state();
    if (box.checked && runs.length >= MOST_RUNS) box.checked = false;
    else if (box.checked) change({ runs: [...runs, id], from: null, to: null });
    else if (runs.length > 1) change({ runs: runs.filter((other) => other !== id), from: null, to: null });
    else box.checked = true; // one is always shown
  }
}
