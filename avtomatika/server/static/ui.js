// The operations page: a light view over the API. The token is kept in this tab. Every text from a job is set as text,
// never as markup.
const api = new URL(`../${document.body.dataset.api}/v1/`, location.href);
const PARTS = { jobs: "Jobs", approvals: "Approvals", quarantine: "Quarantine", workers: "Workers", queues: "Queues", schedules: "Schedules" };
const STATUSES = ["pending", "running", "waiting_for_worker", "waiting_for_human", "waiting_for_parallel_tasks", "waiting_for_sub_job", "awaiting_retry", "finished", "failed", "quarantined", "cancelled"];
const EVERY_MS = 2000;
const KEY = "avtomatika-client-token";
const main = document.querySelector("main");
let timer, shown = 0;

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

async function ask(path, { method = "GET", body, as = "json", base = api } = {}) {
  const answer = await fetch(new URL(path, base), {
    method,
    headers: { "X-Client-Token": sessionStorage.getItem(KEY) ?? "", ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, told.error ?? `the engine answered ${answer.status}`);
  }
  return as === "json" ? answer.json() : answer.text();
}

const moment = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString() : "");
const age = (seconds) => {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  return past < 90 ? `${past.toFixed(0)} s` : past < 5400 ? `${(past / 60).toFixed(0)} min` : past < 129600 ? `${(past / 3600).toFixed(0)} h` : `${(past / 86400).toFixed(0)} d`;
};
const status = (word) => element("span", { class: `status ${word}` }, word);
const link = (job) => element("a", { class: "mono", href: `#job/${encodeURIComponent(job)}` }, job);

function table(heads, rows, empty) {
  if (!rows.length) return element("p", {}, empty);
  const cell = (value) => element("td", typeof value === "number" ? { class: "number" } : {}, value instanceof Node ? value : String(value ?? ""));
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", {}, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell)))));
}

function action(label, run) {
  return element("button", { onclick: async (event) => {
    event.target.disabled = true;
    try { await run(); } catch (error) { complain(error); }
    show();
  } }, label);
}

const filters = { status: "", blueprint: "" };

function jobRows(jobs) {
  return jobs.map((job) => [link(job.id), job.blueprint_name, status(job.status), job.current_state,
    element("progress", { max: 1, value: job.progress }), age(job.created_at), job.error_message ?? job.progress_message ?? ""]);
}
const JOB_HEADS = ["Job", "Blueprint", "Status", "State", "Progress", "Age", "What it says"];

const parts = {
  async jobs() {
    const query = new URLSearchParams({ limit: "100" });
    for (const [name, value] of Object.entries(filters)) if (value) query.set(name, value);
    const [jobs, blueprints] = await Promise.all([ask(`jobs?${query}`), ask("blueprints")]);
    const select = (name, label, words) => element("label", {}, `${label} `, element("select", { name, onchange: (event) => { filters[name] = event.target.value; show(); } },
      element("option", { value: "" }, "all"), ...words.map((word) => element("option", { value: word, selected: filters[name] === word }, word))));
    return [element("div", { class: "filters" }, select("status", "Status", STATUSES), select("blueprint", "Blueprint", blueprints.map((one) => one.name))),
      table(JOB_HEADS, jobRows(jobs), "No jobs.")];
  },
  async approvals() {
    const jobs = await ask("jobs?status=waiting_for_human&limit=100");
    const rows = jobs.map((job) => [link(job.id), job.blueprint_name, job.approval?.message ?? "", moment(job.approval?.expires_at),
      element("span", {}, ...(job.approval?.decisions ?? []).map((word) => action(word, () => decide(job.id, word))))]);
    return [table(["Job", "Blueprint", "Question", "Until", "Decision"], rows, "Nobody is asked anything.")];
  },
  async quarantine() {
    const jobs = await ask("jobs?status=quarantined&limit=100");
    const rows = jobs.map((job) => [link(job.id), job.blueprint_name, job.current_state, job.error_message ?? "", age(job.updated_at),
      action("Requeue", () => ask(`jobs/${encodeURIComponent(job.id)}/requeue`, { method: "POST" }))]);
    return [table(["Job", "Blueprint", "State", "Why", "Since", ""], rows, "Nothing is in quarantine.")];
  },
  async workers() {
    const rows = (await ask("workers")).map((worker) => [worker.worker_id, worker.worker_type, worker.status, worker.skills.join(", "),
      worker.running_tasks, worker.max_concurrent_tasks ?? "", age(worker.last_seen_at)]);
    return [table(["Worker", "Type", "Status", "Skills", "Tasks", "At most", "Heard of"], rows, "No workers.")];
  },
  async queues() {
    const board = await ask("dashboard");
    const rows = Object.entries(board.tasks.queues).map(([name, queue]) => [name, queue.waiting, queue.oldest_at ? age(queue.oldest_at) : ""]);
    const counts = Object.entries(board.jobs).map(([name, count]) => [name, count]);
    return [table(["Queue", "Waiting", "Oldest"], rows, "No task waits for a worker."), element("h2", {}, "Jobs of all clients"), table(["Status", "Jobs"], counts, "")];
  },
  async schedules() {
    const rows = (await ask("schedules")).map((one) => [one.name, one.blueprint_name, `${one.rule}${one.enabled ? "" : " (off)"}`, one.timezone,
      one.next_at.map(moment).slice(0, 3).join(" · "), one.last_job_id ? link(one.last_job_id) : ""]);
    return [table(["Schedule", "Blueprint", "When", "Time zone", "Next", "Last job"], rows, "No schedules.")];
  },
};

