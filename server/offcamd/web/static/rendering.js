// In the player, the place of a video that is not there yet: its episode is rendered, or it is said why it is not.
import * as api from "./api.js";
import { copy, fill, h, icon, say } from "./dom.js";
import { count, sentence, whole } from "./format.js";

/** @import { Rendering } from "./api.js" */

const LOOK_MS = 700;

export class RenderingView {
  /**
   * @param {HTMLElement} screen where the video will be
   * @param {string} run
   * @param {string} number of the episode, in order of arrival
   * @param {(clip: string) => void} done with the clip's key
   */
  constructor(screen, run, number, done) {
    this.run = run;
    this.number = number;
    this.done = done;
    this.timer = 0;
    this.stopped = false;
    this.began = Date.now();
    this.command = "";
    this.words = h("p", { role: "status" });
    this.more = h("div.more");
    fill(screen, h("div.rendering", {}, this.words, this.more));
    say(this.words, "Looking for its video…");
  }

  /**
   * Say how it is; once it has a video, be done.
   * @param {boolean} asks whether it is to be rendered: only what somebody presses does that
   * @param {boolean} again likewise, if that has failed before
   */
  async show(asks, again = false) {
    try {
      const there = await api.rendering(this.run, this.number); // first, for what to say where asking is refused
      this.command = there.command;
      this.tell((asks && there.state === "none") || (again && there.state === "failed") ? await api.render(this.run, this.number) : there);
    } catch (error) {
      this.refused(api.wordsOf(error));
    }
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** @param {Rendering} answer */
  tell(answer) {
    if (this.stopped) return;
    if (answer.clip) this.done(answer.clip);
    else if (answer.state === "waiting" || answer.state === "rendering") this.wait(answer);
    else if (answer.state === "failed") this.failed(answer);
    else this.idle(answer);
  }

  /** @param {Rendering} answer */
  wait({ state, ahead, percent, episode }) {
    const name = `Episode ${whole(episode)}`;
    say(this.words, state === "waiting" ? `${name} waits to be rendered, behind ${count(ahead, "other")}.` : `${name} is being rendered: it happens again, and each step is checked.`);
    if (!this.more.querySelector("progress")) fill(this.more, h("progress", { "aria-label": "Being rendered" }), h("span.took", { "aria-hidden": "true" }));
    const bar = this.more.querySelector("progress");
    if (bar && percent !== null) [bar.max, bar.value] = [100, percent]; // until then nobody knows how long it takes
    const took = this.more.querySelector(".took");
    const seconds = `${Math.round((Date.now() - this.began) / 1000)} s`;
    if (took) say(took, percent === null ? seconds : `${percent}%, ${seconds}`);
    this.timer = setTimeout(() => this.show(false), LOOK_MS);
  }

  /** @param {Rendering} answer */
  failed({ why, diverged_at, replayable }) {
    const [said, ...more] = (why ?? "it could not be rendered").split(": ");
    const where = diverged_at === null ? said : `${said} at step ${whole(diverged_at)}`;
    say(this.words, `There is no video. ${sentence([where, ...more].join(": "))}`);
    fill(this.more, replayable && this.button("Try again"), this.byHand("Or in a terminal, where it says more:"));
  }

  /** @param {Rendering} answer */
  idle({ episode, replayable, why }) {
    say(this.words, replayable ? `Episode ${whole(episode)} has no video yet. It can be made of its steps.` : `Episode ${whole(episode)} has no video: ${why ?? "its steps are not there"}.`);
    fill(this.more, replayable && this.button("Render this episode"));
  }

  /** @param {string} why */
  refused(why) {
    if (this.stopped) return;
    say(this.words, why);
    fill(this.more, this.button("Try again"), this.command && this.byHand("Or in a terminal, on the host that recorded it:"));
  }

  /** @param {string} text */
  button(text) {
    const press = () => {
      this.began = Date.now();
      fill(this.more);
      this.show(true, true);
    };
    return h("button.primary", { type: "button", onclick: press }, icon("film"), text);
  }

  /** @param {string} words */
  byHand(words) {
    return h("p.by-hand", {}, h("span", {}, words), h("code", {}, this.command), " ", h("button.icon.small", { type: "button", "aria-label": "Copy the command", title: "Copy the command", onclick: () => copy(this.command, "Command") }, icon("link")));
  }
}
