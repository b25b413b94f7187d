"use strict";
(() => {
const data = window.conrecData;
const element = id => document.getElementById(id);
const make = (name, text, attributes) => {
  const made = document.createElement(name);
  made.textContent = text || "";
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  return made;
};
if (!data) {
  element("count").textContent = "data.js must lie beside this page.";
  return;
}

// Arrays in base64, little-endian.
const decoded = (text, Type) => {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  return new Type(bytes.buffer);
};
const places = decoded(data.places, Float32Array);
const label = decoded(data.label, Int32Array);
const split = decoded(data.split, Int32Array);
const cluster = decoded(data.cluster, Int32Array);
const isolated = decoded(data.isolated, Float32Array);
const slot = decoded(data.slot, Int32Array);
const neighbours = decoded(data.neighbours, Int32Array);
const distances = decoded(data.distances, Float32Array);
const count = data.names.length;
const distanceText = distance => (distance < 1e-4 ? "< 0.0001" : distance.toPrecision(2));
const labelText = image => (label[image] < 0 ? "no label" : data.classes[label[image]]);

// What the map shows.
const canvas = element("map");
const pen = canvas.getContext("2d");
const view = { x: 0, y: 0, scale: 1, whole: 1, width: 1, height: 1 }; // whole is the scale of all
const visible = new Uint8Array(count).fill(1);
const selected = new Uint8Array(count);
let current = -1, lassoing = false, path = null, withKeys = false, waiting = false;

const LEVELS = ["#cfe3f2", "#9cc5e3", "#5ea3d0", "#2b7fb8", "#e69f00", "#d55e00"];
const ISOLATION = [0.5, 1, 1.5, 2, 3]; // where one level ends
const levelOf = value => {
  const level = ISOLATION.findIndex(end => value < end);
  return level < 0 ? ISOLATION.length : level;
};
const colours = {
  label: { words: "label", of: image => label[image], name: group => data.classes[group] },
  cluster: { words: "cluster", of: image => cluster[image], name: group => `cluster ${group}` },
  split: { words: "split", of: image => split[image], name: group => data.splits[group] },
  isolation: {
    words: "distance to neighbours",
    of: image => levelOf(isolated[image]),
    name: group => (group < ISOLATION.length ? `below ${ISOLATION[group]} × the median` : "more"),
  },
};
const colourOf = (kind, group) => {
  if (group < 0) return "#999999";
  if (kind === "isolation") return LEVELS[group];
  if (group < data.palette.length) return data.palette[group];
  const turn = Math.round((group * 137.5) % 360);
  return `hsl(${turn}, 65%, ${35 + 15 * (group % 3)}%)`;
};
let kind = data.classes.length ? "label" : "cluster";
let groups = []; // of the chosen colours: [colour as a pixel, images]
const pixelOf = colour => {
  pen.fillStyle = colour; // which is read back as #rrggbb
  const number = parseInt(pen.fillStyle.slice(1), 16);
  return (0xff000000 | (number & 0xff) << 16 | (number & 0xff00) | number >> 16) >>> 0;
};

function group() {
  const members = new Map();
  for (let image = 0; image < count; image++) {
    const key = colours[kind].of(image);
    if (!members.has(key)) members.set(key, []);
    members.get(key).push(image);
  }
  const keys = [...members.keys()].sort((one, other) => one - other);
  groups = keys.map(key => [pixelOf(colourOf(kind, key)), members.get(key)]);
  const shown = keys.slice(0, 24).map(key => {
    const item = make("li");
    item.append(make("i", "", { style: `background: ${colourOf(kind, key)}` }));
    item.append(key < 0 ? "no label" : colours[kind].name(key));
    return item;
  });
  if (keys.length > shown.length) shown.push(make("li", `and ${keys.length - shown.length} more`));
  element("legend").replaceChildren(...shown);
}

function whole() {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let image = 0; image < count; image++) {
    left = Math.min(left, places[2 * image]);
    right = Math.max(right, places[2 * image]);
    low = Math.min(low, places[2 * image + 1]);
    high = Math.max(high, places[2 * image + 1]);
  }
  view.x = (left + right) / 2;
  view.y = (low + high) / 2;
  view.scale = 0.94 * Math.min(
    view.width / Math.max(right - left, 1e-9), view.height / Math.max(high - low, 1e-9));
  view.whole = view.scale;
  redraw();
}

const acrossOf = image => (places[2 * image] - view.x) * view.scale + view.width / 2;
const downOf = image => (view.y - places[2 * image + 1]) * view.scale + view.height / 2;

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

// A pixel at a time, as a hundred thousand rectangles would take too long.
let sheet = null, pixels = null;
function square(image, side, pixel) {
  const ratio = canvas.width / view.width;
  const left = Math.round(acrossOf(image) * ratio - side / 2);
  const top = Math.round(downOf(image) * ratio - side / 2);
  if (left < 0 || top < 0 || left + side > sheet.width || top + side > sheet.height) return false;
  for (let row = top; row < top + side; row++) {
    const start = row * sheet.width + left;
    for (let place = start; place < start + side; place++) pixels[place] = pixel;
  }
  return true;
}

const FEW = 120; // images in sight that are drawn as pictures
const CLOSE = 1.5; // times the scale that shows all, from which they are where there are no more
const DARK = pixelOf("#1a1a1a");
function draw() {
  if (!canvas.width || !canvas.height) return;
  if (!sheet || sheet.width !== canvas.width || sheet.height !== canvas.height) {
    sheet = pen.createImageData(canvas.width, canvas.height);
    pixels = new Uint32Array(sheet.data.buffer);
  }
  pixels.fill(0);
  const ratio = canvas.width / view.width;
  const size = Math.max(2, Math.min(7, 120 / Math.sqrt(count) + Math.log2(1 + view.scale) / 3));
  const side = Math.round(size * ratio), edge = Math.round((size + 4) * ratio);
  for (let image = 0; image < count; image++) {
    if (selected[image] && visible[image]) square(image, edge, DARK);
  }
  const inSight = [];
  for (const [pixel, images] of groups) {
    for (const image of images) {
      if (visible[image] && square(image, side, pixel) && inSight.length <= FEW) inSight.push(image);
    }
  }
  pen.putImageData(sheet, 0, 0);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const isClose = count > FEW || view.scale > CLOSE * view.whole;
  if (inSight.length <= FEW && isClose) inSight.forEach(drawPicture);
  if (current >= 0) {
    ring(current, 9, "#d55e00");
    nearestOf(current).forEach(([image]) => ring(image, 6, "#1a1a1a"));
  }
  if (withKeys) {
    pen.strokeStyle = "#555";
    pen.lineWidth = 1;
    pen.strokeRect(view.width / 2 - 8, view.height / 2 - 8, 16, 16);
  }
  if (path) {
    pen.beginPath();
    path.forEach(([across, down]) => pen.lineTo(across, down));
    pen.closePath();
    pen.fillStyle = "rgba(0, 114, 178, .15)";
    pen.fill();
    pen.stroke();
  }
}

function ring(image, radius, colour) {
  pen.beginPath();
  pen.arc(acrossOf(image), downOf(image), radius, 0, 2 * Math.PI);
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.stroke();
}

// Thumbnails lie in files of so many each, which are loaded when one of theirs is seen.
const inFile = data.across * data.across;
const fileOf = image => `sprites/${String(Math.floor(slot[image] / inFile)).padStart(5, "0")}.jpg`;
const columnOf = image => slot[image] % data.across;
const rowOf = image => Math.floor((slot[image] % inFile) / data.across);
const MOST_FILES = 48; // that are kept for the map
const files = new Map();
function drawPicture(image) {
  const name = fileOf(image);
  let file = files.get(name);
  if (!file) {
    file = new Image();
    file.onload = redraw;
    file.src = name;
    files.set(name, file);
    if (files.size > MOST_FILES) files.delete(files.keys().next().value);
  }
  if (!file.complete || !file.naturalWidth) return;
  const across = acrossOf(image) - 20, down = downOf(image) - 20;
  pen.drawImage(file, columnOf(image) * data.side, rowOf(image) * data.side, data.side, data.side,
    across, down, 40, 40);
}

function thumb(image, times) {
  const side = data.side * (times || 1);
  const made = make("span", "", { class: times ? "thumb large" : "thumb" });
  made.style.backgroundImage = `url("${fileOf(image)}")`;
  made.style.backgroundPosition = `-${columnOf(image) * side}px -${rowOf(image) * side}px`;
  return made;
}

function tile(image, caption) {
  const words = `${data.names[image]}, ${labelText(image)}`;
  const made = make("button", "", { type: "button", title: words });
  made.append(thumb(image), make("span", caption || labelText(image)));
  made.setAttribute("aria-label", caption ? `${words}, ${caption}` : words);
  made.addEventListener("click", () => choose(image, true));
  return made;
}

const nearestOf = image => {
  const found = [];
  for (let place = image * data.nearest; place < (image + 1) * data.nearest; place++) {
    if (neighbours[place] >= 0) found.push([neighbours[place], distances[place]]);
  }
  return found;
};

function choose(image, moves) {
  current = image;
  const facts = make("dl");
  const fact = (name, text) => facts.append(make("dt", name), make("dd", text));
  fact("file", data.names[image]);
  fact("split", data.splits[split[image]]);
  if (data.classes.length) fact("label", labelText(image));
  fact("cluster", String(cluster[image]));
  fact("isolation", `${isolated[image].toPrecision(3)} × the median`);
  const grid = make("div", "", { class: "grid" });
  grid.append(...nearestOf(image).map(([other, distance]) =>
    tile(other, `${distanceText(distance)}\n${label[other] < 0 ? "" : labelText(other)}`)));
  element("image").replaceChildren(
    thumb(image, 3), facts, make("h3", "Its nearest, and how far they are"), grid);
  const across = acrossOf(image), down = downOf(image);
  const isOutside = across < 0 || down < 0 || across > view.width || down > view.height;
  if (moves && isOutside) {
    view.x = places[2 * image];
    view.y = places[2 * image + 1];
  }
  redraw();
}

function nearestAt(across, down, within) {
  let [best, least] = [-1, within * within];
  for (let image = 0; image < count; image++) {
    if (!visible[image]) continue;
    const distance = (acrossOf(image) - across) ** 2 + (downOf(image) - down) ** 2;
    if (distance < least) [best, least] = [image, distance];
  }
  return best;
}

function isInside(across, down, corners) {
  let inside = false;
  for (let one = 0, other = corners.length - 1; one < corners.length; other = one++) {
    const [x, y] = corners[one], [u, v] = corners[other];
    if (y > down !== v > down && across < ((u - x) * (down - y)) / (v - y) + x) inside = !inside;
  }
  return inside;
}

function select(corners) {
  for (let image = 0; image < count; image++) {
    selected[image] = visible[image] && isInside(acrossOf(image), downOf(image), corners) ? 1 : 0;
  }
  show("selection");
}

function unselect() {
  selected.fill(0);
  current = -1;
  element("image").replaceChildren(make("p", "No image is chosen.", { class: "hint" }));
  if (tab === "selection") show("selection");
  tell();
  redraw();
}

function filter() {
  const [wanted, part] = [Number(element("label").value), Number(element("split").value)];
  const text = element("find").value.toLowerCase();
  for (let image = 0; image < count; image++) {
    visible[image] =
      (wanted === -2 || label[image] === wanted) &&
      (part === -2 || split[image] === part) &&
      (!text || data.names[image].toLowerCase().includes(text)) ? 1 : 0;
  }
  show(tab);
}

function tell() {
  let [shown, chosen] = [0, 0];
  for (let image = 0; image < count; image++) {
    shown += visible[image];
    chosen += selected[image] && visible[image];
  }
  element("count").textContent =
    `${shown.toLocaleString("en")} images${chosen ? `, ${chosen.toLocaleString("en")} selected` : ""}`;
}

// The lists below the map.
const both = bits => (bits < 0 ? "" : `, ${bits} bits of their hashes differ`);
const chosenImages = () => {
  const found = [];
  for (let image = 0; image < count; image++) if (selected[image] && visible[image]) found.push([image]);
  return found;
};
const lists = {
  selection: {
    words: "Selection",
    about: "The images in the lasso.",
    rows: chosenImages,
    draw: ([image]) => tile(image),
  },
  clusters: {
    words: "Clusters",
    about: "The image nearest to the middle of each group (k-means), and how many are in it.",
    draw: ([image, size]) => tile(image, `${cluster[image]}: ${size.toLocaleString("en")} images`),
  },
  outliers: {
    words: "Outliers",
    about: "The images farthest from their ten nearest, in units of the median.",
    draw: ([image, far]) => tile(image, `${far.toPrecision(3)} ×`),
  },
  duplicates: {
    words: "Near-duplicates",
    about: "Pairs that the embeddings, or the hashes of their pixels, find nearly the same.",
    draw: ([one, other, distance, isNear, bits]) => {
      const made = make("div", "", { class: "pair" });
      const told = [isNear ? "embedding" : "", bits < 0 ? "" : "hash"].filter(Boolean).join(" and ");
      made.append(tile(one), tile(other),
        make("p", `by ${told}: distance ${distanceText(distance)}${both(bits)}`));
      return made;
    },
  },
  errors: {
    words: "Label errors?",
    about: "Neighbours and a classifier that learnt from other images name another label.",
    draw: ([image, suggested]) => tile(image, `${labelText(image)} → ${data.classNames[suggested]}?`),
  },
  next: {
    words: "Label next",
    about: "One from the middle of each group without a label, of the largest first, then those far from all.",
    draw: ([image, size]) => tile(image, `${rankOf.get(image)}: ${size ? `for ${size.toLocaleString("en")}` : "far"}`),
  },
};
const rankOf = new Map(data.lists.next.map(([image], place) => [image, place + 1]));
const firstOf = name => {
  const all = data.lengths[name], listed = name in data.lists ? data.lists[name].length : all;
  if (listed === all) return "";
  return ` of the first ${listed.toLocaleString("en")} of ${all.toLocaleString("en")}; the table holds all`;
};
const AT_ONCE = 60;
let tab = "clusters";
function show(name) {
  tab = name;
  const { about, rows, draw: drawn } = lists[name];
  const inSight = row => visible[row[0]] || (name === "duplicates" && visible[row[1]]);
  const found = (rows ? rows() : data.lists[name]).filter(inSight);
  const panel = element("list"), grid = make("div", "", { class: "grid" });
  const more = make("button", "More", { type: "button", class: "more" });
  const add = () => {
    const start = grid.childElementCount;
    grid.append(...found.slice(start, start + AT_ONCE).map(drawn));
    more.hidden = grid.childElementCount >= found.length;
  };
  more.addEventListener("click", add);
  panel.replaceChildren(
    make("p", `${about} ${found.length.toLocaleString("en")}${firstOf(name)}.`, { class: "hint" }), grid, more);
  if (name === "selection" && found.length) {
    const save = make("button", "Save as CSV", { type: "button", class: "more" });
    save.addEventListener("click", () => saveTable(found.map(row => row[0])));
    panel.insertBefore(save, grid);
  }
  add();
  panel.setAttribute("aria-labelledby", `tab-${name}`);
  for (const button of element("tabs").children) {
    const isOpen = button.dataset.name === name;
    button.setAttribute("aria-selected", isOpen);
    button.tabIndex = isOpen ? 0 : -1;
  }
  tell();
  redraw();
}

function saveTable(images) {
  const quoted = text => `"${String(text).replaceAll('"', '""')}"`;
  const lines = images.map(image =>
    [data.names[image], data.splits[split[image]], label[image] < 0 ? "" : labelText(image)]
      .map(quoted).join(","));
  const file = new Blob([["image,split,label", ...lines, ""].join("\n")], { type: "text/csv" });
  const link = make("a", "", { href: URL.createObjectURL(file), download: "selection.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}

// What one does with pointer, wheel and keys.
function zoom(factor, across, down) {
  const scale = view.scale * factor;
  view.x += (across - view.width / 2) * (1 / view.scale - 1 / scale);
  view.y -= (down - view.height / 2) * (1 / view.scale - 1 / scale);
  view.scale = scale;
  redraw();
}
function setLasso(on) {
  lassoing = on;
  element("lasso").setAttribute("aria-pressed", on);
}
const pointers = new Map();
let moved = 0;
const at = event => [event.offsetX, event.offsetY];
canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, at(event));
  withKeys = false;
  moved = 0;
  path = pointers.size === 1 && (lassoing || event.shiftKey) ? [at(event)] : null;
});
canvas.addEventListener("pointermove", event => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const [across, down] = at(event);
  const other = [...pointers].find(([id]) => id !== event.pointerId);
  moved += Math.hypot(across - before[0], down - before[1]);
  if (path) {
    path.push([across, down]);
  } else if (other) {
    const [x, y] = other[1];
    const apart = Math.hypot(before[0] - x, before[1] - y) || 1;
    zoom(Math.hypot(across - x, down - y) / apart, (across + x) / 2, (down + y) / 2);
  } else {
    view.x -= (across - before[0]) / view.scale;
    view.y += (down - before[1]) / view.scale;
  }
  pointers.set(event.pointerId, [across, down]);
  redraw();
});
const lift = event => {
  if (!pointers.delete(event.pointerId)) return;
  if (path && path.length > 2) select(path);
  else if (moved < 5 && event.type === "pointerup") {
    const found = nearestAt(...at(event), 14);
    if (found >= 0) choose(found, false);
  }
  path = null;
  redraw();
};
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), ...at(event));
}, { passive: false });
const step = 60; // pixels by which an arrow moves the map
const keys = {
  ArrowLeft: () => (view.x -= step / view.scale),
  ArrowRight: () => (view.x += step / view.scale),
  ArrowUp: () => (view.y += step / view.scale),
  ArrowDown: () => (view.y -= step / view.scale),
  "+": () => zoom(1.4, view.width / 2, view.height / 2),
  "=": () => zoom(1.4, view.width / 2, view.height / 2),
  "-": () => zoom(1 / 1.4, view.width / 2, view.height / 2),
  0: whole,
  l: () => setLasso(!lassoing),
  Escape: unselect,
  Enter: () => {
    const found = nearestAt(view.width / 2, view.height / 2, Infinity);
    if (found >= 0) choose(found, false);
  },
};
canvas.addEventListener("keydown", event => {
  const act = keys[event.key] || keys[event.key.toLowerCase()];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  withKeys = true;
  act();
  redraw();
});
canvas.addEventListener("blur", () => {
  withKeys = false;
  redraw();
});
element("tabs").addEventListener("keydown", event => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const buttons = [...element("tabs").children];
  const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
  next.focus();
  next.click();
});

