// The episode that was asked for, by its number, and whether the clip that is played shows it.
import * as api from "./api.js";
import { say } from "./dom.js";
import { amount, count, episodeTitle } from "./format.js";
import { learn, numberOfClip, state } from "./state.js";
import { split } from "./view.js";

/** @import { ClipDetail, Episode } from "./api.js" */

/**
 * The episode by which the address calls a clip, where that shows others, too: before it or, of a vector env, beside it.
 * @type {(id: string, clip: ClipDetail) => Promise<Episode | null>}
 */
export async function askedOf(id, { episodes }) {
  const number = numberOfClip(id);
  if (number === null || (episodes.length === 1 && String(episodes[0].number) === number)) return null;
  const [runId] = split(id);
  return episodes.find((episode) => String(episode.number) === number) ?? (await api.nearest(runId, number)).episode;
}

/**
 * Have the address call a clip by the episode that it shows, if that is the one that is played for it.
 * @type {(id: string, number: number) => Promise<void>}
 */
export async function callIt(id, number) {
  const [runId, clipKey] = split(id);
  try {
    const { clip, distance } = await api.nearest(runId, number);
    if (distance === 0 && clip?.key === clipKey) learn(id, number);
  } catch (error) {
    api.wordsOf(error); // its key will do
  }
}

/**
 * Say so where the video is not that of the episode that was asked for.
 * @param {HTMLElement} word
 * @param {string} asked RUN:NUMBER
 */
export async function explain(word, asked) {
  word.hidden = true;
  if (!asked || !state().play.length) return;
  const [runId, number] = split(asked);
  try {
    const { episode, clip, exact, distance } = await api.nearest(runId, number);
    if (state().asked !== asked || exact || !clip || `${runId}:${clip.key}` !== state().play[0]) return;
    const told = `${episodeTitle(episode)} (return ${amount(episode.return)})`;
    say(word, distance ? `${told} was not recorded. This is the nearest one that was, ${count(distance, "episode")} away.` : `${told} is in this clip only in part.`);
    word.hidden = false;
  } catch (error) {
    api.wordsOf(error); // which the figure says
  }
}
