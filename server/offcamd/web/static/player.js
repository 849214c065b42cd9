// The player: one clip, or up to nine side by side, with frame step, speed and the numbers of the episode.
import * as api from "./api.js";
import { askedOf, callIt, explain } from "./asked.js";
import { Compare } from "./compare.js";
import { control, copy, fill, h, icon, kbd, say, throttle } from "./dom.js";
import { animationsOf, fileOf } from "./downloads.js";
import { exported } from "./exported.js";
import { clipFacts, episodeFacts, recordingFacts, reproducing } from "./facts.js";
import { clipTitle, episodeTitle, isBeingMade, noVideo, whole } from "./format.js";
import { Pinning } from "./pinning.js";
import { RenderingView } from "./rendering.js";
import { Live, playsLive } from "./live.js";
import { numberOf } from "./route.js";
import { address, change, learn, numberOfClip, state } from "./state.js";
import { beginningOf } from "./steps.js";
import { stillOf } from "./stills.js";
import { Sync } from "./sync.js";
import { Outline, tileOf } from "./tiles.js";
import { byPixel } from "./tiling.js";
import { Traces } from "./traces.js";
import { Transport } from "./transport.js";
import { MOST_CLIPS, nextSpeed, split } from "./view.js";

/**
 * @import { ClipDetail, Episode, Run, Steps } from "./api.js"
 * @import { Key, Keys } from "./keys.js"
 * @import { Film } from "./sync.js"
 */

const LEAP_FRAMES = 10;
const SHORT_SECONDS = 3; // what is over before one has looked is repeated
const MOST_POINTS = 1200; // of a trace: about as many as it has pixels

export class Player {
  /**
   * @param {HTMLElement} host takes the place of the run while something is played
   * @param {{pinned: import("./pinning.js").Pinned, follow: import("./follow.js").Follow, runName: (id: string) => string, run: (id: string) => Run | undefined, runs: () => Run[], neighbours: (id: string) => Promise<[string | null, string | null]>}} page
   * @param {Keys} keys of the page
   */
  constructor(host, page, keys) {
    this.host = host;
    this.page = page;
    this.sync = new Sync(() => this.tick());
    this.shown = ""; // the clips in it
    this.turn = 0; // what was begun before they were shown last is out of date
    this.asks = ""; // the one of them that is to be rendered: somebody has pressed for it
    /** @type {RenderingView[]} */
    this.renderings = [];
    /** @type {string[]} */
    this.urls = [];
    /** @type {ClipDetail | null} */
    this.clip = null; // where there is one alone
    /** @type {Live | null} */
    this.live = null; // where it is being recorded
    /** @type {Episode | null} */
    this.asked = null; // which of its episodes, where it shows several
    /** @type {{focus: Element | null, scroll: number, title: string}} */
    this.before = { focus: null, scroll: 0, title: document.title };
    this.note = throttle(() => this.remember(), 300);
    this.title = h("h2", { "aria-level": "1" });
    this.word = h("p.asked", { role: "status", hidden: true });
    this.stage = h("div.stage");
    this.about = h("div.about");
    this.steps = h("section.traces", { hidden: true, "aria-label": "Steps" });
    this.traces = new Traces(this.steps, { seek: (frame) => this.look(frame), choose: (env) => this.loadSteps(this.shown, env) });
    this.pinning = new Pinning(page.pinned);
    this.side = new Compare(this.stage, this.sync, this.traces, { ...page, anew: () => this.anew(this.shown) });
    this.back = h("a.back", { onclick: (event) => this.leaveBy(event) });
    this.overlay = h("p.overlay", { hidden: true, "aria-hidden": "true" }); // of what the traces say
    this.close = control("close", "Close (Escape)", () => this.leave());
    this.transport = new Transport(this.sync, this.side.aligning, { seek: (frame) => this.look(frame), step: (frames) => this.step(frames), go: (way) => this.go(way), lay: () => this.lay(), toggle: () => this.toggle() });
    this.keys = h("p.keys", {}, kbd("space"), " play ", kbd("←"), kbd("→"), " frame ", kbd("shift"), " ten ", kbd("home"), kbd("end"), " ends ", kbd(","), kbd("."), " speed ", kbd("j"), kbd("k"), " clips ", kbd("o"), " overlay ", !exported && [kbd("s"), " pin "], kbd("?"), " all keys");
    this.compare = h("button.quiet", { type: "button", onclick: () => this.pick() });
    this.transport.settings.prepend(page.follow.button);
    this.layOut();
    keys.add("In the player", () => !this.host.hidden, this.ownKeys());
  }

