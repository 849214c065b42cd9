// What the player says of a clip and its episode in words and numbers, and what reproduces it.
import * as api from "./api.js";
import { copy, h, icon } from "./dom.js";
import { amount, count, ending, isBeingMade, moment, reasons, span, total, whole } from "./format.js";

/**
 * @import { ClipDetail, Episode, Run, Steps } from "./api.js"
 * @typedef {[term: string, value: string | HTMLElement, kind?: string]} Row
 * @typedef {Row | false | null | undefined} MaybeRow
 */

const COMPARED = ["Return", "Length", "End", "Frame", "Seed"]; // of clips that are side by side

/** @type {(rows: MaybeRow[]) => HTMLElement} */
const listed = (rows) => h("dl", {}, rows.filter((row) => !!row).map(([term, value, kind = ""]) => h("div", {}, h("dt", {}, term), h(kind ? `dd.${kind}` : "dd", {}, value))));

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

/**
 * The numbers of a clip; those in which several differ, where they are side by side.
 * @param {ClipDetail} clip
 * @param {HTMLElement} frame says which one is shown
 * @param {boolean} several
 * @param {Episode | null} asked the one that was asked for, where it shows others, too
 */
export function clipFacts(clip, frame, several, asked = null) {
  const { episodes } = clip;
  /** @type {Episode | undefined} */
  const episode = asked ?? episodes[0]; // a video alone shows none that is known
  const said = valuesOf(episode);
  const ended = episode && (episode.terminated || episode.truncated);
  /** @type {MaybeRow[]} */
  const rows = [
    ["Return", amount((asked ?? clip).return), "strong"],
    ["Length", count((asked ?? clip).length, "step")],
    ended ? ["End", ending(episode)] : clip.unended ? ["End", clip.unended] : episode ? ["End", ending(episode)] : clip.partial ? ["End", "cut short"] : clip.unfinished && ["End", "unfinished: nobody said why"],
    ended === true && clip.unended !== "" && ["Last episode", clip.unended],
    clip.keep_reason !== null && ["Kept as", clip.keep_reason],
    clip.place !== null && ["File at", clip.place],
    ...said,
    clip.verified !== null && ["Rendered", checked(clip)],
    clip.evicted !== null && ["Evicted", `its file is in ${clip.evicted}`],
    clip.video !== null && ["Frame", frame],
    episode && episode.seed !== null && ["Seed", String(episode.seed)],
    episode && ["Wall time", span(episode.duration_seconds)],
    ["Recorded", moment(clip.started)],
    ["Picture", `${whole(clip.width)} × ${whole(clip.height)}, ${amount(clip.fps)} fps`],
    ["Frames", total(clip.dropped) ? `${whole(clip.frames)} (dropped: ${reasons(clip.dropped)})` : `${whole(clip.frames)}${clip.length === null ? "" : ", none dropped"}`],
    episodes.length > 1 && ["Episodes", `${episodes.length} in this clip, returns ${episodes.slice(0, 6).map((item) => amount(item.return)).join(", ")}${episodes.length > 6 ? ", …" : ""}`],
  ];
  return listed(rows.filter((row) => row && (!several || COMPARED.includes(row[0]) || said.some(([name]) => name === row[0]))));
}

/**
 * What is known of a clip before it is over.
 * @type {(clip: ClipDetail, frame: HTMLElement) => HTMLElement}
 */
export const recordingFacts = (clip, frame) => listed([["Now", isBeingMade(clip) ? "over, its video is being made" : "being recorded"], ["Frame", frame], ["Begun", moment(clip.started)], ["Plays at", `${amount(clip.fps)} fps`]]);

/** @param {Episode} episode that has no video */
export const episodeFacts = (episode) =>
  listed([["Return", amount(episode.return), "strong"], ["Length", count(episode.length, "step")], ["End", ending(episode)], ...valuesOf(episode), episode.seed !== null && ["Seed", String(episode.seed)], ["Wall time", span(episode.duration_seconds)]]);

/**
 * What makes an episode happen again, as far as it is known: its env and seed, its actions, the command that renders it.
 * @param {Run} run
 * @param {Episode} episode
 * @param {Steps | null} steps
 * @param {string | null} command
 */
function reproduction({ folder }, episode, steps, command) {
  const lines = [`# ${folder}, episode ${episode.episode}${episode.env_index ? ` of sub-environment ${episode.env_index}` : ""}`];
  if (steps?.env_id) lines.push(`env = gym.make(${JSON.stringify(steps.env_id)})  # as yours was made`);
  lines.push(episode.seed === null ? "# its reset was given no seed that is known" : `env.reset(seed=${episode.seed})`);
  if (steps?.found && steps.columns.some(({ kind }) => kind === "action")) {
    lines.push(`steps = offcam.load(${JSON.stringify(folder)}).steps(${episode.episode}${episode.env_index ? `, env_index=${episode.env_index}` : ""})  # its actions`);
  }
  if (command) lines.push(`# its video again: ${command}`);
  return lines.join("\n");
}

/**
 * That, to be copied.
 * @param {Run} run
 * @param {Episode} episode
 * @param {() => Steps | null} steps
 */
export function reproducing(run, episode, steps) {
  const press = async () => {
    let command = null;
    try {
      const there = run.replayable ? await api.rendering(run.id, episode.number) : null;
      if (there?.replayable) ({ command } = there);
    } catch (error) {
      api.wordsOf(error); // the rest is known all the same
    }
    copy(reproduction(run, episode, steps(), command), "What reproduces it");
  };
  return h("button.quiet", { type: "button", onclick: press }, icon("link"), "Copy what reproduces it");
}
