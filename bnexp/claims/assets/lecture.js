
/** A picture by itself on the whole screen: the left and right arrow keys show its neighbours, Escape ends it. */
function setUpSlides() {
  const slides = [...document.querySelectorAll(".slide .picture")];
  const show = (slide) => slide?.requestFullscreen();
  for (const slide of slides) {
    const button = slide.parentElement.querySelector("button");
    button.hidden = !document.fullscreenEnabled;
    button.addEventListener("click", () => show(slide));
  }
  addEventListener("keydown", ({ key }) => {
    const at = slides.indexOf(document.fullscreenElement);
    const step = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 }[key];
    if (at < 0 || !step || !slides[at + step]) return;
    const next = slides[at + step];
    next.closest("details").open = true;
    show(next);
  });
  const closed = new Set(); // on paper everything is open
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details:not([open])")) closed.add(each), (each.open = true);
  });
  addEventListener("afterprint", () => {
    for (const each of closed) each.open = false;
    closed.clear();
  });
}

/** A link to a claim opens it. */
function setUpLinks() {
  const open = () => {
    const target = location.hash && element(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) target.open = true, target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
}
