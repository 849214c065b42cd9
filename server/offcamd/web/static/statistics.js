// Groups of runs against each other, above the list of all runs: which is better, and how sure that is.
import * as api from "./api.js";
import { arrange, fill, h, say, throttle } from "./dom.js";
import { interval, Lines } from "./figures.js";
import { amount, count, whole } from "./format.js";
import { change, state } from "./state.js";

/**
 * @import { Estimate, Statistics as Found } from "./api.js"
 * @import { Branch } from "./runtree.js"
 */

const MOST_GROUPS = 8;
const MOST_RUNS = 64; // of all groups together: as many as the recorder takes
const [TYPED_MS, AGAIN_MS] = [400, 5000];
const AGARWAL = "Agarwal et al., NeurIPS 2021";
const SOURCES = {
  iqm: `Interquartile mean: the mean of the middle half of the runs' scores (${AGARWAL}, section 4.3). Intervals are of the stratified bootstrap over runs (section 4.1).`,
  gap: `Optimality gap: mean(max(threshold − score, 0)); less is better (${AGARWAL}, section 4.3).`,
  pairs: `Probability of improvement: the share of pairs of runs of which the one is better, a draw being half (${AGARWAL}, section 4.3; Mann and Whitney, 1947).`,
  efficiency: `Sample efficiency: the interquartile mean of the scores that runs had when so much of the shortest run's steps was done (${AGARWAL}).`,
  profile: `Performance profile: the share of runs with a score above each (${AGARWAL}, section 4.2; Dolan and Moré, 2002).`,
};

export class Statistics {
  constructor() {
    /** @type {Branch[]} */
    this.branches = [];
    this.asked = "";
    /** @type {Map<string, ReturnType<Statistics["choice"]>>} */
    this.offered = new Map(); // by path
    this.choices = h("div.groups", { role: "group", "aria-label": "Groups" });
    const typed = throttle(() => change({ enough: this.threshold.value === "" ? null : Number(this.threshold.value) }, { replace: true }), TYPED_MS);
    this.threshold = h("input", { type: "number", step: "any", "aria-label": "Threshold", placeholder: "none", value: state().enough, oninput: typed });
    this.note = h("p.note", { role: "status" });
    this.told = h("div.told");
    /** @type {Found | null} */
    this.found = null;
    /** @type {Lines[]} */
    this.figures = [];
    document.addEventListener("offcam-theme", () => this.found && this.draw(this.found));
    this.again = throttle(() => this.load(), AGAIN_MS);
    this.node = h("section.statistics", { hidden: true, "aria-label": "Statistics" }, h("div.asking", {}, this.choices, h("label.select", {}, h("span", {}, "Score that is enough"), this.threshold)), this.note, this.told);
  }

  /**
   * @param {Branch[]} tree
   * @param {boolean} shown
   */
  show(tree, shown) {
    this.node.hidden = !shown;
    if (!shown) return;
    this.branches = tree.filter(({ path }) => path);
    const chosen = this.chosen();
    const choosing = this.choices.contains(document.activeElement);
    arrange(this.choices, this.branches.map(({ path, runs }) => {
      const choice = this.offered.get(path) ?? this.choice(path);
      this.offered.set(path, choice);
      if (!choosing) choice.box.checked = chosen.some((each) => each.path === path);
      say(choice.count, ` n = ${whole(runs.length)}`);
      return choice.node;
    }));
    const asked = JSON.stringify([this.parameters(), chosen.map(({ runs }) => runs.map((run) => run.episodes))]);
    if (asked === this.asked) return;
    const first = !this.told.childElementCount || JSON.parse(this.asked || "[0]")[0] !== JSON.parse(asked)[0];
    this.asked = asked;
    if (first) this.load();
    else this.again();
  }

  /** @param {string} path */
  choice(path) {
    const [box, count] = [h("input", { type: "checkbox", value: path, onchange: () => this.choose() }), h("span.muted")];
    return { node: h("label", {}, box, path, count), box, count };
  }

  /** The groups that are compared: at first all that there are. */
  chosen() {
    const { groups } = state();
    return this.branches.filter(({ path }) => !groups.length || groups.includes(path)).slice(0, MOST_GROUPS);
  }

  choose() {
    const boxes = [...this.choices.querySelectorAll("input")];
    change({ groups: boxes.filter((box) => box.checked).map((box) => box.value) }, { replace: true });
  }

  parameters() {
    const chosen = this.chosen();
    const each = Math.floor(MOST_RUNS / Math.max(1, chosen.length));
    const groups = chosen.map(({ path, runs }) => ["group", `${path}:${runs.filter((run) => !run.problem).slice(0, each).map((run) => run.id).join(",")}`]);
    const { enough } = state();
    return new URLSearchParams(enough === null ? groups : [...groups, ["threshold", String(enough)]]).toString();
  }

