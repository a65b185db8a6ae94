// One job: head, graph, the way through its history, and panels.

// Returns what writes the count of an edge. The drawing has room for one: without it the label is a line lower, or gone,
// so that no hole is left in the way.
function countLabel(edge) {
  const label = edge.querySelector(".label"), count = label?.querySelector(".count");
  if (!count) return null;
  const room = label.querySelector("rect"), words = [...label.querySelectorAll("text")].filter((text) => text !== count);
  const top = Number(room.getAttribute("y")), height = Number(room.getAttribute("height"));
  const line = height / (words.length + 1);
  return (text) => {
    count.textContent = text;
    label.style.display = text || words.length ? "" : "none";
    room.setAttribute("y", text ? top : top + line / 2);
    room.setAttribute("height", text ? height : height - line);
    for (const word of words) word.setAttribute("transform", `translate(0 ${text ? 0 : line / 2})`);
  };
}

// The drawing comes as text of our own making, in which every value is escaped; it is parsed as XML, so nothing runs.
function drawing(model, onState) {
  const frame = h("div", { class: "avt-graph" });
  const text = model.get("graph");
  if (!text) return { frame, light: () => {} };
  const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  frame.append(svg);
  const edges = [...svg.querySelectorAll("g.edge")];
  for (const state of svg.querySelectorAll("g.state")) {
    state.setAttribute("tabindex", "0");
    state.setAttribute("role", "button");
    const select = () => onState(state.dataset.state);
    state.addEventListener("click", select);
    state.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      select();
    });
  }
  const labels = new Map(edges.map((edge) => [edge, countLabel(edge)]));
  const titles = new Map(edges.map((edge) => [edge, edge.querySelector("title")?.textContent.replace("; taken once", "")]));
  const light = (lit) => {
    const visited = new Set(lit.visited ?? []), failed = new Set(lit.failed ?? []);
    for (const state of svg.querySelectorAll("g.state")) {
      state.classList.toggle("current", state.id === lit.current);
      state.classList.toggle("visited", visited.has(state.id));
      state.classList.toggle("failed", failed.has(state.id));
      if (state.id === lit.current) state.setAttribute("aria-current", "step");
      else state.removeAttribute("aria-current");
    }
    for (const edge of edges) {
      const count = lit.edges?.[edge.id] ?? 0;
      edge.classList.toggle("taken", count > 0);
      labels.get(edge)?.(count ? `×${count < 1000 ? count : "999+"}` : "");
      const title = edge.querySelector("title");
      if (title) title.textContent = titles.get(edge) + (count > 1 ? `; taken ${count} times` : count ? "; taken once" : "");
      if (count) edge.parentNode.insertBefore(edge, svg.querySelector("g.state"));
    }
  };
  return { frame, light };
}

const EVENT_HEADINGS = ["#", "after", "event", "state", "worker", "took", "note"];

function eventTable(rows, at) {
  const cells = rows.map(([number, after, type, state, worker, ms, note]) => [
    number, `${after.toFixed(3)} s`, type, state, worker, ms === null ? "" : took(ms / 1000), note,
  ]);
  const element = table(EVENT_HEADINGS, cells, "events");
  element.querySelectorAll("tbody tr").forEach((row, i) => row.classList.toggle("avt-at", rows[i][0] === at));
  return element;
}

// Bars from left to right over time, one lane for each state or task.
function timeline(bars, until) {
  if (!bars.length) return h("p", { class: "avt-quiet" }, "Nothing has happened yet.");
  const lanes = new Map();
  for (const one of bars) {
    if (!lanes.has(one[0])) lanes.set(one[0], { label: one[2], isState: one[1] === "state", bars: [] });
    lanes.get(one[0]).bars.push(one);
  }
  const start = Math.min(...bars.map((one) => one[3]));
  const end = Math.max(until, ...bars.map((one) => one[4] ?? until), start + 0.001);
  const left = (at) => `${(((at - start) / (end - start)) * 100).toFixed(2)}%`;
  const rows = [...lanes.values()].map((lane) =>
    h(
      "div",
      { class: `avt-lane${lane.isState ? "" : " task"}` },
      h("span", { class: "avt-lane-name", title: lane.label }, lane.label),
      h(
        "div",
        { class: "avt-track" },
        lane.bars.map(([, kind, label, from, to, note]) =>
          h("div", {
            class: `avt-span ${kind}${to === null ? " open" : ""}`,
            style: `left:${left(from)};width:max(3px,${(((to ?? end) - from) / (end - start)) * 100}%)`,
            title: `${label}: ${took((to ?? end) - from)}${note ? `, ${note}` : ""}`,
          }),
        ),
      ),
    ),
  );
  return h(
    "div",
    { class: "avt-timeline", role: "img", "aria-label": `timeline of ${lanes.size} lanes over ${took(end - start)}` },
    rows,
    h("div", { class: "avt-axis" }, h("span", {}, "0"), h("span", {}, took((end - start) / 2)), h("span", {}, took(end - start))),
  );
}

