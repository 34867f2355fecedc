"use strict";
(() => {
  const study = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const memory = "timbre/" + study.study;
  const scales = (study.scales || []).map((scale) => scale.name);
  let state = { rater: "", place: 0, answers: {} };
  let scale = 0;

  function recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(memory));
      if (kept && typeof kept.rater === "string" && kept.answers) state = { ...state, ...kept };
      localStorage.setItem(memory + "/test", "1");
      localStorage.removeItem(memory + "/test");
    } catch {
      at("memory").textContent = "This browser keeps nothing for this page: do not close it before you have saved your answers.";
    }
  }

  function keep() {
    try {
      localStorage.setItem(memory, JSON.stringify(state));
    } catch { /* said at the start */ }
  }

  const complete = (item) => {
    const answer = state.answers[item.id];
    return scales.length ? Boolean(answer) && scales.every((name) => answer[name]) : Boolean(answer);
  };
  const answered = () => study.items.filter(complete).length;

  function show(section) {
    for (const id of ["start", "rate", "end"]) at(id).hidden = id !== section;
    scrollTo(0, 0);
  }

  function showItem() {
    if (state.place >= study.items.length) {
      const open = study.items.findIndex((item) => !complete(item));
      if (open < 0) return showEnd();
      state.place = open;
    }
    const item = study.items[state.place];
    show("rate");
    at("place").textContent = (scales.length ? "Text " : "Pair ") + (state.place + 1) + " of " + study.items.length;
    progress();
    at("question").textContent = study.question;
    at("prompt").hidden = !item.prompt;
    at("prompt").querySelector(".say").textContent = item.prompt.trim();
    for (const side of ["first", "second", "text"]) if (at(side)) at(side).querySelector(".say").textContent = item[side];
    at("back").disabled = state.place === 0;
    scale = 0;
    mark();
    at("question").focus({ preventScroll: true });
  }

  function progress() {
    document.querySelector(".progress").setAttribute("aria-valuenow", answered());
    at("bar").style.width = (100 * answered()) / study.items.length + "%";
  }

  function mark() {
    const item = study.items[state.place];
    const answer = state.answers[item.id];
    for (const button of document.querySelectorAll("[data-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.choice === answer));
    }
    for (const side of ["first", "second"]) if (at(side)) at(side).classList.toggle("chosen", answer === side);
    for (const box of document.querySelectorAll(".steps input")) box.checked = Boolean(answer) && answer[box.name] === Number(box.value);
    if (at("next")) at("next").disabled = !complete(item);
    if (at("on")) at("on").hidden = !complete(item);
  }

  function showEnd() {
    show("end");
    at("end").querySelector("h1").focus({ preventScroll: true });
  }

  function move(steps) {
    state.place = Math.max(0, state.place + steps);
    keep();
    showItem();
  }

  function choose(choice) {
    state.answers[study.items[state.place].id] = choice;
    mark();
    move(1);
  }

  function rate(name, value) {
    const id = study.items[state.place].id;
    state.answers[id] = { ...state.answers[id], [name]: value };
    keep();
    mark();
    progress();
  }

  function rows() {
    return study.items.map((item) => {
      const answer = state.answers[item.id];
      return scales.length ? { id: item.id, ...Object.fromEntries(scales.map((name) => [name, answer[name]])) } : { id: item.id, choice: answer };
    });
  }

  function save(text, kind, suffix) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: kind }));
    link.download = "ratings-" + study.kind + "-" + (state.rater.replace(/[^\p{L}\p{N}]+/gu, "-") || "anonymous") + suffix;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function saveJson() {
    const answers = { study: study.study, kind: study.kind, rater: state.rater, ratings: rows() };
    save(JSON.stringify(answers, null, 1) + "\n", "application/json", ".json");
  }

  function saveCsv() {
    const fields = ["study", "kind", "rater", "id", ...(scales.length ? scales : ["choice"])];
    const quoted = (value) => '"' + String(value).replaceAll('"', '""') + '"';
    const lines = rows().map((row) => fields.map((name) => quoted({ study: study.study, kind: study.kind, rater: state.rater, ...row }[name])).join(","));
    save([fields.join(","), ...lines].join("\r\n") + "\r\n", "text/csv", ".csv");
  }

  function buildScales() {
    for (const [number, asked] of (study.scales || []).entries()) {
      const field = document.createElement("fieldset");
      const legend = document.createElement("legend");
      legend.textContent = asked.question;
      const steps = document.createElement("div");
      steps.className = "steps";
      const end = (text, name) => Object.assign(document.createElement("span"), { textContent: text, className: name });
      steps.append(end(asked.low, "low"));
      for (let value = 1; value <= 5; value += 1) {
        const label = document.createElement("label");
        const box = Object.assign(document.createElement("input"), { type: "radio", name: asked.name, value: String(value) });
        box.setAttribute("aria-label", value + " of 5, 1 is " + asked.low + ", 5 is " + asked.high);
        box.addEventListener("change", () => rate(asked.name, value));
        box.addEventListener("focus", () => { scale = number; });
        label.append(box, Object.assign(document.createElement("span"), { textContent: String(value) }));
        steps.append(label);
      }
      steps.append(end(asked.high, "high"));
      field.append(legend, steps);
      at("scales").append(field);
    }
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || at("rate").hidden || event.repeat) return;
    const inScale = event.target.type === "radio";
    if (event.key === "ArrowLeft" && !inScale && state.place > 0) move(-1);
    else if (event.key === "ArrowRight" && !inScale && complete(study.items[state.place])) move(1);
    else if (!scales.length && event.key in { 0: 1, 1: 1, 2: 1 }) choose({ 0: "tie", 1: "first", 2: "second" }[event.key]);
    else if (scales.length && "12345".includes(event.key) && event.key.length === 1) {
      rate(scales[scale], Number(event.key));
      scale = (scale + 1) % scales.length;
    } else if (scales.length && event.key === "Enter" && event.target.tagName !== "BUTTON" && complete(study.items[state.place])) move(1);
    else return;
    event.preventDefault();
  }

  recall();
  buildScales();
  document.querySelector("main").classList.add(study.kind);
  at("rater").value = state.rater;
  at("go").textContent = answered() ? "Go on" : "Begin";
  at("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    state.rater = at("rater").value.trim();
    if (!state.rater) return at("rater").focus();
    keep();
    showItem();
  });
  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(button.dataset.choice));
  at("back").addEventListener("click", () => move(-1));
  if (at("next")) at("next").addEventListener("click", () => move(1));
  if (at("on")) at("on").addEventListener("click", () => move(1));
  at("json").addEventListener("click", saveJson);
  at("csv").addEventListener("click", saveCsv);
  at("again").addEventListener("click", () => { state.place = 0; showItem(); });
  document.addEventListener("keydown", pressed);
  show("start");
  at("rater").focus();
})();