  layOut() {
    fill(
      this.host,
      h("header", {}, h("div", {}, this.back, this.title, this.word), this.side.presets, this.compare, control("link", "Copy a link to this", () => this.share()), this.close),
      h("div.seen", {}, h("div.left", {}, h("div.watching", {}, this.stage, this.side.differ, this.transport.node, this.keys), this.about), this.steps),
    );
  }

  /**
   * Show what the address says.
   * @param {{at: number | null, playing: boolean}} [resume] where what is shown anew goes on: a second, or Infinity at its end
   */
  async show(resume) {
    const { play, asked, speed, tour } = state();
    this.transport.setSpeed(speed);
    this.buttons();
    this.side.show();
    const wanted = play.join();
    if (wanted === this.shown) {
      explain(this.word, asked);
      return;
    }
    this.shown = wanted;
    const turn = ++this.turn;
    this.clear();
    if (!play.length) {
      this.shut();
      return;
    }
    this.open();
    const unrendered = play.every((id) => numberOf(split(id)[1]) !== null);
    this.transport.node.hidden = this.keys.hidden = unrendered; // there is nothing to be played yet
    (unrendered ? this.close : this.transport.toggle).focus({ preventScroll: true });
    say(this.title, play.length > 1 ? `${play.length} clips side by side` : "…");
    explain(this.word, asked);
    this.host.classList.toggle("several", play.length > 1);
    if (play.length > 1) this.host.classList.remove("traced");
    const films = (await Promise.all(play.map((id) => (numberOf(split(id)[1]) === null ? this.figure(id) : this.rendering(id))))).filter((film) => film !== null);
    if (this.turn !== turn) return;
    const { at, playing } = resume ?? { at: state().at, playing: state().at === null }; // before it stands still at the start, which is noted, until its steps are there
    this.sync.load(films);
    if (!films.length && !unrendered) this.sync.ended(true);
    this.transport.repeat(tour || this.live || this.page.follow.on ? false : this.transport.repeats ?? ((this.clip?.parts.length ?? 0) < 2 && this.sync.duration < SHORT_SECONDS && !matchMedia("(prefers-reduced-motion: reduce)").matches));
    this.side.begin(this.host);
    const begin = play.length === 1 ? await this.accompany(wanted) : null;
    if (this.turn !== turn) return;
    if (this.live && (at ?? Infinity) === Infinity) {
      if (this.clip && !isBeingMade(this.clip)) this.page.follow.join(); // of one that is over nobody wants the next
      this.newest();
    } else if (at !== null) {
      this.sync.seek(at);
      if (at === Infinity) this.page.follow.ended(); // the picture of now was shown, and the clip is over since
    } else if (begin !== null) this.goTo(begin);
    if (playing) this.sync.play();
    this.tick();
  }

  /** Show the picture of now, if it is being recorded. */
  newest() {
    if (!this.live || !this.sync.tracks.length) return;
    this.sync.toNewest();
    if (this.live.full) this.anew(this.shown);
  }

  /**
   * A clip that has been recorded, or is to be read anew, goes on where it is.
   * @param {string} id
   */
  anew(id) {
    if (this.shown !== id) return;
    const { newest, position, playing, tracks } = this.sync;
    this.shown = "";
    this.show(tracks.length ? { at: newest ? Infinity : position, playing: playing && !newest } : undefined);
  }

  /** What is being recorded has come to its end. */
  recorded() {
    if (!this.sync.newest) return;
    this.sync.pause();
    this.page.follow.ended();
  }

  toggle() {
    if (this.sync.newest) this.page.follow.stop();
    this.sync.toggle();
  }

  open() {
    if (!this.host.hidden) return;
    this.before = { focus: document.activeElement, scroll: window.scrollY, title: document.title };
    this.host.hidden = false;
    document.body.classList.add("on-player");
    window.scrollTo(0, 0);
  }

