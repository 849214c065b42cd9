// One plot: raw returns, their moving average, marks where a video is; hovering, picking, zooming, by mouse and by keyboard.
// `uPlot` is the global that uPlot.iife.min.js leaves.
import { axes, css } from "./axes.js";
import { fill, h } from "./dom.js";
import { amount, timeTick, whole } from "./format.js";
import { markOf } from "./marks.js";
import { extent, nearestIndex, outwards, tickText, TIME_STEPS, WHOLE_STEPS } from "./points.js";
import { Preview } from "./preview.js";

/**
 * @import { Curve, Group } from "./api.js"
 * @import { View } from "./view.js"
 * @typedef {{id: string, name: string, place: number, curve: Curve, replayable: boolean, several: boolean}} Line
 *   a run's curve, which has points; `several`: whether several envs count its episodes
 * @typedef {(run: string, number: number, count: number, key: string | null) => void} PickEpisode
 *   told which episodes were asked for: `count` of them from a number on; and the clip, where it was a mark
 * @typedef {(from: number | null, to: number | null) => void} Zoom
 */

const COLOURS = 8;
const MARK_REACH = 10; // pixels within which a click means the mark
const LEAST_REACH = 3;
const MOST_RINGS = 80; // more marks than this in view are ticks at the foot only, but for those with a reason, if they are no more
const MOST_TICKS = 150; // more than these are a shade rather than lines
const MOST_DOTS = 120;

/** @param {number} place */
const colourOf = (place) => css(`--c${(place % COLOURS) + 1}`);

export class Chart {
  /**
   * @param {HTMLElement} host
   * @param {{pick: PickEpisode, zoom: Zoom}} told
   */
  constructor(host, told) {
    this.told = told;
    this.readout = h("div.readout", { hidden: true });
    this.preview = new Preview();
    this.spoken = h("output.visually-hidden", { "aria-live": "polite" });
    this.plotHost = h("div.plot", {
      tabindex: "0",
      role: "application",
      "aria-label": "Learning curve. Left and right arrows move along it, Enter plays the episode.",
      onkeydown: (event) => this.key(event),
      onblur: () => this.plot?.setCursor({ left: -10, top: -10 }),
    });
    host.append(this.plotHost, this.readout, this.spoken);
    /** @type {uPlot | null} */
    this.plot = null;
    this.shape = ""; // of the plot: what it has to be built anew for
    /** @type {Line[]} */
    this.curves = [];
    /** @type {Group | null} */
    this.band = null;
    /** @type {Pick<View, "x" | "y" | "raw" | "from" | "to">} */
    this.view = { x: "episode", y: "return", raw: true, from: null, to: null };
    new ResizeObserver(() => this.resize()).observe(this.plotHost);
    document.addEventListener("offcam-theme", () => this.redraw());
  }

  /** @type {(curves: Line[], band: Group | null, view: Chart["view"]) => void} */
  draw(curves, band, view) {
    this.curves = curves;
    this.band = band;
    this.view = view;
    const tables = curves.map(({ curve }) => this.columns(curve));
    if (band) tables.push([band.xs, band.low, band.high, band.iqm, band.mean]);
    const data = tables.length === 1 ? tables[0] : uPlot.join(tables);
    const shape = JSON.stringify([curves.map(({ id, place, curve }) => [id, place, curve.decimated]), Boolean(band), view]);
    const { left = -10, top = -10 } = this.plot?.cursor ?? {};
    if (this.plot && shape === this.shape) this.plot.setData(data);
    else this.plot = this.build(data, shape);
    if (left >= 0) this.plot.setCursor({ left, top }); // whoever points at it sees the new numbers
  }

  /** @type {(curve: Curve) => uPlot.AlignedData} */
  columns(curve) {
    return curve.decimated && this.view.raw
      ? [curve.xs, curve.min, curve.max, curve.mean, curve.average]
      : [curve.xs, curve.mean, curve.average];
  }

