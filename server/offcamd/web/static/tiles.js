// Which part of a vector env's picture shows which sub-environment, and a line around it.
import { h } from "./dom.js";

/** @import { Clip } from "./api.js" */

/**
 * Where a clip shows a sub-environment, in shares of its picture; null where it shows that one alone, or nobody knows.
 * @param {Pick<Clip, "envs" | "grid">} clip
 * @param {number} env
 */
export function tileOf({ envs, grid }, env) {
  const place = envs.indexOf(env);
  if (!grid || place < 0 || envs.length < 2) return null;
  const [rows, cols] = grid;
  return { left: (place % cols) / cols, top: Math.floor(place / cols) / rows, width: 1 / cols, height: 1 / rows };
}

/** A line around a part of what a <video> shows; it stays there whatever size that has. */
export class Outline {
  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
    this.node = h("div.outline", { hidden: true, "aria-hidden": "true" });
    /** @type {ReturnType<typeof tileOf>} */
    this.tile = null;
    new ResizeObserver(() => this.place()).observe(video);
    video.addEventListener("loadedmetadata", () => this.place());
  }

  /** @param {ReturnType<typeof tileOf>} tile none where it is null */
  show(tile) {
    this.tile = tile;
    this.place();
  }

  place() {
    const { tile, video, node } = this;
    const { videoWidth, videoHeight, clientWidth, clientHeight } = video;
    node.hidden = !tile || !videoWidth || !clientWidth;
    if (!tile || node.hidden) return;
    const scale = Math.min(clientWidth / videoWidth, clientHeight / videoHeight); // object-fit: contain
    const [width, height] = [videoWidth * scale, videoHeight * scale];
    const left = video.offsetLeft + (clientWidth - width) / 2 + tile.left * width;
    const top = video.offsetTop + (clientHeight - height) / 2 + tile.top * height;
    Object.assign(node.style, { left: `${left}px`, top: `${top}px`, width: `${tile.width * width}px`, height: `${tile.height * height}px` });
  }
}