async function decide(job, decision) {
  await ask(`webhooks/approval/${encodeURIComponent(job)}`, { method: "POST", body: { decision, by: "operations page" }, base: new URL("./", location.href) });
}

async function showJob(id) {
  const path = `jobs/${encodeURIComponent(id)}`;
  const job = await ask(path);
  const [drawing, events, reasons] = await Promise.all([
    ask(`${path}/graph`, { as: "text" }).catch(() => ""), ask(`${path}/history`).catch(() => []), ask(`${path}/explain`).catch(() => null)]);
  const graph = element("div", { class: "graph" });
  // The engine's own drawing; parsed as XML, in which a script of a label would be text.
  if (drawing) graph.append(document.importNode(new DOMParser().parseFromString(drawing, "image/svg+xml").documentElement, true));
  const isLive = !["finished", "failed", "quarantined", "cancelled", "error"].includes(job.status);
  const buttons = element("p", { class: "buttons" },
    ...(job.approval?.decisions ?? []).map((word) => action(word, () => decide(id, word))),
    ["failed", "quarantined", "error"].includes(job.status) ? action("Requeue", () => ask(`${path}/requeue`, { method: "POST" })) : null,
    isLive ? action("Cancel", () => ask(`${path}/cancel`, { method: "POST" })) : null);
  const longest = Math.max(1, ...events.map((event) => event.duration_ms ?? 0));
  const timeline = events.map((event) => [element("span", { class: "whole" }, new Date(event.timestamp).toLocaleTimeString()), event.event_type, event.state ?? "", event.worker_id ?? "",
    event.duration_ms == null ? "" : element("div", {}, `${event.duration_ms} ms`, element("div", { class: "bar" }, element("i", { style: `width:${(100 * event.duration_ms) / longest}%` })))]);
  const json = (name, value) => element("details", { open: name === "Result" }, element("summary", {}, name), element("pre", {}, JSON.stringify(value, null, 2)));
  return [element("h2", {}, `${job.blueprint_name} `, status(job.status)), element("p", { class: "mono" }, id), buttons,
    job.error_message ? element("p", { role: "status" }, job.error_message) : null,
    job.approval ? element("p", {}, job.approval.message) : null,
    ...(reasons && isLive ? reasons.reasons.map((reason) => element("p", {}, reason)) : []),
    element("progress", { max: 1, value: job.progress }), graph,
    element("div", { class: "columns" },
      element("section", {}, element("h2", {}, "Timeline"), table(["At", "Event", "State", "Worker", "Duration"], timeline, "No events yet.")),
      element("section", {}, element("h2", {}, "Data"), isLive ? null : json("Result", job.result), json("Data", job.state_history), json("Initial data", job.initial_data)))].filter(Boolean);
}

function complain(error) {
  const trouble = document.getElementById("trouble");
  trouble.textContent = error ? error.message : "";
  trouble.hidden = !error;
}

async function show() {
  clearTimeout(timer);
  const mine = ++shown;
  if (!sessionStorage.getItem(KEY)) return;
  const [part, id] = location.hash.slice(1).split("/");
  const current = part === "job" ? "jobs" : part in PARTS ? part : "jobs";
  document.querySelector("nav").replaceChildren(...Object.entries(PARTS).map(([name, label]) =>
    element("a", { href: `#${name}`, "aria-current": name === current && "page" }, label)));
  try {
    const content = part === "job" && id ? await showJob(decodeURIComponent(id)) : await parts[current]();
    if (mine !== shown) return; // something else was asked for meanwhile
    // A list that somebody is choosing from, or details that are open, stay as they are.
    const open = [...main.querySelectorAll("details")].map((one) => one.open);
    if (!main.contains(document.activeElement) || document.activeElement.tagName !== "SELECT") main.replaceChildren(...content);
    main.querySelectorAll("details").forEach((one, index) => { if (index < open.length) one.open = open[index]; });
    complain(null);
  } catch (error) {
    if (mine !== shown) return;
    complain(error);
    if (error.status === 401) return leave(false);
  }
  if (!document.hidden) timer = setTimeout(show, EVERY_MS);
}

function enter(token) {
  sessionStorage.setItem(KEY, token);
  document.getElementById("enter").hidden = true;
  document.getElementById("leave").hidden = false;
  show();
}

function leave(quietly = true) {
  clearTimeout(timer);
  shown++;
  sessionStorage.removeItem(KEY);
  document.getElementById("enter").hidden = false;
  document.getElementById("leave").hidden = true;
  document.querySelector("nav").replaceChildren();
  main.replaceChildren(element("p", {}, "Enter a client token."));
  if (quietly) complain(null);
}

document.getElementById("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  const token = field.value;
  field.value = "";
  enter(token);
});
document.getElementById("leave").addEventListener("click", () => leave());
addEventListener("hashchange", () => { document.activeElement?.blur?.(); show(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) show(); });
fetch(new URL("status", location.href)).then((answer) => answer.json()).then((told) => {
  document.getElementById("engine").textContent = `${told.instance_id ?? ""} · ${told.version ?? ""}`;
}).catch(() => {});
if (sessionStorage.getItem(KEY)) enter(sessionStorage.getItem(KEY));
