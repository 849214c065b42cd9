// Posters: pictures out of clips, which come when they are nearly in sight.
import * as api from "./api.js";
import { h, icon } from "./dom.js";

/**
 * The picture of a clip. With a token <img> cannot fetch for itself; where there is none, that is said in its place.
 * @param {string} path
 * @param {{width?: number | null, height?: number | null}} size in pixels, where it is known
 */
export function poster(path, { width, height } = {}) {
  const image = h("img", { alt: "", loading: "lazy", decoding: "async", width, height });
  image.addEventListener("error", () => image.replaceWith(h("span.blank", {}, icon("film"), "no picture")), { once: true });
  if (api.hasToken()) {
    image.removeAttribute("loading");
    api.media(path).then((url) => {
      image.addEventListener("load", () => api.release(url), { once: true });
      image.src = url;
    }, () => image.dispatchEvent(new Event("error")));
  } else image.src = api.mediaPath(path);
  return image;
}
