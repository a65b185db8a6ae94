// Shared by all live views of avtomatika: elements, questions to the engine, numbers as words. No library, no network
// but the engine's own gate.

const SVG = "http://www.w3.org/2000/svg";

// Makes an element. Texts become text nodes, so no value of a job is ever read as HTML.
function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  fill(element, children);
  return element;
}

function fill(element, children) {
  element.replaceChildren(...[children].flat(3).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

// Calls `update` now and whenever one of the traits changes, until the view is gone.
function follow(model, signal, names, update) {
  const events = names.map((name) => `change:${name}`).join(" ");
  model.on(events, update);
  signal.addEventListener("abort", () => model.off(events, update));
  update();
}

// The way to the engine. The gate first: it answers while a cell blocks the kernel. Where the browser does not reach it,
// the notebook's own connection, which a blocked kernel reads late.
function line(model, signal) {
  let gate = null, number = 0, arrive;
  const arrival = new Promise((resolve) => (arrive = resolve));
  const waiting = new Map();
  const hear = (message) => {
    if (message?.kind === "gate") {
      gate = message;
      arrive();
    }
    if (message?.kind === "answer") {
      waiting.get(message.number)?.(message.answer);
      waiting.delete(message.number);
    }
  };
  model.on("msg:custom", hear);
  model.send({ kind: "shown" });
  signal.addEventListener("abort", () => {
    model.off("msg:custom", hear);
    try {
      model.send({ kind: "hidden" });
    } catch {
      // The kernel is gone, and with it whoever would want to know.
    }
  });
  const overGate = async (question) => {
    const given = gate;
    const response = await fetch(given.url, {
      method: "POST",
      mode: "cors",
      credentials: "omit",
      cache: "no-store",
      // Plain text needs no preflight; see avtomatika/notebook/gate.py.
      headers: { "Content-Type": "text/plain" },
      body: JSON.stringify({ view: given.view, capability: given.capability, ask: question }),
      signal: AbortSignal.timeout(20000),
    });
    if (!response.ok) throw new Error(`the gate answered ${response.status}`);
    return response.json();
  };
  const overNotebook = (question) =>
    new Promise((resolve) => {
      number += 1;
      waiting.set(number, resolve);
      model.send({ kind: "ask", number, ask: question });
    });
  const overEither = (question) =>
    overGate(question).catch((error) => {
      console.debug("avtomatika: the gate was not reached, asking over the notebook's connection.", error);
      return overNotebook(question);
    });
  return async (question) => {
    // The first capability comes within a second, and is worth waiting for; should it come later, it is used then.
    await Promise.race([arrival, new Promise((resolve) => setTimeout(resolve, 1500))]);
    if (gate) return overEither(question);
    return Promise.race([overNotebook(question), arrival.then(() => overEither(question))]);
  };
}

// A panel for what went wrong: no error of an action is swallowed.
function troubles() {
  const panel = h("div", { class: "avt-trouble", role: "alert", hidden: true });
  const show = (text) => {
    panel.hidden = !text;
    fill(panel, text ? [h("span", {}, text), h("button", { class: "avt-plain", "aria-label": "dismiss", onclick: () => show("") }, "✕")] : []);
  };
  return { panel, show };
}

// A button that asks the engine for something, is busy meanwhile, and shows what went wrong.
function action(label, kind, ask, question, trouble) {
  const button = h("button", { class: `avt-button ${kind}`, type: "button" }, label);
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    const answer = await ask(question);
    button.removeAttribute("aria-busy");
    if (answer.error) button.disabled = false;
    trouble.show(answer.error ?? "");
  });
  return button;
}

function badge(row) {
  return h("span", { class: "avt-badge", style: `background:${row.colour}` }, `${row.icon} ${row.status}`);
}

function bar(progress, colour) {
  const percent = Math.round((progress ?? 0) * 100);
  return h(
    "div",
    { class: "avt-bar", role: "progressbar", "aria-valuenow": percent, "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "progress" },
    h("div", { style: `width:${percent}%;background:${colour}` }),
  );
}

function took(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function table(headings, rows, label) {
  return h(
    "table",
    { class: "avt-table", "aria-label": label },
    h("thead", {}, h("tr", {}, headings.map((heading) => h("th", { scope: "col" }, heading)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell))))),
  );
}

// Panels behind a row of tabs; arrow keys move between them. Only the open one is drawn.
function tabs(panels, open) {
  const list = h("div", { class: "avt-tabs", role: "tablist" });
  const room = h("div", { class: "avt-panel", role: "tabpanel", tabindex: 0 });
  const names = Object.keys(panels);
  const buttons = names.map((name) => h("button", { role: "tab", type: "button", onclick: () => show(name) }, name));
  let current = open;
  const draw = () => fill(room, panels[current]());
  const show = (name) => {
    current = name;
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(names[i] === name));
      button.tabIndex = names[i] === name ? 0 : -1;
    });
    room.setAttribute("aria-label", name);
    draw();
  };
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (names.indexOf(current) + step + names.length) % names.length;
    show(names[next]);
    buttons[next].focus();
    event.stopPropagation();
  });
  fill(list, buttons);
  show(open);
  return { list, room, show, draw, isOpen: (name) => current === name };
}

// What a front end calls for each place where the view is shown; `draw` returns the elements of the view.
function mount({ model, el, signal }, draw) {
  const trouble = troubles();
  const ask = line(model, signal);
  const elements = draw({ model, signal, ask, trouble });
  el.append(h("section", { class: "avt" }, trouble.panel, elements));
  follow(model, signal, ["trouble"], () => trouble.show(model.get("trouble")));
}
