// Loaded before anything is drawn, so that a page that is to be dark never flashes white.
(() => {
  const NAME = "toolcache-theme";
  const names = ["system", "light", "dark"];
  const root = document.documentElement;

  function stored() {
    try {
      const name = localStorage.getItem(NAME);
      return names.includes(name) ? name : "system";
    } catch {
      return "system"; // storage may be forbidden
    }
  }

  function apply(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${name}`;
    document.dispatchEvent(new Event("themechange"));
  }

  let theme = stored();
  apply(theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(theme));
  document.addEventListener("DOMContentLoaded", () => {
    apply(theme);
    document.getElementById("theme").addEventListener("click", () => {
      theme = names[(names.indexOf(theme) + 1) % names.length];
      try {
        localStorage.setItem(NAME, theme);
      } catch {
        // it holds for this visit
      }
      apply(theme);
    });
  });
})();
