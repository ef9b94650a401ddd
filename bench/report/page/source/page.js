// State, which the URL's fragment holds; controls; what the pointer and the keys find; exports.
const every = machines.flatMap((machine) => machine.rows.map(keyOf));
const values = (at) => [...new Set(every.map((key) => key[at]))];
const roles = [...new Set(machines.flatMap((machine) => machine.roofs.map((one) => one.role)).concat(values(KEY.role)))].sort((a, b) => ["all", "one"].indexOf(b) - ["all", "one"].indexOf(a) || a.localeCompare(b));
const typesKnown = [...new Set(machines.flatMap((machine) => machine.roofs.flatMap((one) => Object.keys(one.peaks))).concat(machines.flatMap((machine) => machine.rows.map((row) => row[ROW.type]))))];
const rank = (by) => ["c", "numba", "blas"].findIndex((one) => by.split(/[ /]/)[0] === one) + 3 * !/^(c|numba|blas)\b/.test(by);
const GROUPS = { m: machines.map((machine) => machine.letter), by: values(KEY.by).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b)), cls: data.classes, types: values(KEY.types) };
const OWN = GROUPS.by.filter((by) => /^c\b/.test(by));

const start = {
  view: "roof",
  level: data.levels[0] || "DRAM",
  role: roles.includes("all") && machines.every((machine) => roofs(machine, "all")) ? "all" : roles.includes("one") ? "one" : roles[0] || "one",
  type: typesKnown.includes("f32") ? "f32" : typesKnown[0] || "f32",
  off: { m: [], by: machines.length > 1 && OWN.length ? GROUPS.by.filter((by) => !OWN.includes(by)) : [], cls: [], types: [] },
  show: "percent",
  find: "",
  sort: "",
  pick: -1,
  line: 0,
  series: 0,
  theme: "",
};
let state = read();

function read() {
  const found = { ...start, off: { ...start.off } };
  const given = new URLSearchParams(location.hash.slice(1));
  const allowed = { view: ["roof", "share"], level: data.levels, role: roles, type: typesKnown, show: Object.keys(METRICS), theme: ["light", "dark"] };
  for (const name in allowed) if (allowed[name].includes(given.get(name))) found[name] = given.get(name);
  for (const name in GROUPS) {
    const key = `${name}-off`;
    if (given.has(key)) found.off[name] = given.get(key).split("|").filter((one) => GROUPS[name].includes(one));
  }
  if (given.has("find")) found.find = given.get("find");
  if (/^[\w ]+\.(up|down)$/.test(given.get("sort") || "")) found.sort = given.get("sort");
  for (const name of ["line", "series"]) if (/^\d{1,4}$/.test(given.get(name) || "")) found[name] = +given.get(name);
  if (/^\d+$/.test(given.get("pick") || "") && +given.get("pick") < data.keys.length) found.pick = +given.get("pick");
  return found;
}

function keep() {
  const said = new URLSearchParams();
  for (const name of ["view", "level", "role", "type", "show", "find", "sort", "theme", "pick", "line", "series"]) if (state[name] !== start[name]) said.set(name, state[name]);
  for (const name in GROUPS) if (state.off[name].join("|") !== start.off[name].join("|")) said.set(`${name}-off`, state.off[name].join("|"));
  const hash = said.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

function change(what) {
  Object.assign(state, what);
  keep();
  draw();
}

function draw() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = printing ? "light" : state.theme || system;
  document.getElementById("theme").textContent = dark() ? "light page" : "dark page";
  drawControls();
  drawRoofline();
  drawReads();
  drawHistory();
  drawRows();
}

// --- controls

function choice(label, name, options, names) {
  const group = element("div");
  group.className = "group";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", label);
  element("span", label, group).className = "name";
  for (const option of options) {
    const button = element("button", (names && names[option]) || option, group);
    button.type = "button";
    button.dataset.set = `${name}=${option}`;
    button.setAttribute("aria-pressed", state[name] === option);
    button.addEventListener("click", () => change({ [name]: option }));
  }
  return group;
}

function chips(label, name, said) {
  const group = element("div");
  group.className = "group";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", label);
  element("span", label, group).className = "name";
  for (const option of GROUPS[name]) {
    const off = state.off[name].includes(option);
    const chip = element("span", "", group);
    chip.className = "chip";
    chip.dataset.on = off ? "0" : "1";
    const button = element("button", "", chip);
    button.type = "button";
    button.dataset.chip = `${name}=${option}`;
    button.setAttribute("aria-pressed", !off);
    said(button, option);
    button.addEventListener("click", () => change({ off: { ...state.off, [name]: off ? state.off[name].filter((one) => one !== option) : [...state.off[name], option] } }));
    if (GROUPS[name].length < 2) continue;
    const alone = GROUPS[name].length - state.off[name].length === 1 && !off;
    const only = element("button", alone ? "all" : "only", chip);
    only.type = "button";
    only.className = "only";
    only.dataset.only = `${name}=${option}`;
    only.setAttribute("aria-label", alone ? `all of ${label}` : `only ${option}`);
    only.addEventListener("click", () => change({ off: { ...state.off, [name]: alone ? [] : GROUPS[name].filter((one) => one !== option) } }));
  }
  return group;
}

