// Several clips side by side: how they are laid out, and by what they are aligned.
import { ALIGNMENTS } from "./alignment.js";
import * as api from "./api.js";
import { fill, h, say, segmented, toast } from "./dom.js";
import { whole } from "./format.js";
import { showNow, showsNow } from "./now.js";
import { firstDifference, firstReward, overlaid } from "./overlaid.js";
import { clipsOf, presetsOf } from "./presets.js";
import { baseOf } from "./runlist.js";
import { change, state } from "./state.js";
import { byPixel, tiling } from "./tiling.js";
import { split } from "./view.js";

/**
 * @import { ClipDetail, Run, Steps } from "./api.js"
 * @import { From, Preset } from "./presets.js"
 * @import { Sync } from "./sync.js"
 * @import { Traces } from "./traces.js"
 */

const MOST_POINTS = 2000; // of the steps of each: the most that are told

const BESIDE = 250; // pixels of a window's height that pictures cannot have: the head, and what plays them
const USUAL_ASPECT = 4 / 3;

export class Compare {
  /**
   * @param {HTMLElement} stage holds the figures
   * @param {Sync} sync plays them
   * @param {Traces} traces of their steps on one axis
   * @param {{run: (id: string) => Run | undefined, runs: () => Run[], anew: () => void}} page
   *   `anew`: load all that is shown once more
   */
  constructor(stage, sync, traces, page) {
    this.stage = stage;
    this.sync = sync;
    this.traces = traces;
    this.page = page;
    /** @type {Map<string, Steps | null>} */
    this.steps = new Map(); // of the clips, by RUN:KEY
    /** @type {Map<string, HTMLElement>} */
    this.recorded = new Map(); // the screens of those that are being recorded, by RUN:KEY
    /** @type {From | null} */
    this.from = null;
    this.differ = h("p.differ", { role: "status", hidden: true });
    this.choice = h("select", { "aria-label": "Compare with", onchange: () => this.choose() });
    this.presets = h("label.select", { hidden: true }, this.choice);
    this.aligning = h("div.aligning", { hidden: true });
    new ResizeObserver(() => this.layOut()).observe(stage);
  }

  /** Whether there is an event by which any can be aligned. */
  get eventful() {
    return this.sync.tracks.some(({ event }) => typeof event === "number");
  }

  get several() {
    return state().play.length > 1;
  }

  /** Show what the address says. */
  show() {
    const { align, play } = state();
    this.aligning.hidden = !this.several;
    this.sync.align(this.several ? align : "start");
    this.stage.dataset.count = String(play.length);
    if (!this.several) return;
    const focused = this.aligning.contains(document.activeElement);
    fill(this.aligning, h("span.muted", { "aria-hidden": "true" }, "Align"), segmented("Align by", ALIGNMENTS.filter(([value]) => value !== "event" || align === value || this.eventful), align, (value) => change({ align: value }, { replace: true })));
    const pressed = this.aligning.querySelector("button[aria-pressed=true]");
    if (focused && pressed instanceof HTMLElement) pressed.focus();
    this.layOut();
    if (this.steps.size) this.overlay();
  }

  /**
   * Say what a clip can be compared with: the first one of those that are shown.
   * @type {(id: string, clip: ClipDetail) => void}
   */
  offer(id, clip) {
    const { play, runs: chosen } = state();
    const [runId] = split(id);
    const run = this.page.run(runId);
    if (id !== play[0] || !run) return;
    this.from = { clip, id, run, chosen, runs: this.page.runs() };
    const presets = presetsOf(this.from);
    this.presets.hidden = !presets.length;
    fill(this.choice, h("option", { value: "" }, "Compare with…"), presets.map(([value, words]) => h("option", { value }, words)));
  }

  async choose() {
    const preset = /** @type {Preset} */ (this.choice.value);
    const { from } = this;
    this.choice.value = "";
    if (!from || !preset) return;
    try {
      const play = await clipsOf(preset, from);
      if (this.from !== from) return;
      if (play.length > 1) change({ play, asked: "", at: null });
      else toast("There is no other clip that could be compared so.");
    } catch (error) {
      toast(api.wordsOf(error));
    }
  }

  /**
   * Show the picture of now of a clip that is being recorded, in the place of its video, until that is there.
   * @type {(id: string, screen: HTMLElement, label: HTMLElement) => void}
   */
  watch(id, screen, label) {
    const words = screen.firstElementChild;
    screen.addEventListener("now", () => {
      const now = showsNow(screen);
      const video = screen.querySelector("video");
      say(label, now ? "newest" : "–");
      words?.toggleAttribute("hidden", now);
      video?.classList.toggle("pixels", byPixel(video.videoWidth));
      this.layOut();
    });
    say(label, "–");
    this.recorded.set(id, screen);
    showNow(screen, id, { hurry: true });
  }

