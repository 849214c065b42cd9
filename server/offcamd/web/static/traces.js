// The steps beside a video: a plot for the rewards, their sum, each action and each of the agent's own numbers, one below
// the other on the video's time axis, with one cursor. `uPlot` is the global that uPlot.iife.min.js leaves.
import { axes, css } from "./axes.js";
import { fill, h, say } from "./dom.js";
import { clock, sentence, short } from "./format.js";
import { axisOf, nameOf, plotsOf, pointAt, remarksOf, RESET, TERMINATED, TRUNCATED, valueAt } from "./steps.js";

/**
 * @import { Steps } from "./api.js"
 * @import { Axis, Plot } from "./steps.js"
 * @typedef {{plot: Plot, values: HTMLElement[], host: HTMLElement, drawn: uPlot | null}} Lane
 */

const LEFT = 54; // pixels of a plot that its numbers take
const RIGHT = 10;
const HEIGHT = 64;
const TICK_ROOM = 56;
const FOOT = 24; // of the last one's axis
const FULL = 0.4; // a share of frames without pictures above which they are no exception


export class Traces {
  /**
   * @param {HTMLElement} host
   * @param {{seek: (frame: number) => void, choose: (env: number) => void}} told
   */
  constructor(host, told) {
    this.host = host;
    this.told = told;
    this.where = h("span.at");
    this.envs = h("select", { "aria-label": "Sub-environment", onchange: () => told.choose(Number(this.envs.value)) });
    this.envsLabel = h("label.select", { hidden: true }, h("span", {}, "Env"), this.envs);
    this.lanes = h("div.lanes");
    this.line = h("i.cursor");
    this.slider = h("div.scrub", { role: "slider", tabindex: "0", "aria-label": "Step", onpointerdown: (event) => this.hold(event), onpointermove: (event) => event.buttons && this.drag(event) }, this.line);
    this.note = h("p.note");
    /** @type {Lane[]} */
    this.drawn = [];
    /** @type {Steps | null} */
    this.steps = null;
    /** @type {Axis} */
    this.axis = { origin: 0, low: 0, high: 1, fps: null };
    this.frame = 0;
    this.naming = nameOf;
    fill(host, h("div.traces-head", {}, h("b", { "aria-hidden": "true" }, "Steps"), this.where, this.envsLabel), h("div.scrubbed", {}, this.lanes, this.slider), this.note);
    new ResizeObserver(() => this.resize()).observe(this.lanes);
    document.addEventListener("offcam-theme", () => this.draw());
  }

  /**
   * @param {Steps | null} steps null while there are none to be shown
   * @param {typeof nameOf} naming what a point is
   */
  show(steps, naming = nameOf) {
    this.steps = steps;
    this.naming = naming;
    this.host.hidden = !steps;
    for (const { drawn } of this.drawn) drawn?.destroy();
    this.drawn = [];
    if (!steps) return;
    this.axis = axisOf(steps);
    const { envs, env_index } = steps;
    this.envsLabel.hidden = envs.length < 2;
    fill(this.envs, envs.map((env) => h("option", { value: env, selected: env === env_index }, String(env))));
    this.drawn = plotsOf(steps).map((plot) => ({ plot, values: plot.columns.map(() => h("b")), host: h("div.lane-plot"), drawn: null }));
    this.slider.hidden = !this.drawn.length;
    fill(this.lanes, this.drawn.map((lane) => this.lane(lane)));
    say(this.note, remarksOf(steps).map(sentence).join(" "));
    this.slider.setAttribute("aria-valuemin", String(this.axis.low));
    this.slider.setAttribute("aria-valuemax", String(this.axis.high));
    this.draw();
    this.move(this.frame);
  }

  /** @param {Lane} lane */
  lane({ plot, values, host }) {
    const several = plot.columns.length > 1;
    const shown = plot.columns.map(({ name }, place) => h("span.value", {}, several && [h(`i.swatch.c${place + 1}`), h("span.muted", {}, name.slice(plot.title.length))], values[place]));
    return h("div.lane", {}, h("div.lane-head", {}, h("span", {}, plot.title), shown), host);
  }

