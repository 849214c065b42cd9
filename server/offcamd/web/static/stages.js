// The stages of a run: a sheet of the clips that tell of each part of it, and, over the player, the way from one to the next.
import * as api from "./api.js";
import { arrange, fill, h, icon, say, throttle, toast } from "./dom.js";
import { amount, count, episodeTitle, whole } from "./format.js";
import { playsLive } from "./live.js";
import { showNow } from "./now.js";
import { poster } from "./posters.js";
import { nowOf } from "./runlist.js";
import { bestOf, filmed, leadsTo, PICKS, placeOf, rowsOf } from "./stagelist.js";
import { change, learn, numberOfClip, state } from "./state.js";
import { Toolbar } from "./toolbar.js";
import { split } from "./view.js";

/**
 * @import { Run, Stage, StageClip } from "./api.js"
 * @import { Key } from "./keys.js"
 * @import { Kind } from "./stagelist.js"
 */

const REFRESH_MS = 2500;
const HOLD_MS = 800; // so long the end of one is seen before the next begins
const READ_MS = 2000; // so long it is seen why one cannot be played
const FEWEST = 2; // parts that have a clip: one alone is no stage of anything
/** @type {Record<Kind, string>} */
const WORDS = { best: "Best", median: "Median", worst: "Worst" };

/** @param {Stage} stage */
const span = ({ begin, end }) => (end - begin > 1 ? `${whole(begin)}–${whole(end - 1)}` : whole(begin));

export class Stages {
  /**
   * @param {HTMLElement} section the sheet
   * @param {HTMLElement} bar over the player
   * @param {{atEnd: () => boolean, follow: (run: Run) => void}} player
   */
  constructor(section, bar, player) {
    this.section = section;
    this.bar = bar;
    this.player = player;
    /** @type {Run | undefined} */
    this.run = undefined;
    /** @type {Map<string, Stage[]>} */
    this.known = new Map(); // by run id
    /** @type {Map<string, HTMLElement>} */
    this.cells = new Map();
    this.print = ""; // of what the sheet shows
    this.shape = ""; // of its table
    /** @type {HTMLElement[]} */
    this.spans = []; // which episodes each part has, over its column
    /** @type {Map<Kind, HTMLElement[]>} */
    this.places = new Map(); // where the cells of a row stand
    /** @type {HTMLButtonElement[]} */
    this.steps = []; // from stage to stage, over the player
    /** @type {Kind} */
    this.pick = "median"; // which clips of the stages one goes through
    this.hold = 0;
    this.refresh = throttle(() => this.load(this.run), REFRESH_MS);
    this.about = h("span.muted");
    this.watch = h("button.primary", { type: "button", onclick: () => this.begin("median") }, icon("play"), "Watch it learn");
    this.sheet = h("div.sheet");
    this.present = h("span.poster", {}, h("span.blank", {}, icon("play"), "see it now"));
    this.watchNow = h("button.frame", { type: "button", "aria-label": "See now what is recorded", onclick: () => this.see() }, this.present, h("b", {}, "now"));
    section.append(h("div.gallery-head", {}, h("h2", { id: "stages-title" }, "Stages"), this.about, h("span.push"), this.watch), this.sheet);
    this.sheetKeys = new Toolbar(this.sheet, "Clips of the stages");
    this.stepped = h("span.steps");
    this.where = h("span.muted", { role: "status" });
    this.touring = h("button.quiet", { type: "button", onclick: () => this.toggle() }, icon("play"), "Watch it learn");
    this.way = h("div.way", {}, this.touring, this.stepped);
    bar.append(this.way, this.where);
    this.barKeys = new Toolbar(this.way, "Stages of the run");
  }

  /** @param {Run | undefined} run whose clips are listed */
  show(run) {
    const other = run?.id !== this.run?.id;
    this.run = run;
    this.draw();
    if (run && (other || !this.known.has(run.id))) this.load(run);
  }

  /** @param {Run} run that has changed */
  grown(run) {
    if (run.id !== this.run?.id) return;
    const { episodes, clips } = this.run;
    this.run = run;
    if (episodes !== run.episodes || JSON.stringify(clips) !== JSON.stringify(run.clips)) this.refresh();
    this.draw(); // its picture of now may be another clip's
  }

