// The wall: the latest clip of each live run, over and over, and in its place the picture of now where there is one.
// Only those in sight play, and none where less motion is asked for: there each has a button.
import * as api from "./api.js";
import { arrange, h, say } from "./dom.js";
import { amount, whole } from "./format.js";
import { playsLive } from "./live.js";
import { showNow, showsNow } from "./now.js";
import { nowOf } from "./runlist.js";

/** @import { Run } from "./api.js" */

const MOST_ON_WALL = 9;

export class Wall {
  /** @param {(id: string) => void} open */
  constructor(open) {
    this.open = open;
    this.grid = h("ul.wall-grid", { "aria-label": "Latest clips of the live runs" });
    this.grid.addEventListener("now", () => {
      for (const tile of this.tiles.values()) tile.tell();
      this.play();
    });
    this.note = h("p.note", { role: "status" });
    this.node = h("div.wall", { hidden: true }, this.grid, this.note);
    /** @type {Map<string, Tile>} */
    this.tiles = new Map();
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.still.addEventListener("change", () => this.play());
    document.addEventListener("visibilitychange", () => this.play());
    /** @type {WeakSet<Element>} */
    this.inSight = new WeakSet();
    this.sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.inSight[isIntersecting ? "add" : "delete"](target);
      this.play();
    });
  }

  /**
   * @param {Run[]} runs of which the live ones are shown, as many as fit
   * @param {Map<string, string>} names
   * @param {boolean} shown
   */
  show(runs, names, shown) {
    const live = shown ? runs.filter((run) => run.state === "live" && (run.newest_clip || (playsLive && run.recording_clip))) : [];
    const before = this.tiles;
    this.tiles = new Map();
    for (const run of live.slice(0, MOST_ON_WALL)) {
      const tile = before.get(run.id) ?? new Tile(run.id, this.open, () => this.play());
      tile.update(run, names.get(run.id) ?? run.name, this.still.matches);
      this.tiles.set(run.id, tile);
    }
    for (const [id, tile] of before) {
      if (this.tiles.has(id)) continue;
      this.sight.unobserve(tile.video);
      tile.leave();
    }
    arrange(this.grid, [...this.tiles.values()].map(({ node }) => node));
    for (const [id, tile] of this.tiles) if (!before.has(id)) this.sight.observe(tile.video);
    this.node.hidden = !shown;
    const more = live.length - this.tiles.size;
    say(this.note, live.length ? (more ? `${whole(more)} more live: narrow them down with the filter.` : "") : "No live run has a clip yet. They appear here by themselves.");
  }

  play() {
    const still = this.still.matches;
    for (const { frame, video } of this.tiles.values()) {
      const seen = !document.hidden && this.inSight.has(video) && !showsNow(frame);
      video.controls = still;
      if (!seen) video.pause();
      else if (!still) video.play().catch(() => {}); // it was taken away meanwhile
    }
  }
}

class Tile {
  /**
   * @param {string} id of the run
   * @param {(id: string) => void} open
   * @param {() => void} ready called once it can play
   */
  constructor(id, open, ready) {
    this.id = id;
    this.ready = ready;
    this.key = ""; // of the clip that is shown
    this.next = ""; // of the one that takes its place once it has come to its end
    this.left = false;
    /** @type {Run["newest_clip"]} */
    this.latest = null;
    this.video = h("video", { muted: true, playsinline: true, preload: "auto", disablepictureinpicture: true });
    this.video.muted = true; // the attribute alone is for those that are parsed
    this.video.addEventListener("ended", () => this.again());
    this.frame = h("span.frame", {}, this.video);
    this.name = h("span.name");
    this.facts = h("span.muted");
    this.caption = h("button.caption", { type: "button", onclick: () => open(id) }, this.name, this.facts);
    this.node = h("li", {}, this.frame, this.caption);
  }

  /**
   * @param {Run} run
   * @param {string} name
   * @param {boolean} still whether nothing plays by itself
   */
  update(run, name, still) {
    say(this.name, name);
    showNow(this.frame, nowOf(run));
    this.latest = run.newest_clip;
    this.tell();
    if (!run.newest_clip) return;
    this.video.setAttribute("aria-label", `Latest clip of ${name}`);
    this.next = run.newest_clip.key;
    if (!this.key || (still && this.next !== this.key && this.video.paused)) this.load();
  }

  /** Say what is shown. */
  tell() {
    const { latest } = this;
    say(this.facts, showsNow(this.frame) ? "now" : latest ? `episode ${whole(latest.episode)} · ${amount(latest.return)}` : "its first clip is being recorded");
  }

  async load() {
    this.key = this.next;
    const paths = [api.clipPath(this.id, this.key, "poster"), api.clipPath(this.id, this.key, "video")];
    const [poster, video] = await Promise.all(paths.map((path) => api.media(path).catch(() => "")));
    const gone = this.left ? [poster, video] : [this.video.poster, this.video.src];
    for (const url of gone) api.release(url);
    if (this.left) return;
    this.video.poster = poster;
    this.video.src = video;
    this.ready();
  }

  again() {
    if (this.next !== this.key) {
      this.load();
      return;
    }
    this.video.currentTime = 0;
    this.ready();
  }

  leave() {
    this.left = true;
    showNow(this.frame, null);
    this.video.pause();
    for (const url of [this.video.src, this.video.poster]) api.release(url);
    this.video.removeAttribute("src");
    this.video.load();
  }
}
