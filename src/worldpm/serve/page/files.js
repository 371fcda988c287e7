// A file of JSON lines -> POST v1/compare for each line, a few at a time -> a table, and a file of
// the results. Every line has its row: ranked, with its error, or not scored.
const AT_ONCE = 4;
const MOST_BYTES = 64_000_000; // that are read of a file
const MOST_WAITS = 20; // for a line that the server puts off
const SHOWN = 100; // characters of a prompt or reply in the table
let chosen = null; // the file
// {name, lines: [{number, asked, answer, error}], blank, cut, running, abort, link}; an error is a
// word or a text of the server's.
let job = null;

// The lines of a file as bytes, at most MOST_LINES of those that are not blank.
async function readLines(file) {
  const bytes = new Uint8Array(await file.slice(0, MOST_BYTES).arrayBuffer());
  const lines = [];
  let [start, number, blank, cut] = [0, 0, 0, false];
  while (start < bytes.length) {
    let end = bytes.indexOf(10, start);
    if (end < 0) end = bytes.length;
    number += 1;
    if (end === bytes.length && file.size > bytes.length) { // a part of a line
      cut = true;
      break;
    }
    const line = bytes.subarray(start, end);
    if (line.every((byte) => byte === 32 || byte === 9 || byte === 13)) blank += 1;
    else if (lines.length === MOST_LINES) {
      cut = true;
      break;
    } else lines.push(readLine(line, number));
    start = end + 1;
  }
  return { lines, blank, cut: cut || file.size > bytes.length };
}

function readLine(bytes, number) {
  const line = { number, asked: null, answer: null, error: null };
  let row;
  try {
    row = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    line.error = { word: error instanceof SyntaxError ? "notJson" : "notText" };
    return line;
  }
  const replies = row?.responses ?? row?.replies;
  const both = row?.responses !== undefined && row?.replies !== undefined;
  if (row?.prompt === undefined || !Array.isArray(replies) || both) {
    line.error = { word: "notRow" };
    return line;
  }
  line.asked = { prompt: row.prompt, responses: replies, truncate: true };
  if (replies.length < 2) line.error = { word: "fewReplies" };
  return line;
}

// A prompt or a reply, which may be messages, as one text.
function textOf(value) {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return "";
  return value.map((message) => message?.content).filter((text) => typeof text === "string")
    .join("\n\n");
}

const errorText = ({ word, text }) => text ?? t(word);
const ended = (line) => line.answer !== null || line.error !== null;

// Whether the best reply is the longest: true, false, or null where several are the longest.
function longestIsBest(line) {
  const longest = longestOf(line.asked.responses.map(textOf));
  return longest.length > 1 ? null : longest[0] === line.answer.ranking[0].index;
}

const pause = (seconds, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, 1000 * seconds);
  signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); });
});

async function scoreLine(line, own, body) {
  for (let waits = 0; waits < MOST_WAITS && !own.abort.signal.aborted; waits += 1) {
    const { signal } = own.abort;
    const rest = own.notBefore - Date.now(); // nobody asks while the server wants to be left alone
    if (rest > 0) await pause(rest / 1000, signal);
    if (signal.aborted) return;
    const response = await fetch("v1/compare",
      { method: "POST", headers: headersOfRequest(), body, signal });
    const answer = await response.json();
    if (response.ok) {
      line.answer = answer;
      return;
    }
    if (response.status === 401) {
      own.abort.abort();
      askForKey();
      return;
    }
    const seconds = Number(response.headers.get("retry-after"));
    if (response.status !== 429) {
      line.error = { text: refusalText(answer) };
      return;
    }
    const wait = Math.min(60, seconds > 0 ? seconds : 1);
    own.notBefore = Math.max(own.notBefore, Date.now() + 1000 * wait);
  }
  if (!own.abort.signal.aborted) line.error = { word: "busyLong" };
}