  draw() {
    const last = this.drawn.at(-1);
    for (const lane of this.drawn) {
      lane.drawn?.destroy();
      lane.drawn = this.build(lane, lane === last);
    }
    this.place();
  }

  /**
   * @param {Lane} lane
   * @param {boolean} last whether it has the axis at its foot
   * @returns {uPlot | null}
   */
  build({ plot, host }, last) {
    const { steps, axis } = this;
    if (!steps) return null;
    const { fps } = axis;
    const [foot, side] = axes({ show: last, size: FOOT, space: TICK_ROOM, values: (_u, ticks) => ticks.map((tick) => (fps ? `${Number((tick / fps).toFixed(2))} s` : short(tick))) }, { size: LEFT, space: 22 }, 11);
    if (fps) foot.splits = (u, _axis, low, high) => secondsBetween(low, high, fps, (TICK_ROOM * (high - low)) / Math.max(1, u.width - LEFT - RIGHT));
    const { series, bands, data } = this.lines(plot, steps);
    return new uPlot(
      {
        width: this.width(),
        height: HEIGHT + (last ? FOOT : 0),
        series: [{}, ...series],
        bands,
        legend: { show: false },
        cursor: { show: false },
        padding: [6, RIGHT, last ? 0 : 4, 0],
        scales: { x: { time: false, range: () => [axis.low - 0.5, axis.high + 0.5] }, y: { range: (_u, low, high) => roomFor(plot.kind, low, high) } },
        axes: [foot, side],
        hooks: { drawClear: [(u) => this.shade(u, steps)], draw: [(u) => this.events(u, steps)] },
      },
      data,
      host,
    );
  }

  /** @type {(plot: Plot, steps: Steps) => {series: uPlot.Series[], bands: uPlot.Band[], data: uPlot.AlignedData}} */
  lines({ kind, columns }, steps) {
    const several = columns.length > 1;
    const first = /** @type {Record<string, number>} */ ({ reward: 1, return: 3, action: 2 })[kind] ?? 7;
    /** @type {uPlot.Series[]} */
    const series = [];
    /** @type {uPlot.Band[]} */
    const bands = [];
    const data = [steps.row.map((row) => row - this.axis.origin)];
    const paths = kind === "reward" ? uPlot.paths.bars?.({ size: [0.8, 12], align: 0 }) : columns.every(({ whole }) => whole) ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    columns.forEach(({ min, max }, place) => {
      const stroke = css(`--c${several ? place + 1 : first}`);
      const points = { show: kind !== "reward" && steps.row.length === 1 };
      /** @type {uPlot.Series} */
      const line = { stroke, width: kind === "reward" ? 0 : 1.5, points, paths, fill: kind === "reward" ? stroke : undefined };
      if (max) bands.push({ series: [series.length + 2, series.length + 1], fill: `${stroke}33` });
      if (max) [series.push(line), data.push(/** @type {number[]} */ (min))];
      [series.push(line), data.push(/** @type {number[]} */ (max ?? min))];
    });
    return { series, bands: kind === "reward" ? [] : bands, data: /** @type {uPlot.AlignedData} */ (data) };
  }

  /**
   * Where there is no picture of its own: beyond the video, and where frames were dropped.
   * @type {(u: uPlot, steps: Steps) => void}
   */
  shade(u, { film }) {
    if (!film) return;
    const { ctx, bbox } = u;
    const dropped = (film.gaps ?? []).reduce((sum, [, count]) => sum + count, 0);
    const gaps = dropped < FULL * film.frames ? (film.gaps ?? []) : [];
    ctx.save();
    ctx.fillStyle = css("--sunk");
    for (const [frame, count] of [[this.axis.low, -this.axis.low], [film.frames, this.axis.high + 1 - film.frames], ...gaps]) {
      if (count <= 0) continue;
      const left = u.valToPos(frame - 0.5, "x", true);
      ctx.fillRect(left, bbox.top, u.valToPos(frame + count - 0.5, "x", true) - left, bbox.height);
    }
    ctx.restore();
  }