function changesTable(changes) {
  if (!changes?.length) return h("p", { class: "avt-quiet" }, "Nothing in the data changed here.");
  const cells = changes.map(([path, before, after]) => [
    h("code", {}, path),
    before === null ? h("i", {}, "was not there") : h("del", {}, before),
    after === null ? h("i", {}, "removed") : h("ins", {}, after),
  ]);
  return table(["where", "before", "after"], cells, "changes of the data");
}

function statePanel(told) {
  if (!told) return h("p", { class: "avt-quiet" }, "Click a state of the graph to see its source, its data and its attempts.");
  if (told.error) return h("p", { class: "avt-quiet" }, told.error);
  const visit = (one) =>
    h(
      "details",
      { open: one === told.visits.at(-1) },
      h("summary", {}, `visit ${one.number}, after ${took(one.at)}` + (one.is_here ? ", is here now" : one.next ? `, went on to ${one.next}` : "") + (one.took_ms ? `, took ${took(one.took_ms / 1000)}` : "")),
      h("div", { class: "avt-columns" },
        h("div", {}, h("h5", {}, "data in"), h("pre", {}, one.data_in)),
        h("div", {}, h("h5", {}, "data out"), one.data_out === null ? h("p", { class: "avt-quiet" }, "not yet") : h("pre", {}, one.data_out)),
      ),
      one.changes.length ? changesTable(one.changes) : null,
      one.attempts.length
        ? table(["attempt", "what", "worker", "took", "", "note"], one.attempts.map((a) => [a.attempt, a.what, a.worker, a.took_ms === null ? "" : took(a.took_ms / 1000), a.ok ? "✔" : "✖", a.note]), "attempts")
        : null,
    );
  return [
    h("h4", {}, told.name),
    told.handlers.map((one) =>
      h("details", { open: told.handlers.length === 1 },
        h("summary", {}, one.name, one.condition ? h("i", {}, ` if ${one.condition}`) : null),
        h("pre", { class: "avt-source" }, one.source || "Its source is not known here."),
      ),
    ),
    told.visits.length ? told.visits.map(visit) : h("p", { class: "avt-quiet" }, "The job was not in this state."),
  ];
}

const WAITING = new Set(["waiting_for_worker", "waiting_for_parallel_tasks", "awaiting_retry"]);
const WHY_AFTER = 2, WHY_EVERY = 5; // seconds
const MAX_REASONS = 3;

