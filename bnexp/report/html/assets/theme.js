"use strict";
// What all pages share: light and dark, pictures in the dark, and edges that fade where there is more to scroll to.
const ROOT = document.documentElement;
const ON_DARK = JSON.parse(document.getElementById("on-dark").textContent);
const element = (id) => document.getElementById(id);
const isDark = () => {
  const chosen = ROOT.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/** A colour as it is in the dark: the one of the same meaning, or else a lighter one. */
function darkened(colour) {
  const known = ON_DARK[colour.toUpperCase()];
  if (known) return known;
  const parts = [1, 3, 5].map((at) => Math.round(parseInt(colour.slice(at, at + 2), 16) * 0.65 + 90));
  return "#" + parts.map((part) => Math.min(255, part).toString(16).padStart(2, "0")).join("");
}

/** Pictures are drawn for white paper; in the dark their colours are exchanged, but for those of maps, which are images. */
function paintPictures() {
  for (const image of document.querySelectorAll(".picture img")) {
    image.dataset.light ??= image.src;
    const [head, data] = image.dataset.light.split(",");
    const dark = () => atob(data).replace(/#[0-9a-f]{6}\b/gi, darkened).replace("<svg ", `<svg fill="${ON_DARK["#000000"]}" `);
    image.src = isDark() ? `${head},${btoa(dark())}` : image.dataset.light;
  }
}

function setUpTheme(draw = () => {}) {
  const button = element("theme");
  const paint = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    paintPictures();
    draw();
  };
  button.addEventListener("click", () => {
    ROOT.dataset.theme = isDark() ? "light" : "dark";
    paint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  let theme; // on paper all is light
  addEventListener("beforeprint", () => {
    theme = ROOT.dataset.theme;
    ROOT.dataset.theme = "light";
    ROOT.classList.add("printing");
    paint();
  });
  addEventListener("afterprint", () => {
    ROOT.classList.remove("printing");
    theme ? (ROOT.dataset.theme = theme) : delete ROOT.dataset.theme;
    paint();
  });
  button.hidden = false;
  button.textContent = isDark() ? "Light" : "Dark";
  paintPictures();
}

function setUpScrolling() {
  const fade = (box) => {
    box.classList.toggle("more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
    box.classList.toggle("more-below", box.scrollTop + box.clientHeight < box.scrollHeight - 2);
  };
  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => fade(target)));
  for (const box of document.querySelectorAll(".scroll, .picture")) {
    box.addEventListener("scroll", () => fade(box), { passive: true });
    sizes.observe(box);
    for (const inner of box.children) sizes.observe(inner), inner.addEventListener("load", () => fade(box));
  }
}
