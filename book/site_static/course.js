// Mends what the theme gets wrong for keyboards, screen readers and paper.
"use strict";

const mend = () => {
  // Buttons whose label says other words than they show confuse speech control.
  for (const button of document.querySelectorAll("button[aria-label]")) {
    const shown = button.textContent.trim().toLowerCase();
    if (shown && !button.getAttribute("aria-label").toLowerCase().includes(shown)) button.removeAttribute("aria-label");
  }
  // The sidebar is a place of its own, logo and search field included.
  const sidebar = document.querySelector(".bd-sidebar-primary");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Site");
  // The bibliography's roles are deprecated, and not allowed where they stand.
  for (const entry of document.querySelectorAll(".citation-list, .citation")) entry.removeAttribute("role");
  // What scrolls sideways must be reachable without a mouse.
  for (const box of document.querySelectorAll("pre, div.math, .bd-article table, .mg-table, mjx-container")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
};

document.addEventListener("DOMContentLoaded", mend);
addEventListener("load", mend);
addEventListener("resize", mend);

// Paper is white, whatever the screen was.
const root = document.documentElement;
let theme;
addEventListener("beforeprint", () => {
  theme = root.dataset.theme;
  root.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  root.dataset.theme = theme;
});
