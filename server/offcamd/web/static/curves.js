// The learning curves of the chosen runs: the controls above the plot, and the data in it, kept up to date.
import * as api from "./api.js";
import { Chart } from "./chart.js";
import { fill, h, icon, say, segmented, select, shape, throttle, toast } from "./dom.js";
import { exported } from "./exported.js";
import { count, whole } from "./format.js";
import { marksOf } from "./marks.js";
import { fittingWindow, prepared } from "./points.js";
import { change, state } from "./state.js";
import { Toolbar } from "./toolbar.js";
import { SMOOTHING } from "./view.js";

/**
 * @import { Curve, Group, Run } from "./api.js"
 * @import { PickEpisode } from "./chart.js"
 * @import { Mark } from "./marks.js"
 */

const REFRESH_MS = 1000;
const QUANTITIES = ["return", "length", "duration"]; // which each run has
const [FEWEST_POINTS, MOST_POINTS] = [400, 1500];

export class Curves {
  /**
   * @param {HTMLElement} section
   * @param {PickEpisode} pick
   */
  constructor(section, pick) {
    this.section = section;
    this.head = h("div.panel-head");
    this.controlled = h("div.controls");
    this.toolbar = new Toolbar(this.controlled, "Axes and average");
    this.note = h("p.note", { role: "status" });
    this.canvas = h("div.chart");
    this.shapes = h("ul.shapes", { hidden: true, "aria-label": "Marks" });
    section.append(this.head, this.canvas, this.shapes, this.note);
    this.automatic = h("option", { value: 0 }); // said anew in place: an open list closes where it is drawn anew
    this.chart = new Chart(this.canvas, { pick, zoom: (from, to) => change({ from, to }) });
    /** @type {Run[]} */
    this.runs = [];
    /** @type {Map<string, Curve>} */
    this.data = new Map(); // by run id
    this.axes = "";
    /** @type {Group | null} */
    this.band = null;
    /** @type {string[]} */
    this.failures = [];
    this.fetching = new AbortController();
    this.refresh = throttle(() => this.load(), REFRESH_MS);
  }

  /** @param {Run[]} runs to show, in this order */
  show(runs) {
    this.runs = runs;
    this.section.hidden = !runs.length;
    if (!runs.length) return;
    const { x, y } = state();
    if (this.axes !== `${x} ${y}`) this.data.clear(); // what is there is of other axes
    this.axes = `${x} ${y}`;
    this.controls();
    this.load();
  }

  /** @param {Run} run that has new episodes */
  grown(run) {
    if (!this.runs.some((other) => other.id === run.id)) return;
    const before = this.window();
    this.runs = this.runs.map((other) => (other.id === run.id ? { ...run, name: other.name } : other));
    if (this.window() !== before) say(this.automatic, this.automatically());
    this.refresh();
  }

  /** About one a pixel: more could not be seen, and they would come over the wire again with each new episode. */
  points() {
    return Math.max(FEWEST_POINTS, Math.min(MOST_POINTS, Math.round(this.section.clientWidth / 100) * 100));
  }

  /** Episodes in the average: as chosen, or as fits the runs. */
  window() {
    return state().smooth || fittingWindow(this.runs.map((run) => run.episodes));
  }

  automatically() {
    return `auto (${whole(this.window())})`;
  }

  async load() {
    this.fetching.abort();
    this.fetching = new AbortController();
    const { signal } = this.fetching;
    const { x, y, from, to } = state();
    const without = this.runs.filter((run) => run.episodes && ![...QUANTITIES, ...run.values].includes(y));
    const ids = this.runs.filter((run) => !without.includes(run)).map((run) => run.id);
    const view = { x, y, window: this.window(), points: this.points() };
    const failures = without.map(({ name }) => `${name}: its episodes have no ${y}.`);
    /** @type {<T>(answer: Promise<T>) => Promise<T | null>} */
    const careful = (answer) =>
      answer.catch((error) => {
        failures.push(api.wordsOf(error));
        return null;
      });
    try {
      const [curves, band] = await Promise.all([
        Promise.all(ids.map((id) => careful(api.curve(id, { ...view, from, to }, { signal })))),
        this.banded() && ids.length ? careful(api.group(ids, view, { signal })) : null,
      ]);
      ids.forEach((id, place) => {
        const curve = curves[place];
        if (curve) this.data.set(id, prepared(curve));
      });
      this.band = band;
      this.failures = failures;
      this.draw();
    } catch (error) {
      if (!signal.aborted) throw error; // others were asked for meanwhile
    }
  }

  banded() {
    return state().band && this.runs.length > 1;
  }

