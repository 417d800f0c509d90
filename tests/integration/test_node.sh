#!/bin/bash
# Node: many threads, V8's heap as mappings, buffers from malloc.
. "$(dirname "$0")/lib/common.sh"
need node nodejs
cat >"$TEST_TMP/work.js" <<'J'
const zlib = require("zlib"), { Worker, isMainThread } = require("worker_threads");
let rows = [];
for (let i = 0; i < 30000; i++) rows.push({ i, text: String(i).repeat(3), data: Buffer.alloc(i % 2048) });
const text = JSON.stringify(rows.map(r => r.text));
let sum = 0;
for (let k = 0; k < 5; k++) sum += zlib.inflateSync(zlib.deflateSync(Buffer.from(text))).length;
console.log(sum, JSON.parse(text).length);
const worker = new Worker("require('worker_threads').parentPort.postMessage(Buffer.alloc(1 << 20).length)", { eval: true });
worker.on("message", n => { console.log("worker", n); process.exitCode = 3; });
J
same_as_plain node "$TEST_TMP/work.js"
expect "exit status" "$tracked_status" 3
check_report node 'process.exit.state == "exited" and process.exit.code == 3' 'cpu.allocation_count > 5000' \
    'sum(t.get("thread_count") or 1 for t in cpu.threads) >= 5' 'cpu.mappings.peak_bytes > 10 << 20'
verdict