  /** @type {(data: uPlot.AlignedData, shape: string) => uPlot} */
  build(data, shape) {
    this.plot?.destroy();
    this.shape = shape;
    const { series, bands } = this.layout();
    const { x } = this.view;
    const plot = new uPlot(
      {
        ...this.size(),
        series: [{}, ...series],
        bands,
        legend: { show: false },
        padding: [12, 16, 0, 0],
        scales: { x: { time: false, range: () => extent(this.curves.map(({ curve }) => curve), this.view) } },
        axes: axes({ values: (_u, ticks, _a, _s, step) => ticks.map((tick) => tickText(tick, step, x)), incrs: x === "time" ? TIME_STEPS : WHOLE_STEPS }, { space: 44 }),
        cursor: { y: false, drag: { x: true, y: false, setScale: false, dist: 8 }, points: { show: false } },
        hooks: { draw: [(u) => this.drawMarks(u)], setCursor: [(u) => this.hover(u)], setSelect: [(u) => this.select(u)] },
      },
      data,
      this.plotHost,
    );
    plot.over.addEventListener("click", (event) => {
      const box = plot.over.getBoundingClientRect();
      this.pickAt(plot, event.clientX - box.left, event.clientY - box.top);
    });
    plot.over.addEventListener("dblclick", () => this.told.zoom(null, null));
    return plot;
  }

  layout() {
    /** @type {uPlot.Series[]} */
    const series = [];
    /** @type {uPlot.Band[]} */
    const bands = [];
    const fade = this.band ? 0.3 : this.curves.length > 1 ? 0.5 : 1;
    const alone = this.curves.length === 1; // several shadows over one another would only be mud
    for (const { place, curve } of this.curves) {
      const stroke = colourOf(place);
      const dash = place >= COLOURS ? [6, 4] : undefined;
      if (curve.decimated && this.view.raw) {
        if (alone) bands.push({ series: [series.length + 2, series.length + 1], fill: `${stroke}22` });
        series.push({ stroke, width: 0, points: { show: false } }, { stroke, width: 0, points: { show: false } });
      }
      const few = curve.xs.length <= MOST_DOTS;
      series.push({ stroke, width: 1, alpha: 0.42 * fade, show: this.view.raw, points: { show: few, size: 5, fill: stroke } });
      series.push({ stroke, width: this.band ? 1 : 2.2, alpha: this.band ? 0.5 : 1, dash, points: { show: curve.xs.length === 1, size: 7, fill: stroke } });
    }
    if (this.band) {
      const stroke = css("--ink");
      bands.push({ series: [series.length + 2, series.length + 1], fill: `${stroke}1f` });
      series.push({ stroke, width: 0, points: { show: false } }, { stroke, width: 0, points: { show: false } });
      series.push({ stroke, width: 1.5, dash: [5, 4], points: { show: false } }, { stroke, width: 2.6, points: { show: false } });
    }
    return { series, bands };
  }

  size() {
    const width = Math.max(240, this.plotHost.clientWidth);
    return { width, height: width < 560 ? 250 : Math.min(400, Math.round(width * 0.4)) };
  }

  resize() {
    const size = this.size();
    if (this.plot && (this.plot.width !== size.width || this.plot.height !== size.height)) this.plot.setSize(size);
  }

  redraw() {
    this.shape = "";
    if (this.plot) this.draw(this.curves, this.band, this.view);
  }

