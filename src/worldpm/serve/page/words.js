// What the page says, by language; {name} stands for a value.
const WORDS = {
  en: {
    tagline: "Which reply would people prefer?", prompt: "Prompt", reply: "Reply",
    compare: "Compare", add: "Add a reply", example: "Show me an example", remove: "Remove",
    keys: "Ctrl + Enter compares.", key: "Server key", ranking: "Ranking",
    what: "What does a score mean?",
    means: "A score is in log-odds: a reply that scores 1 higher than another is preferred with"
      + " probability 73 %, 2 higher with 88 %. “Best” is the probability that a reply is chosen"
      + " among all shown.",
    not: "Only differences between replies to one prompt mean something. A score is not a grade:"
      + " it does not say that a reply is true, safe or good, and models like this one have tastes"
      + " of style and length.",
    busy: "Scoring…", done: "Ranked.", best: "best", score: "score", tokens: "tokens",
    cut: "Too long for the model: its oldest tokens were cut.",
    control: "Holds typed control tokens; the model reads them as plain text.",
    pairs: "Probability that the reply in the row beats the one in the column",
    model: "Model", few: "Write a prompt and at least two replies.",
    needKey: "This server needs its key.", away: "The server does not answer.",
    wait: "The server is busy; try again in {n} s.", other: "中文",
    trace: "Show the score at every token",
    traceMeans: "The colour is what a token changed in the score of the text read so far. The model"
      + " learnt to score whole replies only: take it as a hint of what moved it, not as a reason.",
    low: "lowers it by {n} or more", high: "raises it by {n} or more", change: "change",
    parts: "Parts from {other} at token {n}.", token: "token {n} of {all}", walk: "Tokens of {own}",
    characters: "characters", longest: "longest",
    lengthSame: "Length alone puts the same reply first: from this ranking you cannot tell whether"
      + " the model judged more than length.",
    lengthOther: "Length alone would put {other} first: the model did not just take the longest.",
    lengthTie: "Several replies are the longest: length alone puts none of them first.",
    file: "Many prompts: a file of JSON lines",
    fileHint: "Choose a file or drop it on the page. A line is {\"prompt\": …, \"responses\": […]};"
      + " \"replies\" will do too. At most {n} lines.",
    fileChoose: "File of JSON lines", stop: "Stop", again: "Score the file again",
    download: "Download the results", fileTable: "Results by line", progress: "{n} of {all} lines",
    fileBusy: "Scoring {name}…",
    fileDone: "{name}: {good} lines ranked, {bad} with an error, {left} not scored. The longest"
      + " reply is the best in {same} of {told} lines that have one longest reply.",
    fileCut: "Only the first {n} lines were read: the file has more. “worldpm score” takes files of"
      + " any size.",
    fileBlank: "Blank lines passed over: {n}.", fileEmpty: "{name} holds no line.",
    fileUnread: "{name} cannot be read.", line: "Line", bestReply: "Best reply", pBest: "Best, chance",
    longestBest: "Longest is best", yes: "yes", no: "no", severalLongest: "several are longest",
    notScored: "not scored", notText: "Not UTF-8.", notJson: "Not JSON.",
    notRow: "Needs “prompt”, and a list “responses” or “replies”.",
    fewReplies: "Fewer than two replies.", busyLong: "The server stayed busy.",
  },
  zh: {
    tagline: "人们会更喜欢哪个回答？", prompt: "提问", reply: "回答", compare: "比较",
    add: "再加一个回答", example: "看一个例子", remove: "移除", keys: "按 Ctrl + Enter 比较。",
    key: "服务器密钥", ranking: "排名", what: "分数是什么意思？",
    means: "分数的单位是对数几率：比另一个回答高 1 分，被偏好的概率是 73 %；高 2 分是 88 %。"
      + "“最佳”是它在所列回答中被选中的概率。",
    not: "只有同一提问下各回答的分差才有意义。分数不是评语：它不表示回答真实、安全或优秀，"
      + "这类模型对文风和长度也有偏好。",
    busy: "正在打分…", done: "已排名。", best: "最佳", score: "分数", tokens: "词元",
    cut: "超出模型长度：最早的词元已被截去。", control: "含有手打的控制词元；模型只当作普通文本。",
    pairs: "行中的回答胜过列中的回答的概率", model: "模型", few: "请写下提问和至少两个回答。",
    needKey: "此服务器需要密钥。", away: "服务器没有回应。", wait: "服务器繁忙；请在 {n} 秒后重试。",
    other: "English", trace: "显示每个词元处的分数",
    traceMeans: "颜色表示一个词元使已读文本的分数改变了多少。模型只学过给整个回答打分："
      + "这只提示什么影响了它，并不是理由。",
    low: "降低 {n} 或更多", high: "提高 {n} 或更多", change: "变化",
    parts: "从第 {n} 个词元起与 {other} 不同。", token: "第 {n} 个词元，共 {all} 个", walk: "{own} 的词元",
    characters: "字符", longest: "最长",
    lengthSame: "只看长度也会把同一个回答排在第一：单凭这次排名，看不出模型是否考虑了长度以外的东西。",
    lengthOther: "只看长度会把 {other} 排在第一：模型并非只选最长的。",
    lengthTie: "有几个回答同样最长：只看长度分不出第一。",
    file: "许多提问：JSON Lines 文件",
    fileHint: "选择文件，或把它拖到页面上。每行是 {\"prompt\": …, \"responses\": […]}；"
      + "也可以用 \"replies\"。最多 {n} 行。",
    fileChoose: "JSON Lines 文件", stop: "停止", again: "重新给文件打分", download: "下载结果",
    fileTable: "逐行结果", progress: "{n} / {all} 行", fileBusy: "正在给 {name} 打分…",
    fileDone: "{name}：{good} 行已排名，{bad} 行有错误，{left} 行未打分。"
      + "在有唯一最长回答的 {told} 行中，{same} 行的最佳回答就是最长的。",
    fileCut: "只读了前 {n} 行：文件还有更多。“worldpm score” 可处理任意大小的文件。",
    fileBlank: "跳过的空行：{n}。", fileEmpty: "{name} 没有内容。", fileUnread: "无法读取 {name}。",
    line: "行", bestReply: "最佳回答", pBest: "最佳概率", longestBest: "最长即最佳", yes: "是", no: "否",
    severalLongest: "几个同样最长", notScored: "未打分", notText: "不是 UTF-8。", notJson: "不是 JSON。",
    notRow: "需要 “prompt”，以及列表 “responses” 或 “replies”。", fewReplies: "回答少于两个。",
    busyLong: "服务器一直繁忙。",
  },
};
const EXAMPLES = {
  en: ["How long do I boil an egg?",
    "Seven minutes for a soft yolk, ten for a hard one. Start counting when the water boils,"
      + " then cool the egg under cold water.",
    "Eggs are nice.", "It depends."],
  zh: ["鸡蛋要煮多久？", "水开后计时：溏心七分钟，全熟十分钟，然后用冷水冲凉。", "鸡蛋很好吃。", "看情况。"],
};
