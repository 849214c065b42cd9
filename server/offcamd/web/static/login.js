// Where the recorder wants a token, ask for it once a tab.
import * as api from "./api.js";
import { fill, h, say } from "./dom.js";

/** @type {(dialog: HTMLDialogElement, done: () => void) => void} */
export function askForToken(dialog, done) {
  if (dialog.open) return;
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "Token", spellcheck: "false" });
  const wrong = h("p.bad", { role: "alert" });
  const enter = async () => {
    api.setToken(field.value.trim());
    try {
      await api.runs();
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      say(wrong, error.status === 401 ? "That is not this recorder's token." : error.message);
      field.select();
      return;
    }
    dialog.close();
    done();
  };
  field.addEventListener("keydown", (event) => event.key === "Enter" && enter());
  fill(
    dialog,
    h("h2", { id: "login-title" }, "This recorder wants a token"),
    h("p", {}, "It is the ", h("code", {}, "http_token"), " of the daemon's settings. It stays in this tab only."),
    field,
    wrong,
    h("button.primary", { type: "button", onclick: enter }, "Open"),
  );
  dialog.showModal();
}
