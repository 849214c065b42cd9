// Loaded before the first paint, so that a page in the dark never flashes white. No module for that reason.
// biome-ignore lint/correctness/noUnusedVariables: the page uses it
const offcamTheme = (() => {
  const KEY = "offcam-theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be forbidden; the system's choice will do
    }
  };
  const shown = () => read() ?? (system.matches ? "dark" : "light");
  const apply = () => {
    document.documentElement.dataset.theme = shown();
    document.dispatchEvent(new CustomEvent("offcam-theme"));
  };
  system.addEventListener("change", apply);
  const toggle = () => {
    const next = shown() === "dark" ? "light" : "dark";
    try {
      if (next === (system.matches ? "dark" : "light")) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, next);
    } catch {
      document.documentElement.dataset.theme = next;
      return;
    }
    apply();
  };
  apply();
  return { shown, toggle };
})();
