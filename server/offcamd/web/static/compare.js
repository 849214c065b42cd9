// Several clips side by side: how they are laid out, and by what they are aligned.
import { ALIGNMENTS } from "./alignment.js";
import { fill, h, segmented } from "./dom.js";
import { change, state } from "./state.js";
import { tiling } from "./tiling.js";

/** @import { Sync } from "./sync.js" */

const BESIDE = 250; // pixels of a window's height that pictures cannot have: the head, and what plays them
const USUAL_ASPECT = 4 / 3;

export class Compare {
  /**
   * @param {HTMLElement} stage holds the figures
   * @param {Sync} sync plays them
   */
  constructor(stage, sync) {
    this.stage = stage;
    this.sync = sync;
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
  }

  /** As many columns as make the pictures as large as they can be. */
  layOut() {
    const { play } = state();
    const { clientWidth: width, style } = this.stage;
    if (play.length < 2 || !width) return;
    const ratios = this.sync.tracks.map(({ video }) => video.videoWidth / video.videoHeight).filter(Number.isFinite);
    const { columns, height } = tiling(play.length, width, window.innerHeight - BESIDE, ratios.length ? Math.max(...ratios) : USUAL_ASPECT);
    style.setProperty("--columns", String(columns));
    style.setProperty("--tall", `${height}px`);
  }
}
