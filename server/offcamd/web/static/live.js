// A clip while it is recorded: its file is read as it grows, and can be played up to the picture of now.
import * as api from "./api.js";
import { throttle } from "./dom.js";
import { heldAt } from "./sync.js";
import { split } from "./view.js";

const LOOK_MS = 250; // between two looks at the newest picture
const AGAIN_MS = 500; // before it is asked again for its first picture, or whether it is over

/** Whether this browser can play what is not whole yet. */
export const playsLive = "MediaSource" in globalThis;

export class Live {
  /**
   * @param {HTMLVideoElement} video
   * @param {string} id RUN:KEY
   * @param {number} fps
   * @param {{follows: () => boolean, grown: (frames: number) => void, ended: () => void, over: () => void}} told
   *   whether its newest picture is what is wanted; how many frames it has by now, at most four times a second; that it has
   *   its last one; and that it is to be shown anew, as its file is whole, could not be read on, or nobody looked for a while
   */
  constructor(video, id, fps, told) {
    this.video = video;
    this.id = id;
    this.fps = fps;
    this.told = told;
    this.full = false; // whether the browser takes no more of it, as somebody looks at what was long before
    this.reading = new AbortController();
    this.look = throttle(() => !this.stopped && told.grown(this.frames), LOOK_MS);
    this.hide = () => this.hidden();
    document.addEventListener("visibilitychange", this.hide);
  }

  get stopped() {
    return this.reading.signal.aborted;
  }

  /** How many frames it has by now. */
  get frames() {
    const { buffered } = this.video;
    return buffered.length ? Math.round(buffered.end(buffered.length - 1) * this.fps) : 0;
  }

  /**
   * Begin to read it.
   * @param {string} path of what is recorded
   * @param {{hurry: boolean}} how whether its pictures are to be encoded at once, though other programs need the cores
   * @returns {Promise<boolean>} whether it has a picture; else it was over before that, or is not wanted any more
   */
  async begin(path, { hurry }) {
    do {
      try {
        const { type, bytes } = await api.growing(hurry ? `${path}?hurry=1` : path, { signal: this.reading.signal });
        if (bytes && MediaSource.isTypeSupported(type)) {
          await new Promise((resolve) => this.read(type, bytes, resolve));
          return !this.stopped;
        }
      } catch (error) {
        if (this.stopped) return false;
        api.wordsOf(error); // it has no picture yet, or no file any more
      }
    } while (await this.recording());
    return false;
  }

  /**
   * @param {string} type
   * @param {ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>} bytes
   * @param {(value: void) => void} begun called once there is a picture, or none will come
   */
  async read(type, bytes, begun) {
    const source = new MediaSource();
    const url = URL.createObjectURL(source);
    let whole = true;
    try {
      const open = once(source, "sourceopen");
      this.video.src = url;
      await open;
      const buffer = source.addSourceBuffer(type);
      for (let { value, done } = await bytes.read(); !done; { value, done } = await bytes.read()) {
        if (!value) continue;
        await this.take(buffer, value);
        if (this.frames) begun();
        this.look();
      }
      source.endOfStream();
      this.told.grown(this.frames);
      this.told.ended();
    } catch (error) {
      whole = this.full = isFull(error);
      if (!whole && !this.stopped) console.warn("the live picture broke off:", error);
    } finally {
      URL.revokeObjectURL(url);
      begun();
    }
    let recording = !this.stopped;
    while (recording) recording = (await this.recording()) && whole;
    if (!this.stopped) this.told.over();
  }

  /**
   * What is long over makes room for what comes, unless somebody looks at it.
   * @type {(buffer: SourceBuffer, value: Uint8Array<ArrayBuffer>) => Promise<void>}
   */
  async take(buffer, value) {
    const taken = once(buffer, "updateend");
    try {
      buffer.appendBuffer(value);
    } catch (error) {
      if (!isFull(error) || !this.told.follows()) throw error;
      this.video.currentTime = (this.frames - 0.5) / this.fps;
      buffer.appendBuffer(value);
    }
    await taken;
  }

  /** Whether it is still recorded, a moment later. */
  async recording() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      if (this.stopped) return false;
      const [run, key] = split(this.id);
      try {
        return (await api.clip(run, key)).state === "recording" && !this.stopped;
      } catch (error) {
        api.wordsOf(error); // which the banner says
      }
    }
  }

  /**
   * The second of the last picture that is there before or at another: what was dropped leaves a hole.
   * @param {number} seconds
   */
  held(seconds) {
    return heldAt(this.video.buffered, seconds, 0.5 / this.fps);
  }

  /** Nobody looks, and nothing is read; or somebody does again. */
  hidden() {
    if (document.hidden) this.reading.abort();
    else this.told.over();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.hide);
    this.reading.abort();
  }
}

/** @param {unknown} error */
const isFull = (error) => error instanceof DOMException && error.name === "QuotaExceededError";

/** @type {(target: EventTarget, name: string) => Promise<Event>} */
const once = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