const option = (value, text) => make("option", text, { value });
element("colour").append(...Object.entries(colours)
  .filter(([name]) => name !== "label" || data.classes.length)
  .filter(([name]) => name !== "split" || data.splits.length > 1)
  .map(([name, { words }]) => option(name, words)));
element("colour").value = kind;
element("colour").addEventListener("change", event => {
  kind = event.target.value;
  group();
  redraw();
});
element("label").append(option(-2, "all"), ...data.classes.map((name, number) => option(number, name)));
if (label.includes(-1)) element("label").append(option(-1, "no label"));
element("split").append(option(-2, "all"), ...data.splits.map((name, number) => option(number, name)));
for (const id of ["label", "split"]) element(id).addEventListener("change", filter);
let typed = 0;
element("find").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(filter, 150);
});
element("lasso").addEventListener("click", () => setLasso(!lassoing));
element("whole").addEventListener("click", whole);
element("tabs").append(...Object.entries(lists)
  .filter(([name]) => name === "selection" || name in data.lists)
  .map(([name, { words }]) => {
    const button = make("button", words, {
      type: "button", role: "tab", id: `tab-${name}`, "data-name": name, "aria-controls": "list",
    });
    button.addEventListener("click", () => show(name));
    return button;
  }));

function resize() {
  const first = view.width === 1;
  const ratio = window.devicePixelRatio || 1;
  [view.width, view.height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = view.width * ratio;
  canvas.height = view.height * ratio;
  if (first) whole();
  draw();
}
group();
new ResizeObserver(resize).observe(canvas);
show(tab);
})();
