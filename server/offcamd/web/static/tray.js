// The clips that were chosen to be compared, at the foot of the window.
import * as api from "./api.js";
import { fill, h, icon } from "./dom.js";
import { amount, clipTitle } from "./format.js";
import { change, state } from "./state.js";
import { MOST_CLIPS, split } from "./view.js";

/**
 * What is said of a clip: all of it once it was listed.
 * @typedef {import("./format.js").Named & {name: string, length: number | null, return: number | null}} Known
 */

export class Tray {
  /**
   * @param {HTMLElement} host
   * @param {Map<string, Known>} known clips seen so far, by RUN:KEY
   * @param {(run: string) => string} runName
   */
  constructor(host, known, runName) {
    this.host = host;
    this.known = known;
    this.runName = runName;
  }

  show() {
    const { pick } = state();
    this.host.hidden = !pick.length;
    document.body.classList.toggle("has-tray", pick.length > 0);
    if (!pick.length) return;
    fill(
      this.host,
      h("ul", {}, pick.map((id) => h("li", {}, h("span", {}, this.label(id)), h("button.icon.small", { type: "button", "aria-label": `Take out ${this.label(id)}`, onclick: () => change({ pick: pick.filter((other) => other !== id) }, { replace: true }) }, icon("close"))))),
      pick.length < 2 && h("span.muted", {}, `Choose more, up to ${MOST_CLIPS}, to see them side by side.`),
      h("span.push"),
      h("button.quiet", { type: "button", onclick: () => change({ pick: [] }, { replace: true }) }, "Clear"),
      h("button.primary", { type: "button", disabled: pick.length < 2, onclick: () => this.play() }, icon("play"), pick.length < 2 ? "Side by side" : `Play ${pick.length} side by side`),
    );
  }

  play() {
    const { pick } = state();
    if (pick.length > 1) change({ play: pick, asked: "", at: null });
  }

  /** @param {string} id */
  label(id) {
    const clip = this.known.get(id);
    if (!clip) {
      this.learn(id);
      return "…";
    }
    const name = clipTitle(clip);
    return `${name} · ${amount(clip.return)} · ${this.runName(split(id)[0])}`;
  }

  /**
   * Of a clip that the address names and nobody has listed yet.
   * @param {string} id
   */
  async learn(id) {
    this.known.set(id, unlisted("clip"));
    try {
      this.known.set(id, await api.clip(...split(id)));
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      this.known.set(id, unlisted("a clip that is gone"));
    }
    this.show();
  }
}

/** @type {(name: string) => Known} */
const unlisted = (name) => ({ name, episode: null, length: null, return: null });
