// A prompt and two to eight replies -> POST v1/compare -> a ranking, with the score at every token
// where the server has it. Text reaches the page by textContent alone. The key stays in this tab's
// memory; "#key=..." in the address fills it in.
const MOST = 8;
const MOST_LINES = 1000; // of a file
const CONTROL = /<\|[a-z0-9_]{1,40}\|>/i;
const $ = (id) => document.getElementById(id);
let language = (navigator.languages || ["en"])[0].startsWith("zh") ? "zh" : "en";
let last = null; // {texts, answer} of what is shown
let status = [null, null]; // a word, or a text of the server's
let hasTraces = null; // whether the server has them; null until it has said so
const t = (word, values = {}) => Object.entries(values)
  .reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), WORDS[language][word]);

function make(kind, className, text) {
  const element = document.createElement(kind);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function addReply(text = "") {
  const box = make("div", "reply");
  const title = make("div", "title");
  const label = make("label");
  const area = make("textarea");
  const remove = make("button", "quiet", "×");
  area.rows = 3;
  area.dir = "auto";
  area.value = text;
  remove.type = "button";
  remove.addEventListener("click", () => {
    box.remove();
    number();
    $("add").focus();
  });
  title.append(label, remove);
  box.append(title, area);
  $("replies").append(box);
  number();
  return area;
}

function number() {
  const boxes = [...$("replies").children];
  boxes.forEach((box, i) => {
    const [label, area, remove] = ["label", "textarea", "button"].map((k) => box.querySelector(k));
    area.id = `reply-${i + 1}`;
    label.htmlFor = area.id;
    label.textContent = `${t("reply")} ${i + 1}`;
    remove.hidden = boxes.length <= 2;
    remove.setAttribute("aria-label", `${t("remove")}: ${t("reply")} ${i + 1}`);
  });
  $("add").hidden = boxes.length >= MOST;
}

function say(word, text = null) {
  status = [word, text];
  const good = ["busy", "done"].includes(word);
  $("status").className = good ? "" : "bad";
  $("status").textContent = text ?? (word ? t(word) : "");
}

// What is shown anew in another language, beside the document's own words.
const whenTranslated = [() => last && show()];

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.querySelectorAll("[data-t]")
    .forEach((e) => { e.textContent = t(e.dataset.t, { n: MOST_LINES.toLocaleString("en") }); });
  $("language").textContent = t("other");
  $("language").lang = language === "zh" ? "en" : "zh-CN";
  number();
  say(...status);
  whenTranslated.forEach((each) => each());
}

function headersOfRequest() {
  const headers = { "content-type": "application/json" };
  if ($("key").value) headers.authorization = `Bearer ${$("key").value}`;
  return headers;
}

function askForKey() {
  $("key-row").hidden = false;
  $("key").focus();
  say("needKey");
}

// What the server's refusal says, and where.
function refusalText({ error: { message, where } }) {
  return where ? `${where}: ${message}` : message;
}

