// The three charts: rooflines, the same normalised to every machine's own ridge, and reads by working set.
const data = JSON.parse(await unpacked());
const KEY = { operation: 0, types: 1, by: 2, cls: 3, role: 4, dims: 5, layers: 6, cold: 7 };
const ROW = { key: 0, level: 1, intensity: 2, gflops: 3, gbps: 4, seconds: 5, percent: 6, verdict: 7, grade: 8, remark: 9, outcome: 10, type: 11 };
const keyOf = (row) => data.keys[row[ROW.key]];
const machines = data.machines.map((machine, index) => Object.assign(machine, { index, look: data.looks[index] }));

const dark = () => document.documentElement.dataset.theme === "dark";
const colour = (machine) => machine.look[dark() ? "dark" : "light"];
const roofs = (machine, role) => machine.roofs.find((one) => one.role === role);
const unit = (type) => data.units[type] || "GFLOP/s";
const filled = (by) => !/numba|blas/.test(by);
const places = (value) => (value ? Math.max(0, 2 - Math.floor(Math.log10(Number(Math.abs(value).toPrecision(3))))) : 0);
const digits = (value) => value.toFixed(places(value));
const span = ([value, low, high], unit) => `${digits(value)}${low < high ? ` [${low.toFixed(places(value))}, ${high.toFixed(places(value))}]` : ""}${unit || ""}`;

function time(seconds) {
  const [factor, unit] = [[1, "s"], [1e3, "ms"], [1e6, "\u00b5s"], [1e9, "ns"]].find(([one]) => seconds * one >= 1) || [1e9, "ns"];
  return `${Number((seconds * factor).toPrecision(3))} ${unit}`;
}

function passes(row) {
  const key = keyOf(row);
  return !state.off.by.includes(key[KEY.by]) && !state.off.cls.includes(key[KEY.cls]) && !state.off.types.includes(key[KEY.types]) && sought(row);
}

