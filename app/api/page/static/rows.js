// Tables as text: reads CSV, TSV, JSONL and plain lines, and writes CSV. Knows nothing of the page.

const LIKELY = ["text", "review", "comment", "body", "content", "message", "sentence", "tweet", "feedback", "title"];

export function readRows(source, name = "") {
  const text = source.replace(/^\ufeff/, "");
  const kind = name.toLowerCase().match(/\.(csv|tsv|jsonl|ndjson|txt)$/)?.[1] ?? guessKind(text);
  if (kind === "jsonl" || kind === "ndjson") return readJsonLines(text);
  if (kind === "txt") return table(["text"], text.split(/\r?\n/).filter((line) => line.trim()).map((line) => [line]));
  const [head, ...rows] = readSeparated(text, kind === "tsv" ? "\t" : delimiterOf(text));
  if (!head) throw new Error("There are no rows.");
  const uneven = rows.findIndex((row) => row.length !== head.length);
  if (uneven >= 0) throw new Error(`Row ${uneven + 1} has ${rows[uneven].length} cells, but the header has ${head.length}.`);
  return table(head, rows);
}

// The columns of a file and its delimiter, from its beginning; null if they cannot be seen there.
export function peek(beginning, name) {
  const kind = name.toLowerCase().match(/\.(csv|tsv|jsonl|ndjson)$/)?.[1];
  const text = beginning.replace(/^\ufeff/, "");
  if (!kind) return null;
  try {
    const { columns, column } = readRows(text.slice(0, text.lastIndexOf("\n") + 1), name);
    return { columns, likely: columns[column], delimiter: kind === "csv" ? delimiterOf(text) : "" };
  } catch { return null; }
}

function table(columns, rows) {
  if (!rows.length) throw new Error("There are no rows.");
  return { columns, rows, column: likelyColumn(columns, rows) };
}

function guessKind(text) {
  const first = text.trimStart();
  if (first.startsWith("{")) return "jsonl";
  const line = first.slice(0, first.indexOf("\n") >>> 0);
  if (line.includes("\t")) return "tsv";
  const cells = readSeparated(first.slice(0, 20000), delimiterOf(first));
  const headed = cells[0]?.some((cell) => LIKELY.includes(cell.trim().toLowerCase()));
  return headed ? "csv" : "txt";
}

function delimiterOf(text) {
  const line = text.slice(0, text.indexOf("\n") >>> 0);
  return [",", ";", "\t"].map((mark) => [line.split(mark).length, mark]).sort((a, b) => b[0] - a[0])[0][1];
}

// RFC 4180: quoted cells may have delimiters, line breaks and doubled quotes.
export function readSeparated(text, delimiter) {
  const rows = [];
  let row = [], cell = "", quoted = false, started = false;
  const endCell = () => { row.push(cell); cell = ""; started = false; };
  const endRow = () => { endCell(); if (row.length > 1 || row[0] !== "") rows.push(row); row = []; };
  for (let index = 0; index < text.length; index++) {
    const char = text[index];
    if (quoted) {
      if (char !== '"') cell += char;
      else if (text[index + 1] === '"') { cell += '"'; index++; }
      else quoted = false;
    } else if (char === '"' && !started) { quoted = started = true; }
    else if (char === delimiter) endCell();
    else if (char === "\n") endRow();
    else if (char === "\r" && text[index + 1] === "\n") continue;
    else { cell += char; started = true; }
  }
  if (quoted) throw new Error("A quoted cell has no end.");
  if (cell || row.length) endRow();
  return rows;
}

function readJsonLines(text) {
  const values = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (!line.trim()) continue;
    let value;
    try { value = JSON.parse(line); } catch { throw new Error(`Line ${index + 1} is not JSON.`); }
    if (typeof value === "string") value = { text: value };
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error(`Line ${index + 1} is not an object.`);
    values.push(value);
  }
  const columns = [...new Set(values.flatMap(Object.keys))];
  const asCell = (value) => (value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value));
  return table(columns, values.map((value) => columns.map((column) => asCell(value[column]))));
}

function likelyColumn(columns, rows) {
  const names = columns.map((name) => name.trim().toLowerCase());
  for (const name of LIKELY) if (names.includes(name)) return names.indexOf(name);
  const sample = rows.slice(0, 50);
  const lengths = columns.map((_, index) => sample.reduce((total, row) => total + row[index].length, 0));
  return lengths.indexOf(Math.max(...lengths));
}

// A cell that begins with one of these would be run as a formula by a spreadsheet.
const FORMULA = /^[=+\-@\t\r]/;

export function writeCsv(rows) {
  const cell = (value) => {
    let text = String(value ?? "");
    if (typeof value === "string" && FORMULA.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}
