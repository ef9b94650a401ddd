// The table of kernels, a column for every machine, and sorting for all tables.
const METRICS = {
  percent: { name: "% of roof", of: (row) => row[ROW.percent] && row[ROW.percent][0], said: (row) => (row[ROW.percent] ? number(row[ROW.percent][0]) : "-"), up: true },
  gflops: { name: "GFLOP/s", of: (row) => row[ROW.gflops][0], said: (row) => number(row[ROW.gflops][0]), up: true },
  gbps: { name: "GB/s", of: (row) => row[ROW.gbps], said: (row) => number(row[ROW.gbps]), up: true },
  seconds: { name: "time", of: (row) => row[ROW.seconds], said: (row) => time(row[ROW.seconds]) },
  ratio: { name: "times A's speed", of: (row) => row[ROW.outcome] && row[ROW.outcome][0], said: (row) => (row[ROW.outcome] ? `${number(row[ROW.outcome][0])} ${SIGNS[row[ROW.outcome][3]]}` : "-"), up: true },
  verdict: { name: "verdict", of: (row) => row[ROW.verdict], said: (row) => row[ROW.verdict] },
};
const SIGNS = { faster: "+", slower: "\u2212", same: "=", "can't tell": "?" };
const TONES = { faster: "good", slower: "bad", same: "", "can't tell": "unsure", "above its roof": "bad" };
const FIXED = [["operation", 0], ["types", 1], ["whose", 2], ["dims", 5], ["layer", 6], ["class", 3]];
const MOST_ROWS = 400;

// Machines that have a row of what is chosen; all, where none has.
function tabled() {
  const found = visible().filter((machine) => machine.rows.some(passes));
  return found.length ? found : visible();
}

// [key's number, by machine its row or undefined]
function pivoted() {
  const found = new Map();
  const shown = tabled();
  shown.forEach((machine, place) => {
    for (const row of machine.rows) {
      if (!passes(row)) continue;
      if (!found.has(row[ROW.key])) found.set(row[ROW.key], new Array(shown.length));
      found.get(row[ROW.key])[place] = row;
    }
  });
  return sortedRows([...found.entries()], shown);
}

function sortedRows(entries, shown) {
  const [name, direction] = state.sort.split(".");
  if (!name) return entries;
  const place = shown.findIndex((machine) => machine.letter === name);
  const fixed = FIXED.find(([one]) => one === name);
  const value = ([key, rows]) => (fixed ? data.keys[key][fixed[1]] : rows[place] && METRICS[state.show].of(rows[place]));
  if (!fixed && place < 0) return entries;
  return entries.sort((a, b) => (direction === "down" ? -1 : 1) * ordered(value(a), value(b), direction));
}

