// The player: one clip, or two to four side by side, with frame step, speed and the numbers of the episode.
import * as api from "./api.js";
import { copy, fill, h, icon, say, select, throttle, toast } from "./dom.js";
import { amount, bytes, clipTitle, clock, count, ending, episodeTitle, moment, reasons, span, total, whole } from "./format.js";
import { numberOf, RenderingView } from "./rendering.js";
import { address, change, state } from "./state.js";
import { Sync } from "./sync.js";
import { Outline, tileOf } from "./tiles.js";
import { MOST_CLIPS, nextSpeed, SPEEDS, split } from "./view.js";

/**
 * @import { ClipDetail, Episode } from "./api.js"
 * @import { Attributes } from "./dom.js"
 * @import { Film } from "./sync.js"
 * @typedef {[term: string, value: string | HTMLElement, kind?: string]} Row
 * @typedef {Row | false | null | undefined} MaybeRow
 */

const LEAP_FRAMES = 10;
const SHORT_SECONDS = 3; // what is over before one has looked is repeated
const COMPARED = ["Return", "Length", "End", "Frame", "Seed"]; // of clips that are side by side
const SMALL_PICTURE = 240; // pixels: such games are drawn by the pixel, and are shown so

export class Player {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {{runName: (id: string) => string, neighbours: (id: string) => Promise<[string | null, string | null]>}} page
   */
  constructor(dialog, page) {
    this.dialog = dialog;
    this.page = page;
    this.sync = new Sync(() => this.tick());
    this.shown = ""; // the clips in it
    this.asks = ""; // the one of them that is to be rendered: somebody has pressed for it
    /** @type {RenderingView[]} */
    this.renderings = [];
    /** @type {string[]} */
    this.urls = [];
    /** @type {boolean | null} */
    this.repeats = null; // whether clips are repeated; null while nobody has said so: short ones are
    /** @type {() => void} */
    this.tell = () => {}; // the numbers of the episode that is asked for, where one clip shows several
    this.note = throttle(() => this.remember(), 300);
    this.title = h("h2");
    this.word = h("p.asked", { role: "status", hidden: true });
    this.stage = h("div.stage");
    this.toggle = control("play", "Play (space)", () => this.sync.toggle(), { "data-act": "toggle" });
    this.previous = control("previous", "Clip before (p)", () => this.go(0));
    this.next = control("next", "Clip after (n)", () => this.go(1));
    this.seek = h("input.seek", { type: "range", min: "0", value: "0", step: "1", "aria-label": "Position", oninput: () => this.sync.seek((Number(this.seek.value) + 0.5) / this.sync.fps) });
    this.time = h("span.time");
    this.speed = h("select", { "aria-label": "Speed", onchange: () => change({ speed: Number(this.speed.value) }, { replace: true }) });
    this.looping = control("loop", "Repeat (l)", () => this.toggleRepeat(), { "aria-pressed": "false" });
    this.close = control("close", "Close (Escape)", () => this.leave());
    this.transport = h("div.transport");
    this.keys = h("p.keys", {}, key("space"), " play ", key("←"), key("→"), " frame ", key("shift"), " ten ", key("home"), key("end"), " ends ", key(","), key("."), " speed ", key("n"), key("p"), " clips ", key("esc"), " close");
    this.compare = h("button.quiet", { type: "button", onclick: () => this.pick() });
    this.layOut();
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault(); // the address decides what is open
      this.leave();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && this.leave());
    dialog.addEventListener("keydown", (event) => this.key(event));
  }

  layOut() {
    fill(
      this.dialog,
      h(
        "div.player-box",
        {},
        h("header", {}, h("div", {}, this.title, this.word), this.compare, control("link", "Copy a link to this", () => this.share()), this.close),
        this.stage,
        this.transport,
        this.keys,
      ),
    );
    fill(
      this.transport,
      this.seek,
      h("div.buttons", {}, this.previous, control("back", "One frame back (left arrow)", () => this.sync.step(-1)), this.toggle, control("forward", "One frame on (right arrow)", () => this.sync.step(1)), this.next),
      this.time,
      h("div.settings", {}, h("label.select", {}, h("span", {}, "Speed"), this.speed), this.looping),
    );
  }

  /** Show what the address says. */
  async show() {
    const { play, asked, speed } = state();
    this.setSpeed(speed);
    this.buttons();
    const wanted = play.join();
    if (wanted === this.shown) {
      this.tell();
      this.explain(asked);
      return;
    }
    this.shown = wanted;
    this.clear();
    if (!play.length) {
      if (this.dialog.open) this.dialog.close();
      return;
    }
    if (!this.dialog.open) this.dialog.showModal();
    const unrendered = play.every((id) => numberOf(split(id)[1]) !== null);
    this.transport.hidden = this.keys.hidden = unrendered; // there is nothing to be played yet
    (unrendered ? this.close : this.toggle).focus();
    say(this.title, play.length > 1 ? `${play.length} clips side by side` : "…");
    this.explain(asked);
    this.stage.dataset.count = String(play.length);
    const films = (await Promise.all(play.map((id) => (numberOf(split(id)[1]) === null ? this.figure(id) : this.rendering(id))))).filter((film) => film !== null);
    if (this.shown !== wanted) return;
    this.sync.load(films);
    this.repeat(this.repeats ?? (this.sync.duration < SHORT_SECONDS && !matchMedia("(prefers-reduced-motion: reduce)").matches));
    const { at } = state();
    if (at === null) this.sync.play();
    else this.sync.seek(at);
    this.tick();
  }

  /**
   * One clip with its numbers; null where it cannot be had, which its figure then says.
   * @param {string} id
   * @returns {Promise<Film | null>}
   */
  async figure(id) {
    const [runId, clipKey] = split(id);
    const video = h("video", { playsinline: true, preload: "auto", muted: true, "disablepictureinpicture": true });
    const frame = h("span.frame");
    const words = h("figcaption", {}, "Loading…");
    const outline = new Outline(video);
    const screen = h("div.screen", {}, video, outline.node);
    const figure = h("figure", {}, screen, words);
    this.stage.append(figure);
    try {
      const clip = await api.clip(runId, clipKey);
      const { video: path } = clip;
      if (!path) throw new api.ApiError(clip.state === "recording" ? "This clip is still being recorded. Its video is there as soon as it ends." : "There is no video file for this clip.", 404);
      const url = await api.media(path);
      this.urls.push(url);
      video.addEventListener("error", async () => figure.append(h("p.failed", {}, icon("warning"), (await api.trouble(path)) ?? ["This video could not be played. ", h("a", { href: `${path}?download=1` }, "Download it"), " or check it: ", h("code", {}, "offcam verify FOLDER")])), { once: true });
      video.addEventListener("click", () => this.sync.toggle());
      video.src = url;
      if (clip.width) video.style.aspectRatio = `${clip.width} / ${clip.height}`;
      video.classList.toggle("pixels", clip.width !== null && clip.width <= SMALL_PICTURE);
      const name = this.page.runName(runId);
      const tell = () => {
        const episode = clip.episodes.find(({ number }) => state().asked === `${runId}:${number}`);
        const title = episode ? episodeTitle(episode) : clipTitle(clip);
        const one = state().play.length === 1;
        if (one) say(this.title, `${title} · ${name}`);
        outline.show(one ? tileOf(clip, (episode ?? clip).env_index) : null);
        fill(words, !one && h("p.who", {}, h("b", {}, title), " ", h("span.muted", {}, name)), one && others(clip, runId, episode), this.facts(clip, frame, episode), this.file(clip, path));
      };
      tell();
      this.tell = tell;
      const fps = clip.fps || 30;
      const duration = clip.duration_seconds || clip.frames / fps;
      return { video, fps, duration, frames: Math.max(1, Math.round(duration * fps)), label: frame };
    } catch (error) {
      fill(screen, h("p.failed", {}, icon("warning"), api.wordsOf(error)));
      fill(words);
      return null;
    }
  }

  /**
   * An episode that has no video yet, and its numbers.
   * @param {string} id RUN:~NUMBER
   * @returns {Promise<null>}
   */
  async rendering(id) {
    const [runId, key] = split(id);
    const number = numberOf(key) ?? "";
    const screen = h("div.screen");
    const words = h("figcaption");
    this.stage.append(h("figure", {}, screen, words));
    const done = (/** @type {string} */ clip) => change({ play: state().play.map((other) => (other === id ? `${runId}:${clip}` : other)), at: null }, { replace: true });
    const view = new RenderingView(screen, runId, number, done);
    this.renderings.push(view);
    view.show(this.asks === id);
    this.asks = "";
    try {
      const { episode } = await api.nearest(runId, number);
      if (view.stopped) return null;
      if (state().play.length === 1) say(this.title, `${episodeTitle(episode)} · ${this.page.runName(runId)}`);
      fill(words, facts([["Return", amount(episode.return), "strong"], ["Length", count(episode.length, "step")], ["End", ending(episode)], ...valuesOf(episode), episode.seed !== null && ["Seed", String(episode.seed)], ["Wall time", span(episode.duration_seconds)]]));
    } catch (error) {
      api.wordsOf(error); // which the screen says
    }
    return null;
  }

  /**
   * The numbers of a clip; those in which several differ, where they are side by side.
   * @param {ClipDetail} clip
   * @param {HTMLElement} frame says which one is shown
   * @param {Episode | undefined} asked the one of its episodes that is asked for
   */
  facts(clip, frame, asked) {
    const episodes = clip.episodes.filter(({ env_index }) => env_index === (asked ?? clip).env_index);
    /** @type {Episode | undefined} */
    const episode = asked ?? episodes[0]; // a video alone shows none that is known
    const said = valuesOf(episode);
    /** @type {MaybeRow[]} */
    const rows = [
      ["Return", amount((asked ?? clip).return), "strong"],
      ["Length", count((asked ?? clip).length, "step")],
      episode ? ["End", ending(episode)] : clip.partial && ["End", "cut short"],
      clip.keep_reason !== null && ["Kept as", clip.keep_reason],
      ...said,
      clip.verified !== null && ["Rendered", checked(clip)],
      ["Frame", frame],
      episode && episode.seed !== null && ["Seed", String(episode.seed)],
      episode && ["Wall time", span(episode.duration_seconds)],
      ["Recorded", moment(clip.started)],
      ["Picture", `${whole(clip.width)} × ${whole(clip.height)}, ${amount(clip.fps)} fps`],
      ["Frames", total(clip.dropped) ? `${whole(clip.frames)} (dropped: ${reasons(clip.dropped)})` : `${whole(clip.frames)}, none dropped`],
      episodes.length > 1 && ["Episodes", `${episodes.length} in this clip, returns ${episodes.slice(0, 6).map((item) => amount(item.return)).join(", ")}${episodes.length > 6 ? ", …" : ""}`],
    ];
    const several = state().play.length > 1;
    return facts(rows.filter((row) => row && (!several || COMPARED.includes(row[0]) || said.some(([name]) => name === row[0]))));
  }

  /** @type {(clip: ClipDetail, path: string) => HTMLElement} */
  file(clip, path) {
    const name = clip.file ?? clip.name;
    return h("a.file", { href: `${path}?download=1`, download: name, onclick: (event) => this.download(event, path, name) }, icon("download"), name, h("span.muted", {}, bytes(clip.file_bytes)));
  }

  /** @type {(event: Event, path: string, name: string) => Promise<void>} */
  async download(event, path, name) {
    if (!api.hasToken()) return; // the link does it
    event.preventDefault();
    await api.save(path, name).catch((error) => toast(api.wordsOf(error)));
  }

  /**
   * Say so where the video is not that of the episode that was asked for.
   * @param {string} asked RUN:NUMBER
   */
  async explain(asked) {
    this.word.hidden = true;
    if (!asked || !state().play.length) return;
    const [runId, number] = split(asked);
    try {
      const { episode, clip, exact, distance } = await api.nearest(runId, number);
      if (state().asked !== asked || exact || !clip || `${runId}:${clip.key}` !== state().play[0]) return;
      const told = `${episodeTitle(episode)} (return ${amount(episode.return)})`;
      say(this.word, distance ? `${told} was not recorded. This is the nearest one that was, ${count(distance, "episode")} away.` : `${told} is in this clip only in part.`);
      this.word.hidden = false;
    } catch (error) {
      api.wordsOf(error); // which the figure says
    }
  }

  clear() {
    this.sync.load([]);
    this.tell = () => {};
    for (const view of this.renderings) view.stop();
    this.renderings = [];
    for (const video of this.stage.querySelectorAll("video")) {
      video.removeAttribute("src");
      video.load(); // lets go of its connection
    }
    fill(this.stage);
    this.urls.forEach(api.release);
    this.urls = [];
  }

  tick() {
    const { sync } = this;
    if (!sync.tracks.length) return;
    if (Number(this.seek.max) !== sync.frames - 1) this.seek.max = String(sync.frames - 1);
    this.seek.value = String(sync.frame);
    this.seek.setAttribute("aria-valuetext", `frame ${sync.frame + 1} of ${sync.frames}`);
    say(this.time, `${clock(sync.position)} / ${clock(sync.duration)}`);
    for (const track of sync.tracks) say(track.label, `${whole(sync.shown(track) + 1)} of ${whole(track.frames)}`);
    if (this.toggle.dataset.playing !== String(sync.playing)) {
      this.toggle.dataset.playing = String(sync.playing);
      this.toggle.setAttribute("aria-label", sync.playing ? "Pause (space)" : "Play (space)");
      fill(this.toggle, icon(sync.playing ? "pause" : "play"));
    }
    this.note();
  }

  /** Where it stands still belongs to the address; where it plays does not. */
  remember() {
    if (!this.sync.tracks.length || state().play.join() !== this.shown) return;
    change({ at: this.sync.playing ? null : Number(this.sync.position.toFixed(3)) }, { replace: true });
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.sync.setSpeed(speed);
    const speeds = SPEEDS.includes(speed) ? SPEEDS : [...SPEEDS, speed].sort((one, other) => one - other);
    if (this.speed.value !== String(speed)) fill(this.speed, speeds.map((value) => h("option", { value: String(value), selected: value === speed }, `${value}×`)));
  }

  /** @param {boolean} loop */
  repeat(loop) {
    this.sync.loop = loop;
    this.looping.setAttribute("aria-pressed", String(loop));
  }

  /** As is wanted from now on, whatever is played. */
  toggleRepeat() {
    this.repeats = !this.sync.loop;
    this.repeat(this.repeats);
  }

  buttons() {
    const { play, pick } = state();
    this.lookAround();
    this.compare.hidden = play.length !== 1 || numberOf(split(play[0])[1]) !== null;
    const picked = pick.includes(play[0]);
    this.compare.setAttribute("aria-pressed", String(picked));
    this.compare.disabled = !picked && pick.length >= MOST_CLIPS;
    say(this.compare, picked ? "Chosen to compare" : "Compare");
  }

  /** Which of the buttons to other clips lead anywhere. */
  async lookAround() {
    const shown = state().play.join();
    const [before, after] = await this.neighbours();
    if (state().play.join() !== shown) return;
    this.previous.disabled = !before;
    this.next.disabled = !after;
  }

  /**
   * The clips before and after; none where several are side by side, or it has no video yet.
   * @returns {Promise<[string | null, string | null]>}
   */
  async neighbours() {
    const { play } = state();
    if (play.length !== 1 || numberOf(split(play[0])[1]) !== null) return [null, null];
    return this.page.neighbours(play[0]).catch((error) => {
      api.wordsOf(error); // which the figure says
      return [null, null];
    });
  }

  /** @param {0 | 1} way to the clip before, or after */
  async go(way) {
    const shown = state().play.join();
    const target = (await this.neighbours())[way];
    if (target && state().play.join() === shown) change({ play: [target], asked: "", at: null }, { replace: true });
  }

  pick() {
    const { pick, play } = state();
    change({ pick: pick.includes(play[0]) ? pick.filter((id) => id !== play[0]) : [...pick, play[0]] }, { replace: true });
  }

  share() {
    this.sync.pause();
    copy(address({ at: Number(this.sync.position.toFixed(3)) }), "Link to this frame");
  }

  leave() {
    change({ play: [], asked: "", at: null });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target instanceof Element ? event.target.tagName : "";
    if (on === "SELECT" && event.key.startsWith("Arrow")) return;
    if (event.key === " " && (on === "BUTTON" || on === "A" || on === "SELECT")) return; // presses that one
    const leap = event.shiftKey ? LEAP_FRAMES : 1;
    /** @param {1 | -1} way */
    const faster = (way) => change({ speed: nextSpeed(state().speed, way) }, { replace: true });
    /** @type {Record<string, () => void>} */
    const acts = {
      " ": () => this.sync.toggle(),
      k: () => this.sync.toggle(),
      ArrowLeft: () => this.sync.step(-leap),
      ArrowRight: () => this.sync.step(leap),
      Home: () => this.sync.seek(0),
      End: () => this.sync.step(this.sync.frames),
      ",": () => faster(-1),
      ".": () => faster(1),
      l: () => this.toggleRepeat(),
      n: () => this.go(1),
      p: () => this.go(0),
    };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  }
}

