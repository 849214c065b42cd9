// What a video shows at this moment, as a picture file, with the words that lie over it.
import { h, icon, toast } from "./dom.js";

/** @import { Sync } from "./sync.js" */

const LEAST_TEXT = 12; // pixels high

/**
 * A button that saves the frame at which a video stands, or is made to.
 * @type {(video: HTMLVideoElement, name: string, player: {sync: Sync, overlay: HTMLElement}) => HTMLElement}
 */
export function stillOf(video, name, { sync, overlay }) {
  const press = () => {
    sync.pause();
    saveStill(video, `${name}-frame-${sync.frame}.png`, overlay.hidden ? "" : (overlay.textContent ?? ""));
  };
  return h("button.quiet", { type: "button", onclick: press }, icon("film"), "Save this frame");
}

/**
 * Save it as PNG, at the video's own size.
 * @param {HTMLVideoElement} video that stands still
 * @param {string} name of the file
 * @param {string} words over it; empty for none
 */
async function saveStill(video, name, words) {
  if (video.seeking) await new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  if (!context || !canvas.width) {
    toast("There is no picture yet.");
    return;
  }
  context.drawImage(video, 0, 0);
  if (words) write(context, canvas, words);
  const blob = await /** @type {Promise<Blob | null>} */ (new Promise((resolve) => canvas.toBlob(resolve, "image/png")));
  if (!blob) {
    toast("Your browser could not make a picture of it.");
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** @type {(context: CanvasRenderingContext2D, canvas: HTMLCanvasElement, words: string) => void} */
function write(context, canvas, words) {
  const size = Math.max(LEAST_TEXT, Math.round(canvas.height / 28));
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.fillStyle = "rgb(12 14 16 / 72%)";
  context.fillRect(0, 0, Math.min(canvas.width, context.measureText(words).width + size), size * 1.7);
  context.fillStyle = "#ffffff";
  context.fillText(words, size / 2, size * 0.35, canvas.width - size);
}