function jobView({ model, signal, ask, trouble }) {
  let chosen = null, told = null, moment = null, wanted = null, skew = 0;

  // --- head ---
  const top = h("div", { class: "avt-head" });
  const elapsed = h("span", { class: "avt-quiet" });
  const progress = h("div", {});
  const approval = h("div", { class: "avt-approval", role: "group", hidden: true });
  const why = h("div", { class: "avt-quiet avt-why", hidden: true });
  const clock = () => {
    const head = model.get("head");
    elapsed.textContent = took((head.ended ? head.updated_at : Date.now() / 1000 + skew) - head.created_at);
  };
  let asked = "";
  const drawHead = () => {
    const head = model.get("head");
    skew = head.now - Date.now() / 1000;
    const focused = top.contains(document.activeElement) ? document.activeElement.textContent : "";
    fill(top, [
      h("b", {}, head.blueprint), badge(head), h("span", {}, "state ", h("code", {}, head.state)), elapsed,
      h("code", { class: "avt-quiet avt-id" }, head.id),
      h("span", { class: "avt-actions" }, head.actions.map((name) => action(name, name, ask, { do: name }, trouble))),
    ]);
    [...top.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
    fill(progress, [
      head.progress === null ? null : bar(head.progress, head.colour),
      head.message ? h("div", { class: "avt-quiet" }, head.message) : null,
      head.error ? h("div", { class: "avt-error" }, head.error) : null,
    ]);
    const question = JSON.stringify(head.approval);
    if (question !== asked) {
      asked = question;
      approval.hidden = !head.approval;
      fill(approval, head.approval ? [
        h("span", {}, head.approval.message || "A person has to decide."),
        head.approval.decisions.map((decision) => action(decision, "decide", ask, { do: "approve", decision }, trouble)),
      ] : []);
      approval.setAttribute("aria-label", head.approval?.message || "approval");
    }
    clock();
  };

  // --- why it waits: asked once it is more than a moment, and again from time to time ---
  let isAsking = false, nextAsking = 0;
  const explain = async () => {
    const { status, updated_at: since } = model.get("head"), now = Date.now() / 1000;
    const waits = WAITING.has(status) && now + skew - since > WHY_AFTER;
    if (!waits) why.hidden = true;
    if (!waits || isAsking || now < nextAsking) return;
    isAsking = true;
    nextAsking = now + WHY_EVERY;
    const { reasons } = await ask({ do: "explain" }).catch(() => ({ reasons: [] }));
    isAsking = false;
    if (reasons && !reasons.length) {
      // A job always has a reason; here nobody is left who could tell it.
      clearInterval(ticking);
      why.hidden = false;
      fill(why, "The kernel that followed this job is gone. Run the cell again.");
      return;
    }
    // What came late, or not at all, says nothing about where the job is by now.
    why.hidden = !reasons || model.get("head").updated_at !== since;
    if (why.hidden) return;
    const more = reasons.length - MAX_REASONS;
    fill(why, [...reasons.slice(0, MAX_REASONS), more > 0 ? `And ${more} more: job.explain() lists them.` : ""].map((one) => h("div", {}, one)));
  };

  // --- graph and time travel ---
  const picture = drawing(model, async (name) => {
    chosen = name;
    panels.show("State");
    told = await ask({ do: "state", name });
    panels.draw();
  });
  const slider = h("input", { type: "range", min: 1, max: 1, value: 1, "aria-label": "moment of the history" });
  const where = h("output", { class: "avt-quiet" });
  const back = h("button", { class: "avt-plain", type: "button", hidden: true }, "back to now");
  const forked = h("span", { class: "avt-quiet", role: "status" });
  const fork = h("button", { class: "avt-button fork", type: "button", hidden: true, title: "a new job that begins in this state, with the data of this moment", onclick: async () => {
    fork.disabled = true;
    const answer = await ask({ do: "fork", sequence: moment.sequence });
    fork.disabled = false;
    trouble.show(answer.error ?? "");
    if (answer.job) fill(forked, ["forked: ", h("code", {}, `wb.job("${answer.job}")`)]);
  } }, "fork from here");
  const travel = h("div", { class: "avt-travel" }, h("span", { class: "avt-quiet" }, "history"), slider, where, back, fork, forked);
  const last = () => model.get("events").at(-1)?.[0] ?? 0;
  const drawMoment = () => {
    const now = moment === null;
    back.hidden = fork.hidden = now;
    travel.classList.toggle("past", !now);
    where.textContent = now ? `${last()} events` : `#${moment.sequence} ${moment.event}, after ${took(moment.after)}`;
    picture.light(now ? model.get("lit") : (moment.lit ?? {}));
    panels.draw();
  };
  // While one answer is on its way only the newest place of the slider is remembered.
  const goTo = async (sequence) => {
    if (wanted !== null) {
      wanted = sequence;
      return;
    }
    wanted = sequence;
    while (wanted !== null) {
      const asking = wanted;
      if (asking >= last()) moment = null;
      else {
        const answer = await ask({ do: "moment", sequence: asking });
        trouble.show(answer.error ?? "");
        if (!answer.error) moment = answer;
      }
      if (wanted === asking) wanted = null;
    }
    drawMoment();
  };
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  back.addEventListener("click", () => {
    slider.value = slider.max;
    goTo(last());
  });

  // --- panels ---
  const sinceStart = () => {
    const head = model.get("head");
    return (head.ended ? head.updated_at : Date.now() / 1000 + skew) - head.created_at;
  };
  const panels = tabs(
    {
      Timeline: () => timeline(model.get("bars"), sinceStart()),
      Events: () => eventTable(moment ? model.get("events").filter((row) => row[0] <= moment.sequence) : model.get("events"), moment?.sequence),
      Data: () => moment
        ? [h("p", { class: "avt-quiet" }, `after event #${moment.sequence}`), changesTable(moment.changes), h("pre", {}, moment.data)]
        : [model.get("result") ? [h("h5", {}, "result"), h("pre", {}, model.get("result"))] : null, h("h5", {}, "state_history"), h("pre", {}, model.get("data"))],
      State: () => statePanel(told?.name === chosen || told?.error ? told : chosen ? { error: `Asking for ${chosen} …` } : null),
      Log: () => model.get("lines").length ? h("pre", { class: "avt-log" }, model.get("lines").join("\n")) : h("p", { class: "avt-quiet" }, "The engine has said nothing about this job."),
    },
    "Timeline",
  );

  follow(model, signal, ["head"], drawHead);
  follow(model, signal, ["lit", "events"], () => {
    const end = last();
    slider.max = Math.max(end, 1);
    travel.hidden = end < 2;
    if (moment === null) {
      slider.value = slider.max;
      drawMoment();
    }
  });
  follow(model, signal, ["bars"], () => panels.isOpen("Timeline") && panels.draw());
  follow(model, signal, ["data", "result"], () => panels.isOpen("Data") && panels.draw());
  follow(model, signal, ["lines"], () => panels.isOpen("Log") && panels.draw());
  const ticking = setInterval(() => {
    explain();
    if (model.get("head").ended) return;
    clock();
    if (panels.isOpen("Timeline")) panels.draw();
  }, 500);
  signal.addEventListener("abort", () => clearInterval(ticking));
  return [top, progress, approval, why, picture.frame, travel, panels.list, panels.room];
}
