// The list of runs: beside the run that is shown, or where none is chosen the whole page, as a table or as cards.
import * as api from "./api.js";
import { columnChoice } from "./columns.js";
import { arrange, fill, h, icon, say, select, throttle } from "./dom.js";
import { exported } from "./exported.js";
import { amount, count, whole } from "./format.js";
import { GroupCurve, MOST_TOGETHER } from "./groupcurve.js";
import { RunRow } from "./runrow.js";
import { branches, COLUMNS, placeOf, sorted, whatIsWrong } from "./runtree.js";
import { drawSparkline, sparkline } from "./sparkline.js";
import { change, state } from "./state.js";
import { Statistics } from "./statistics.js";
import { MOST_RUNS } from "./view.js";
import { Wall } from "./wall.js";

/**
 * @import { Run } from "./api.js"
 * @import { Branch } from "./runtree.js"
 * @typedef {ReturnType<Runs["head"]>} Head of the runs of one folder
 */

const LIST_AT_MOST = 300;
/** What of the table can be left out. */
const CHOSEN = { state: "State", spark: "Course", last: "Last 100", best: "Best", episodes: "Episodes", steps: "Steps", updated: "Updated" };
const [TYPED_MS, AGAIN_MS] = [150, 2000];
const EXAMPLE = "env:cartpole return>100 -crashed";

export class Runs {
  /** @param {HTMLElement} nav */
  constructor(nav) {
    this.nav = nav;
    /** @type {Map<string, RunRow>} */
    this.rows = new Map();
    /** @type {Map<string, Head>} */
    this.heads = new Map();
    /** @type {Set<string>} */
    this.folded = new Set();
    /** @type {Map<string, GroupCurve>} */
    this.curves = new Map(); // of the folders where one is shown
    /** @type {Run[]} */
    this.runs = [];
    /** @type {string[]} */
    this.chosen = [];
    /** @type {Map<string, string>} */
    this.names = new Map();
    this.asked = ""; // the query that was asked for last
    /** @type {Set<string> | null} */
    this.meant = null; // the runs that it means; null for all
    this.list = h("ul.run-list");
    this.note = h("p.note", { role: "status" });
    this.wrong = h("p.note.wrong", { role: "alert", hidden: true });
    this.title = h("span.runs-title", {}, "Runs");
    this.fold = h("button.fold", { type: "button", "aria-expanded": "false", "aria-controls": "run-drawer", onclick: () => this.unfold() }, this.title, icon("chevron"));
    const typed = throttle((/** @type {string} */ value) => change({ filter: value }, { replace: true }), TYPED_MS);
    this.again = throttle(() => this.ask(), AGAIN_MS);
    this.filter = h("input.search", { type: "search", placeholder: EXAMPLE, title: "Words, fields, numbers and states, such as: env:cartpole return>100 live -crashed. Press / to come here.", spellcheck: "false", "aria-label": "Filter runs by name, environment or folder", value: state().filter, oninput: (event) => typed(event.currentTarget.value.trim()) });
    this.everything = h("button.quiet.all", { type: "button", onclick: () => change({ runs: [], tab: "", from: null, to: null }) }, "All runs");
    this.walled = h("button.quiet", { type: "button", title: "The latest clip of each live run", onclick: () => change({ wall: !state().wall }) }, icon("film"), "Wall");
    this.statistics = new Statistics();
    this.comparing = h("button.quiet", { type: "button", title: "Folders of runs against each other: which is better, and how sure that is", hidden: exported, onclick: () => change({ statistics: !state().statistics }) }, "Statistics");
    this.heading = h("h1", {}, "Runs ");
    this.counted = h("span.count");
    this.heading.append(this.counted);
    this.wall = new Wall((id) => this.choose(id));
    this.columns = h("div.columns", { role: "group", "aria-label": "Order by" });
    this.sorting = h("div.sorting");
    this.ordered = ""; // by what, as columns and sorting show
    this.drawer = h("div.drawer", { id: "run-drawer" }, h("div.searching", {}, this.filter, this.sorting, h("div.doing", {}, this.comparing, this.walled, columnChoice("runs", nav, CHOSEN))), this.wrong, this.statistics.node, this.wall.node, this.columns, this.list, this.note);
    fill(nav, this.fold, h("div.wide", {}, h("h2", {}, "Runs"), this.everything), this.heading, this.drawer);
  }

