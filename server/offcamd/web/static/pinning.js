// Pinning a clip, with a note: the run's folder keeps it, so that whoever looks at the run finds it again.
import * as api from "./api.js";
import { fill, h, icon, toast } from "./dom.js";
import { exported } from "./exported.js";
import { state } from "./state.js";
import { split } from "./view.js";

/**
 * @import { Clip, ClipDetail } from "./api.js"
 * @typedef {(id: string, clip: ClipDetail) => void} Pinned is told of a clip that has been pinned, or is no longer
 */

const MOST_NOTE = 200; // characters, as the recorder takes them

/**
 * Pin a clip, or no longer where the note is null; null where that is refused, which is said.
 * @param {string} id RUN:KEY
 * @param {string | null} note
 * @returns {Promise<ClipDetail | null>}
 */
export async function pin(id, note) {
  const [run, key] = split(id);
  try {
    return note === null ? await api.unpin(run, key) : await api.pin(run, key, note);
  } catch (error) {
    toast(api.wordsOf(error));
    return null;
  }
}

/**
 * Pin it if it is not, else do so no longer.
 * @param {string} id RUN:KEY
 * @param {Pick<Clip, "pin">} clip as it is now
 */
export async function turn(id, clip) {
  const after = await pin(id, clip.pin ? null : "");
  if (after && clip.pin?.note) toast(`Not pinned any more. Its note was: ${clip.pin.note}`);
  return after;
}

/** In the player: whether the only clip is pinned, and what somebody wrote about it. */
export class Pinning {
  /** @param {Pinned} told */
  constructor(told) {
    this.told = told;
    this.id = "";
    /** @type {ClipDetail | null} */
    this.clip = null;
    this.node = h("div.pinning");
  }

  /**
   * @param {string} id RUN:KEY
   * @param {ClipDetail | null} clip that is played alone; null for none
   */
  show(id, clip) {
    [this.id, this.clip] = [id, clip];
    if (!clip || (exported && !clip.pin)) {
      fill(this.node);
      return;
    }
    const note = h("input", { type: "text", maxlength: MOST_NOTE, placeholder: "Note", "aria-label": "Note", value: clip.pin?.note, onchange: () => this.write(note.value.trim()), onkeydown: ({ key }) => (key === "Enter" || key === "Escape") && note.blur() });
    this.note = note;
    if (exported) fill(this.node, h("p.noted", {}, icon("pin"), clip.pin?.note || "Pinned"));
    else fill(this.node, h("button.quiet", { type: "button", "aria-pressed": String(Boolean(clip.pin)), title: "Pin this clip, so that it is found again (s)", onclick: () => this.turn() }, icon("pin"), clip.pin ? "Pinned" : "Pin"), clip.pin && note);
  }

  /** Pin what is shown, and have its note written; or pin it no longer. */
  async turn() {
    const { id, clip } = this;
    if (!clip) toast("A clip is pinned once it is there, and each by itself.");
    if (!clip || exported) return;
    this.set(id, await turn(id, clip));
    if (this.id === id && this.clip?.pin) this.note?.focus();
  }

  /** @param {string} note */
  async write(note) {
    const { id } = this;
    this.set(id, await pin(id, note));
  }

  /** @type {(id: string, clip: ClipDetail | null) => void} */
  set(id, clip) {
    if (!clip) return;
    if (this.id === id && state().play.join() === id) this.show(id, clip);
    this.told(id, clip);
  }
}