  shut() {
    if (this.host.hidden) return;
    this.host.hidden = true;
    document.body.classList.remove("on-player");
    const { focus, scroll, title } = this.before;
    document.title = title;
    window.scrollTo(0, scroll);
    if (focus instanceof HTMLElement && focus.isConnected) focus.focus({ preventScroll: true });
  }

  /**
   * What stands beside the only one: its steps. The frame with which the episode that was asked for begins, where the clip
   * shows several.
   * @param {string} id
   * @returns {Promise<number | null>}
   */
  async accompany(id) {
    const { clip, asked } = this;
    if (this.live || (!clip && numberOf(split(id)[1]) === null)) {
      this.host.classList.remove("traced"); // they are written in blocks, later; or there is no such clip
      this.traces.show(null);
      return null;
    }
    if (clip?.episodes.length === 1 && numberOfClip(id) === null) callIt(id, clip.episodes[0].number);
    const loading = this.loadSteps(id, asked?.env_index ?? null);
    if (!asked) return null;
    const steps = await loading;
    return steps && beginningOf(steps, asked.episode);
  }

  /**
   * @param {string} id
   * @param {number | null} env_index which sub-environment's; by default the first one that it shows
   * @returns {Promise<Steps | null>}
   */
  async loadSteps(id, env_index) {
    const [runId, clipKey] = split(id);
    const number = numberOf(clipKey);
    try {
      const steps = await (number === null ? api.clipSteps(runId, clipKey, { points: MOST_POINTS, env_index }) : api.episodeSteps(runId, number, { points: MOST_POINTS }));
      if (this.shown !== id) return null;
      this.host.classList.toggle("traced", steps.columns.length > 0); // first: what is drawn is as wide as it has room
      this.traces.show(steps);
      return steps;
    } catch (error) {
      api.wordsOf(error); // which the screen says, of its video
      if (this.shown === id) this.host.classList.remove("traced");
      return null;
    }
  }

  /**
   * One clip with its numbers; null where it cannot be had, which its figure then says.
   * @param {string} id
   * @returns {Promise<Film | null>}
   */
  async figure(id) {
    const [runId, clipKey] = split(id);
    const several = state().play.length > 1;
    const video = h("video", { playsinline: true, preload: "auto", muted: true, "disablepictureinpicture": true });
    const frame = h("span.frame");
    const words = several ? h("figcaption", {}, "Loading…") : this.about;
    const outline = new Outline(video);
    const screen = h("div.screen", {}, video, outline.node, !several && this.overlay);
    const figure = h("figure", {}, screen, several && words);
    this.stage.append(figure);
    try {
      const clip = await api.clip(runId, clipKey);
      const asked = several ? null : await askedOf(id, clip);
      if (!several && this.shown !== id) return null;
      if (!several) [this.clip, this.asked] = [clip, asked];
      if (clip.live && !several && playsLive) return await this.recording(id, clip, video, frame);
      const { video: path } = clip;
      const name = this.page.runName(runId);
      const title = clipTitle(clip);
      const who = several && h("p.who", {}, h(`i.swatch.c${state().play.indexOf(id) + 1}`), h("b", {}, title), " ", h("span.muted", {}, name));
      if (!several) this.entitle(asked ? episodeTitle(asked) : title, name);
      if (!path) {
        fill(screen, h("p.failed", {}, icon("warning"), noVideo(clip)));
        if (several && clip.live) this.side.watch(id, screen, frame);
        fill(words, who, several && clip.live ? recordingFacts(clip, frame) : clipFacts(clip, frame, several, asked));
        return null;
      }
      const url = await api.media(path);
      this.urls.push(url);
      video.addEventListener("error", async () => figure.append(h("p.failed", {}, icon("warning"), (await api.trouble(path)) ?? ["This video could not be played. ", h("a", { href: `${path}?download=1` }, "Download it"), " or check it: ", h("code", {}, "offcam verify FOLDER")])), { once: true });
      video.addEventListener("click", () => this.toggle());
      video.src = url;
      if (several) video.addEventListener("loadedmetadata", () => this.side.layOut(), { once: true });
      if (clip.width) video.style.aspectRatio = `${clip.width} / ${clip.height}`;
      video.classList.toggle("pixels", byPixel(clip.width));
      if (!several) {
        this.pinning.show(id, clip);
        outline.show(tileOf(clip, (asked ?? clip).env_index));
      }
      fill(words, who, clipFacts(clip, frame, several, asked), !several && this.pinning.node, h("div.acts", {}, fileOf(clip, path), !several && stillOf(video, clip.name, this), !several && (asked || clip.episodes.length === 1) && this.ofEpisode(runId, asked ?? clip.episodes[0], clip)));
      const fps = clip.fps || 30;
      const duration = clip.duration_seconds || clip.frames / fps;
      this.side.offer(id, clip);
      return { id, seed: clip.episodes[0]?.seed ?? null, video, fps, duration, frames: Math.max(1, Math.round(duration * fps)), label: frame };
    } catch (error) {
      fill(screen, h("p.failed", {}, icon("warning"), api.wordsOf(error)));
      fill(words);
      if (this.shown === id) this.entitle("Clip not found", this.page.runName(runId));
      return null;
    }
  }

