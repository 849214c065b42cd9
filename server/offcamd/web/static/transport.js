// What stands below what is played: the buttons that play it, where it is, how fast it goes, and whether it goes on again.
import { control, fill, h, icon, say } from "./dom.js";
import { clock } from "./format.js";
import { change } from "./state.js";
import { SPEEDS } from "./view.js";

/**
 * @import { Sync } from "./sync.js"
 * @typedef {{seek: (frame: number) => void, step: (frames: number) => void, go: (way: 0 | 1) => void, lay: () => void, toggle: () => void}} Acts
 */

export class Transport {
  /**
   * @param {Sync} sync what is played
   * @param {HTMLElement} aligning by what several clips lie on one timeline
   * @param {Acts} acts of the player
   */
  constructor(sync, aligning, { seek, step, go, lay, toggle }) {
    this.sync = sync;
    /** @type {boolean | null} */
    this.repeats = null; // whether clips are repeated; null while nobody has said so: short ones are
    this.toggle = control("play", "Play (space)", toggle, { "data-act": "toggle" });
    this.previous = control("previous", "Clip before (p)", () => go(0));
    this.next = control("next", "Clip after (n)", () => go(1));
    this.seek = h("input.seek", { type: "range", min: "0", value: "0", step: "1", "aria-label": "Position", oninput: () => seek(Number(this.seek.value)) });
    this.time = h("span.time");
    this.speed = h("select", { "aria-label": "Speed", onchange: () => change({ speed: Number(this.speed.value) }, { replace: true }) });
    this.looping = control("loop", "Repeat (l)", () => this.toggleRepeat(), { "aria-pressed": "false" });
    this.overlaying = control("words", "Step, reward and action over the video (o)", lay, { "aria-pressed": "false" });
    this.settings = h("div.settings", {}, aligning, h("label.select", {}, h("span", {}, "Speed"), this.speed), this.overlaying, this.looping);
    this.node = h(
      "div.transport",
      {},
      this.seek,
      h("div.buttons", {}, this.previous, control("back", "One frame back (left arrow)", () => step(-1)), this.toggle, control("forward", "One frame on (right arrow)", () => step(1)), this.next),
      this.time,
      this.settings,
    );
  }

  /** Show where it is. */
  tick() {
    const { sync } = this;
    if (Number(this.seek.max) !== sync.frames - 1) this.seek.max = String(sync.frames - 1);
    this.seek.value = String(sync.frame);
    this.seek.setAttribute("aria-valuetext", `frame ${sync.frame + 1} of ${sync.frames}`);
    say(this.time, `${clock(sync.position)} / ${clock(sync.duration)}`);
    if (this.toggle.dataset.playing === String(sync.playing)) return;
    this.toggle.dataset.playing = String(sync.playing);
    this.toggle.setAttribute("aria-label", sync.playing ? "Pause (space)" : "Play (space)");
    fill(this.toggle, icon(sync.playing ? "pause" : "play"));
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.sync.setSpeed(speed);
    const speeds = SPEEDS.includes(speed) ? SPEEDS : [...SPEEDS, speed].sort((one, other) => one - other);
    if (this.speed.value !== String(speed)) fill(this.speed, speeds.map((value) => h("option", { value: String(value), selected: value === speed }, `${value}×`)));
  }

  /** @param {boolean} loop */
  repeat(loop) {
    this.sync.loop = loop;
    this.looping.setAttribute("aria-pressed", String(loop));
  }

  /** As is wanted from now on, whatever is played. */
  toggleRepeat() {
    this.repeats = !this.sync.loop;
    this.repeat(this.repeats);
  }
}
