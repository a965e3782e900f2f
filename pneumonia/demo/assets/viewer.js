// The film viewer: <film-viewer> around markup that viewer.py writes, and <film-heat>, which brings it a heatmap.
// Zoom, pan, rotation, window, level, inversion and the heatmap's strength change here alone: no request is made.
(() => {
  "use strict";

  const STEP = 1.25;
  const MOST_ZOOM = 16;
  const PAN = 40; // CSS pixels a key press
  const TONE = 8; // gray levels a key press
  const SHADES = 256;
  const NO_VIEW = { zoom: 1, x: 0, y: 0, turn: 0 };
  const NO_TONE = { window: 255, level: 128, inverted: false };
  const BARS = [1, 2, 5, 10, 20, 50, 100, 200]; // millimetres

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // Gray levels as shown, for each stored one: PS3.3 C.11.2.1.2.1's linear window, on 0..255.
  function shades({ window, level, inverted }) {
    return Uint8ClampedArray.from({ length: SHADES }, (_, value) => {
      const shown = ((value - level) / window + 0.5) * 255;
      return inverted ? 255 - shown : shown;
    });
  }

  // The longest round length that is at most a quarter of the width, in CSS pixels.
  function scaleBar(millimetresPerPixel, width) {
    const fitting = BARS.filter((length) => length / millimetresPerPixel <= width / 4);
    return fitting.length ? fitting[fitting.length - 1] : null;
  }

  async function grayOf(source) {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const gray = new Uint8Array(canvas.width * canvas.height);
    for (let at = 0; at < gray.length; at += 1) gray[at] = data[4 * at];
    return { gray, canvas };
  }

  class FilmViewer extends HTMLElement {
    // Gradio changes elements in place where it can: another film may come as another value of an attribute.
    static observedAttributes = ["data-film"];

    connectedCallback() {
      this.stage = this.querySelector(".stage");
      this.canvas = this.querySelector("canvas");
      this.pointers = new Map();
      this.listen();
      this.observer = new ResizeObserver(() => this.draw());
      this.observer.observe(this.stage);
      this.load();
    }

    attributeChangedCallback() {
      if (this.stage) queueMicrotask(() => this.load());
    }

    async load() {
      const asked = this.dataset.film;
      this.film = this.gray = this.heat = null;
      this.view = { ...NO_VIEW };
      this.tone = { ...NO_TONE };
      const { gray, canvas } = await grayOf(this.dataset.src);
      if (this.dataset.film !== asked) return;
      this.gray = gray;
      this.film = canvas;
      this.retone();
      this.dataset.ready = "";
      this.takeHeat();
    }

    disconnectedCallback() {
      this.observer?.disconnect();
    }

    listen() {
      const { stage } = this;
      this.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-do]");
        if (button) this.act(button.dataset.do);
      });
      this.addEventListener("input", (event) => this.slide(event.target));
      stage.addEventListener("keydown", (event) => this.press(event));
      stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      stage.addEventListener("pointerdown", (event) => this.grip(event));
      stage.addEventListener("pointermove", (event) => this.drag(event));
      for (const end of ["pointerup", "pointercancel"]) {
        stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
      }
      stage.addEventListener("dblclick", (event) => this.zoomBy(2, this.place(event)));
      stage.addEventListener("contextmenu", (event) => event.preventDefault());
    }

    // ---- what is asked for

    act(what) {
      const acts = {
        "zoom-in": () => this.zoomBy(STEP),
        "zoom-out": () => this.zoomBy(1 / STEP),
        actual: () => this.zoomTo(1 / this.fit()),
        left: () => this.moveBy(PAN, 0),
        right: () => this.moveBy(-PAN, 0),
        up: () => this.moveBy(0, PAN),
        down: () => this.moveBy(0, -PAN),
        "turn-left": () => this.turnBy(-1),
        "turn-right": () => this.turnBy(1),
        invert: () => this.toneTo({ inverted: !this.tone.inverted }),
        reset: () => {
          this.toneTo(NO_TONE);
          this.viewTo(NO_VIEW);
        },
      };
      acts[what]?.();
    }

    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { window, level } = this.tone;
      const keys = {
        "+": () => this.act("zoom-in"),
        "=": () => this.act("zoom-in"),
        "-": () => this.act("zoom-out"),
        0: () => this.act("reset"),
        1: () => this.act("actual"),
        ArrowLeft: () => this.act("left"),
        ArrowRight: () => this.act("right"),
        ArrowUp: () => this.act("up"),
        ArrowDown: () => this.act("down"),
        r: () => this.act("turn-right"),
        R: () => this.act("turn-left"),
        i: () => this.act("invert"),
        w: () => this.toneTo({ window: window - TONE }),
        W: () => this.toneTo({ window: window + TONE }),
        l: () => this.toneTo({ level: level - TONE }),
        L: () => this.toneTo({ level: level + TONE }),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    }

    slide(input) {
      if (input.name === "strength") this.draw();
      else this.toneTo({ [input.name]: Number(input.value) });
      this.report();
    }

    wheel(event) {
      // At its fit, a film lets the page be scrolled on.
      if (event.deltaY > 0 && this.view.zoom <= 1 && !event.ctrlKey) return;
      event.preventDefault();
      this.zoomBy(Math.exp(-clamp(event.deltaY, -100, 100) / 300), this.place(event));
    }

    grip(event) {
      this.stage.focus({ preventScroll: true });
      this.stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    }

    drag(event) {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const others = [...this.pointers.values()].filter((pointer) => pointer.pointerId !== event.pointerId);
      const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
      this.pointers.set(event.pointerId, event);
      if (others.length) {
        const distance = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY) || 1;
        this.zoomBy(distance(event) / distance(before), this.place(event));
      } else if (event.buttons & 2 || event.shiftKey) {
        this.toneTo({ window: this.tone.window + dx, level: this.tone.level - dy });
      } else if (event.pointerType !== "touch" || this.view.zoom > 1) {
        this.moveBy(dx, dy);
      }
    }

    // ---- view and tone, within their limits

    zoomBy(factor, [x, y] = [0, 0]) {
      const zoom = clamp(this.view.zoom * factor, 1, Math.max(MOST_ZOOM, 1 / this.fit()));
      const grown = zoom / this.view.zoom;
      // What lies under the pointer stays there.
      this.viewTo({ zoom, x: x + (this.view.x - x) * grown, y: y + (this.view.y - y) * grown });
    }

    zoomTo(zoom) {
      this.zoomBy(zoom / this.view.zoom);
    }

    moveBy(dx, dy) {
      this.viewTo({ x: this.view.x + dx, y: this.view.y + dy });
    }

    turnBy(quarters) {
      this.viewTo({ turn: (this.view.turn + quarters + 4) % 4, x: 0, y: 0 });
    }

    viewTo(change, tell = true) {
      this.view = { ...this.view, ...change };
      const [width, height] = this.shownSize();
      // The film covers the stage's middle: it can't be lost outside.
      this.view.x = clamp(this.view.x, -width / 2, width / 2);
      this.view.y = clamp(this.view.y, -height / 2, height / 2);
      if (this.view.zoom <= 1) Object.assign(this.view, { x: 0, y: 0 });
      this.draw();
      this.report();
      if (tell) this.tellLinked();
    }

    toneTo(change) {
      const tone = { ...this.tone, ...change };
      this.tone = { ...tone, window: clamp(tone.window, 1, 255), level: clamp(tone.level, 0, 255) };
      if (!this.toning) this.toning = requestAnimationFrame(() => this.retone());
      this.report();
    }

    tellLinked() {
      const { group } = this.dataset;
      if (!group || !document.querySelector(`input[data-link="${group}"]`)?.checked) return;
      const [width, height] = this.shownSize();
      const { zoom, turn, x, y } = this.view;
      for (const other of document.querySelectorAll(`film-viewer[data-group="${group}"]`)) {
        if (other !== this && other.film) other.follow({ zoom, turn, x: x / width, y: y / height });
      }
    }

    // As another viewer: at the same part of the film, whatever its size.
    follow({ zoom, turn, x, y }) {
      Object.assign(this.view, { zoom, turn });
      const [width, height] = this.shownSize();
      this.viewTo({ x: x * width, y: y * height }, false);
    }

    // ---- geometry, in CSS pixels

    place(event) {
      const box = this.stage.getBoundingClientRect();
      return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    }

    turnedSize() {
      const size = [Number(this.dataset.width), Number(this.dataset.height)];
      return this.view.turn % 2 ? size.reverse() : size;
    }

    // CSS pixels a pixel of the film, where the whole of it is seen.
    fit() {
      const [width, height] = this.turnedSize();
      return Math.min(this.stage.clientWidth / width, this.stage.clientHeight / height) || 1;
    }

    shownSize() {
      return this.turnedSize().map((length) => length * this.fit() * this.view.zoom);
    }

    // ---- what is shown

    retone() {
      this.toning = 0;
      if (!this.gray) return;
      const shown = shades(this.tone);
      const context = this.film.getContext("2d");
      const image = context.createImageData(this.film.width, this.film.height);
      const pixels = new Uint32Array(image.data.buffer);
      const table = Uint32Array.from(shown, (value) => (0xff000000 | (value << 16) | (value << 8) | value) >>> 0);
      for (let at = 0; at < pixels.length; at += 1) pixels[at] = table[this.gray[at]];
      context.putImageData(image, 0, 0);
      this.draw();
    }

    draw() {
      const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
      if (!this.film || !width || !height) return;
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
      const context = this.canvas.getContext("2d");
      const { zoom, turn, x, y } = this.view;
      const scale = this.fit() * zoom;
      const [w, h] = [Number(this.dataset.width) * scale, Number(this.dataset.height) * scale];
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.translate(width / 2 + x, height / 2 + y);
      context.rotate((turn * Math.PI) / 2);
      context.imageSmoothingQuality = "high";
      context.imageSmoothingEnabled = scale < 4;
      context.drawImage(this.film, -w / 2, -h / 2, w, h);
      if (this.heat) {
        context.imageSmoothingEnabled = true;
        context.globalAlpha = Number(this.querySelector("[name=strength]").value) / 100;
        context.drawImage(this.heat, -w / 2, -h / 2, w, h);
        context.globalAlpha = 1;
      }
      this.label(width);
      this.stage.style.touchAction = zoom > 1 ? "none" : "pan-y";
    }

    label(width) {
      const marks = JSON.parse(this.dataset.marks || "[]");
      ["top", "right", "bottom", "left"].forEach((edge, at) => {
        this.querySelector(`.mark.${edge}`).textContent = marks[(at - this.view.turn + 4) % 4] || "";
      });
      const spacing = JSON.parse(this.dataset.spacing || "null");
      const bar = this.querySelector(".bar");
      const millimetres = spacing && spacing[this.view.turn % 2 ? 0 : 1] / (this.fit() * this.view.zoom);
      const length = spacing && scaleBar(millimetres, width);
      bar.hidden = !length;
      if (!length) return;
      bar.style.width = `${length / millimetres}px`;
      bar.textContent = length % 10 ? `${length} mm` : `${length / 10} cm`;
    }

    report() {
      for (const name of ["window", "level"]) {
        const input = this.querySelector(`[name=${name}]`);
        input.value = this.tone[name];
        input.nextElementSibling.textContent = input.value;
      }
      const strength = this.querySelector("[name=strength]");
      strength.nextElementSibling.textContent = strength.value;
      this.querySelector("[data-do=invert]").setAttribute("aria-pressed", String(this.tone.inverted));
      const zoom = Math.round(100 * this.view.zoom);
      this.querySelector(".zoom").textContent = this.dataset.percent.replace("{value}", zoom);
      this.dataset.view = JSON.stringify({ ...this.view, ...this.tone });
    }

    // ---- the heatmap, which comes when the model has answered

    async takeHeat() {
      const found = document.querySelector(`film-heat[data-for="${this.id}"]`);
      const source = found?.dataset.film === this.dataset.film ? found.dataset.src : "";
      const image = source ? new Image() : null;
      if (image) {
        image.src = source;
        await image.decode();
        if (found.dataset.src !== source) return;
      }
      this.heat = image;
      this.querySelector(".heat").hidden = !image;
      this.canvas.dataset.heat = image ? "shown" : "";
      this.draw();
      this.report();
    }
  }

  class FilmHeat extends HTMLElement {
    static observedAttributes = ["data-film", "data-src"];

    connectedCallback() {
      this.bring();
    }

    attributeChangedCallback() {
      queueMicrotask(() => this.bring());
    }

    bring() {
      const viewer = document.getElementById(this.dataset.for);
      if (viewer?.film) viewer.takeHeat();
    }
  }

  customElements.define("film-viewer", FilmViewer);
  customElements.define("film-heat", FilmHeat);
})();