  /**
   * @param {Pick<Run, "id" | "episodes" | "plain"> | undefined} run
   */
  async load(run) {
    if (!run?.episodes || run.plain) return;
    try {
      this.known.set(run.id, (await api.stages(run.id)).stages);
    } catch (error) {
      api.wordsOf(error); // which the curve says, too
      return;
    }
    this.draw();
    this.follow();
  }

  // --- the sheet ----------------------------------------------------------------------------------------

  draw() {
    const stages = (this.run && this.known.get(this.run.id)) ?? [];
    this.section.hidden = filmed(stages).length < FEWEST;
    const now = !playsLive || this.section.hidden || !this.run ? null : nowOf(this.run);
    showNow(this.present, now);
    if (this.section.hidden || !this.run) return;
    const print = JSON.stringify([this.run.id, stages, now !== null]);
    if (print === this.print) return;
    this.print = print;
    const { length } = stages;
    const size = Math.round(stages[length - 1].end / length);
    say(this.about, `the run in ${length} parts of ${stages[length - 1].end % length ? "about " : ""}${count(size, "episode")}`);
    const focused = document.activeElement;
    this.lay(rowsOf(stages), length, now !== null);
    const before = this.cells;
    this.cells = new Map();
    stages.forEach((stage, place) => {
      say(this.spans[place], span(stage));
      for (const [pick, places] of this.places) arrange(places[place], [this.cell(stage, pick, place, before)]);
    });
    if (focused instanceof HTMLElement && focused !== document.activeElement && this.sheet.contains(focused)) focused.focus({ preventScroll: true });
    this.sheetKeys.settle();
  }

  /**
   * Lay out the table, if another one is needed: who is about to click what is replaced does so in vain.
   * @type {(picks: Kind[], length: number, now: boolean) => void}
   */
  lay(picks, length, now) {
    const shape = JSON.stringify([picks, length, now]);
    if (shape === this.shape) return;
    this.shape = shape;
    const parts = [...Array(length).keys()];
    this.spans = parts.map(() => h("span"));
    this.places = new Map(picks.map((pick) => [pick, parts.map(() => h("td"))]));
    const rows = [...this.places].map(([pick, places]) => h("tr", {}, h("th", { scope: "row" }, this.rowHead(pick)), places, now && h("td", {}, pick === "median" && this.watchNow)));
    const head = h("tr", {}, h("td"), this.spans.map((text) => h("th", { scope: "col" }, h("span.visually-hidden", {}, "Episodes "), text)), now && h("th", { scope: "col" }, "Now"));
    fill(this.sheet, h("table", {}, h("caption.visually-hidden", {}, "The best, the median and the worst clip of each part, by return"), h("thead", {}, head), h("tbody", {}, rows)));
  }

  /** @param {Kind} pick */
  rowHead(pick) {
    return h("button.quiet", { type: "button", title: `Play the ${pick} of each part, one behind the other`, onclick: () => this.begin(pick) }, icon("play"), WORDS[pick]);
  }

  /** @type {(stage: Stage, pick: Kind, place: number, before: Map<string, HTMLElement>) => HTMLElement} */
  cell(stage, pick, place, before) {
    const clip = stage[pick];
    if (!clip) return h("span.none", {}, pick === "median" ? "no clip" : "");
    if (pick !== "median" && clip.number === stage.median?.number) return h("span.none", {}, "same");
    const runId = this.run?.id ?? "";
    const id = `${runId} ${pick} ${place} ${JSON.stringify(clip)}`;
    const label = `${WORDS[pick]} of part ${place + 1}: ${episodeTitle(clip)}, return ${amount(clip.return)}`;
    const made = before.get(id) ?? h("button.frame", { type: "button", "aria-label": label, title: `${episodeTitle(clip)}, ${count(clip.length, "step")}`, onclick: () => this.open(runId, clip, pick, "") }, h("span.poster", {}, poster(api.clipPath(runId, clip.clip, "poster"))), h("b", {}, amount(clip.return)));
    this.cells.set(id, made);
    return made;
  }

  /** The picture of now, in the player, and what comes next. */
  see() {
    if (this.run) this.player.follow(this.run);
  }

  // --- one behind the other -----------------------------------------------------------------------------

  /** @type {(runId: string, clip: StageClip, pick: Kind, tour: "" | Kind, how?: {replace?: boolean}) => void} */
  open(runId, clip, pick, tour, how) {
    this.pick = pick;
    const id = `${runId}:${clip.clip}`;
    learn(id, clip.number);
    change({ play: [id], asked: `${runId}:${clip.number}`, at: null, tour }, how);
  }