async function compare() {
  const prompt = $("prompt").value;
  const texts = [...$("replies").querySelectorAll("textarea")].map((a) => a.value)
    .filter((text) => text.trim());
  if (!prompt.trim() || texts.length < 2) {
    say("few");
    return;
  }
  say("busy");
  $("go").disabled = true;
  const headers = headersOfRequest();
  try {
    if (hasTraces === null) {
      const info = await fetch("info", { headers });
      if (info.ok) {
        const { models, default_model: name } = await info.json();
        hasTraces = models[name].traces;
      }
    }
    const asked = { prompt, responses: texts, truncate: true };
    if (hasTraces) asked.trace = true; // one pass gives both, whether it is shown or not
    const body = JSON.stringify(asked);
    const response = await fetch("v1/compare", { method: "POST", headers, body });
    const answer = await response.json();
    if (response.status === 401) {
      askForKey();
    } else if (response.status === 429) {
      say("wait", t("wait", { n: response.headers.get("retry-after") || "1" }));
    } else if (!response.ok) {
      say(null, refusalText(answer));
    } else {
      last = { texts, answer };
      say("done");
      show();
      $("result").scrollIntoView({ block: "nearest" });
    }
  } catch {
    say("away");
  } finally {
    $("go").disabled = false;
  }
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;

// Where a text begins to differ from the best one, in whole characters.
function parting(text, best) {
  const [a, b] = [Array.from(text), Array.from(best)];
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i += 1;
  return [a.slice(0, i).join(""), a.slice(i).join("")];
}

// A text's length as people count it: by code points. What style alone would go by.
const lengthOf = (text) => Array.from(text).length;

// The places of the longest texts; several where they are equally long.
function longestOf(texts) {
  const lengths = texts.map(lengthOf);
  const most = Math.max(...lengths);
  return lengths.flatMap((length, i) => (length === most ? [i] : []));
}

// What "the longer one wins" says beside the model, in one sentence.
function lengthVerdict(longest, best) {
  if (longest.length > 1) return t("lengthTie");
  if (longest[0] === best) return t("lengthSame");
  return t("lengthOther", { other: `${t("reply")} ${longest[0] + 1}` });
}

const signed = (x) => `${x < 0 ? "" : "+"}${x.toFixed(4)}`;

// Tokens as they can be shown: those that hold parts of one character are one cell.
function cellsOf({ pieces, scores }) {
  const cells = [];
  pieces.forEach((text, last) => {
    if (text === "") return; // its character stands at a later token
    const before = cells.at(-1);
    const change = before ? scores[last] - before.score : null;
    cells.push({ text, last, score: scores[last], change });
  });
  return cells;
}

// The change that has the strongest colour: nine in ten are smaller, so that a jump at the end
// does not leave all others pale.
function scaleOf(maps) {
  const changes = maps.flat().filter((cell) => cell.change !== null && !CONTROL.test(cell.text))
    .map((cell) => Math.abs(cell.change)).sort((a, b) => a - b);
  return changes[Math.floor(0.9 * changes.length)] || 1;
}

const heat = (change, scale) => Math.max(-4, Math.min(4, Math.round((4 * (change ?? 0)) / scale)));

// The first token at which two replies differ; undefined where they are the same.
function partingToken(own, other) {
  const at = own.pieces.findIndex((piece, i) => piece !== other.pieces[i]);
  return at < 0 ? undefined : at;
}

// A reply's tokens with their colours into `shown`; the elements that tell of one of them.
function heatMap(shown, cells, scale, parting, own) {
  const spans = cells.map((cell) => {
    const span = make("span", CONTROL.test(cell.text) ? "closing" : "", cell.text);
    span.dataset.heat = heat(cell.change, scale);
    const change = cell.change === null ? "" : ` (${signed(cell.change)})`;
    span.title = `${signed(cell.score)}${change}`;
    return span;
  });
  const start = cells.findIndex((cell) => cell.last >= parting);
  if (start >= 0) spans[start].classList.add("parts");
  shown.replaceChildren(...spans);
  const slider = make("input");
  slider.type = "range";
  slider.max = cells.length - 1;
  slider.setAttribute("aria-label", t("walk", { own }));
  const told = make("p", "numbers");
  const pick = (i) => {
    const cell = cells[i];
    spans.forEach((span, j) => span.classList.toggle("now", i === j));
    slider.value = i;
    const change = cell.change === null ? "" : ` · ${t("change")} ${signed(cell.change)}`;
    const place = t("token", { n: cell.last + 1, all: cells.at(-1).last + 1 });
    told.textContent = `“${cell.text}” · ${place} · ${t("score")} ${cell.score.toFixed(4)}${change}`;
    slider.setAttribute("aria-valuetext", told.textContent);
  };
  slider.addEventListener("input", () => pick(Number(slider.value)));
  for (const kind of ["pointerover", "click"]) {
    shown.addEventListener(kind, (event) => {
      const i = spans.indexOf(event.target);
      if (i >= 0) pick(i);
    });
  }
  pick(cells.length - 1);
  return [slider, told];
}

function showLegend(scale) {
  $("low").textContent = t("low", { n: scale.toFixed(3) });
  $("high").textContent = t("high", { n: scale.toFixed(3) });
  $("swatches").replaceChildren(...[-4, -3, -2, -1, 0, 1, 2, 3, 4].map((step) => {
    const swatch = make("span");
    swatch.dataset.heat = step;
    return swatch;
  }));
}

function show() {
  const { texts, answer } = last;
  const best = texts[answer.ranking[0].index];
  const { traces } = answer;
  const traced = Boolean(traces) && $("trace").checked;
  const maps = traced ? traces.map(cellsOf) : [];
  const scale = scaleOf(maps);
  $("trace-row").hidden = !traces;
  $("legend").hidden = !traced;
  showLegend(scale);
  const longest = longestOf(texts);
  $("length").textContent = lengthVerdict(longest, answer.ranking[0].index);
  const bars = [];
  const rows = answer.ranking.map((each, place) => {
    const row = make("li", place ? "" : "best");
    const head = make("h3");
    const name = make("span", "", `${place + 1}. ${t("reply")} ${each.index + 1}`);
    if (longest.includes(each.index)) name.append(" ", make("span", "badge", t("longest")));
    head.append(name, make("span", "", `${percent(each.p_best)} ${t("best")}`));
    const bar = make("div", "bar");
    bar.setAttribute("aria-hidden", "true"); // the number stands above it
    const fill = make("div");
    bars.push([fill, each.p_best]);
    bar.append(fill);
    const text = texts[each.index];
    const numbers = `${t("score")} ${each.score.toFixed(4)} · ${each.tokens} ${t("tokens")}`
      + ` · ${lengthOf(text).toLocaleString("en")} ${t("characters")}`;
    row.append(head, bar, make("p", "numbers", numbers));
    if (each.truncated) row.append(make("p", "warn", t("cut")));
    if (CONTROL.test(text)) row.append(make("p", "warn", t("control")));
    const shown = make("p", "text");
    shown.dir = "auto";
    shown.tabIndex = 0; // a long one scrolls, by keyboard too
    row.append(shown);
    if (traced) {
      // The best one is held against the second, all others against the best.
      const other = answer.ranking[place ? 0 : 1].index;
      const at = partingToken(traces[each.index], traces[other]);
      const name = (i) => `${t("reply")} ${i + 1}`;
      if (at !== undefined) {
        shown.before(make("p", "numbers", t("parts", { n: at + 1, other: name(other) })));
      }
      row.append(...heatMap(shown, maps[each.index], scale, at, name(each.index)));
    } else {
      const [same, rest] = place ? parting(text, best) : ["", text];
      shown.append(same, same ? make("span", "differs", rest) : rest);
    }
    return row;
  });
  $("ranking").replaceChildren(...rows);
  $("pairs").replaceChildren(...(texts.length > 2 ? [matrix(answer.beats)] : []));
  $("meta").textContent = `${t("model")}: ${answer.model}`;
  $("result").hidden = false;
  requestAnimationFrame(() => {
    bars.forEach(([fill, p]) => { fill.style.width = `${100 * p}%`; });
  });
}

function matrix(beats) {
  const table = make("table");
  table.append(make("caption", "", t("pairs")));
  const head = make("tr");
  head.append(make("td"), ...beats.map((_, i) => column("col", i)));
  table.append(head, ...beats.map((row, i) => {
    const line = make("tr");
    line.append(column("row", i), ...row.map((p, j) => make("td", "", i === j ? "" : percent(p))));
    return line;
  }));
  return table;
}

function column(scope, i) {
  const cell = make("th", "", `${t("reply")} ${i + 1}`);
  cell.scope = scope;
  return cell;
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); compare(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("go").disabled) compare();
});
$("trace").addEventListener("change", show);
$("add").addEventListener("click", () => addReply().focus());
$("language").addEventListener("click", () => {
  language = language === "en" ? "zh" : "en";
  translate();
});
$("example").addEventListener("click", () => {
  const [prompt, ...replies] = EXAMPLES[language];
  $("prompt").value = prompt;
  $("replies").replaceChildren();
  replies.forEach((reply) => addReply(reply));
  compare();
});
