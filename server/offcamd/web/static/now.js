// The picture of now in place of a poster: of some of the clips in sight that are being recorded, in small.
import * as api from "./api.js";
import { h } from "./dom.js";
import { Live, playsLive } from "./live.js";
import { split } from "./view.js";

const MOST = 3; // at a time: each takes one of the six connections that a browser has to a host, and the page needs some

/** @type {Map<Element, Now>} */
const wanted = new Map();
const still = matchMedia("(prefers-reduced-motion: reduce)");
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const now = wanted.get(target);
    if (now) now.inSight = isIntersecting;
  }
  for (const node of wanted.keys()) if (!node.isConnected) showNow(node, null); // of one out of sight nothing is told when it goes
  settle();
});
still.addEventListener("change", settle);
document.addEventListener("visibilitychange", settle);

/**
 * Have an element show what a clip has as its picture of now, over what is in it, while it is in sight.
 * @param {Element} node which says by an event `now` that it begins or ends to do so
 * @param {string | null} id RUN:KEY of a clip that is being recorded; null for none any more
 * @param {{hurry?: boolean}} how as in `Live`; by default what is seen in passing costs a training nothing
 */
export function showNow(node, id, { hurry = false } = {}) {
  const before = wanted.get(node);
  if (!playsLive || (before?.id ?? null) === id) return;
  before?.end();
  if (id === null) {
    wanted.delete(node);
    sight.unobserve(node);
    settle();
    return;
  }
  const now = new Now(node, id, hurry);
  now.inSight = before?.inSight ?? false;
  wanted.set(node, now);
  if (before) settle();
  else sight.observe(node);
}

/** Whether an element shows a picture of now. @param {Element} node */
export const showsNow = (node) => wanted.get(node)?.shown === true;

/** Begin those that may be shown, and end the others. */
function settle() {
  const looks = !document.hidden && !still.matches;
  const may = [...wanted.values()].filter((now) => looks && now.inSight && !now.over);
  may.sort((one, other) => (one.node.compareDocumentPosition(other.node) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1)); // as one reads
  const shown = may.slice(0, MOST);
  for (const now of wanted.values()) if (!shown.includes(now)) now.end();
  for (const now of shown) now.begin();
}

class Now {
  /**
   * @param {Element} node
   * @param {string} id RUN:KEY
   * @param {boolean} hurry
   */
  constructor(node, id, hurry) {
    this.node = node;
    this.id = id;
    this.hurry = hurry;
    this.inSight = false;
    this.over = false; // whether there is nothing more to come
    this.shown = false;
    this.begun = new AbortController();
    this.begun.abort();
    this.video = h("video.now", { muted: true, playsinline: true, disablepictureinpicture: true, "aria-hidden": "true", tabindex: "-1" });
    /** @type {Live | null} */
    this.live = null;
  }

  async begin() {
    if (!this.begun.signal.aborted) return;
    this.begun = new AbortController();
    const { signal } = this.begun;
    const [run, key] = split(this.id);
    const clip = await api.clip(run, key).catch(() => null); // which the banner says
    if (signal.aborted) return;
    const there = clip?.live && (await this.read(clip.live, clip.fps || 30));
    if (signal.aborted) return;
    if (there) this.show(true);
    else this.leave();
  }

  /** @type {(path: string, fps: number) => Promise<boolean>} */
  read(path, fps) {
    const { video } = this;
    video.muted = true; // the attribute alone is for those that are parsed
    const newest = (/** @type {number} */ frames) => {
      video.currentTime = live.held((frames - 0.5) / fps);
    };
    const live = new Live(video, this.id, fps, { follows: () => true, grown: newest, ended: () => {}, over: () => this.leave() });
    this.live = live;
    return live.begin(path, this);
  }

  /** The clip is over: its poster takes the place, and another one's turn comes. */
  leave() {
    this.over = true;
    settle();
  }

  end() {
    if (this.begun.signal.aborted) return;
    this.begun.abort();
    this.live?.stop();
    this.live = null;
    this.show(false);
    this.video.removeAttribute("src");
    this.video.load();
  }

  /** @param {boolean} shown */
  show(shown) {
    this.shown = shown;
    if (shown) this.node.append(this.video);
    else this.video.remove();
    this.node.dispatchEvent(new Event("now", { bubbles: true }));
  }
}