// What is missing comes last in either direction.
function ordered(a, b, direction) {
  const none = (one) => one === undefined || one === 0 || one === "-" || one === "";
  if (none(a) || none(b)) return (none(a) - none(b)) * (direction === "down" ? -1 : 1);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function drawRows() {
  const table = document.getElementById("rows");
  const shown = tabled();
  const entries = pivoted();
  const head = element("thead");
  const top = element("tr", "", head);
  for (const name of [...FIXED.map(([one]) => one), ...shown.map((one) => one.letter)]) {
    const cell = element("th", "", top);
    cell.scope = "col";
    const machine = shown.find((one) => one.letter === name);
    if (machine) cell.className = "n";
    const [sorted, direction] = state.sort.split(".");
    if (sorted === name) cell.setAttribute("aria-sort", direction === "down" ? "descending" : "ascending");
    const button = element("button", machine ? `${name} ${METRICS[state.show].name}` : name, cell);
    button.type = "button";
    button.addEventListener("click", () => {
      const first = machine && METRICS[state.show].up ? "down" : "up";
      const other = first === "up" ? "down" : "up";
      change({ sort: sorted !== name ? `${name}.${first}` : direction === first ? `${name}.${other}` : "" });
    });
  }
  const body = element("tbody");
  for (const [key, rows] of entries.slice(0, MOST_ROWS)) {
    const line = element("tr", "", body);
    line.dataset.key = key;
    if (key === state.pick) line.className = "picked";
    for (const [name, at] of FIXED) element("td", data.keys[key][at], line).className = name === "layer" ? "" : "w";
    shown.forEach((machine, place) => kernelCell(rows[place], line));
  }
  table.replaceChildren(head, body);
  const cut = entries.length > MOST_ROWS ? `; the first ${MOST_ROWS} are shown, the CSV has all` : "";
  const hidden = new Set(machines.flatMap((machine) => machine.rows.filter(sought).map((row) => row[ROW.key]))).size - entries.length;
  const more = hidden ? `; ${hidden} more ${hidden === 1 ? "is" : "are"} switched off` : "";
  tell("counted", `${plural(entries.length, "kernel")} on ${threadsSaid()}${more}${cut}. ${counts(shown)}`);
  tell("rowsnotes", `${METRICS[state.show].name} of every machine; the small figure is half of its 95 % interval. Click a row to find it in the chart.${machines.length > 1 ? ` Against ${machines[0].letter}: + faster, \u2212 slower, = same, ? can't tell.` : ""}`);
}

function kernelCell(row, line) {
  const cell = element("td", row ? METRICS[state.show].said(row) : "-", line);
  cell.classList.add("n");
  if (!row) return;
  const figures = { percent: row[ROW.percent], gflops: row[ROW.gflops] }[state.show];
  if (figures && figures[1] < figures[2]) element("small", ` \u00b1${number((100 * Math.max(figures[2] - figures[0], figures[0] - figures[1])) / figures[0])} %`, cell);
  const tone = state.show === "ratio" ? row[ROW.outcome] && TONES[row[ROW.outcome][3]] : state.show === "verdict" ? TONES[row[ROW.verdict]] : "";
  if (tone) cell.classList.add(tone);
}

function counts(shown) {
  const said = shown.slice(0).filter((machine) => machine.index).map((machine) => {
    const words = {};
    for (const row of machine.rows) if (passes(row) && row[ROW.outcome]) words[row[ROW.outcome][3]] = (words[row[ROW.outcome][3]] || 0) + 1;
    const list = Object.keys(SIGNS).filter((word) => words[word]).map((word) => `${words[word]} ${word}`);
    return list.length ? `${machine.letter} against ${machines[0].letter}: ${list.join(", ")}` : "";
  });
  return said.filter(Boolean).join("; ");
}

function element(name, said, parent) {
  const node = document.createElement(name);
  if (said !== undefined && said !== "") node.textContent = said;
  if (parent) parent.appendChild(node);
  return node;
}

// Tables that came with the page: a click on a heading sorts them, a third one restores their order.
function sortable(table) {
  const body = table.tBodies[0];
  const given = [...body.rows];
  [...table.tHead.rows[0].cells].forEach((cell, at) => {
    const button = element("button");
    button.type = "button";
    if (!cell.textContent.trim()) button.setAttribute("aria-label", "sort by name");
    button.append(...cell.childNodes);
    cell.appendChild(button);
    button.addEventListener("click", () => {
      const before = cell.getAttribute("aria-sort");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      const first = cell.classList.contains("n") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const next = before === first ? second : before === second ? null : first;
      if (next) cell.setAttribute("aria-sort", next);
      const read = (row) => amount(row.cells[at].textContent);
      const sign = next === "descending" ? -1 : 1;
      const rows = next ? [...given].sort((a, b) => sign * ordered(read(a), read(b), sign < 0 ? "down" : "up")) : given;
      body.append(...rows);
    });
  });
}

// "12.3 ms +-2 %" as seconds, "1.85 +" as 1.85, words as they are.
function amount(text) {
  const found = /^([\d.,]+(?:e[+-]?\d+)?)\s*(ns|us|\u00b5s|ms|s)?\b/.exec(text.trim());
  if (!found) return text.trim();
  return Number(found[1].replace(/,/g, "")) * ({ ns: 1e-9, us: 1e-6, "\u00b5s": 1e-6, ms: 1e-3 }[found[2]] || 1);
}

function csv() {
  const shown = tabled();
  const quoted = (value) => {
    let text = String(value === undefined || value === null ? "" : value);
    if (/^[=+@-]/.test(text) && !/^-?[\d.]+(e-?\d+)?$/.test(text)) text = `'${text}`;
    return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const lines = [data.headings];
  for (const [key, rows] of pivoted()) {
    rows.forEach((row, place) => {
      if (!row) return;
      const remark = row[ROW.remark] < 0 ? "" : data.remarks[row[ROW.remark]];
      lines.push([...FIXED.map(([, at]) => data.keys[key][at]), data.keys[key][KEY.role], `${shown[place].letter} ${shown[place].name}`, row[ROW.level], row[ROW.intensity], ...row[ROW.gflops], row[ROW.gbps], row[ROW.seconds], ...(row[ROW.percent] || ["", "", ""]), row[ROW.verdict], row[ROW.grade], remark, ...(row[ROW.outcome] || ["", "", "", ""])]);
    });
  }
  return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}