  /**
   * Resets within, and how episodes end.
   * @type {(u: uPlot, steps: Steps) => void}
   */
  events(u, { flags, row, bucket }) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    flags.forEach((bits, place) => {
      if (!bits || (bits === RESET && place === 0)) return;
      const ended = bits & (TERMINATED | TRUNCATED);
      ctx.strokeStyle = css(bits & TERMINATED ? "--bad" : bits & TRUNCATED ? "--warn" : "--muted");
      ctx.setLineDash(ended ? [] : [3 * devicePixelRatio, 3 * devicePixelRatio]);
      const left = u.valToPos(row[place] - this.axis.origin + (ended ? Math.min(0.5, bucket / 2) : -0.5), "x", true);
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
    });
    ctx.restore();
  }

  width() {
    return Math.max(200, this.lanes.clientWidth);
  }

  resize() {
    const width = this.width();
    for (const { drawn } of this.drawn) if (drawn && drawn.width !== width) drawn.setSize({ width, height: drawn.height });
    this.place();
  }

  /** What is shown, in a line: its step, reward, return and actions. */
  get words() {
    const { steps } = this;
    if (!steps?.columns.length) return "";
    const point = pointAt(steps, this.frame);
    const numbers = this.drawn.filter(({ plot }) => plot.kind !== "trace").map(({ plot }) => `${plot.title.toLowerCase()} ${plot.columns.map((column) => valueAt(column, point)).join(", ")}`);
    return [this.naming(steps, point), ...numbers].join(" · ");
  }

  /**
   * Where the frame is: the cursor, and all numbers.
   * @param {number} frame
   */
  move(frame) {
    this.frame = frame;
    const { steps } = this;
    if (!steps) return;
    const point = pointAt(steps, frame);
    const name = this.naming(steps, point);
    say(this.where, this.axis.fps ? `${name} · ${clock(frame / this.axis.fps)}` : name);
    for (const { plot, values } of this.drawn) values.forEach((value, place) => { say(value, valueAt(plot.columns[place], point)); });
    this.slider.setAttribute("aria-valuenow", String(frame));
    const rewards = this.drawn.slice(0, 2).map(({ plot }) => `${plot.title.toLowerCase()} ${valueAt(plot.columns[0], point)}`);
    this.slider.setAttribute("aria-valuetext", [name, ...rewards].join(", "));
    this.place();
  }

  /** @param {number} frames on from where it stands, where no video is there to say it */
  step(frames) {
    this.move(Math.max(this.axis.low, Math.min(this.axis.high, this.frame + frames)));
  }

  /** The cursor stands in the middle of its frame. */
  place() {
    const { low, high } = this.axis;
    const room = this.width() - LEFT - RIGHT;
    this.line.style.transform = `translateX(${(((this.frame - low + 0.5) / (high - low + 1)) * room).toFixed(2)}px)`;
  }

  /** @param {PointerEvent} event */
  hold(event) {
    if (event.button !== 0) return;
    this.slider.setPointerCapture(event.pointerId);
    this.drag(event);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    const { low, high } = this.axis;
    const box = this.slider.getBoundingClientRect();
    const frame = Math.floor(low + ((event.clientX - box.left) / box.width) * (high - low + 1));
    this.told.seek(Math.max(low, Math.min(high, frame)));
  }
}

/**
 * What a plot's y-axis shows: bars stand on zero, and what is always the same lies in the middle.
 * @type {(kind: string, low: number | null, high: number | null) => [number, number]}
 */
function roomFor(kind, low, high) {
  let [least, most] = [low ?? 0, high ?? 1];
  if (kind === "reward") [least, most] = [Math.min(0, least), Math.max(0, most)];
  const room = (most - least || Math.abs(most) || 1) * 0.08;
  return [kind === "reward" && least === 0 ? 0 : least - room, kind === "reward" && most === 0 && least < 0 ? 0 : most + room];
}

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];

/**
 * Frames at which whole seconds, or plain parts of them, begin, at least so many frames apart.
 * @type {(low: number, high: number, fps: number, room: number) => number[]}
 */
function secondsBetween(low, high, fps, room) {
  const step = STEPS.find((each) => each * fps >= room) ?? STEPS[STEPS.length - 1];
  const first = Math.ceil(low / fps / step);
  return Array.from({ length: Math.max(0, Math.floor(high / fps / step) - first + 1) }, (_, place) => (first + place) * step * fps);
}