  search() {
    if (this.nav.hidden) return;
    this.unfold(true);
    this.filter.focus();
    this.filter.select();
  }

  unfold(open = this.fold.getAttribute("aria-expanded") !== "true") {
    this.fold.setAttribute("aria-expanded", String(open));
  }

  /**
   * @param {Run[]} runs
   * @param {string[]} chosen ids; none where all runs are the page
   * @param {Map<string, string>} names
   */
  show(runs, chosen, names) {
    [this.runs, this.chosen, this.names] = [runs, chosen, names];
    this.nav.hidden = !runs.length;
    const { filter } = state();
    if (document.activeElement !== this.filter) this.filter.value = filter;
    if (filter !== this.asked) this.ask();
    else if (filter && this.wrong.hidden) this.again(); // they have changed
    this.draw();
  }

  /** Which runs the query means is the recorder's to say: it is the same for whoever asks. */
  async ask() {
    const { filter } = state();
    this.asked = filter;
    if (!filter) {
      this.meant = null;
      this.wrong.hidden = true;
      this.draw();
      return;
    }
    try {
      const { runs } = await api.runsMeant(filter);
      if (filter !== state().filter) return; // it was changed meanwhile
      this.meant = new Set(runs.map(({ id }) => id));
      this.wrong.hidden = true;
    } catch (error) {
      if (filter !== state().filter) return;
      this.mistaken(filter, api.wordsOf(error));
    }
    this.draw();
  }

  /**
   * Those that were found last stay, with what is wrong with the query above them.
   * @type {(query: string, words: string) => void}
   */
  mistaken(query, words) {
    const place = placeOf(query, words);
    fill(this.wrong, place && h("code", {}, place[0], h("mark", {}, place[1])), place ? whatIsWrong(words) : words);
    this.wrong.hidden = false;
  }

  draw() {
    const { filter, by, turned, wall } = state();
    const all = !this.chosen.length;
    this.nav.setAttribute("role", all ? "main" : "navigation");
    const { meant } = this; // by what was asked last, until the answer is there
    const found = sorted(meant ? this.runs.filter(({ id }) => meant.has(id)) : this.runs, by, turned);
    const shown = found.slice(0, LIST_AT_MOST);
    this.rowsOf(branches(shown, this.runs));
    const more = found.length > shown.length ? `${whole(found.length - shown.length)} more: narrow them down with the filter.` : "";
    say(this.note, !found.length && this.runs.length ? `No run matches “${filter}”.` : more);
    const first = this.runs.find((run) => run.id === this.chosen[0]);
    fill(this.title, "Runs ", h("span.count", {}, whole(this.runs.length)), first ? h("span.muted", {}, ` · ${this.names.get(first.id)}`) : null);
    say(this.counted, found.length < this.runs.length ? `${whole(found.length)} of ${whole(this.runs.length)}` : whole(this.runs.length));
    this.everything.hidden = this.runs.length < 2;
    this.walled.setAttribute("aria-pressed", String(wall));
    this.comparing.setAttribute("aria-pressed", String(state().statistics));
    this.statistics.show(branches(found, this.runs), all && state().statistics);
    this.wall.show(found, this.names, all && wall);
    if (all) this.order();
  }

  /** @param {Branch[]} tree */
  rowsOf(tree) {
    const [rows, heads] = [this.rows, this.heads];
    [this.rows, this.heads] = [new Map(), new Map()];
    /** @type {HTMLElement[]} */
    const nodes = [];
    for (const { path, runs } of tree) {
      if (path) {
        const head = heads.get(path) ?? this.head(path);
        this.heads.set(path, head);
        this.updateHead(head, path, runs);
        nodes.push(head.node);
        const curve = this.chosen.length ? undefined : this.curves.get(path);
        if (curve) {
          curve.show(runs);
          nodes.push(curve.node);
        }
      }
      for (const run of runs) {
        const row = rows.get(run.id) ?? new RunRow(run.id, { open: (id) => this.choose(id), lay: (id, box) => this.lay(id, box) });
        this.rows.set(run.id, row);
        row.update(run, this.names.get(run.id) ?? run.name, this.chosen.indexOf(run.id), path ? run.name : "");
        row.node.classList.toggle("inner", Boolean(path));
        if (!path || !this.folded.has(path) || this.chosen.includes(run.id)) nodes.push(row.node);
      }
    }
    arrange(this.list, nodes);
  }

