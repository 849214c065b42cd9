// Loaded before the first paint, so that a page in the dark never flashes white. No module for that reason.
(() => {
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
  window.offcamTheme = {
    shown,
    toggle() {
      const next = shown() === "dark" ? "light" : "dark";
      try {
        if (next === (system.matches ? "dark" : "light")) localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, next);
      } catch {
        document.documentElement.dataset.theme = next;
        return;
      }
      apply();
    },
  };
  apply();
})();