function drawControls() {
  const focused = document.activeElement && ["set", "chip", "only"].map((kind) => [kind, document.activeElement.dataset && document.activeElement.dataset[kind]]).find(([, value]) => value);
  const place = document.getElementById("selectors");
  place.replaceChildren(choice("view", "view", ["roof", "share"], { roof: "GFLOP/s", share: "share of own roof" }));
  if (data.levels.length > 1) place.append(choice("data in", "level", data.levels, { DRAM: "memory" }));
  if (roles.length > 1) place.append(choice("threads", "role", roles, { all: "all cores" }));
  if (typesKnown.length > 1) place.append(choice("peak of", "type", typesKnown));
  const plain = (button, option) => (button.textContent = option);
  const rows = document.getElementById("chips");
  rows.replaceChildren(chips("machines", "m", machineChip), chips("whose", "by", plain), chips("kernels", "cls", plain));
  if (GROUPS.types.length > 1) rows.append(chips("types", "types", plain));
  const metric = Object.fromEntries(Object.entries(METRICS).map(([name, one]) => [name, one.name]));
  document.getElementById("metric").replaceChildren(choice("show", "show", Object.keys(METRICS).filter((name) => name !== "ratio" || machines.length > 1), metric));
  drawLines();
  if (focused) {
    const again = [...document.querySelectorAll(`[data-${focused[0]}]`)].find((one) => one.dataset[focused[0]] === focused[1]);
    if (again) again.focus({ preventScroll: true });
  }
}

function drawLines() {
  const place = document.getElementById("lines");
  if (!place) return;
  const select = (label, name, options) => {
    const around = element("label", `${label} `);
    const box = element("select", "", around);
    box.dataset.set = name;
    options.forEach((said, i) => (element("option", said, box).value = i));
    box.value = Math.min(state[name], options.length - 1);
    box.addEventListener("change", () => change({ [name]: +box.value, ...(name === "line" ? { series: 0 } : {}) }));
    return around;
  };
  const line = data.history[Math.min(state.line, data.history.length - 1)];
  place.replaceChildren(select("machine", "line", data.history.map((one) => one.name)), select("figure", "series", line.series.map(([name]) => name)));
}

function machineChip(button, letter) {
  const machine = machines.find((one) => one.letter === letter);
  const mark = make("svg", { class: "mark", viewBox: "-6.5 -6.5 13 13", "aria-hidden": "true" }, button);
  make("path", { d: machine.look.shape, fill: colour(machine) }, mark);
  button.append(` ${letter} ${machine.name.length > 36 ? machine.name.slice(0, 35) + "\u2026" : machine.name}`);
  button.title = machine.name;
}

// --- what the pointer and the keys find

const tip = document.getElementById("tip");
let at = -1; // of drawn

function lines({ machine, row }) {
  const key = keyOf(row);
  const known = roofs(machine, key[KEY.role]);
  const ridge = known && known.ridges[row[ROW.type]] && known.ridges[row[ROW.type]][row[ROW.level]];
  const found = [
    `${machine.letter}  ${machine.name}`,
    `${key[KEY.operation]} ${key[KEY.types]}, ${key[KEY.by]}`,
    `m x n x k ${key[KEY.dims]}${key[KEY.layers] ? `, ${key[KEY.layers]}` : ""}`,
    `${known ? plural(known.threads, "thread") : key[KEY.role] === "one" ? "1 thread" : key[KEY.role]}, ${key[KEY.cold] ? "cold" : "hot"}, data in ${row[ROW.level]}`,
    `${span(row[ROW.gflops], ` ${unit(row[ROW.type])}`)}`,
    `${number(row[ROW.gbps])} GB/s, ${time(row[ROW.seconds])}`,
    `${number(row[ROW.intensity])} FLOP/byte${ridge ? `, ${number(row[ROW.intensity] / ridge[0])} x own ridge` : ""}`,
    row[ROW.percent] ? `${span(row[ROW.percent], " % of roof")}` : "its roof was not measured",
    `${row[ROW.verdict]}, grade ${row[ROW.grade]}`,
  ];
  if (row[ROW.remark] >= 0) found.push(data.remarks[row[ROW.remark]]);
  if (row[ROW.outcome]) found.push(`${number(row[ROW.outcome][0])} ${row[ROW.outcome][1] === null ? "[-]" : `[${number(row[ROW.outcome][1])}, ${number(row[ROW.outcome][2])}]`} times ${machines[0].letter}'s speed: ${row[ROW.outcome][3]}`);
  return found;
}

