// Explorers: one sheet of pictures and one block of numbers become a picture that a slider moves.
// Made by rbtc/report/sprites.py; works from a file, asks no server for anything.
"use strict";

function node(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function choice(label, names, change) {
  const select = node("select", {}, ...names.map((name, i) => node("option", { value: i }, name)));
  select.addEventListener("change", change);
  return [select, node("label", {}, `${label} `, select)];
}

function bars(pair, ends) {
  const highest = Math.max(...pair.flat()) || 1;
  const columns = pair[0].map((rest, i) => {
    const part = (share, name) => {
      const bar = node("i", { className: name });
      bar.style.height = `${(100 * share) / highest}%`;
      return bar;
    };
    return node("span", {}, part(rest, "rest"), part(pair[1][i], "cut"));
  });
  const legend = `magnitude of a weight, ${ends[0]} to ${ends[1]}, logarithmic`;
  return node("div", {}, node("div", { className: "histogram" }, ...columns),
    node("p", { className: "axis" }, legend));
}

function explore(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const [width, height] = data.size;
  const sweep = root.id === "explore-compare"; // its slider uncovers one picture over another
  const sheet = new Image();
  const slider = node("input", { type: "range", min: 0, max: data.steps.length - 1, value: data.start,
    step: sweep ? 0.02 : 1 });
  slider.setAttribute("aria-label", data.slider);
  const reading = node("output");
  const facts = node("dl"), weights = node("div");
  const [concept, concepts] = choice("concept", data.concepts, show);
  const [kind, kinds] = choice("magnitude", data.kinds, show);
  kind.value = data.kinds.length - 1;
  const figures = data.views.map((view) => {
    const canvas = node("canvas", { width: 3 * width, height: 3 * height });
    canvas.setAttribute("role", "img");
    return node("figure", {}, canvas, node("figcaption", {}, view));
  });

  function place(view, step) { // corner of one picture in the sheet
    const row = (Number(concept.value) * data.kinds.length + Number(kind.value)) * data.views.length;
    return [step * width, (row + view) * height];
  }

  function draw(canvas, view, step, uncovered) {
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    const part = Math.round(uncovered * width);
    const paint = (from, at, share) => share && pen.drawImage(sheet, place(view, from)[0] + at,
      place(view, from)[1], share, height, 3 * at, 0, 3 * share, 3 * height);
    paint(step, part, width - part);
    if (part) {
      paint(step + 1, 0, part);
      pen.fillRect(3 * part - 1, 0, 2, 3 * height);
    }
  }

  function show() {
    const whole = Math.floor(slider.value), uncovered = slider.value - whole;
    const nearest = Math.round(slider.value);
    reading.textContent = `${data.slider}: ${data.steps[nearest]}`;
    slider.setAttribute("aria-valuetext", data.steps[nearest]);
    figures.forEach((figure, view) => {
      const canvas = figure.firstChild;
      const about = [data.concepts[concept.value], data.kinds[kind.value], data.views[view]];
      canvas.setAttribute("aria-label", [...about.filter(Boolean), reading.textContent].join(", "));
      if (sheet.complete && sheet.naturalWidth) draw(canvas, view, whole, uncovered);
    });
    const found = data.facts[`${concept.value},${kind.value},${nearest}`] || [];
    facts.replaceChildren(...found.flatMap(([name, value, text]) => {
      const bar = node("span", { className: "bar" }, node("i"));
      bar.firstChild.style.width = `${100 * value}%`;
      return [node("dt", {}, name), node("dd", {}, bar, ` ${text}`)];
    }));
    const pair = data.bars[`${concept.value},${nearest}`];
    weights.replaceChildren(...(pair ? [bars(pair, data.ends)] : []));
  }

  function drag(event) { // on the picture itself: mouse, pen or finger
    if (event.type === "pointermove" && !event.buttons) return;
    const box = event.currentTarget.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    slider.value = share * slider.max;
    show();
  }
  for (const figure of figures) {
    figure.firstChild.addEventListener("pointerdown", drag);
    figure.firstChild.addEventListener("pointermove", drag);
  }
  slider.addEventListener("input", show);
  sheet.addEventListener("load", show);
  sheet.src = `${root.dataset.static}/${data.sheet}`;
  const controls = node("div", { className: "controls" }, concepts,
    ...(data.kinds.length > 1 ? [kinds] : []), reading, slider);
  root.append(controls, node("div", { className: "pictures" }, ...figures),
    node("div", { className: "numbers" }, facts, weights));
  show();
}

document.addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll(".explorer").forEach(explore));