  /** @param {Run} run that has changed: what it recorded may be over, and have a video */
  async grown(run) {
    for (const id of this.recorded.keys()) {
      const [runId, key] = split(id);
      if (baseOf(runId) !== baseOf(run.id)) continue;
      const clip = await api.clip(runId, key).catch(() => null); // which the banner says
      if (clip && !clip.live && this.recorded.has(id)) {
        this.page.anew();
        return;
      }
    }
  }

  /**
   * Something else is shown.
   * @param {HTMLElement} host
   */
  clear(host) {
    for (const screen of this.recorded.values()) showNow(screen, null);
    this.recorded.clear();
    this.steps.clear();
    this.from = null;
    this.presets.hidden = this.differ.hidden = true;
    host.classList.remove("overlaid");
    this.traces.show(null);
  }

  /**
   * The films are there: their steps come, by which they can be aligned, and lie over one another.
   * @param {HTMLElement} host
   */
  async begin(host) {
    if (!this.several) return;
    this.layOut();
    const wanted = state().play.join();
    const { tracks } = this.sync;
    const found = await Promise.all(tracks.map(({ id = "" }) => stepsOf(id)));
    if (state().play.join() !== wanted || tracks !== this.sync.tracks) return;
    tracks.forEach((track, place) => {
      this.steps.set(track.id ?? "", found[place]);
      track.event = firstReward(found[place]);
    });
    this.sync.place();
    host.classList.add("overlaid"); // first: what is drawn is as wide as it has room
    if (!this.overlay()) host.classList.remove("overlaid");
    this.show();
    this.compare();
  }

  /** The steps of all on one axis; whether there are any. */
  overlay() {
    const { play } = state();
    const places = new Map(this.sync.tracks.map((track) => [track.id, track]));
    const parts = play.map((id) => ({ offset: 0, rate: 1, fps: 1, frames: 0, ...places.get(id), steps: this.steps.get(id) ?? null }));
    const steps = overlaid(parts, this.sync.fps, this.sync.frames);
    this.traces.show(steps, () => `frame ${whole(this.sync.frame + 1)}`);
    return steps !== null;
  }

  /** Of two with one seed, say where they differ first. */
  compare() {
    const { tracks } = this.sync;
    const [one, other] = tracks.map(({ id = "" }) => this.steps.get(id) ?? null);
    this.differ.hidden = tracks.length !== 2 || typeof (tracks[0].seed ?? null) === "object" || tracks[0].seed !== tracks[1].seed || !one?.columns.length || !other?.columns.length;
    if (this.differ.hidden || !one || !other) return;
    const found = firstDifference(one, other);
    if (!found) {
      fill(this.differ, one.bucket === other.bucket ? "Both had the same seed, and do the same in each step." : "Both had the same seed; one is too long to say where they differ.");
      return;
    }
    const { step, frames, what, exact } = found;
    const go = () => {
      this.sync.pause();
      this.sync.seek(tracks[0].offset + (frames[0] + 0.5) / tracks[0].fps / tracks[0].rate);
    };
    const words = what.join() === "length" ? "one of them is over" : `in ${what.join(", ")}`;
    fill(this.differ, "Both had the same seed. They differ first ", h("button.quiet", { type: "button", onclick: go }, `${exact ? "at" : "about"} step ${whole(step)}`), ` (${words}).`);
  }

  /** As many columns as make the pictures as large as they can be. */
  layOut() {
    const { play } = state();
    const { clientWidth: width, style } = this.stage;
    if (play.length < 2 || !width) return;
    const ratios = [...this.stage.querySelectorAll("video")].map((video) => video.videoWidth / video.videoHeight).filter(Number.isFinite);
    const { columns, height } = tiling(play.length, width, window.innerHeight - BESIDE, ratios.length ? Math.max(...ratios) : USUAL_ASPECT);
    style.setProperty("--columns", String(columns));
    style.setProperty("--tall", `${height}px`);
  }
}

/**
 * The steps of a clip; null where they cannot be had.
 * @type {(id: string) => Promise<Steps | null>}
 */
async function stepsOf(id) {
  try {
    return await api.clipSteps(...split(id), { points: MOST_POINTS });
  } catch (error) {
    api.wordsOf(error); // its video plays all the same
    return null;
  }
}