  /**
   * Ticks at the foot where there is a video; marks on the curve, too, where they have room.
   * @param {uPlot} u
   */
  drawMarks(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = 1.5 * devicePixelRatio;
    const all = this.curves.reduce((sum, { curve }) => sum + curve.recorded.xs.length, 0);
    for (const { place, curve } of this.curves) {
      const { recorded } = curve;
      ctx.strokeStyle = colourOf(place);
      ctx.fillStyle = css("--surface");
      const inView = recorded.xs.map((x, mark) => ({ left: u.valToPos(x, "x", true), y: recorded.ys[mark], reason: recorded.reasons[mark], pinned: recorded.pinned[mark] })).filter(({ left }) => left >= bbox.left && left <= bbox.left + bbox.width);
      const foot = bbox.top + bbox.height;
      const crowded = Math.min(all, inView.length * this.curves.length) > MOST_RINGS;
      const few = inView.filter(({ reason }) => reason !== null).length * this.curves.length <= MOST_RINGS;
      ctx.globalAlpha = inView.length > MOST_TICKS ? 0.4 : 1;
      for (const { left, y, reason, pinned } of inView) {
        ctx.beginPath();
        ctx.moveTo(left, foot);
        ctx.lineTo(left, foot - 7 * devicePixelRatio);
        ctx.stroke();
        if ((crowded && !pinned && !(few && reason !== null)) || y === null || !this.view.raw) continue;
        ctx.save();
        ctx.translate(left, u.valToPos(y, "y", true));
        ctx.scale(devicePixelRatio, devicePixelRatio);
        ctx.lineWidth = 1.5;
        ctx.globalAlpha = 1;
        const shape = new Path2D(markOf(reason, pinned).path);
        ctx.fill(shape);
        ctx.stroke(shape);
        ctx.restore();
      }
    }
    ctx.restore();
  }

  /**
   * Per run, what is nearest to a position on the x-axis.
   * @param {uPlot} u
   * @param {number} left
   */
  at(u, left) {
    const x = u.posToVal(left, "x");
    return this.curves
      .map((entry) => ({ ...entry, index: nearestIndex(entry.curve.xs, x) }))
      .filter(({ index }) => index >= 0);
  }

  /**
   * The mark that a position is at, if any: its run, episode and clip.
   * @param {uPlot} u
   * @param {number} left
   */
  markAt(u, left) {
    let best = null;
    let reach = MARK_REACH;
    for (const { id, curve, replayable, several } of this.curves) {
      const { xs, numbers, keys, reasons } = curve.recorded;
      const mark = nearestIndex(xs, u.posToVal(left, "x"));
      const distance = mark < 0 ? Infinity : Math.abs(u.valToPos(xs[mark], "x") - left);
      if (distance < (replayable ? Math.min(reach, this.room(u, curve, left)) : reach)) [best, reach] = [{ id, number: numbers[mark], key: keys[mark], reason: reasons[mark], title: `${several ? "#" : "episode "}${whole(numbers[mark])}` }, distance];
    }
    return best;
  }

  /**
   * How near a mark is meant where its neighbours can be asked for, too: half of the way to them, but some pixels.
   * @type {(u: uPlot, curve: Curve, left: number) => number}
   */
  room(u, { xs }, left) {
    const place = nearestIndex(xs, u.posToVal(left, "x"));
    const [one, other] = place ? [xs[place - 1], xs[place]] : [xs[0], xs[1] ?? xs[0]];
    return one === other ? MARK_REACH : Math.max(LEAST_REACH, Math.abs(u.valToPos(other, "x") - u.valToPos(one, "x")) / 2);
  }

