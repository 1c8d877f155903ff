// BullMQ on Node.js. Reads what to do from standard input and answers like benchmarks/macro/side.py: the last line of
// the output is the result as JSON, or `void` with a reason. The window, the counting and the figures are the same.

"use strict";

const fs = require("node:fs");
const { performance } = require("node:perf_hooks");
const { setTimeout: sleep } = require("node:timers/promises");
const { Queue, Worker } = require("bullmq");
const Redis = require("ioredis");

const CONCURRENCY = 100;
const FINISH_MS = 120_000;
const PAUSE_MS = 5;
const SETTLE_MS = 500;
const RETRY_MS = 1;
const BULK_ROWS = 1000;

class Void extends Error {}

const order = JSON.parse(fs.readFileSync(0, "utf8"));
const { params, queue: name } = order;
const jobs = params.jobs;
const connection = { host: order.host, port: order.port, maxRetriesPerRequest: null };
const probe = new Redis(connection);
const payload = (number) => ({ to: "ada@example.com", n: number });
const keys = (part) => `bull:${name}:${part}`;

let probeRequests = 0;

async function info(section) {
  probeRequests += 1;
  const lines = (await probe.info(section)).split("\r\n").filter((line) => line.includes(":"));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}

/** How many jobs the server still holds: waiting, running or delayed. */
async function waiting() {
  probeRequests += 4;
  const counts = await Promise.all([
    probe.llen(keys("wait")),
    probe.llen(keys("active")),
    probe.zcard(keys("delayed")),
    probe.zcard(keys("prioritized")),
  ]);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Seconds for which the threads of a process were ready to run and waited for a core. */
function queuedSeconds(pid) {
  let waitedNs = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    try {
      waitedNs += Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[1]);
    } catch {
      // A thread may end between the listing and the reading.
    }
  }
  return waitedNs / 1e9;
}

class Meter {
  started = false;

  async start() {
    if (this.started) return;
    this.started = true;
    this.before = await this.#counts();
    this.cpu = process.cpuUsage();
    this.wall = performance.now();
  }

  async #counts() {
    const stats = await info("stats");
    const queued = queuedSeconds(process.pid) + queuedSeconds(this.serverPid ?? process.pid);
    const cpu = await info("cpu");
    return {
      queued,
      received: Number(stats.total_net_input_bytes),
      sent: Number(stats.total_net_output_bytes),
      redis: Number(cpu.used_cpu_user_main_thread) + Number(cpu.used_cpu_sys_main_thread),
    };
  }

  async stop() {
    const wall = (performance.now() - this.wall) / 1000;
    const cpu = process.cpuUsage(this.cpu);
    const after = await this.#counts();
    return {
      wall_s: wall,
      client_cpu_s: (cpu.user + cpu.system) / 1e6,
      redis_cpu_s: after.redis - this.before.redis,
      queued_s: Math.max(after.queued - this.before.queued, 0),
      rss_kib: process.memoryUsage().rss / 1024,
      to_redis_bytes: after.received - this.before.received,
      from_redis_bytes: after.sent - this.before.sent,
    };
  }
}

const meter = new Meter();

async function until(isDone, what, pollMs = 5) {
  const deadline = performance.now() + FINISH_MS;
  while (!(await isDone())) {
    if (performance.now() > deadline) throw new Void(`after ${FINISH_MS / 1000} s still waiting for ${what}`);
    await sleep(pollMs);
  }
}

async function openQueue() {
  const attempts = params.retries ? { attempts: 3, backoff: { type: "fixed", delay: RETRY_MS } } : {};
  const queue = new Queue(name, {
    connection,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true, ...attempts },
  });
  await queue.waitUntilReady();
  return queue;
}

async function openWorker(handle) {
  const worker = new Worker(name, handle, { connection, concurrency: CONCURRENCY });
  worker.on("error", () => {});
  await worker.waitUntilReady();
  return worker;
}

const rowsOf = (first, end) =>
  Array.from({ length: end - first }, (_, index) => ({ name: "welcome", data: payload(first + index) }));

async function fill(queue) {
  for (let first = 0; first < jobs; first += BULK_ROWS) {
    await queue.addBulk(rowsOf(first, Math.min(first + BULK_ROWS, jobs)));
  }
}

async function added() {
  const cost = await meter.stop();
  const found = await waiting();
  if (found !== jobs) throw new Void(`${jobs} jobs were added and ${found} are in the server`);
  return cost;
}

async function settled() {
  await until(async () => (await waiting()) === 0, "the last acknowledgement", 1);
  return meter.stop();
}

function percentile(values, share) {
  const ordered = [...values].sort((a, b) => a - b);
  return ordered[Math.min(ordered.length - 1, Math.floor(share * ordered.length))];
}

const percentiles = (values) => ({
  p50_ms: percentile(values, 0.5),
  p99_ms: percentile(values, 0.99),
  max_ms: Math.max(...values),
});

async function addOneByOne() {
  const queue = await openQueue();
  await meter.start();
  for (let number = 0; number < jobs; number += 1) await queue.add("welcome", payload(number));
  return { cost: await added() };
}

async function addConcurrently() {
  const queue = await openQueue();
  await meter.start();
  const addSome = async (first) => {
    for (let number = first; number < jobs; number += params.tasks) await queue.add("welcome", payload(number));
  };
  await Promise.all(Array.from({ length: params.tasks }, (_, first) => addSome(first)));
  return { cost: await added() };
}