  /**
   * A clip that is being recorded, as far as it has come; null where it has no picture before it is over.
   * @type {(id: string, clip: ClipDetail, video: HTMLVideoElement, label: HTMLElement) => Promise<Film | null>}
   */
  async recording(id, clip, video, label) {
    const fps = clip.fps || 30;
    const live = new Live(video, id, fps, { follows: () => this.sync.newest || !this.sync.tracks.length, grown: (frames) => this.sync.grow(frames), ended: () => this.recorded(), over: () => this.anew(id) });
    this.live?.stop();
    this.live = live;
    this.entitle(clipTitle(clip), this.page.runName(split(id)[0]));
    fill(this.about, recordingFacts(clip, label));
    video.addEventListener("click", () => this.toggle());
    video.addEventListener("resize", () => video.classList.toggle("pixels", byPixel(video.videoWidth)));
    if (!(await live.begin(clip.live ?? "", { hurry: true }))) {
      this.anew(id);
      return null;
    }
    return { id, video, fps, frames: live.frames, duration: live.frames / fps, label, held: (seconds) => live.held(seconds) };
  }

  /** @type {(title: string, name: string) => void} */
  entitle(title, name) {
    say(this.title, `${title} · ${name}`);
    document.title = `${title} · ${name} · offcam`;
  }

  /** @type {(runId: string, episode: Episode, clip: ClipDetail) => (HTMLElement | null)[]} */
  ofEpisode(runId, episode, clip) {
    return [animationsOf(runId, episode.number, clip.name, this), this.again(runId, episode)];
  }

  /** @type {(runId: string, episode: Episode) => HTMLElement | null} */
  again(runId, episode) {
    const run = this.page.run(runId);
    return run ? reproducing({ ...run, id: runId }, episode, () => this.traces.steps) : null;
  }

  /**
   * An episode that has no video yet, and its numbers.
   * @param {string} id RUN:~NUMBER
   * @returns {Promise<null>}
   */
  async rendering(id) {
    const [runId, clipKey] = split(id);
    const number = numberOf(clipKey) ?? "";
    const several = state().play.length > 1;
    const screen = h("div.screen");
    const words = several ? h("figcaption") : this.about;
    this.stage.append(h("figure", {}, screen, several && words));
    const done = (/** @type {string} */ clip) => {
      learn(`${runId}:${clip}`, number);
      change({ play: state().play.map((other) => (other === id ? `${runId}:${clip}` : other)) }, { replace: true });
    };
    const view = new RenderingView(screen, runId, number, done);
    this.renderings.push(view);
    view.show(this.asks === id);
    this.asks = "";
    try {
      const { episode } = await api.nearest(runId, number);
      if (view.stopped) return null;
      if (!several) this.entitle(episodeTitle(episode), this.page.runName(runId));
      fill(words, episodeFacts(episode), !several && h("div.acts", {}, this.again(runId, episode)));
    } catch (error) {
      api.wordsOf(error); // which the screen says
      if (this.shown === id) this.entitle("Episode not found", this.page.runName(runId));
    }
    return null;
  }

  clear() {
    this.sync.load([]);
    this.live?.stop();
    this.live = null;
    for (const view of this.renderings) view.stop();
    this.renderings = [];
    for (const video of this.stage.querySelectorAll("video")) {
      video.removeAttribute("src");
      video.load(); // lets go of its connection
    }
    fill(this.stage);
    fill(this.about);
    this.clip = this.asked = null;
    this.pinning.show("", null);
    this.side.clear(this.host);
    this.traces.move(0);
    this.urls.forEach(api.release);
    this.urls = [];
  }

