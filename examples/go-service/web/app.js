// The page to try the service.
import { Chart, histograms, parse, quantile, since } from "./chart.js";

const $ = (selector, from = document) => from.querySelector(selector);
const key = $("#key");
key.value = sessionStorage.getItem("key") ?? "";
key.addEventListener("change", () => {
  sessionStorage.setItem("key", key.value);
  listModels();
});

// request sends a JSON body, or nothing, and gives the answer; an error of the service becomes an exception with its message.
async function request(path, body, signal) {
  const headers = {};
  if (key.value) headers.Authorization = `Bearer ${key.value}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({}));
    throw new Error(error?.message ?? `status ${answer.status}`);
  }
  return answer;
}

// Models: which forms are shown, and what they may choose.

let models = [];

async function listModels() {
  try {
    models = (await (await request("v1/models")).json()).data;
  } catch (error) {
    $("#status").textContent = error.message;
    return false;
  }
  $("#status").textContent = models.map((m) => `${m.id} (${m.family}, ${m.precision})`).join(", ");
  for (const section of document.querySelectorAll("[data-task]")) {
    const able = models.filter((m) => m.tasks.includes(section.dataset.task));
    section.hidden = able.length === 0;
    $("select[name=model]", section).replaceChildren(...able.map((m) => new Option(m.id)));
  }
  return true;
}

// Forms.

// form runs `answer(values, output, signal)` when a form is sent.
function form(id, answer) {
  const element = $(`#${id}`), output = $("output", element), stop = element.elements.stop;
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(element)), abort = new AbortController(), button = $("button", element);
    button.disabled = true;
    if (stop) {
      stop.disabled = false;
      stop.onclick = () => abort.abort();
    }
    output.className = "";
    output.textContent = "";
    try {
      await answer(values, output, abort.signal);
    } catch (error) {
      if (error.name === "AbortError") {
        output.append(" [stopped]");
      } else {
        output.className = "error";
        output.textContent = error.message;
      }
    }
    button.disabled = false;
    if (stop) stop.disabled = true;
    output.dataset.done = Number(output.dataset.done ?? 0) + 1;
  });
}

const linesOf = (text) => text.split("\n").filter((line) => line.trim() !== "");

form("generate", async (values, output, signal) => {
  const chats = models.find((m) => m.id === values.model)?.can_chat;
  const body = {
    model: values.model, stream: true, stream_options: { include_usage: true },
    max_tokens: Number(values.max_tokens), temperature: Number(values.temperature),
  };
  if (chats) body.messages = [{ role: "user", content: values.prompt }];
  else body.prompt = values.prompt;
  const begun = performance.now();
  const answer = await request(chats ? "v1/chat/completions" : "v1/completions", body, signal);
  for await (const event of events(answer.body)) {
    if (event.error) throw new Error(event.error.message);
    const choice = event.choices[0];
    if (choice) output.append(choice.text ?? choice.delta.content ?? "");
    if (event.usage) {
      output.append(`\n\n${event.usage.completion_tokens} tokens in ${((performance.now() - begun) / 1000).toFixed(2)} s`);
    }
  }
});

// events reads server-sent events up to [DONE].
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the answer ended in the middle");
    rest += value;
    for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
      const data = rest.slice(0, end).replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

form("embed", async (values, output) => {
  const input = linesOf(values.texts);
  const { data, usage } = await (await request("v1/embeddings", { model: values.model, input })).json();
  const length = (v) => Math.sqrt(v.reduce((sum, c) => sum + c * c, 0));
  const cosine = (a, b) => a.reduce((sum, c, i) => sum + c * b[i], 0) / (length(a) * length(b));
  output.textContent = data.slice(1).map(({ embedding }, i) => `${cosine(data[0].embedding, embedding).toFixed(3)}  ${input[i + 1]}`).join("\n") +
    `\n\n${data[0].embedding.length} values per text, ${usage.total_tokens} tokens`;
});

form("rerank", async (values, output) => {
  const body = { model: values.model, query: values.query, texts: linesOf(values.texts), return_text: true };
  const ranks = await (await request("rerank", body)).json();
  output.textContent = ranks.map(({ score, text }) => `${score.toFixed(3)}  ${text}`).join("\n");
});

form("rewrite", async (values, output) => {
  const { rewrites, latency_ms } = await (await request("rewrite", { model: values.model, query: values.query })).json();
  output.textContent = rewrites.map(({ text }) => text).join("\n") +
    `\n\n${latency_ms.total.toFixed(1)} ms: ${latency_ms.queue.toFixed(1)} waiting, ${latency_ms.generate.toFixed(1)} generating`;
});

// The chart.

const chart = new Chart($("#chart")), route = $("#route");
let before = new Map();
route.addEventListener("change", () => chart.clear());

const ms = (seconds) => (seconds === null ? "" : `${(seconds * 1000).toPrecision(3)} ms`);

async function poll() {
  const samples = parse(await (await request("metrics")).text());
  const now = Date.now() / 1000, routes = histograms(samples);
  const interesting = [...routes.keys()].filter((name) => !/^\/($|\w+\.(js|css)$|metrics|healthz|readyz|v1\/models)/.test(name));
  for (const name of interesting) {
    if (![...route.options].some((option) => option.value === name)) route.add(new Option(name));
  }
  const buckets = routes.get(route.value);
  // What was there before the page was opened is no part of it.
  if (buckets && before.size) {
    const fresh = since(buckets, before.get(route.value)), count = fresh.at(-1)[1];
    if (count > 0) {
      const point = { time: now, p50: quantile(fresh, 0.5), p95: quantile(fresh, 0.95), p99: quantile(fresh, 0.99) };
      chart.add(point);
      $("#rate").textContent = (count / (now - before.time)).toFixed(1);
      for (const line of ["p50", "p95", "p99"]) $(`#${line}`).textContent = ms(point[line]);
    }
  }
  before = routes;
  before.time = now;
  chart.draw(now);
  showModels(samples);
}

function showModels(samples) {
  const of = (model, name, quantile) =>
    samples.find((s) => s.name === name && s.labels.model === model && (!quantile || s.labels.quantile === quantile))?.value ?? 0;
  $("#models tbody").replaceChildren(...models.map(({ id }) => {
    const row = document.createElement("tr"), name = document.createElement("th");
    name.textContent = id;
    const cells = [
      of(id, "kinglet_requests_running"), of(id, "kinglet_requests_waiting"), ms(of(id, "kinglet_call_seconds", "0.5")),
      `${(of(id, "kinglet_cache_bytes") / 2 ** 20).toFixed(1)} MiB`,
    ].map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    });
    row.append(name, ...cells);
    return row;
  }));
}

async function live() {
  let listed = false;
  for (;;) {
    listed ||= await listModels();
    await poll().catch((error) => {
      $("#status").textContent = error.message;
      listed = false;
    });
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

chart.draw(Date.now() / 1000);
live();