  /** @param {Kind} pick */
  begin(pick) {
    const stages = (this.run && this.known.get(this.run.id)) ?? [];
    const clip = leadsTo(stages, -1, 1, pick);
    if (clip && this.run) this.open(this.run.id, clip, pick, pick);
  }

  /** Go through the stages from the one that is played, or stay with that. */
  toggle() {
    change({ tour: state().tour ? "" : this.pick }, { replace: true });
    if (state().tour && this.player.atEnd()) this.goOn();
  }

  /** What is played, and which stage that is in; place -1 where it is in none that is known. */
  here() {
    const { play, asked, tour } = state();
    const [runId, key] = play.length === 1 ? split(play[0]) : [this.run?.id ?? "", ""];
    const stages = this.known.get(runId) ?? [];
    const [askedRun, number] = split(asked);
    const known = askedRun === runId && number ? number : key.startsWith("~") ? key.slice(1) : numberOfClip(play[0] ?? "");
    const shown = stages.flatMap((stage) => PICKS.map((pick) => stage[pick])).find((clip) => clip?.clip === key);
    const place = key ? placeOf(stages, known === null ? (shown?.number ?? null) : Number(known)) : -1;
    return { runId, key, stages, place, pick: tour || this.pick };
  }

  /** @param {boolean} failed whether a clip could not be played, else it is over */
  ended(failed) {
    clearTimeout(this.hold);
    const { play, tour } = state();
    if (!tour) return;
    if (failed) toast(`Stage ${this.here().place + 1} cannot be played: on to the next.`);
    this.hold = setTimeout(() => {
      if (state().tour && state().play.join() === play.join() && this.player.atEnd()) this.goOn();
    }, failed ? READ_MS : HOLD_MS);
  }

  goOn() {
    const { runId, stages, place, pick } = this.here();
    const clip = place < 0 ? null : leadsTo(stages, place, 1, pick);
    if (clip) this.open(runId, clip, pick, state().tour, { replace: true });
  }

  /** The bar over the player: what of the run is played, where it has stages. */
  follow() {
    const { play, tour } = state();
    const { runId, key, stages, place, pick } = this.here();
    if (tour) this.pick = tour;
    const shown = play.length === 1 && key !== "" && filmed(stages).length >= FEWEST;
    if (play.length === 1 && !this.known.has(runId)) this.load({ id: runId, episodes: 1, plain: false });
    this.bar.hidden = !shown;
    if (!shown) return;
    this.touring.setAttribute("aria-pressed", String(tour !== ""));
    arrange(this.stepped, stages.map((stage, at) => this.step(stage, at, pick, at === place)));
    this.barKeys.settle();
    say(this.where, place < 0 ? "" : `stage ${place + 1} of ${stages.length}, episodes ${span(stages[place])}`);
  }

  /** @type {(stage: Stage, at: number, pick: Kind, current: boolean) => HTMLElement} */
  step(stage, at, pick, current) {
    const step = this.steps[at] ?? h("button.step", { type: "button", onclick: () => this.stepTo(at) });
    this.steps[at] = step;
    const clip = stage[pick];
    step.title = `Stage ${at + 1}, episodes ${span(stage)}: ${clip ? `${pick} return ${amount(clip.return)}` : "no clip"}`;
    step.setAttribute("aria-label", step.title);
    step.disabled = !clip;
    if (current) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
    say(step, clip ? amount(clip.return) : "–");
    return step;
  }

  /** @param {number} at */
  stepTo(at) {
    const { runId, stages, pick } = this.here();
    const clip = stages[at]?.[pick];
    if (clip) this.open(runId, clip, pick, state().tour, { replace: true });
  }

  /** @returns {Key[]} */
  keys() {
    return [
      { keys: ["["], says: "stage before", act: () => this.lead(-1) },
      { keys: ["]"], says: "next stage", act: () => this.lead(1) },
      { keys: ["b"], says: "best clip", act: () => this.best() },
    ];
  }

  /** @param {1 | -1} way */
  lead(way) {
    const { runId, stages, place, pick } = this.here();
    const clip = leadsTo(stages, place, way, pick);
    if (clip) this.open(runId, clip, pick, state().tour, { replace: state().play.length > 0 });
  }

  best() {
    const { runId, stages } = this.here();
    const clip = bestOf(stages);
    if (clip) this.open(runId, clip, "best", "", { replace: state().play.length > 0 });
  }
}