  draw() {
    const { x, y, raw, from, to } = state();
    const curves = this.runs.flatMap(({ id, name, replayable, num_envs }, place) => {
      const curve = this.data.get(id);
      return curve?.xs.length ? [{ id, name, place, curve, replayable, several: num_envs > 1 }] : [];
    });
    const episodes = curves.reduce((sum, { curve }) => sum + curve.total, 0);
    this.canvas.hidden = !curves.length;
    if (curves.length) this.chart.draw(curves, this.banded() ? this.band : null, { x, y, raw, from, to });
    const recorded = curves.map(({ curve }) => curve.recorded);
    this.explain(marksOf(recorded.flatMap(({ reasons }) => reasons), recorded.flatMap(({ pinned }) => pinned)), curves.some(({ replayable }) => replayable));
    const videos = curves.some(({ curve }) => curve.recorded.keys.length);
    const elsewhere = curves.some(({ replayable }) => replayable) ? "click any other to have it rendered. " : "click anywhere to play the nearest one. ";
    const marks = videos ? `Marks are episodes with a video; ${elsewhere}` : curves.some(({ replayable }) => replayable) ? "Click an episode to have it rendered. " : "";
    const lines = this.failures.length
      ? [...new Set(this.failures)].join(" ")
      : curves.length
        ? `${count(episodes, "episode")}. ${marks}Drag to zoom.`
        : from !== null || to !== null
          ? "No episode ended in this part of the axis."
          : "No episode has ended yet. The curve begins with the first one, by itself.";
    say(this.note, lines);
    this.note.classList.toggle("bad", this.failures.length > 0);
    this.canvas.dataset.episodes = String(episodes);
  }

  /**
   * What the marks that are there mean; nothing where all are of one sort that is told below.
   * @type {(marks: Mark[], replayable: boolean) => void}
   */
  explain(marks, replayable) {
    const kinds = marks.map(({ kind }) => kind).join() + replayable;
    this.shapes.hidden = marks.every(({ kind }) => kind === "filmed");
    if (this.shapes.dataset.kinds === kinds) return;
    this.shapes.dataset.kinds = kinds;
    const rendered = replayable && { words: "any other point: rendered once it is clicked", path: "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0Z" };
    fill(this.shapes, [...marks, rendered].map((mark) => mark && h("li", {}, shape(mark.path), mark.words)));
  }

  controls() {
    const { x, y, smooth, raw, band, from, to } = state();
    const windows = [...new Set([...SMOOTHING, smooth])].filter(Boolean).sort((one, other) => one - other);
    /** @type {[number, string][]} */
    const averages = windows.map((window) => [window, window === 1 ? "off" : `${whole(window)} ep`]);
    const focused = this.head.contains(document.activeElement) ? document.activeElement?.textContent : null;
    const average = select("Average", [[0, this.automatically()], ...averages], smooth, (value) => change({ smooth: Number(value) }));
    this.automatic = average.querySelector("option") ?? this.automatic;
    fill(
      this.controlled,
      this.quantity(y),
      segmented("Horizontal axis", [["episode", "Episode"], ["step", "Step", "Steps taken so far, of all episodes"], ["time", "Time", "Wall time since the run began"]], x, (value) => change({ x: value, from: null, to: null })),
      average,
      h("button.quiet", { type: "button", "aria-pressed": String(raw), onclick: () => change({ raw: !raw }), title: "Draw single episodes behind the average" }, "Raw"),
      this.runs.length > 1 && !exported && h("button.quiet", { type: "button", "aria-pressed": String(band), onclick: () => change({ band: !band }), title: "The runs as seeds of one experiment: their mean, with a 95 % interval" }, "Interval"),
      (from !== null || to !== null) && h("button.quiet", { type: "button", onclick: () => change({ from: null, to: null }) }, icon("reset"), "Reset zoom"),
      h("button.quiet", { type: "button", onclick: () => this.csv(), title: "Every episode, as a table" }, icon("download"), "CSV"),
    );
    fill(this.head, h("h2", { id: "curves-title" }, "Learning curve"), this.legend(), this.controlled);
    if (focused) [...this.head.querySelectorAll("button"), ...this.head.querySelectorAll("select")].find((item) => item.textContent === focused)?.focus();
    this.toolbar.settle();
  }

  /**
   * What is drawn: with values of the episodes there may be many.
   * @param {string} y
   */
  quantity(y) {
    /** @type {[string, string, string?][]} */
    const always = [["return", "Return", "Sum of the rewards of an episode"], ["length", "Length", "Steps of an episode"]];
    const known = new Set(this.runs.flatMap((run) => run.values));
    const values = [...new Set([...known, y])].filter((name) => !always.some(([other]) => other === name));
    /** @param {string} value */
    const choose = (value) => change({ y: value });
    if (!values.length) return segmented("Vertical axis", always, y, choose);
    return select("Draw", [...always.map(([name, words]) => /** @type {[string, string]} */ ([name, words])), ...values.map((name) => /** @type {[string, string]} */ ([name, name]))], y, choose);
  }

  legend() {
    if (this.runs.length < 2) return null;
    return h(
      "ul.legend",
      { "aria-label": "Runs in the plot" },
      this.runs.map((run, place) =>
        h(
          "li",
          {},
          h(`i.swatch.c${(place % 8) + 1}`),
          h("span", {}, run.name),
          h("button.icon.small", { type: "button", "aria-label": `Remove ${run.name} from the plot`, onclick: () => change({ runs: state().runs.filter((id) => id !== run.id) }) }, icon("close")),
        ),
      ),
    );
  }

  async csv() {
    for (const { id, name } of this.runs) {
      await api.save(`/api/runs/${encodeURIComponent(id)}/episodes.csv`, `${name}-episodes.csv`).catch((error) => toast(api.wordsOf(error)));
    }
  }
}
