// A clip's file, to be saved.
import * as api from "./api.js";
import { h, icon, toast } from "./dom.js";
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