  /** @param {number} frame */
  goTo(frame) {
    if (this.sync.tracks.length) this.sync.seek((frame + 0.5) / this.sync.fps);
    else this.traces.move(frame);
  }

  /** @param {number} frame that somebody wants to see */
  look(frame) {
    this.page.follow.stop();
    this.goTo(frame);
  }

  /** @param {number} frames on from where it stands */
  step(frames) {
    this.page.follow.stop();
    if (this.sync.tracks.length) this.sync.step(frames);
    else this.traces.step(frames);
  }

  tick() {
    const { sync } = this;
    if (!sync.tracks.length) return;
    this.traces.move(sync.frame);
    if (!this.overlay.hidden) say(this.overlay, this.traces.words || `frame ${sync.frame + 1} of ${sync.frames}`);
    this.transport.tick();
    for (const track of sync.tracks) say(track.label, `${whole(sync.shown(track) + 1)} of ${whole(track.frames)}`);
    this.note();
  }

  /** Where it stands still belongs to the address; where it plays does not. */
  remember() {
    if (!this.sync.tracks.length || state().play.join() !== this.shown) return;
    change({ at: this.sync.playing ? null : Number(this.sync.position.toFixed(3)) }, { replace: true });
  }

  /** Words over the video, or none. */
  lay() {
    this.overlay.hidden = !this.overlay.hidden;
    this.transport.overlaying.setAttribute("aria-pressed", String(!this.overlay.hidden));
    this.tick();
  }

  buttons() {
    const { play, pick } = state();
    this.lookAround();
    const run = play.length === 1 ? split(play[0])[0] : state().runs[0];
    this.back.href = address({ play: [], asked: "", tour: "", at: null });
    fill(this.back, icon("previous"), run ? this.page.runName(run) : "All runs");
    this.transport.overlaying.hidden = play.length !== 1;
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
    this.transport.previous.disabled = !before;
    this.transport.next.disabled = !after;
  }

  /**
   * The clips before and after; none where several are side by side, or it has no video yet.
   * @returns {Promise<[string | null, string | null]>}
   */
  async neighbours() {
    const { play } = state();
    return play.length !== 1 || numberOf(split(play[0])[1]) !== null ? [null, null] : this.page.neighbours(play[0]);
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
    change({ play: [], asked: "", tour: "", at: null });
  }

  /** @param {MouseEvent} event */
  leaveBy(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // into a window of its own
    event.preventDefault();
    this.leave();
  }

  /** @returns {Key[]} */
  ownKeys() {
    /** @type {(event: KeyboardEvent) => number} */
    const leap = ({ shiftKey }) => (shiftKey ? LEAP_FRAMES : 1);
    /** @param {1 | -1} way */
    const faster = (way) => change({ speed: nextSpeed(state().speed, way) }, { replace: true });
    return [
      { keys: [" "], says: "play, or pause", act: () => this.toggle() },
      { keys: ["ArrowLeft"], says: "one frame back, with shift ten", act: (event) => this.step(-leap(event)) },
      { keys: ["ArrowRight"], says: "one frame on, with shift ten", act: (event) => this.step(leap(event)) },
      { keys: ["Home"], says: "first frame", act: () => this.look(0) },
      { keys: ["End"], says: "last frame", act: () => this.step(Number.MAX_SAFE_INTEGER) },
      { keys: [","], says: "slower", act: () => faster(-1) },
      { keys: ["."], says: "faster", act: () => faster(1) },
      { keys: ["l"], says: "repeat", act: () => this.transport.toggleRepeat() },
      { keys: ["o"], says: "step, reward and action over the video", act: () => this.lay() },
      { keys: ["j", "n"], says: "next clip", act: () => this.go(1) },
      { keys: ["k", "p"], says: "clip before", act: () => this.go(0) },
      ...(exported ? [] : [{ keys: ["s"], says: "pin, and write a note", act: () => this.pinning.turn() }]),
      { keys: ["x"], says: "choose to compare", act: () => !this.compare.hidden && !this.compare.disabled && this.pick() },
      { keys: ["Escape"], says: "close", act: () => this.leave() },
    ];
  }
}
