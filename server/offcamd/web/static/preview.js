// The picture of the clip that the pointer rests on.
import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { poster } from "./posters.js";

const REST_MS = 120; // whoever moves over many marks means none of them

export class Preview {
  constructor() {
    this.key = "";
    this.timer = 0;
    this.node = h("div.preview");
  }

  /**
   * What shows it; nothing where the pointer is on no mark.
   * @param {{id: string, key: string} | null} mark of a run
   */
  of(mark) {
    const key = mark ? `${mark.id} ${mark.key}` : "";
    if (key !== this.key) {
      this.key = key;
      clearTimeout(this.timer);
      fill(this.node);
      if (mark) this.timer = setTimeout(() => fill(this.node, poster(api.clipPath(mark.id, mark.key, "poster"))), REST_MS);
    }
    return mark && this.node;
  }
}
