// The clips of a run: posters that load when they come near, pages that load when one scrolls to them.
import * as api from "./api.js";
import { askedBy, inWords, NO_FILTERS } from "./clipfilters.js";
import { columnChoice } from "./columns.js";
import { arrange, control, fill, h, icon, say, select, throttle, toast } from "./dom.js";
import { exported } from "./exported.js";
import { FilterForm } from "./filterform.js";
import { amount, clipTitle, clock, count, endOf, isBeingMade, reasonOf, reasons, successOf, total, whole } from "./format.js";
import { playsLive } from "./live.js";
import { showNow } from "./now.js";
import { turn } from "./pinning.js";
import { poster } from "./posters.js";
import { change, state } from "./state.js";
import { MOST_CLIPS, split } from "./view.js";

/**
 * @import { Clip, ClipDetail, Run } from "./api.js"
 * @import { Known } from "./tray.js"
 * @import { View } from "./view.js"
 */

const PAGE = 36;
/** What of the table can be left out. */
const CHOSEN = { return: "Return", length: "End and length", why: "Kept as", seed: "Seed" };
const QUIET_PAGES = 3; // up to here, new clips just appear; further down the page they wait to be asked for

export class Gallery {
  /**
   * @param {HTMLElement} section
   * @param {{open: (ids: string[]) => void, pinned: (id: string, clip: ClipDetail) => void, known: Map<string, Known>}} page
   */
  constructor(section, { open, pinned, known }) {
    this.section = section;
    this.open = open;
    this.pinned = pinned;
    this.known = known; // has each clip that is listed, for the tray
    this.head = h("div.gallery-head");
    this.fresh = h("button.fresh", { type: "button", hidden: true, onclick: () => this.load() });
    this.grid = h("ul.grid", { "aria-label": "Clips" });
    this.note = h("p.note", { role: "status" });
    this.more = h("button.more", { type: "button", hidden: true, onclick: () => this.extend() }, "Show more");
    section.append(this.head, this.fresh, this.grid, this.note, this.more);
    this.near = new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && this.extend(), { rootMargin: "800px" });
    /** @type {Map<string, {print: string, node: HTMLElement}>} */
    this.cards = new Map();
    /** @type {Run | undefined} */
    this.run = undefined;
    /** @type {Clip[]} */
    this.clips = [];
    this.total = 0; // clips that there are
    this.asking = false;
    this.of = ""; // the run whose clips were asked for
    this.given = ""; // what the clips are asked for by
    this.signature = ""; // of the run's clips, as it was last said
    this.refresh = throttle(() => this.update(), 1500);
    const search = throttle((/** @type {string} */ value) => change({ clip: value }, { replace: true }), 200);
    this.title = h("h2", { id: "gallery-title" }, "Clips");
    this.tabs = h("div.tabs", { role: "group", "aria-label": "Run whose clips are shown" });
    this.sorting = h("div");
    this.outcome = h("div");
    this.text = h("input.search", { type: "search", placeholder: "Filter by name", "aria-label": "Filter clips by name", oninput: (event) => search(event.currentTarget.value.trim()) });
    this.filters = new FilterForm();
    this.listing = h("button.quiet", { type: "button", "aria-pressed": "false", onclick: () => change({ as: state().as === "table" ? "grid" : "table" }, { replace: true }) }, "Table");
    this.columns = columnChoice("clips", this.grid, CHOSEN);
    this.head.append(this.title, this.tabs, h("div.controls", {}, this.text, this.filters.button, this.outcome, this.sorting, this.listing, this.columns));
    this.head.after(this.filters.node);
  }

  /** @param {Run[]} runs of one of which the clips are shown */
  show(runs) {
    const { tab, sort, order, clip, outcome, as } = state();
    this.run = runs.find((run) => run.id === tab) ?? runs[0];
    this.section.hidden = !this.run;
    if (!this.run) return;
    fill(
      this.tabs,
      runs.length > 1 && runs.map((run) => h("button", { type: "button", "aria-pressed": String(run === this.run), onclick: () => change({ tab: run.id }) }, run.name)),
    );
    /** @type {[string, string][]} */
    const choices = [["newest desc", "Newest first"], ["oldest desc", "Oldest first"], ["return desc", "Highest return"], ["return asc", "Lowest return"], ["length desc", "Longest"], ["length asc", "Shortest"]];
    /** @param {string} value */
    const choose = (value) => {
      const [sort, order] = /** @type {[View["sort"], View["order"]]} */ (value.split(" "));
      change({ sort, order });
    };
    if (!this.sorting.contains(document.activeElement)) fill(this.sorting, select("Sort", choices, `${sort} ${order}`, choose));
    if (document.activeElement !== this.text) this.text.value = clip;
    /** @type {[string, string][]} */
    const outcomes = [["", "All outcomes"], ["success", "Succeeded"], ["failure", "Failed"]];
    const told = this.run.success_rate !== null || outcome;
    if (!this.outcome.contains(document.activeElement)) fill(this.outcome, told && select("Show", outcomes, outcome, (value) => change({ outcome: /** @type {View["outcome"]} */ (value), value: "", vmin: null, vmax: null })));
    this.filters.show(this.run);
    this.grid.classList.toggle("table", as === "table");
    this.columns.hidden = as !== "table";
    this.listing.setAttribute("aria-pressed", String(as === "table"));
    const given = JSON.stringify([this.run.id, this.wanted()]);
    if (given !== this.given) {
      if (this.of !== this.run.id) {
        [this.clips, this.total] = [[], 0];
        this.grid.inert = true; // cards of another run are there until its own have come
      }
      this.of = this.run.id;
      this.given = given;
      this.signature = JSON.stringify(this.run.clips);
      this.load();
    }
    this.marks();
  }

  /** @param {Run} run that has changed: more clips, or one has become final */
  grown(run) {
    if (run.id !== this.run?.id) return;
    const signature = JSON.stringify(run.clips);
    if (signature !== this.signature) this.refresh();
    this.signature = signature;
  }

  /**
   * Which clips are wanted, in which order.
   * @returns {Record<string, string | number | null>}
   */
  wanted() {
    return askedBy(state(), successOf(this.run ?? { values: [] }));
  }

  /**
   * A part of the list, as it was asked for; null where it cannot be had, or another view was chosen meanwhile.
   * @param {number} offset
   * @param {number} limit
   */
  async ask(offset, limit) {
    if (!this.run) return null;
    const { given } = this;
    this.asking = true;
    try {
      const answer = await api.clips(this.run.id, { offset, limit, ...this.wanted() });
      if (given !== this.given) return null;
      this.total = answer.total;
      return answer.clips;
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      if (given === this.given) this.failed(error);
      return null;
    } finally {
      this.asking = false;
      this.lookAgain();
    }
  }

  /** Whether the end of the list is near: anew, for it may be so still, which is no change that would be told. */
  lookAgain() {
    this.near.disconnect();
    this.near.observe(this.more);
  }

  async load() {
    this.fresh.hidden = true;
    const clips = await this.ask(0, PAGE);
    if (clips) this.set(clips);
  }

  async extend() {
    if (this.asking || this.clips.length >= this.total) return;
    const clips = await this.ask(this.clips.length, PAGE);
    if (!clips) return;
    const there = new Set(this.clips.map((clip) => clip.key));
    this.set([...this.clips, ...clips.filter((clip) => !there.has(clip.key))]);
    if (!clips.length) this.total = this.clips.length;
  }

  async update() {
    if (!this.run) return;
    if (this.clips.length <= PAGE * QUIET_PAGES) {
      const clips = await this.ask(0, Math.max(PAGE, this.clips.length));
      if (clips) this.set(clips);
      return;
    }
    const before = this.total;
    const clips = await this.ask(0, 1);
    if (!clips || this.total === before) return;
    this.fresh.hidden = false;
    say(this.fresh, `${count(this.total - before, "new clip")}: show`);
  }

  /** @param {api.ApiError} error */
  failed(error) {
    [this.clips, this.total] = [[], 0];
    this.grid.inert = false;
    fill(this.grid);
    this.cards.clear();
    this.more.hidden = true;
    say(this.note, error.message);
    this.note.classList.add("bad");
  }

  /**
   * Cards stay the elements they are where their clip has not changed, so that nothing flickers or loses focus.
   * @param {Clip[]} clips
   */
  set(clips) {
    this.clips = clips;
    this.grid.inert = false;
    const cards = new Map();
    for (const id of this.cards.keys()) if (!state().pick.includes(id)) this.known.delete(id); // so that it does not grow with the run
    for (const clip of clips) {
      const id = this.idOf(clip);
      this.known.set(id, clip);
      const print = JSON.stringify(clip);
      const old = this.cards.get(id);
      cards.set(id, old?.print === print ? old : { print, node: this.card(clip) });
    }
    this.cards = cards;
    arrange(this.grid, [...cards.values()].map(({ node }) => node));
    this.more.hidden = clips.length >= this.total;
    this.lookAgain();
    fill(this.title, "Clips ", h("span.count", {}, whole(this.total)));
    this.note.classList.remove("bad");
    fill(this.note, clips.length ? null : this.nothing());
    this.marks();
  }

  nothing() {
    const filters = inWords(state());
    if (filters.length) return [`No clip of this run is like that: ${filters.join(", ")}. `, h("button.quiet.inline", { type: "button", onclick: () => change({ ...NO_FILTERS, clip: "", outcome: "" }) }, "Clear the filters")];
    if (this.run?.replayable) return "No video in this run yet. Choose an episode on the curve, and it is rendered.";
    return [
      "No video in this run yet. ",
      h("code", {}, "offcam.record(env, folder, every=100)"),
      " films each 100th episode; the env must be made with ",
      h("code", {}, 'render_mode="rgb_array"'),
      ".",
    ];
  }

  /**
   * RUN:KEY
   * @param {Clip} clip
   */
  idOf(clip) {
    return `${this.run?.id}:${clip.key}`;
  }

  /** @param {Clip} clip */
  card(clip) {
    const id = this.idOf(clip);
    const title = clipTitle(clip);
    const lost = total(clip.dropped);
    const end = endOf(clip);
    const why = reasonOf(clip);
    const over = isBeingMade(clip);
    const flags = [
      over ? "ended" : clip.state === "recording" ? "recording" : null,
      clip.state === "recovered" || clip.state === "aborted" ? clip.state : null,
      why || (clip.partial && clip.state !== "recording" ? "cut short" : null),
      clip.verified === false && clip.state !== "recording" ? "not as it was" : null,
      lost ? `${whole(lost)} dropped` : null,
    ].filter((flag) => flag !== null);
    const live = clip.live !== null && playsLive;
    const frame = h("span.poster", {}, clip.poster ? poster(clip.poster, clip) : h("span.blank", {}, icon(live ? "play" : "film"), over ? "being made" : live ? "see it now" : clip.state === "recording" ? "being recorded" : clip.place ? "on another host" : "no video"));
    if (live && !over) showNow(frame, id);
    const pin = !exported && clip.video && control("pin", `${clip.pin ? "Unpin" : "Pin"} ${title} (s)`, () => this.turn(id), { "aria-pressed": String(Boolean(clip.pin)) });
    const seconds = clip.duration_seconds;
    const length = seconds ? h("span.length", {}, seconds < 60 ? `${seconds.toFixed(1)} s` : clock(seconds).replace(/\.\d+$/, "")) : null;
    const said = flags.length ? h("span.flags", {}, flags.map((flag) => h(`span.flag.${flag === why ? "short" : flag.split(" ").at(-1)}`, {}, flag))) : null;
    return h(
      "li.card",
      { dataset: end ? { id, end } : { id } },
      h("div.shot", { title: [clip.unended, lost && reasons(clip.dropped)].filter(Boolean).join(" · ") || null }, h("button.watch", { type: "button", disabled: !clip.video && !live, "aria-label": live ? `Watch ${title} as it is ${over ? "made" : "recorded: see it now"}` : `Play ${title}, return ${amount(clip.return)}, ${whole(clip.length)} steps`, onclick: () => this.open([id]) }, frame), length, said, pin || (clip.pin && h("span.pin", { title: "Pinned" }, icon("pin")))),
      h(
        "div.facts",
        {},
        h("span.title", { title: clip.file ?? clip.name }, title),
        h("span.return", { title: "Return" }, amount(clip.return)),
        h("span.muted.steps-said", {}, end && h("span.end", {}, `${end}, `), clip.length === null && clip.frames ? count(clip.frames, "frame") : `${whole(clip.length)} steps`),
        h("span.why.muted", {}, clip.keep_reason === null ? "" : `kept as ${clip.keep_reason}`),
        h("span.seed.muted", {}, clip.seed === null ? "" : `seed ${clip.seed}`),
        (clip.video || live) &&
          h("label.pick", {}, h("input", { type: "checkbox", "aria-label": `Compare ${title}`, onchange: (event) => this.pick(id, event.currentTarget) }), "Compare"),
        clip.pin?.note && h("span.note-said", {}, clip.pin.note),
      ),
    );
  }

  /** @type {(id: string, box: HTMLInputElement) => void} */
  pick(id, box) {
    const { pick } = state();
    if (box.checked && pick.length >= MOST_CLIPS) {
      box.checked = false;
      toast(`At most ${MOST_CLIPS} clips side by side. Take one out first.`);
      return;
    }
    change({ pick: box.checked ? [...pick, id] : pick.filter((other) => other !== id) }, { replace: true });
  }

  /** Pin the clip that is pointed at, or has the focus; or do so no longer. */
  pinHere() {
    const here = this.grid.querySelector(".card:focus-within") ?? this.grid.querySelector(".card:hover");
    if (here instanceof HTMLElement && here.dataset.id) this.turn(here.dataset.id);
    else toast("Point at a clip, or go to it with Tab: then s pins it.");
  }

  /** @param {string} id RUN:KEY */
  async turn(id) {
    const clip = this.clips.find((each) => this.idOf(each) === id);
    const after = clip?.video && !exported ? await turn(id, clip) : null;
    if (after) this.pinned(id, after);
  }

  /**
   * A clip is pinned, or no longer: its card says so where it stands; a list of the pinned ones is asked for anew.
   * @type {(id: string, clip: ClipDetail) => void}
   */
  repin(id, { pin }) {
    if (state().pinned) this.load();
    else if (this.clips.some((clip) => this.idOf(clip) === id)) this.set(this.clips.map((clip) => (this.idOf(clip) === id ? { ...clip, pin } : clip)));
  }

  /** Tick the boxes of what is picked. */
  marks() {
    const picked = new Set(state().pick);
    for (const [id, { node }] of this.cards) {
      const box = node.querySelector("input");
      if (box) box.checked = picked.has(id);
      node.classList.toggle("picked", picked.has(id));
    }
  }

  /**
   * The playable clips before and after one, in the order shown: also of one that is not loaded here.
   * @param {string} id RUN:KEY
   * @returns {Promise<[string | null, string | null]>}
   */
  async neighbours(id) {
    const [run, key] = split(id);
    try {
      const { before, after } = await api.neighbours(run, key, run === this.run?.id ? this.wanted() : {});
      return [before && `${run}:${before}`, after && `${run}:${after}`];
    } catch (error) {
      api.wordsOf(error); // which its figure says
      return [null, null];
    }
  }
}