async function addInBulk() {
  const queue = await openQueue();
  const calls = [];
  for (let first = 0; first < jobs; first += params.rows) {
    calls.push(rowsOf(first, Math.min(first + params.rows, jobs)));
  }
  await meter.start();
  for (const rows of calls) await queue.addBulk(rows);
  return { cost: await added() };
}

/** Empties a backlog; with `fails`, jobs for which it is true fail the first time that they are seen. */
async function consume(fails = () => false) {
  await fill(await openQueue());
  const seen = [];
  const failed = new Set();
  let opening;
  const worker = await openWorker(async (job) => {
    opening ??= meter.start();
    await opening;
    const number = job.data.n;
    if (fails(number) && !failed.has(number)) {
      failed.add(number);
      throw new Error("the remote service is away");
    }
    seen.push(number);
  });
  await until(() => seen.length >= jobs, "the last job", 2);
  const cost = await settled();
  await worker.close(true);
  if (seen.length !== jobs || new Set(seen).size !== jobs) {
    throw new Void(`${jobs} jobs, ${seen.length} runs of ${new Set(seen).size} different jobs`);
  }
  return { cost };
}

async function latency() {
  const queue = await openQueue();
  const sent = [];
  const started = [];
  const worker = await openWorker(async (job) => {
    started[job.data.n] = performance.now();
  });
  await sleep(SETTLE_MS);
  await meter.start();
  for (let number = 0; number < jobs; number += 1) {
    sent[number] = performance.now();
    await queue.add("welcome", payload(number));
    await sleep(PAUSE_MS);
    await until(() => started[number], `job ${number}`);
  }
  const cost = await settled();
  await worker.close(true);
  return { cost, figures: percentiles(started.map((start, number) => start - sent[number])) };
}

async function delayed() {
  const queue = await openQueue();
  const first = Date.now() + params.lead_ms;
  const due = Array.from({ length: jobs }, (_, number) => first + Math.floor((number * params.spread_ms) / jobs));
  const late = new Map();
  const worker = await openWorker(async (job) => {
    late.set(job.data.n, performance.timeOrigin + performance.now() - due[job.data.n]);
  });
  await meter.start();
  for (let start = 0; start < jobs; start += BULK_ROWS) {
    const rows = rowsOf(start, Math.min(start + BULK_ROWS, jobs));
    await queue.addBulk(rows.map((row) => ({ ...row, opts: { delay: Math.max(0, due[row.data.n] - Date.now()) } })));
  }
  if (Date.now() >= first) throw new Void("adding took longer than the first job's delay");
  await until(() => late.size >= jobs, "the last job");
  const cost = await settled();
  await worker.close(true);
  return { cost, figures: percentiles([...late.values()]) };
}

async function idle() {
  const worker = await openWorker(async () => {});
  await sleep(params.settle_s * 1000);
  const counts = async () => {
    const rows = await info("commandstats");
    const calls = Object.entries(rows).filter(([command]) => command !== "cmdstat_info");
    const commands = calls.reduce((sum, [, row]) => sum + Number(row.split(",")[0].slice("calls=".length)), 0);
    const reads = Number((await info("stats")).total_reads_processed);
    return { commands, requests: reads - probeRequests };
  };
  const before = await counts();
  await meter.start();
  await sleep(params.window_s * 1000);
  const cost = await meter.stop();
  const after = await counts();
  await worker.close(true);
  return {
    jobs: 0,
    cost,
    figures: {
      commands_per_s: (after.commands - before.commands) / cost.wall_s,
      requests_per_s: (after.requests - before.requests) / cost.wall_s,
      cpu_ms_per_s: (cost.client_cpu_s * 1000) / cost.wall_s,
      redis_ms_per_s: (cost.redis_cpu_s * 1000) / cost.wall_s,
    },
  };
}

async function memory() {
  const queue = await openQueue();
  await meter.start();
  await fill(queue);
  const cost = await added();
  let total = 0;
  for (const key of await probe.keys("*")) total += await probe.memory("USAGE", key, "SAMPLES", 0);
  let carried = 0;
  for (let number = 0; number < jobs; number += 1) carried += 23 + (number < 128 ? 1 : number < 256 ? 2 : 3);
  return { cost, figures: { bytes_over_payload: (total - carried) / jobs, bytes_per_job: total / jobs } };
}

const SCENARIOS = {
  add: addOneByOne,
  "add-100": addConcurrently,
  "bulk-50": addInBulk,
  "bulk-1000": addInBulk,
  "bulk-million": addInBulk,
  consume: () => consume(),
  "consume-events": () => consume(),
  retry: () => consume(() => true),
  "retry-mixed": () => consume((number) => number % params.fragile_every === 0),
  latency,
  "delayed-1000": delayed,
  idle,
  memory,
};

async function main() {
  meter.serverPid = (await info("server")).process_id;
  try {
    const { cost, figures = {}, jobs: counted = jobs } = await SCENARIOS[order.case]();
    return { jobs: counted, ...cost, figures };
  } catch (error) {
    return { void: error instanceof Void ? error.message : String(error.stack).slice(0, 600) };
  }
}

main().then((result) => {
  fs.writeSync(1, `${JSON.stringify(result)}\n`);
  process.exit(0);
});