async function scoreFile(file) {
  job?.abort.abort();
  if (job?.link) URL.revokeObjectURL(job.link);
  const own = { name: file.name, lines: [], blank: 0, cut: false, running: true, unread: false,
    abort: new AbortController(), notBefore: 0, link: null };
  chosen = file;
  job = own;
  showFile();
  try {
    Object.assign(own, await readLines(file));
  } catch {
    own.unread = true;
  }
  if (own !== job) return;
  showFile();
  const waiting = own.lines.filter((line) => !ended(line)).values(); // shared by all workers
  const work = async () => {
    for (const line of waiting) {
      if (own.abort.signal.aborted) return;
      try {
        await scoreLine(line, own, JSON.stringify(line.asked));
      } catch {
        if (!own.abort.signal.aborted) line.error = { word: "away" };
      }
      if (own === job) showLine(line);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  own.running = false;
  if (own !== job) return; // another file came
  if (own.lines.length) {
    const rows = own.lines.map((line) => `${JSON.stringify(resultOf(line))}\n`);
    own.link = URL.createObjectURL(new Blob(rows, { type: "application/jsonl" }));
  }
  showFile();
}

// A line's result as it is downloaded, in one language whatever the page's.
function resultOf(line) {
  if (line.error) return { line: line.number, error: line.error.text ?? WORDS.en[line.error.word] };
  if (!line.answer) return { line: line.number, error: WORDS.en.notScored };
  const { model, scores, ranking: [best] } = line.answer;
  return { line: line.number, model, scores, best: best.index, p_best: best.p_best,
    longest_is_best: longestIsBest(line) };
}

function shorten(text) {
  const all = Array.from(text.slice(0, 2 * SHOWN + 2));
  return all.length > SHOWN ? `${all.slice(0, SHOWN).join("")}…` : all.join("");
}

function cellsOfLine(line) {
  const prompt = make("td", "", shorten(textOf(line.asked?.prompt)));
  prompt.dir = "auto";
  const number = make("th", "number", line.number);
  number.scope = "row";
  if (!line.answer) {
    const told = line.error ? errorText(line.error) : job.running ? "…" : t("notScored");
    const cell = make("td", line.error ? "bad" : "", told);
    cell.colSpan = 4;
    return [number, prompt, cell];
  }
  const [best] = line.answer.ranking;
  const reply = make("td", "", shorten(textOf(line.asked.responses[best.index])));
  reply.dir = "auto";
  const same = longestIsBest(line);
  return [number, prompt, reply, make("td", "number", percent(best.p_best)),
    make("td", "number", best.score.toFixed(4)),
    make("td", "", t(same === null ? "severalLongest" : same ? "yes" : "no"))];
}

function showLine(line) {
  $("file-rows").children[job.lines.indexOf(line)].replaceChildren(...cellsOfLine(line));
  showProgress();
}

function showProgress() {
  const [n, all] = [job.lines.filter(ended).length, job.lines.length];
  $("file-progress").max = all || 1;
  $("file-progress").value = n;
  $("file-count").textContent = t("progress", { n, all });
}

function summary() {
  const { name, lines, blank, cut, running, unread } = job;
  if (unread) return t("fileUnread", { name });
  if (running) return t("fileBusy", { name });
  if (!lines.length && !cut) return t("fileEmpty", { name });
  const ranked = lines.filter((line) => line.answer);
  const told = ranked.map(longestIsBest).filter((same) => same !== null);
  const bad = lines.filter((line) => line.error).length;
  const said = [t("fileDone", { good: ranked.length, bad, name,
    left: lines.length - ranked.length - bad, told: told.length,
    same: told.filter(Boolean).length })];
  if (cut) said.push(t("fileCut", { n: lines.length.toLocaleString("en") }));
  if (blank) said.push(t("fileBlank", { n: blank }));
  return said.join(" ");
}

function showFile() {
  if (!job) return;
  $("file-rows").replaceChildren(...job.lines.map((line) => {
    const row = make("tr");
    row.append(...cellsOfLine(line));
    return row;
  }));
  $("file-scroll").hidden = !job.lines.length;
  $("file-progress-row").hidden = !job.lines.length;
  $("file-stop").hidden = !job.running;
  $("file-again").hidden = job.running;
  $("file-link").hidden = !job.link;
  if (job.link) {
    $("file-download").href = job.link;
    $("file-download").download = `${job.name.replace(/\.[a-z]+$/i, "")}.scores.jsonl`;
  }
  showProgress();
  $("file-status").textContent = summary();
}

whenTranslated.push(showFile);
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) scoreFile(file);
});
$("file").addEventListener("click", () => { $("file").value = ""; }); // the same one may come again
$("file-stop").addEventListener("click", () => {
  job.abort.abort();
  $("file").focus(); // the button goes
});
$("file-again").addEventListener("click", () => {
  scoreFile(chosen);
  $("file-stop").focus();
});
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!holdsFiles(event)) return; // text that is dragged into a field
  event.preventDefault();
  $("file-part").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("file-part").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  $("file-part").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) scoreFile(file);
});
