// Tables and numbers of a whole engine.

const COLUMNS = [
  ["created", "created"], ["id", ""], ["blueprint", "blueprint"], ["status", "status"], ["state", "state"],
  ["progress", "progress"], ["took", "took"], ["", ""],
];

function jobTable({ model, signal, ask, trouble }) {
  const set = (change) => {
    model.set("query", { ...model.get("query"), page: 0, ...change });
    model.save_changes();
  };
  const query = () => model.get("query");
  const status = h("select", { "aria-label": "status", onchange: () => set({ status: status.value }) });
  const blueprint = h("select", { "aria-label": "blueprint", onchange: () => set({ blueprint: blueprint.value }) });
  let typing = 0;
  const text = h("input", { type: "search", placeholder: "id, blueprint or state", "aria-label": "search", oninput: () => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ text: text.value }), 200);
  } });
  signal.addEventListener("abort", () => clearTimeout(typing));
  const count = h("span", { class: "avt-quiet", role: "status" });
  const turn = (label, step) => h("button", { class: "avt-button", type: "button", "aria-label": label, onclick: () => set({ page: (model.get("jobs").page ?? 0) + step }) }, step < 0 ? "‹" : "›");
  const before = turn("previous page", -1), after = turn("next page", 1), place = h("span", {});
  const head = h("tr", {}), body = h("tbody", {});
  const element = h("table", { class: "avt-table", "aria-label": "jobs" }, h("thead", {}, head), body);

  const options = (select, names, chosen, all) => {
    const wanted = [["", all], ...names];
    if (JSON.stringify(wanted) !== select.dataset.names) {
      select.dataset.names = JSON.stringify(wanted);
      fill(select, wanted.map(([value, label]) => h("option", { value }, label)));
    }
    select.value = chosen;
  };
  follow(model, signal, ["query"], () => {
    const { sort, descending } = query();
    if (document.activeElement !== text) text.value = query().text ?? "";
    const focused = head.contains(document.activeElement) ? document.activeElement.textContent : "";
    fill(head, COLUMNS.map(([name, key]) => h(
      "th",
      { scope: "col", "aria-sort": key && key === sort ? (descending ? "descending" : "ascending") : null },
      key ? h("button", { type: "button", onclick: () => set({ sort: key, descending: key === sort ? !descending : true }) }, name + (key === sort ? (descending ? " ▾" : " ▴") : "")) : name,
    )));
    [...head.querySelectorAll("button")].find((button) => focused && button.textContent.startsWith(focused.split(" ")[0]))?.focus();
  });
  const rows = new Map();
  follow(model, signal, ["jobs"], () => {
    const jobs = model.get("jobs");
    if (!jobs.rows) return;
    options(status, Object.entries(jobs.statuses).map(([name, n]) => [name, `${name} (${n})`]), query().status ?? "", "every status");
    options(blueprint, jobs.blueprints.map((name) => [name, name]), query().blueprint ?? "", "every blueprint");
    count.textContent = `${jobs.total.toLocaleString()} ${jobs.total === 1 ? "job" : "jobs"}`;
    place.textContent = `${jobs.page + 1} / ${jobs.pages}`;
    before.disabled = jobs.page === 0;
    after.disabled = jobs.page + 1 >= jobs.pages;
    const shown = jobs.rows.map((job) => {
      const looks = JSON.stringify(job);
      const known = rows.get(job.id);
      if (known?.looks === looks) return known; // left alone: it keeps its focus and costs nothing
      const element = h("tr", {}, [
        h("td", { class: "avt-whole" }, new Date(job.created_at * 1000).toLocaleTimeString()),
        h("td", { class: "avt-whole" }, h("code", { title: job.id }, job.id.slice(0, 8))),
        h("td", {}, job.blueprint), h("td", {}, badge(job)), h("td", {}, h("code", {}, job.state)),
        h("td", {}, job.progress === null ? "" : bar(job.progress, job.colour)),
        h("td", { class: "avt-whole" }, took(job.took)),
        h("td", { class: "avt-whole" }, job.actions.map((name) => action(name, name, ask, { do: name, job: job.id }, trouble))),
      ]);
      return { id: job.id, looks, element };
    });
    rows.clear();
    for (const one of shown) rows.set(one.id, one);
    const elements = shown.map((one) => one.element);
    if (elements.length !== body.children.length || elements.some((one, i) => body.children[i] !== one)) fill(body, elements);
  });
  return [
    h("div", { class: "avt-tools" }, status, blueprint, text, count, h("span", { class: "avt-pages" }, before, place, after)),
    h("div", { class: "avt-room" }, element),
  ];
}

