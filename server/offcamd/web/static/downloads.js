// A clip's file, to be saved.
import * as api from "./api.js";
import { h, icon, say, toast } from "./dom.js";
import { exported } from "./exported.js";
import { bytes } from "./format.js";

/** @import { Clip } from "./api.js" */

/**
 * A link to it. With a token the link cannot fetch for itself.
 * @type {(clip: Clip, path: string) => HTMLElement}
 */
export function fileOf(clip, path) {
  const name = clip.file ?? clip.name;
  const press = (/** @type {Event} */ event) => {
    if (!api.hasToken()) return; // the link does it
    event.preventDefault();
    api.save(path, name).catch((error) => toast(api.wordsOf(error)));
  };
  return h("a.file", { href: `${path}?download=1`, download: name, onclick: press }, icon("download"), name, h("span.muted", {}, bytes(clip.file_bytes)));
}

/**
 * Buttons that have an episode's video made an animated picture, and save it, with what lies over the video; none in an exported page, which makes nothing.
 * @type {(run: string, number: number, name: string, player: {overlay: HTMLElement}) => HTMLElement | null}
 */
export function animationsOf(run, number, name, { overlay }) {
  /** @type {(kind: "gif" | "webp", words: string) => HTMLButtonElement} */
  const making = (kind, words) => {
    const said = h("span", {}, words);
    const press = async () => {
      button.disabled = true;
      say(said, `Making ${words}…`);
      try {
        api.saveUrl(URL.createObjectURL(await api.animation(run, number, kind, !overlay.hidden)), `${name}.${kind}`);
      } catch (error) {
        toast(api.wordsOf(error));
      }
      say(said, words);
      button.disabled = false;
    };
    const button = h("button.quiet", { type: "button", title: `Save it as an animated ${words}, for where no video can be shown`, onclick: press }, icon("download"), said);
    return button;
  };
  return exported ? null : h("span.animations", {}, making("gif", "GIF"), making("webp", "WebP"));
}