  async load() {
    const { asked } = this;
    if (this.chosen().length < 2) {
      fill(this.told);
      say(this.note, this.branches.length < 2 ? "There is one folder of several runs, or none: two are compared, each with the runs of one algorithm." : "Choose two groups or more.");
      return;
    }
    if (!this.told.childElementCount) say(this.note, "Comparing…");
    try {
      const found = await api.statistics(this.parameters());
      if (asked !== this.asked) return; // another was asked for meanwhile
      this.draw(found);
    } catch (error) {
      if (asked !== this.asked) return;
      fill(this.told);
      say(this.note, api.wordsOf(error));
    }
  }

  /** @param {Found} found */
  draw(found) {
    for (const figure of this.figures) figure.leave();
    this.found = found;
    const { groups, pairs, fractions, thresholds, threshold, confidence, warnings } = found;
    const shown = this.chosen();
    const left = shown.reduce((sum, { runs }) => sum + runs.length, 0) - groups.reduce((sum, { runs }) => sum + runs, 0);
    say(this.note, `${found.tasks.join(", ")}. The score of a run is the ${found.score}. Intervals are of ${100 * confidence} %.${left > 0 ? ` ${count(left, "run")} left out.` : ""}`);
    const percent = `${100 * confidence} %`;
    const ends = groups.flatMap(({ iqm }) => [iqm.value, iqm.low, iqm.high]);
    const name = (/** @type {string} */ label) => [h(`i.swatch.c${groups.findIndex((group) => group.label === label) + 1}`), ` ${label}`];
    this.figures = [
      new Lines("Sample efficiency", fractions, groups.map(({ efficiency }) => efficiency), { title: "steps, of those of the shortest run", shares: true }, { title: "IQM of the scores" }),
      new Lines("Performance profiles", thresholds, groups.map(({ profile }) => profile), { title: "score" }, { title: "runs above it", shares: true }),
    ];
    const [efficiency, profiles] = this.figures;
    fill(
      this.told,
      warnings.map((warning) => h("p.asked", {}, warning)),
      part("Interquartile mean", [SOURCES.iqm, threshold !== null && SOURCES.gap], table(["Group", "n", "IQM", percent, `On one scale, ${scaleOf(ends)}`, ...(threshold === null ? [] : [`Gap to ${amount(threshold)}`, percent])], groups.map(({ label, runs, iqm, gap }, place) => [name(label), whole(runs), amount(iqm.value), within(iqm), interval(iqm, ends, place), ...(gap ? [amount(gap.value), within(gap)] : [])]))),
      part("Probability of improvement", [SOURCES.pairs], table(["A run of", "is better than one of", "Probability", percent], pairs.map(({ better, than, probability }) => [name(better), name(than), amount(probability.value), within(probability)]))),
      part("Sample efficiency", [SOURCES.efficiency], efficiency.node, table(["Steps", ...groups.map(({ label }) => label)], fractions.map((fraction, place) => [`${Math.round(fraction * 100)} %`, ...groups.map(({ efficiency }) => amount(efficiency.center[place]))]))),
      part("Performance profiles", [SOURCES.profile], profiles.node, table(["Score above", ...groups.map(({ label }) => label)], [0, 25, 50, 75, 100].filter((place) => place < thresholds.length).map((place) => [amount(thresholds[place]), ...groups.map(({ profile }) => `${Math.round((profile.center[place] ?? 0) * 100)} %`)]))),
    );
  }
}

/** @type {(ends: (number | null)[]) => string} */
const scaleOf = (ends) => {
  const there = ends.filter((end) => end !== null);
  return `${amount(Math.min(...there))} to ${amount(Math.max(...there))}`;
};

/** @type {(estimate: Estimate) => string} */
const within = ({ low, high }) => (low === null || high === null ? "–" : `${amount(low)} to ${amount(high)}`);

/** @typedef {string | Element | (string | Element)[]} Cell */

/** @type {(title: string, sources: (string | false)[], ...shown: Element[]) => HTMLElement} */
const part = (title, sources, ...shown) => h("section", {}, h("h2", {}, title), shown, sources.map((source) => source && h("p.source", {}, source)));

/** @type {(heads: string[], rows: Cell[][]) => HTMLElement} */
const table = (heads, rows) => h("div.wide-table", { tabindex: "0", role: "region", "aria-label": heads.join(", ") }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", {}, head)))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, ...(Array.isArray(cell) ? cell : [cell]))))))));
