// What the page can do more where scripts run: mark the place in the contents, and zoom into pictures.
// Nothing here is needed to read the page.
"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  followReading(document.querySelector(".contents"));
  enlargePictures(document.querySelectorAll(".enlarge"));

  function followReading(contents) {
    if (!contents) return;
    const links = [...contents.querySelectorAll("a")];
    const places = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
    let current = null, due = false;
    const mark = () => {
      due = false;
      // The last heading above the upper third of the window. The end of the page cannot come so far up:
      // there it is where one wanted to go, or else the last one.
      const tops = places.map((place) => (place ? place.getBoundingClientRect().top : Infinity));
      let found = 0;
      tops.forEach((top, i) => { if (top <= innerHeight / 3) found = i; });
      if (scrollY < 1) found = 0;
      else if (innerHeight + scrollY >= document.documentElement.scrollHeight - 2) {
        const wanted = links.findIndex((link) => link.hash === location.hash);
        found = wanted > found ? wanted : links.length - 1;
      }
      if (links[found] === current) return;
      for (const link of contents.querySelectorAll("[aria-current]")) link.removeAttribute("aria-current");
      if (current) current.closest("details")?.removeAttribute("open");
      current = links[found];
      current.setAttribute("aria-current", "location");
      current.closest("details")?.setAttribute("open", "");
      const section = current.closest(".contents > ul > li").querySelector("a");
      if (section !== current) section.setAttribute("aria-current", "true");
      const top = current.offsetTop - contents.scrollTop;
      if (top < 40 || top > contents.clientHeight - 60) contents.scrollTop = current.offsetTop - contents.clientHeight / 2;
    };
    const later = () => { if (!due) { due = true; requestAnimationFrame(mark); } };
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later);
    addEventListener("hashchange", later);
    new ResizeObserver(later).observe(document.body);
    mark();
  }

  function enlargePictures(links) {
    if (!links.length || typeof HTMLDialogElement === "undefined") return;
    const dialog = add(document.body, "dialog", "zoom");
    const bar = add(dialog, "div", "zoom-bar");
    const title = add(bar, "strong", "");
    title.id = "zoom-title";
    dialog.setAttribute("aria-labelledby", title.id);
    add(bar, "small", "", "Wheel or + and − zoom, drag or arrows move, 0 fits, Esc closes.");
    const said = add(bar, "output", "");
    const stage = add(dialog, "div", "zoom-stage");
    stage.tabIndex = 0;
    stage.setAttribute("role", "group");
    let figure, frame, place, opener, base, scale = 1, x = 0, y = 0;

    const clamp = (at, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
    const show = () => {
      x = clamp(x, base[0] * scale, stage.clientWidth);
      y = clamp(y, base[1] * scale, stage.clientHeight);
      frame.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
      said.textContent = `${Math.round(100 * scale)} %`;
    };
    const fit = () => {
      const image = frame.querySelector("img");
      const ratio = image.naturalWidth / image.naturalHeight || 1;
      const width = Math.min(stage.clientWidth, stage.clientHeight * ratio);
      base = [width, width / ratio];
      frame.style.width = `${width}px`;
      scale = 1;
      show();
    };
    const zoom = (factor, right = stage.clientWidth / 2, down = stage.clientHeight / 2) => {
      const next = Math.min(24, Math.max(1, scale * factor));
      x = right - ((right - x) * next) / scale;
      y = down - ((down - y) * next) / scale;
      scale = next;
      show();
    };
    const move = (right, down) => { x += right; y += down; show(); };

    button("−", "Zoom out", () => zoom(1 / 1.4));
    button("+", "Zoom in", () => zoom(1.4));
    button("Fit", "Fit the picture to the window", fit);
    button("Close", "Close", () => dialog.close());

    const open = (link) => {
      opener = link;
      figure = link.closest(".picture");
      frame = figure.querySelector(".frame");
      title.textContent = link.dataset.title;
      stage.setAttribute("aria-label", frame.querySelector("img").alt);
      place = document.createElement("div");
      place.style.height = `${figure.offsetHeight}px`;
      figure.replaceWith(place);
      stage.append(figure);
      dialog.showModal();
      fit();
      // A tall picture starts at its top, as wide as the window.
      x = y = 0;
      scale = Math.max(1, stage.clientWidth / base[0]);
      show();
      stage.focus();
    };
    dialog.addEventListener("close", () => {
      frame.style.transform = frame.style.width = "";
      place.replaceWith(figure);
      opener.focus({ preventScroll: true });
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typed = event.target.tagName === "INPUT" && event.key.startsWith("Arrow");
      const does = {
        "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), "_": () => zoom(1 / 1.4), "0": fit,
        ArrowLeft: () => move(80, 0), ArrowRight: () => move(-80, 0), ArrowUp: () => move(0, 80), ArrowDown: () => move(0, -80),
      }[event.key];
      if (!does || typed) return;
      event.preventDefault();
      does();
    });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      const step = event.deltaY * (event.deltaMode ? 16 : 1);
      zoom(Math.exp(-0.002 * step), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest(".states")) return;
      stage.setPointerCapture(event.pointerId);
      let last = event;
      const drag = (next) => { move(next.clientX - last.clientX, next.clientY - last.clientY); last = next; };
      stage.addEventListener("pointermove", drag);
      stage.addEventListener("lostpointercapture", () => stage.removeEventListener("pointermove", drag), { once: true });
    });
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    addEventListener("resize", () => { if (dialog.open) fit(); });
    for (const link of links) {
      link.addEventListener("click", (event) => { event.preventDefault(); open(link); });
    }
    const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (wanted?.matches(".picture")) open(wanted.querySelector(".enlarge"));

    function button(text, meaning, does) {
      const made = add(bar, "button", "", text);
      made.type = "button";
      made.setAttribute("aria-label", meaning);
      made.addEventListener("click", does);
    }
  }

  function add(parent, tag, name, text = "") {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.textContent = text;
    parent.append(made);
    return made;
  }
})();