  /** @param {uPlot} u */
  hover(u) {
    const { left = -1, top = -1 } = u.cursor;
    if (left < 0 || !this.curves.length) {
      this.readout.hidden = true;
      return;
    }
    const found = this.at(u, left);
    if (!found.length) return;
    const mark = this.markAt(u, left);
    this.plotHost.classList.toggle("on-mark", Boolean(mark));
    const x = found[0].curve.xs[found[0].index];
    const lines = found.map(({ name, place, curve, index }) => {
      const several = curve.count[index] > 1;
      const raw = several
        ? `${amount(curve.mean[index])} (${amount(curve.min[index])} to ${amount(curve.max[index])} in ${whole(curve.count[index])} episodes)`
        : amount(curve.mean[index]);
      return h(
        "div.line",
        {},
        this.curves.length > 1 ? [h(`i.swatch.c${(place % COLOURS) + 1}`), h("span.name", {}, name)] : null,
        h("b", {}, raw),
        h("span.muted", {}, `average ${amount(curve.average[index])}`),
      );
    });
    const videos = this.curves.some(({ curve }) => curve.recorded.keys.length);
    const other = this.curves.some(({ replayable }) => replayable) ? "click: render this episode" : videos ? "click: nearest video" : "no video yet";
    const hint = mark ? `▶ video of ${mark.title}${mark.reason === null ? "" : `, kept as ${mark.reason}`}` : other;
    const shown = this.view.x === "time" ? timeTick(x, 1) : whole(x);
    fill(this.readout, h("div.head", {}, `${this.view.x} ${shown}`), lines, this.band && this.bandLine(this.band, u.posToVal(left, "x")), h("div.hint", {}, hint), this.preview.of(mark));
    this.readout.hidden = false;
    const width = this.readout.offsetWidth;
    const room = this.plotHost.clientWidth;
    const axis = u.over.offsetLeft;
    const beside = left + axis + 18 + width > room ? left + axis - width - 18 : left + axis + 18;
    this.readout.style.transform = `translate(${Math.round(Math.max(0, Math.min(beside, room - width)))}px, ${Math.round(Math.max(4, top > 120 ? top - 60 : top + 24))}px)`;
  }

  /** @type {(band: Group, x: number) => HTMLElement | null} */
  bandLine({ xs, mean, low, high, iqm, runs }, x) {
    const place = nearestIndex(xs, x);
    if (place < 0) return null;
    return h("div.line", {}, h("b", {}, `mean ${amount(mean[place])}`), h("span.muted", {}, `[${amount(low[place])}, ${amount(high[place])}] of ${runs} runs, IQM ${amount(iqm[place])}`));
  }

  /** @param {uPlot} u */
  select(u) {
    const { left, width } = u.select;
    if (width < 8) return;
    const [from, to] = outwards(u.posToVal(left, "x"), u.posToVal(left + width, "x"), this.view.x);
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.told.zoom(from, to);
  }

  /**
   * Ask for the episode under a position: that of a mark, else of the run whose line is nearest.
   * @param {uPlot} u
   * @param {number} left
   * @param {number} top
   */
  pickAt(u, left, top) {
    const mark = this.markAt(u, left);
    if (mark) {
      this.told.pick(mark.id, mark.number, 1, mark.key);
      return;
    }
    let best = null;
    let least = Infinity;
    for (const entry of this.at(u, left)) {
      for (const value of [entry.curve.mean[entry.index], entry.curve.average[entry.index]]) {
        const distance = value === null ? 1e9 : Math.abs(u.valToPos(value, "y") - top);
        if (distance < least) [best, least] = [entry, distance];
      }
    }
    if (best) this.told.pick(best.id, best.curve.first[best.index], best.curve.count[best.index], null);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { plot } = this;
    const main = this.curves[0]?.curve;
    if (!plot || !main?.xs.length) return;
    const last = main.xs.length - 1;
    const { left = -1, top = -1 } = plot.cursor;
    const now = left >= 0 ? nearestIndex(main.xs, plot.posToVal(left, "x")) : last;
    const stride = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
    /** @type {Record<string, number>} */
    const places = { ArrowLeft: now - stride, ArrowRight: now + stride, Home: 0, End: last };
    const next = places[event.key];
    if (next !== undefined) {
      const place = Math.max(0, Math.min(last, left >= 0 || event.key === "Home" ? next : last));
      plot.setCursor({ left: plot.valToPos(main.xs[place], "x"), top: plot.valToPos(main.mean[place] ?? 0, "y") });
      // biome-ignore lint/performance/useDomNodeTextContent: what stands on lines of its own is read with a pause
      this.spoken.textContent = this.readout.innerText.replaceAll("\n", ", ");
    } else if (event.key === "Enter" || event.key === " ") {
      if (left >= 0) this.pickAt(plot, left, top);
    } else if (event.key === "Escape" && this.view.from !== null) this.told.zoom(null, null);
    else return;
    event.preventDefault();
  }
}
