// The theme: as the system has it, or as the reader chose. Runs in the head, before anything is painted.
const Theme = (() => {
  const KEY = "concise_rl.theme";
  const NAMES = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" };

  // Storage may be closed to pages that are opened as files: the choice then lasts as long as the page.
  function stored() {
    try { return localStorage.getItem(KEY); } catch { return null; }
  }
  function store(name) {
    try { localStorage.setItem(KEY, name); } catch { /* see above */ }
  }

  function apply(name) {
    document.documentElement.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) {
      button.hidden = false;
      button.textContent = NAMES[name];
      button.setAttribute("aria-label", `Theme: ${name}. Change`);
    }
    document.dispatchEvent(new Event("themechange"));
  }

  function next() {
    const names = Object.keys(NAMES);
    const name = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
    store(name);
    apply(name);
  }

  // The colour that a CSS variable has now, for what is drawn on a canvas.
  function color(variable) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${variable})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  const chosen = stored();
  const name = chosen in NAMES ? chosen : "auto";
  document.documentElement.dataset.theme = name;
  document.addEventListener("DOMContentLoaded", () => {
    apply(name);
    document.getElementById("theme").addEventListener("click", next);
  });
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
  }
  return { color };
})();
