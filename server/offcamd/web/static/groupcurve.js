// The runs of a folder as one curve: their interquartile mean and its interval; too few for that, each of them.
// `uPlot` is the global that uPlot.iife.min.js leaves.
import * as api from "./api.js";
import { axes, css } from "./axes.js";
import { fill, h, say, throttle } from "./dom.js";
import { amount, count, short, whole } from "./format.js";
import { fittingWindow, nearestIndex, prepared } from "./points.js";

/**
 * @import { Curve, Group, Run } from "./api.js"
 * @typedef {{group: Group | null, curves: Curve[], runs: Run[], window: number}} Found
 */

export const FEWEST = 5; // runs that have an interval
export const MOST_TOGETHER = 64; // as many as the recorder takes
const [POINTS, AGAIN_MS] = [300, 3000];


export class GroupCurve {
  constructor() {
    this.host = h("div.plot", { role: "img", "aria-label": "Learning curve" });
    this.note = h("p.note", { role: "status" });
    this.node = h("li.together", {}, this.host, this.note);
    /** @type {uPlot | null} */
    this.plot = null;
    /** @type {Found | null} */
    this.found = null;
    this.drawn = ""; // of what
    this.asked = "";
    this.again = throttle((/** @type {Run[]} */ runs) => this.load(runs), AGAIN_MS);
    this.sized = new ResizeObserver(() => this.plot?.setSize(this.size()));
    this.sized.observe(this.host);
    this.themed = () => {
      this.drawn = "";
      this.draw();
    };
    document.addEventListener("offcam-theme", this.themed);
  }

  /** @param {Run[]} runs of one folder */
  show(runs) {
    const wanted = runs.filter((run) => run.episodes).slice(0, MOST_TOGETHER);
    const asked = JSON.stringify(wanted.map(({ id, episodes }) => [id, episodes]));
    if (asked === this.asked) return;
    const first = !this.asked;
    this.asked = asked;
    if (first) this.load(wanted);
    else this.again(wanted);
  }

  /** @param {Run[]} runs */
  async load(runs) {
    const { asked } = this;
    if (!runs.length) {
      say(this.note, "No episode has ended yet.");
      return;
    }
    const ids = runs.map(({ id }) => id);
    const window = fittingWindow(runs.map(({ episodes }) => episodes));
    const view = { x: "episode", y: "return", window, points: POINTS };
    const { signal } = new AbortController();
    try {
      /** @type {Found} */
      const found = { group: null, curves: [], runs, window };
      if (ids.length < FEWEST) found.curves = (await Promise.all(ids.map((id) => api.curve(id, view, { signal })))).map(prepared);
      else found.group = await api.group(ids, view, { signal });
      if (asked !== this.asked) return; // they have grown meanwhile
      this.found = found;
      this.draw();
    } catch (error) {
      say(this.note, api.wordsOf(error));
    }
  }

  size() {
    return { width: Math.max(240, this.host.clientWidth), height: 220 };
  }

  draw() {
    if (!this.found) return;
    const { group, curves } = this.found;
    /** @type {uPlot.AlignedData} */
    const data = group ? [group.xs, group.low, group.high, group.iqm] : uPlot.join(curves.map(({ xs, average }) => [xs, average]));
    const shape = `${Boolean(group)} ${curves.length}`;
    if (this.plot && shape === this.drawn) this.plot.setData(data);
    else this.build(data);
    this.drawn = shape;
    this.say(null);
  }

  /** @param {uPlot.AlignedData} data */
  build(data) {
    this.plot?.destroy();
    const line = css("--c1");
    const hidden = { stroke: line, width: 0, points: { show: false } };
    const single = this.found?.group ? [hidden, hidden, { stroke: line, width: 2.4, points: { show: false } }] : this.found?.curves.map((_, place) => ({ stroke: css(`--c${place + 1}`), width: 2, points: { show: false } }));
    this.plot = new uPlot(
      {
        ...this.size(),
        series: [{}, ...(single ?? [])],
        bands: this.found?.group ? [{ series: [2, 1], fill: `${line}33` }] : [],
        legend: { show: false },
        padding: [10, 16, 0, 0],
        scales: { x: { time: false } },
        axes: axes({ values: (_u, ticks) => ticks.map((tick) => short(tick)) }),
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        hooks: { setCursor: [(u) => this.say(u.cursor.left !== undefined && u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null)] },
      },
      data,
      this.host,
    );
  }

  /**
   * What is drawn, and the numbers at a place; else those at the end.
   * @param {number | null} x
   */
  say(x) {
    if (!this.found) return;
    const { group, curves, runs, window } = this.found;
    const average = `mean of ${whole(window)} episodes`;
    if (group) {
      const place = x === null ? group.xs.length - 1 : nearestIndex(group.xs, x);
      const at = `episode ${whole(Math.round(group.xs[place]))}${x === null ? ", as far as each has come" : ""}: ${amount(group.iqm[place])} (${amount(group.low[place])} to ${amount(group.high[place])})`;
      say(this.note, `n = ${whole(group.runs)}. Interquartile mean over runs of their ${average}, with its 95 % bootstrap interval. At ${at}.`);
    } else {
      const each = curves.map(({ xs, average }, place) => h("span.one", {}, h(`i.swatch.c${place + 1}`), ` ${runs[place].name}: ${amount(average[x === null ? xs.length - 1 : nearestIndex(xs, x)])}`));
      fill(this.note, `n = ${count(curves.length, "run")}: too few for an interval, so each is drawn. The ${average} at ${x === null ? "its end" : `episode ${whole(Math.round(x))}`}: `, each);
    }
    if (x === null) this.host.setAttribute("aria-label", `Learning curve. ${this.note.textContent}`);
  }

  leave() {
    this.sized.disconnect();
    document.removeEventListener("offcam-theme", this.themed);
    this.plot?.destroy();
  }
}
