// Pictures side by side, as large as a window lets them be. Nothing here knows the browser.

const WORDS = 84; // pixels of height below each picture
const NARROW = 560; // pixels of width, below which one scrolls
const LEAST = 80; // pixels of a picture's height, below which one scrolls, too

const SMALL = 240; // pixels of a picture's width: such games are drawn by the pixel, and are shown so

/**
 * Whether each pixel of a picture is to be seen as one, however large it is shown.
 * @param {number | null} width of the picture in pixels
 */
export const byPixel = (width) => width !== null && width <= SMALL;

/**
 * How many pictures stand in a row, and the most that each may be high, so that they are as large as can be.
 * @param {number} count of pictures
 * @param {number} width pixels that there are
 * @param {number} height pixels; where it is narrow one scrolls, and it does not count
 * @param {number} aspect of the widest, its width over its height
 */
export function tiling(count, width, height, aspect) {
  if (width < NARROW) return { columns: aspect > 2 ? 1 : 2, height: Math.round(width / Math.min(aspect, 1)) };
  let best = { columns: 1, height: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const tall = Math.floor(Math.min(width / columns / aspect, height / rows - WORDS));
    if (tall > best.height) best = { columns, height: tall };
  }
  return best.height >= LEAST ? best : { columns: Math.ceil(Math.sqrt(count)), height: 160 };
}