function workerBoard({ model, signal }) {
  const room = h("div", {});
  follow(model, signal, ["workers"], () => {
    const workers = model.get("workers");
    fill(room, workers.length
      ? table(["worker", "status", "skills", "tasks", "machine", "heard of"], workers.map((one) => [
          h("code", { title: one.hostname }, one.id),
          one.status,
          one.skills.join(", "),
          one.room ? [h("span", {}, `${one.busy} of ${one.room}`), bar(one.busy / one.room, "var(--avtomatika-graph-task)")] : one.busy,
          one.machine,
          `${one.quiet} s ago`,
        ]), "workers")
      : h("p", { class: "avt-quiet" }, "No worker was heard of. wb.worker_env() has what one needs to join."));
  });
  return [h("h4", {}, "Workers"), room];
}

const LINES = [
  [1, "tasks that wait", "var(--avtomatika-graph-current)"], [2, "open jobs", "var(--avtomatika-graph-taken)"],
  [3, "ended in a second", "var(--avtomatika-graph-finished)"], [4, "failed in a second", "var(--avtomatika-graph-failed)"],
];

function queueChart({ model, signal }) {
  const chart = h("div", { class: "avt-chart" }), queues = h("div", {});
  follow(model, signal, ["samples"], () => {
    const samples = model.get("samples");
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 600 56");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    const last = samples.at(-1) ?? [0, 0, 0, 0, 0];
    svg.setAttribute("aria-label", LINES.map(([at, name]) => `${name}: ${last[at]}`).join(", "));
    for (const [at, , colour] of LINES) {
      const line = document.createElementNS(SVG, "polyline");
      const top = Math.max(1, ...samples.map((row) => row[at]));
      const step = 600 / Math.max(1, samples.length - 1);
      line.setAttribute("points", samples.map((row, i) => `${(i * step).toFixed(1)},${(53 - (row[at] / top) * 50).toFixed(1)}`).join(" "));
      line.setAttribute("style", `fill:none;stroke:${colour};stroke-width:1.5;vector-effect:non-scaling-stroke`);
      svg.append(line);
    }
    fill(chart, [svg, h("div", { class: "avt-legend" }, LINES.map(([at, name, colour]) => h("span", {}, h("b", { style: `color:${colour}` }, "▬ "), `${name}: `, h("b", {}, last[at]))))]);
  });
  follow(model, signal, ["queues"], () => {
    const rows = model.get("queues");
    fill(queues, rows.length ? table(["task type", "waiting", "the oldest for"], rows.map((one) => [one.name, one.waiting.toLocaleString(), one.oldest === null ? "" : took(one.oldest)]), "queues") : []);
  });
  return [h("h4", {}, "Queues and rates"), chart, queues];
}

function dashboard(context) {
  const { model, signal } = context;
  const numbers = h("div", { class: "avt-numbers" });
  follow(model, signal, ["numbers"], () => {
    const { jobs, workers, waiting } = model.get("numbers");
    if (!jobs) return;
    const total = Object.values(jobs).reduce((sum, n) => sum + n, 0);
    const shown = [["jobs", total], ...Object.entries(jobs).sort(), ["tasks that wait", waiting], ["workers", workers]];
    fill(numbers, shown.map(([name, n]) => h("span", {}, h("b", {}, n.toLocaleString()), name)));
  });
  return [numbers, queueChart(context), h("h4", {}, "Jobs"), jobTable(context), workerBoard(context)];
}
