// Comparison of pictures: two at a time with a slider between them, and magnified crops of all schemes at one SNR.

const CROP_PX = 64;

class PictureComparison {
  constructor(root) {
    this.root = root;
    this.data = DATA.comparisons[Number(root.dataset.comparison)];
    this.schemes = [...new Set(this.data.pictures.map((p) => p.scheme))];
    this.snrs = [...new Set(this.data.pictures.map((p) => p.esno_db))].sort((a, b) => a - b);
    this.left = this.choice("Left", ["original", ...this.schemes], this.schemes[0]);
    this.right = this.choice("Right", ["original", ...this.schemes], this.schemes[1] ?? "original");
    this.snr = element("input", { type: "range", min: "0", max: String(this.snrs.length - 1), step: "1", value: String(this.snrs.length >> 1) });
    this.reading = element("output");
    this.split = element("input", { type: "range", class: "split", min: "0", max: "100", value: "50", "aria-label": "Boundary between left and right, percent" });
    this.below = element("img", { alt: "" });
    this.above = element("img", { alt: "", class: "above" });
    this.edge = element("div", { class: "edge" });
    this.frame = element("div", { class: "frame" });
    this.tags = ["left", "right"].map((side) => element("span", { class: "tag " + side }));
    this.stage = element("div", { class: "stage", tabindex: "0", role: "group",
      "aria-label": "Pictures; arrow keys move the magnified window" }, this.below, this.above, this.edge, this.frame, ...this.tags);
    this.crops = element("div", { class: "crops" });
    this.centre = null;
    const snr = element("label", {}, "Es/N0 ", this.snr, this.reading);
    snr.hidden = this.snrs.length < 2;
    root.append(element("div", { class: "controls" }, this.left.label, this.right.label, snr), this.stage, this.split,
      element("p", { class: "no-print" }, "Click a place, or use the arrow keys on the picture, to magnify it below."), this.crops);
    for (const input of [this.left.select, this.right.select, this.snr, this.split]) input.addEventListener("input", () => this.update());
    this.stage.addEventListener("pointerdown", (event) => this.point(event));
    this.stage.addEventListener("keydown", (event) => this.move(event));
    this.below.addEventListener("load", () => this.update(), { once: true });
    this.below.src = this.data.original;
    window.addEventListener("resize", () => this.mark());
  }

  choice(name, options, chosen) {
    const select = element("select", {}, ...options.map((value) => element("option", { value }, value)));
    select.value = chosen;
    return { select, label: element("label", {}, name + " ", select) };
  }

  pick(scheme) {
    const esno_db = this.snrs[Number(this.snr.value)];
    if (scheme === "original") return { scheme, source: this.data.original, caption: "" };
    return this.data.pictures.find((p) => p.scheme === scheme && p.esno_db === esno_db) ?? null;
  }

  update() {
    const esno_db = this.snrs[Number(this.snr.value)];
    this.reading.textContent = `${esno_db} dB`;
    this.snr.setAttribute("aria-valuetext", `${esno_db} dB`);
    const chosen = [this.pick(this.left.select.value), this.pick(this.right.select.value)];
    [this.above, this.below].forEach((image, side) => {
      image.src = chosen[side]?.source ?? this.data.original;
      image.alt = chosen[side] ? `${chosen[side].scheme} at ${esno_db} dB` : "not in this report";
      this.tags[side].textContent = chosen[side] ? [chosen[side].scheme, chosen[side].caption].filter(Boolean).join(", ") : "not in this report";
    });
    const percent = Number(this.split.value);
    this.above.style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
    this.edge.style.left = `calc(${percent}% - 1px)`;
    this.mark();
  }

  // The magnified window: its frame in the picture, and the crops of all schemes.
  mark() {
    const { naturalWidth: width, naturalHeight: height } = this.below;
    if (!width) return;
    this.split.style.width = `${this.stage.clientWidth}px`;
    this.centre ??= [width / 2, height / 2];
    const size = Math.min(CROP_PX, width, height);
    const start = [width, height].map((side, i) => Math.round(Math.min(Math.max(this.centre[i] - size / 2, 0), side - size)));
    Object.assign(this.frame.style, {
      left: `${(100 * start[0]) / width}%`, top: `${(100 * start[1]) / height}%`,
      width: `${(100 * size) / width}%`, height: `${(100 * size) / height}%`,
    });
    const shown = ["original", ...this.schemes].map((scheme) => this.pick(scheme)).filter(Boolean);
    this.crops.replaceChildren(...shown.map((picture) => {
      const crop = element("div", { class: "crop", role: "img", "aria-label": `${picture.scheme}, magnified` });
      Object.assign(crop.style, {
        backgroundImage: `url("${picture.source}")`,
        backgroundSize: `${(100 * width) / size}% ${(100 * height) / size}%`,
        backgroundPosition: [width, height].map((side, i) => `${side > size ? (100 * start[i]) / (side - size) : 0}%`).join(" "),
      });
      return element("figure", {}, crop, element("figcaption", {}, [picture.scheme, picture.caption].filter(Boolean).join(", ")));
    }));
  }

  point(event) {
    const box = this.stage.getBoundingClientRect();
    this.centre = [((event.clientX - box.left) / box.width) * this.below.naturalWidth, ((event.clientY - box.top) / box.height) * this.below.naturalHeight];
    this.mark();
  }

  move(event) {
    const step = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
    if (!step || !this.centre) return;
    event.preventDefault();
    const sides = [this.below.naturalWidth, this.below.naturalHeight];
    this.centre = this.centre.map((value, i) => Math.min(Math.max(value + step[i], 0), sides[i]));
    this.mark();
  }
}