// What is looked for, switched off or not.
function sought(row) {
  const key = keyOf(row);
  if (key[KEY.role] !== state.role) return false;
  if (!state.find) return true;
  const text = key.slice(0, 7).join(" ").toLowerCase();
  return state.find.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

const onChart = (row) => passes(row) && row[ROW.level] === state.level && row[ROW.type] === state.type;
const visible = () => machines.filter((machine) => !state.off.m.includes(machine.letter));

let drawn = []; // of the roofline: {machine, row, x, y} in pixels, in the order of intensities

function drawRoofline() {
  const ends = data.axes[`${state.role} ${state.type} ${state.level}`];
  const svg = document.getElementById("roofline");
  drawn = [];
  if (!ends) {
    svg.replaceChildren();
    tell("rooflinesaid", `No roofs of ${state.type} on ${state.role} at ${state.level}: choose others.`);
    return;
  }
  const share = state.view === "share";
  const chart = share
    ? new Chart(svg, { low: 0.01, high: 100, log: true, label: "arithmetic intensity / own ridge" }, { low: 0, high: 120, label: "% of own roof", ticks: [0, 20, 40, 60, 80, 100, 120] })
    : new Chart(svg, { low: 10 ** ends[0], high: 10 ** ends[1], log: true, label: `arithmetic intensity, FLOP per byte from ${state.level === "DRAM" ? "memory" : state.level}` }, { low: 10 ** ends[2], high: 10 ** ends[3], log: true, label: unit(state.type) });
  const shown = visible();
  for (const machine of shown) (share ? shareLines : roofLines)(chart, machine);
  if (share) shareWords(chart);
  else roofWords(chart, shown);
  const outside = points(chart, shown, share);
  drawn.sort((a, b) => a.x - b.x);
  const picked = drawn.filter((one) => one.row[ROW.key] === state.pick);
  for (const one of picked) make("circle", { cx: one.x.toFixed(1), cy: one.y.toFixed(1), r: 9, fill: "none", stroke: ink("ink"), "stroke-width": 1.6 }, chart.over);
  const count = new Set(drawn.map((one) => one.machine)).size;
  const where = `${plural(drawn.length, "row")} of ${plural(count, "machine")}, data in ${state.level === "DRAM" ? "memory (cold weights)" : state.level}, on ${threadsSaid()}`;
  const bands = share ? "Pillars: each ridge's 95 % interval." : "Bands: 95 % intervals of roofs, and of ridges as pillars. Axes are whole decades, set by the roofs.";
  tell("rooflinesaid", `${where}${outside ? `; ${outside} more lie outside the axes` : ""}. Filled: C and libraries' own; hollow: Numba and BLAS. Whiskers: 95 % intervals. ${bands}`);
}

function threadsSaid() {
  if (state.role === "one") return "one thread";
  const counts = visible().map((machine) => [machine.letter, roofs(machine, state.role)]).filter(([, one]) => one);
  return `${state.role === "all" ? "all cores" : state.role} (${counts.map(([letter, one]) => `${letter} ${one.threads}`).join(", ")})`;
}

function tell(id, said) {
  document.getElementById(id).textContent = said;
}

function roofLines(chart, machine) {
  const known = roofs(machine, state.role);
  if (!known || !known.peaks[state.type]) return;
  const peak = known.peaks[state.type];
  const own = colour(machine);
  const { low, high } = chart.x;
  for (const level of data.levels) {
    const read = known.reads[level];
    if (!read) continue;
    const roof = (which) => {
      const ridge = peak[which] / read[which];
      return [low, Math.min(Math.max(ridge, low), high), high].map((x) => [x, Math.min(peak[which], x * read[which])]);
    };
    if (level === state.level) {
      const xs = [low, peak[1] / read[2], peak[0] / read[0], peak[2] / read[1], high].filter((x) => x >= low && x <= high).sort((a, b) => a - b);
      const at = (which) => xs.map((x) => [x, Math.min(peak[which], x * read[which])]);
      chart.band(at(2), at(1), own, dark() ? 0.28 : 0.18);
      chart.line(roof(0), own, machine.look.dash, 2);
      const ridge = known.ridges[state.type] && known.ridges[state.type][level];
      if (ridge) {
        chart.pillar(ridge[1], ridge[2], own, (dark() ? 0.16 : 0.09) / (visible().length > 5 ? 2 : 1));
        make("line", { x1: chart.X(ridge[0]).toFixed(1), x2: chart.X(ridge[0]).toFixed(1), y1: chart.Y(Math.min(peak[0], ridge[0] * read[0])).toFixed(1), y2: chart.bottom, stroke: own, "stroke-width": 1, "stroke-dasharray": "1 3" }, chart.lines);
      }
    } else if (visible().length === 1) {
      chart.line(roof(0), own, "", 0.7);
      const places = [];
      for (let part = 0.02; part < 0.9; part += 0.08) {
        const x = low * (peak[0] / read[0] / low) ** part;
        places.push([chart.X(x) + 8, chart.Y(x * read[0]) + 3, "start"]);
      }
      chart.label(`${level} ${digits(read[0])} GB/s`, places, { fill: ink("soft"), "font-size": 11 });
    }
  }
}

function roofWords(chart, shown) {
  const ends = shown
    .map((machine) => ({ machine, known: roofs(machine, state.role) }))
    .filter(({ known }) => known && known.peaks[state.type] && known.reads[state.level])
    .sort((a, b) => b.known.peaks[state.type][0] - a.known.peaks[state.type][0]);
  let above = -Infinity; // labels of lower peaks are lower, wherever they are moved to
  for (const { machine, known } of ends) {
    const [peak, read] = [known.peaks[state.type][0], known.reads[state.level][0]];
    const looks = { fill: colour(machine), "font-weight": 600 };
    const up = chart.Y(peak);
    const over = [-5, 14, -21, ...Array.from({ length: 32 }, (_, i) => 17 + 4 * i)].map((off) => [chart.right - 4, up + off, "end"]).filter(([, y]) => y > above);
    const placed = chart.label(`${machine.letter}  ${digits(peak)} ${unit(state.type)}`, over, looks);
    if (placed) above = placed[1];
    const along = [];
    for (let part = 0.04; part < 0.8; part += 0.06) {
      const x = chart.x.low * (peak / read / chart.x.low) ** part;
      const [at, y] = [chart.X(x), chart.Y(x * read)];
      if (y < chart.bottom - 4) along.push([at - 6, y - 4, "end"], [at + 7, y + 13, "start"]);
    }
    chart.label(`${machine.letter}  ${digits(read)} GB/s`, along, looks);
    const ridge = known.ridges[state.type] && known.ridges[state.type][state.level];
    if (ridge) {
      const places = [6, 20, 34, 48, 62, 76].flatMap((off) => [[chart.X(ridge[0]) + 4, chart.bottom - off, "start"], [chart.X(ridge[0]) - 4, chart.bottom - off, "end"]]);
      chart.label(`${machine.letter} ${digits(ridge[0])}`, places, looks);
    }
  }
}

function shareLines(chart, machine) {
  const known = roofs(machine, state.role);
  const ridge = known && known.ridges[state.type] && known.ridges[state.type][state.level];
  if (ridge) chart.pillar(ridge[1] / ridge[0], ridge[2] / ridge[0], colour(machine), 0.1);
}

function shareWords(chart) {
  chart.line([[0.01, 100], [100, 100]], ink("ink"), "", 1.6);
  chart.line([[1, 0], [1, 120]], ink("soft"), "2 3", 1);
  const looks = { fill: ink("soft") };
  chart.label("memory is the limit", [[chart.X(0.9), chart.Y(113), "end"]], looks);
  chart.label("arithmetic is the limit", [[chart.X(1.1), chart.Y(113), "start"]], looks);
}

// Draws the rows and returns how many lie outside.
function points(chart, shown, share) {
  let outside = 0;
  const width = shown.length;
  shown.forEach((machine, place) => {
    const known = roofs(machine, state.role);
    const ridge = known && known.ridges[state.type] && known.ridges[state.type][state.level];
    for (const row of machine.rows) {
      if (!onChart(row)) continue;
      const figures = share ? row[ROW.percent] : row[ROW.gflops];
      if (share && (!figures || !ridge)) {
        outside++;
        continue;
      }
      const beside = 1.025 ** (place - (width - 1) / 2); // points of one intensity stand side by side
      const x = (share ? row[ROW.intensity] / ridge[0] : row[ROW.intensity]) * beside;
      const y = figures[0];
      if (x < chart.x.low || x > chart.x.high || y < chart.y.low || y > chart.y.high) {
        outside++;
        continue;
      }
      chart.whisker(x, Math.max(figures[1], chart.y.low), Math.min(figures[2], chart.y.high), colour(machine));
      const [at, up] = chart.point(x, y, machine.look.shape, colour(machine), filled(keyOf(row)[KEY.by]), width > 5 ? 0.7 : 0.85);
      drawn.push({ machine, row, x: at, y: up });
    }
  });
  return outside;
}

// One machine's sessions in order of time, and the band in which they differ anyway.
function drawHistory() {
  const svg = document.getElementById("times");
  if (!svg) return;
  const line = data.history[Math.min(state.line, data.history.length - 1)];
  const [name, unit, [middle, low, high], values] = line.series[Math.min(state.series, line.series.length - 1)];
  const known = values.filter((value) => value !== null);
  const [least, most] = [Math.min(low, ...known), Math.max(high, ...known)];
  const room = (most - least) * 0.15 || most * 0.1;
  const last = values.length - 1;
  const every = Math.max(1, Math.ceil(values.length / (svg.parentNode.clientWidth < 560 ? 3 : 8)));
  const ticks = values.map((_, i) => i).filter((i) => i % every === 0);
  const chart = new Chart(svg, { low: -0.5, high: last + 0.5, ticks, format: (i) => (line.when[0].slice(0, 10) === line.when[last].slice(0, 10) ? line.when[i].slice(11) : line.when[i].slice(5, 10)), label: `sessions in order of time, ${line.when[0].slice(0, 10)} to ${line.when[last].slice(0, 10)}` }, { low: Math.max(0, least - room), high: most + room, label: `${name}, ${unit}` }, 0.36);
  const machine = machines.find((one) => one.letter === line.letter);
  const own = machine ? colour(machine) : ink("accent");
  chart.band([[-0.5, high], [last + 0.5, high]], [[-0.5, low], [last + 0.5, low]], own, dark() ? 0.22 : 0.13);
  chart.line([[-0.5, middle], [last + 0.5, middle]], own, "2 3", 1);
  chart.line(values.map((value, i) => [i, value]).filter(([, value]) => value !== null), own, "", 1.6);
  const shape = machine ? machine.look.shape : data.looks[0].shape;
  values.forEach((value, i) => {
    if (value === null) return;
    const out = value < low || value > high;
    const [x, y] = chart.point(i, value, shape, out ? ink("bad") : own, true, out ? 1.1 : 0.85);
    make("title", {}, chart.points.lastChild).textContent = `${line.when[i]}, commit ${line.commits[i]}, trust ${line.grades[i]}: ${number(value)} ${unit}`;
    if (i && line.commits[i] !== line.commits[i - 1]) {
      make("line", { x1: chart.X(i - 0.5), x2: chart.X(i - 0.5), y1: chart.top, y2: chart.bottom, stroke: ink("soft"), "stroke-width": 1, "stroke-dasharray": "1 4" }, chart.lines);
      chart.label(line.commits[i].slice(0, 9), [[chart.X(i - 0.5) + 4, chart.top + 11, "start"], [chart.X(i - 0.5) + 4, chart.top + 25, "start"]], { fill: ink("soft"), "font-size": 11 });
    }
    if (out) chart.label(number(value), [[x + 9, y + 4, "start"], [x - 9, y + 4, "end"], [x, y - 9, "middle"]], { fill: ink("bad"), "font-size": 11 });
  });
  const outside = known.filter((value) => value < low || value > high).length;
  tell("timessaid", `${name}: ${plural(known.length, "session")}; the median of those before the latest is ${digits(middle)} ${unit}, the band [${low.toFixed(places(middle))}, ${high.toFixed(places(middle))}]: so far sessions of one making differ anyway, 95 %. ${outside} outside, in red. Dotted: the commit changes.`);
}

function drawReads() {
  const shown = visible().map((machine) => ({ machine, reads: machine.reads.filter((one) => one[0] === state.role) })).filter((one) => one.reads.length);
  const svg = document.getElementById("reads");
  if (!shown.length) {
    svg.replaceChildren();
    tell("readssaid", `No reads were measured on ${state.role}.`);
    return;
  }
  const every = machines.flatMap((machine) => machine.reads.filter((one) => one[0] === state.role));
  const sizes = every.map((one) => one[2]);
  const rates = every.map((one) => one[3][0]);
  const nice = (value, up) => { // the next of 1, 2, 5
    const power = 10 ** Math.floor(Math.log10(value));
    const steps = [1, 2, 5, 10].map((one) => one * power);
    return up ? steps.find((one) => one >= value) : steps.filter((one) => one <= value).pop();
  };
  const bytes = (value) => (value >= 2 ** 30 ? `${value / 2 ** 30} GiB` : value >= 2 ** 20 ? `${value / 2 ** 20} MiB` : `${value / 2 ** 10} KiB`);
  const low = 4 ** Math.floor(Math.log2(Math.min(...sizes)) / 2);
  const high = 4 ** Math.ceil(Math.log2(Math.max(...sizes) * 1.01) / 2);
  const ticks = [];
  for (let at = low; at <= high; at *= svg.parentNode.clientWidth < 560 ? 16 : 4) ticks.push(at);
  const chart = new Chart(svg, { low, high, log: true, ticks, format: bytes, label: "working set, all threads together" }, { low: nice(Math.min(...rates) / 1.2), high: nice(Math.max(...rates) * 1.2, true), log: true, label: "read, GB/s" });
  for (const { machine, reads } of shown) {
    const own = colour(machine);
    chart.line(reads.map((one) => [one[2], one[3][0]]), own, machine.look.dash, 2);
    for (const one of reads) {
      chart.whisker(one[2], Math.max(one[3][1], chart.y.low), Math.min(one[3][2], chart.y.high), own);
      const [x, y] = chart.point(one[2], one[3][0], machine.look.shape, own, true, 0.9);
      const spot = chart.points.lastChild;
      make("title", {}, spot).textContent = `${machine.letter} ${one[1]}, ${bytes(one[2])}: ${span(one[3], " GB/s")}`;
      chart.label(`${one[1]} ${digits(one[3][0])}`, [[x + 8, y - 6, "start"], [x - 8, y - 6, "end"], [x + 8, y + 14, "start"], [x - 8, y + 14, "end"]], { fill: own, "font-size": 11 });
    }
    const last = reads[reads.length - 1];
    chart.label(machine.letter, [[chart.X(last[2]) + 10, chart.Y(last[3][0]) + 4, "start"]], { fill: own, "font-weight": 700 });
  }
  tell("readssaid", `Read bandwidth on ${threadsSaid()}, of several patterns the fastest; whiskers: 95 % intervals.`);
}