function showTip(index) {
  at = index;
  const one = drawn[index];
  const svg = document.getElementById("roofline");
  svg.querySelectorAll(".spot").forEach((old) => old.remove());
  if (!one) {
    tip.hidden = true;
    return;
  }
  make("circle", { class: "spot", cx: one.x.toFixed(1), cy: one.y.toFixed(1), r: 8, fill: "none", stroke: ink("ink"), "stroke-width": 1.5 }, svg);
  tip.replaceChildren();
  lines(one).forEach((said, i) => element(i ? "span" : "b", said, tip));
  tip.hidden = false;
  const box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const [x, y] = [box.left + one.x * scale, box.top + one.y * scale];
  const left = x + 16 + tip.offsetWidth > innerWidth ? x - 16 - tip.offsetWidth : x + 16;
  tip.style.left = `${Math.max(6, left)}px`;
  tip.style.top = `${Math.max(6, Math.min(innerHeight - tip.offsetHeight - 6, y - tip.offsetHeight / 2))}px`;
}

function nearest(event) {
  const svg = document.getElementById("roofline");
  const box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const [x, y] = [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
  let best = -1;
  let far = event.pointerType === "touch" ? 40 : 22;
  drawn.forEach((one, i) => {
    const away = Math.hypot(one.x - x, one.y - y);
    if (away < far) [best, far] = [i, away];
  });
  return best;
}

function listen() {
  const svg = document.getElementById("roofline");
  svg.addEventListener("pointermove", (event) => showTip(nearest(event)));
  svg.addEventListener("pointerleave", () => showTip(-1));
  svg.addEventListener("blur", () => showTip(-1));
  svg.addEventListener("click", (event) => {
    const found = nearest(event);
    const key = found < 0 ? -1 : drawn[found].row[ROW.key];
    change({ pick: key === state.pick ? -1 : key });
    showTip(found);
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (event.key === "Escape") showTip(-1);
    if (event.key === "Enter" && at >= 0) {
      const [key, index] = [drawn[at].row[ROW.key], at];
      change({ pick: key === state.pick ? -1 : key });
      showTip(index);
    }
    if (!step || !drawn.length) return;
    event.preventDefault();
    showTip((at + step + drawn.length) % drawn.length);
    tell("live", lines(drawn[at]).join("; "));
  });
  document.getElementById("rows").addEventListener("click", (event) => {
    const line = event.target.closest("tr[data-key]");
    if (line) change({ pick: +line.dataset.key === state.pick ? -1 : +line.dataset.key });
  });
  const find = document.getElementById("find");
  find.value = state.find;
  find.addEventListener("input", () => change({ find: find.value }));
  document.getElementById("theme").addEventListener("click", () => change({ theme: dark() ? "light" : "dark" }));
  document.querySelectorAll("[data-export]").forEach((button) => button.addEventListener("click", () => save(button.dataset.export)));
  document.querySelectorAll("table.sorted").forEach(sortable);
  addEventListener("hashchange", () => {
    if (document.getElementById(location.hash.slice(1))) return;
    state = read();
    find.value = state.find;
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) draw();
    width = innerWidth;
  });
  for (const [event, now] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      printing = now;
      for (const one of document.querySelectorAll("details")) one.open = now;
      draw();
    });
  }
}

// --- exports

function picture(name) {
  const svg = document.getElementById(name).cloneNode(true);
  svg.querySelectorAll(".spot").forEach((spot) => spot.remove());
  svg.setAttribute("xmlns", NS);
  ["tabindex", "role", "class", "aria-describedby"].forEach((one) => svg.removeAttribute(one));
  svg.insertBefore(make("rect", { width: "100%", height: "100%", fill: ink("page") }), svg.firstChild);
  return new XMLSerializer().serializeToString(svg);
}

function download(name, blob) {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function save(name) {
  const [stem, kind] = name.split(".");
  if (kind === "csv") download(name, new Blob([csv()], { type: "text/csv" }));
  else if (kind === "json") download(name, new Blob([JSON.stringify(data)], { type: "application/json" }));
  else if (kind === "svg") download(name, new Blob([picture(stem)], { type: "image/svg+xml" }));
  else {
    const image = new Image();
    image.onload = () => {
      const canvas = element("canvas");
      [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
      const context = canvas.getContext("2d");
      context.scale(2, 2);
      context.drawImage(image, 0, 0);
      canvas.toBlob((blob) => download(name, blob), "image/png");
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture(stem))}`;
  }
}

let printing = false;
listen();
draw();
document.documentElement.dataset.ready = "";