/**
 * The choice of an episode, where a vector env's clip shows those of several sub-environments.
 * @type {(clip: ClipDetail, run: string, shown: Episode | undefined) => HTMLElement | false}
 */
const others = ({ episodes, env_index }, run, shown) =>
  new Set(episodes.map((episode) => episode.env_index)).size > 1 &&
  select(
    "Episode",
    episodes.map((episode) => [episode.number, `${episodeTitle(episode)}${episode.whole ? "" : ", in part"}`]),
    (shown ?? episodes.find((episode) => episode.env_index === env_index))?.number ?? "",
    (number) => change({ asked: `${run}:${number}` }, { replace: true }),
  );

/** @type {(rows: MaybeRow[]) => HTMLElement} */
const facts = (rows) => h("dl", {}, rows.filter((row) => !!row).map(([term, value, kind = ""]) => h("div", {}, h("dt", {}, term), h(kind ? `dd.${kind}` : "dd", {}, value))));

/**
 * Of a video that was rendered afterwards.
 * @type {(clip: ClipDetail) => string}
 */
const checked = ({ verified, diverged_at, diverged_why }) => {
  if (diverged_at !== null) return `not as it was from step ${whole(diverged_at)} on: ${diverged_why ?? "it happened otherwise"}`;
  return verified ? "afterwards; each step checked" : "afterwards, and not checked to its end";
};

/** @type {(episode: Episode | undefined) => Row[]} */
const valuesOf = (episode) => Object.entries(episode?.info ?? {}).map(([name, value]) => [name, amount(value)]);

/** @param {string} text */
const key = (text) => h("kbd", {}, text);

/** @type {(name: Parameters<typeof icon>[0], label: string, press: () => void, extra?: Attributes) => HTMLButtonElement} */
const control = (name, label, press, extra = {}) => h("button.icon", { type: "button", "aria-label": label, title: label, onclick: press, ...extra }, icon(name));