  /** @param {string} path of a folder with several runs */
  head(path) {
    const [name, facts, last] = [h("span.name", {}, path), h("span.facts"), h("b.last")];
    const line = sparkline();
    const button = h("button.branch", { type: "button", onclick: () => this.turn(path) }, icon("chevron"), name, facts, line, last);
    const curve = h("button.quiet.curve", { type: "button", onclick: () => (this.chosen.length ? this.together(path) : this.curveOf(path)) }, "Curve");
    return { node: h("li.head", {}, button, curve), button, name, facts, last, line, curve };
  }

  /** @type {(head: Head, path: string, runs: Run[]) => void} */
  updateHead(head, path, runs) {
    const live = runs.filter((run) => run.state === "live").length;
    const means = runs.map((run) => run.return.last100_mean).filter((mean) => mean !== null);
    say(head.facts, `${count(runs.length, "run")}${live ? `, ${whole(live)} live` : ""}`);
    say(head.last, means.length ? amount(means.reduce((sum, mean) => sum + mean, 0) / means.length) : "");
    head.last.title = `Mean over ${count(means.length, "run")} of the mean return of the last 100 episodes`;
    head.button.setAttribute("aria-expanded", String(!this.folded.has(path)));
    const most = this.chosen.length ? MOST_RUNS : MOST_TOGETHER;
    head.curve.title = `These ${runs.length > most ? `first ${whole(most)} of ${whole(runs.length)}` : whole(runs.length)} runs as one learning curve, with its interval`;
    if (this.chosen.length) head.curve.removeAttribute("aria-pressed");
    else head.curve.setAttribute("aria-pressed", String(this.curves.has(path)));
    head.curve.setAttribute("aria-label", `Curve of ${path}`);
    drawSparkline(head.line, ...runs.map((run) => run.sparkline));
  }

  /** @param {string} path */
  turn(path) {
    if (!this.folded.delete(path)) this.folded.add(path);
    this.draw();
  }

  /**
   * Show the curve of a folder below its head, or no longer.
   * @param {string} path
   */
  curveOf(path) {
    const curve = this.curves.get(path);
    if (curve) curve.leave();
    if (!this.curves.delete(path)) this.curves.set(path, new GroupCurve());
    this.draw();
  }

  /**
   * Lay the runs of a folder over the plot of the run that is shown.
   * @param {string} path
   */
  together(path) {
    const branch = branches(sorted(this.runs, state().by, state().turned)).find((other) => other.path === path);
    if (branch) change({ runs: branch.runs.slice(0, MOST_RUNS).map(({ id }) => id), band: true, tab: "", from: null, to: null });
  }

  /** The heads of the table's columns, by which it is sorted; on a phone there is a list of them instead. */
  order() {
    const { by, turned } = state();
    const ordered = `${by} ${turned}`;
    if (ordered === this.ordered) return; // a head that is drawn anew while it is clicked does not hear of that
    const entries = Object.entries(COLUMNS);
    const heads = entries.map(([name, { words, falling }]) => {
      const pressed = name === by;
      const arrow = pressed ? (falling === turned ? " ↑" : " ↓") : "";
      return h(`button.column.${name}`, { type: "button", "aria-pressed": String(pressed), onclick: () => change({ by: name, turned: pressed && !turned }, { replace: true }) }, words, h("span", { "aria-hidden": "true" }, arrow));
    });
    const focused = [...this.columns.children].indexOf(/** @type {Element} */ (document.activeElement));
    fill(this.columns, ...heads);
    heads[focused]?.focus();
    if (this.sorting.contains(document.activeElement)) return;
    /** @type {[string, string][]} */
    const choices = [["", "Live, then newest"], ...entries.map(([name, { words }]) => /** @type {[string, string]} */ ([name, words]))];
    fill(this.sorting, select("Order", choices, by, (value) => change({ by: value, turned: false }, { replace: true })));
    this.ordered = ordered;
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
