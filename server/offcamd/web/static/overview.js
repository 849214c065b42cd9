// The head of the page: the run that is looked at, its numbers; or, where there is none, how to record one.
import { copy, fill, h, icon, say } from "./dom.js";
import { amount, isCounted, percent, reasons, sendingOf, sentence, short, since, successOf, total, whole } from "./format.js";
import { baseOf, DOTS, sessionOf } from "./runlist.js";
import { change, state } from "./state.js";

/** @import { Run } from "./api.js" */

const LINES = [
  "import gymnasium as gym, offcam",
  'env = gym.make("CartPole-v1", render_mode="rgb_array")',
  'env = offcam.record(env, "runs/cartpole", every=100)',
].join("\n");

/** @type {Record<string, string>} */
const WHAT_BECAME = {
  live: "Somebody records into it",
  crashed: "The process that recorded it vanished before it closed its env",
  lost: "Nobody knows how it ended: its recorder was gone before its end",
};

export class Overview {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.kind = "";
    this.offered = "";
    /** @type {Map<string, {name: HTMLElement, number: HTMLElement, words: HTMLElement, node: HTMLElement}>} */
    this.tiles = new Map();
    this.name = h("h1");
    this.dot = h("i.dot");
    this.state = h("span");
    this.badge = h("span.badge", { hidden: true }, this.dot, this.state);
    this.sessions = h("select", { "aria-label": "Session", hidden: true, onchange: (event) => this.choose(event.currentTarget.value) });
    this.sent = h("p.note", { hidden: true });
    this.films = h("p.note", { hidden: true }, "Videos without offcam's index, such as Gymnasium's own RecordVideo leaves: what can be read from the files is shown. Returns and curves come with ", h("code", {}, "from offcam import RecordVideo"), ".");
    this.folder = h("code.folder");
    this.more = h("span.muted");
    this.numbers = h("dl.tiles");
  }

  /**
   * The run's name, state and numbers.
   * @param {Run} run
   * @param {string} name
   * @param {number} others in the plot
   */
  run(run, name, others) {
    if (run.problem) {
      this.problem(`${name} cannot be read`, sentence(run.problem) + (total(run.clips) ? " Its videos are below, by what their files tell." : ""), run.folder);
      return;
    }
    if (this.kind !== "run") this.layOut();
    say(this.name, name);
    this.badge.hidden = run.state === "ended";
    this.badge.className = `badge ${run.state}`;
    this.badge.title = WHAT_BECAME[run.state] ?? "";
    this.dot.className = `dot ${DOTS[run.state] ?? ""}`;
    say(this.state, run.state);
    this.films.hidden = !run.plain;
    this.sent.hidden = !run.sync.length;
    say(this.sent, run.sync.map(sendingOf).join(" "));
    this.offer(run);
    say(this.folder, run.folder);
    say(this.more, others ? `and ${others} more in the plot` : "");
    const { return: returns, length: lengths } = run;
    const lost = total(run.dropped);
    this.tile("Return, last 100", amount(returns.last100_mean), `best ${amount(returns.max)}, mean ${amount(returns.mean)}`);
    this.tile("Length, last 100", amount(lengths.last100_mean), `steps; longest ${amount(lengths.max)}`);
    const untold = !isCounted(run); // its env is not in a RecordEpisodeStatistics
    if (untold) this.tile("Episodes", "–", `since ${since(run.started)}`);
    else this.tile("Episodes", run.episodes < 10_000_000 ? whole(run.episodes) : short(run.episodes), `since ${since(run.started)}`);
    const unwritten = total(run.dropped_steps);
    if (untold) this.tile("Steps", "–", "not counted");
    else if (unwritten) this.tile("Steps", short(run.steps), `not written: ${reasons(run.dropped_steps)}`, true);
    else this.tile("Steps", short(run.steps), run.live && run.steps_per_second ? `${short(Math.round(run.steps_per_second))} a second` : run.steps >= 10000 ? `${whole(run.steps)} in all` : "in all");
    const dropped = lost ? reasons(run.dropped) : "none";
    const told = run.success_rate !== null; // six tiles stand in whole rows at each width
    this.tile("Clips", whole(total(run.clips)), told ? `frames dropped: ${dropped}` : run.clips.recording ? `${whole(run.clips.recording)} being made` : "videos", told && lost > 0);
    if (told) this.tile("Success rate", percent(run.success_rate), `last 100, by ${successOf(run)}`, false, "last");
    else this.tile("Frames dropped", whole(lost), dropped, lost > 0, "last");
  }

  /**
   * The sessions that can be shown, where the run has several.
   * @param {Run} run
   */
  offer(run) {
    const newest = run.sessions.at(-1);
    this.sessions.hidden = run.sessions.length < 2;
    const choices = [["", `session ${newest} (newest)`], ...run.sessions.slice(0, -1).reverse().map((number) => [String(number), `session ${number}`]), ["all", "all sessions"]];
    const key = `${run.id} ${run.sessions}`;
    if (this.offered === key) return;
    this.offered = key;
    fill(this.sessions, ...choices.map(([value, words]) => h("option", { value, selected: value === sessionOf(run.id) }, words)));
  }

  /** @param {string} session */
  choose(session) {
    const [first, ...others] = state().runs;
    const chosen = baseOf(first) + (session && `@${session}`);
    change({ runs: [...new Set([chosen, ...others])], tab: "", from: null, to: null });
  }

  layOut() {
    this.kind = "run";
    const taker = h("button.icon.small", { type: "button", "aria-label": "Copy the folder's path", onclick: () => copy(this.folder.textContent, "Path") }, icon("link"));
    fill(this.section, h("div.run-head", {}, h("div.run-name", {}, this.name, this.badge, this.sessions), h("p.where", {}, this.folder, taker, this.more), this.sent, this.films), this.numbers);
  }

  /** @type {(label: string, value: string, under: string, bad?: boolean, place?: string) => void} */
  tile(label, value, under, bad = false, place = label) {
    let tile = this.tiles.get(place);
    if (!tile) {
      const [name, number, words] = [h("dt"), h("dd.number"), h("dd.under")];
      const node = h("div.tile", {}, name, number, words);
      this.numbers.append(node);
      tile = { name, number, words, node };
      this.tiles.set(place, tile);
    }
    say(tile.name, label);
    say(tile.number, value);
    say(tile.words, under);
    tile.node.classList.toggle("bad", bad);
  }

  /**
   * No runs at all: what a newcomer needs.
   * @param {boolean} daemon
   */
  empty(daemon) {
    if (this.kind === "empty") return;
    this.kind = "empty";
    fill(
      this.section,
      h(
        "div.welcome",
        {},
        h("h1", {}, "Nothing recorded yet"),
        h("p", {}, daemon ? "The recorder is running and waits for an agent. Wrap your environment, and train as always:" : "None of these folders holds a recording yet. Wrap your environment, and train as always:"),
        h("div.code", {}, h("pre", {}, h("code", {}, LINES)), h("button.quiet", { type: "button", onclick: () => copy(LINES, "Code") }, "Copy")),
        h("p.muted", {}, "The run appears here by itself with its first episode: the learning curve as it grows, and a video of each 100th episode."),
        h("p.muted", {}, "No agent at hand? ", h("code", {}, "offcam demo"), " records two."),
      ),
    );
  }

  /** @type {(title: string, text: string, folder?: string) => void} */
  problem(title, text, folder = "") {
    this.kind = "problem";
    fill(
      this.section,
      h("div.welcome.bad", {}, h("h1", {}, title), h("p", {}, text), folder && h("p.muted", {}, h("code", {}, folder)), h("p.muted", {}, "The other runs are not affected.")),
    );
  }

  /**
   * The address names a run that is not here.
   * @param {string[]} ids
   * @param {boolean} any whether others are
   */
  missing(ids, any) {
    const key = `missing ${ids.join()}`;
    if (this.kind === key) return;
    this.kind = key;
    fill(
      this.section,
      h(
        "div.welcome",
        {},
        h("h1", {}, "That run is not here"),
        h("p", {}, `The address names the run ${ids.join(", ")}, which this recorder does not know. It may have been moved or deleted, or it belongs to another machine. A folder can be opened with `, h("code", {}, "offcam view FOLDER"), "."),
        any && h("button.primary", { type: "button", onclick: () => change({ runs: [], tab: "" }) }, "Show all runs"),
      ),
    );
  }
}
