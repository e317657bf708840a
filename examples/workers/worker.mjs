// A worker for Node 18 or newer, without packages: one job at a time, until SIGTERM.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
const { SERVER_URL = 'http://localhost:3000', WORKER_ID, WORKER_LABELS = '', TMPDIR = '/tmp' } = process.env
const { WORKER_LEASE_TTL = 30, WORKER_POLL = 2 } = process.env // seconds
const [, scheme, user, host] = SERVER_URL.match(/^(.*?:\/\/)(?:(.*)@)?(.*?)\/*$/)
const headers = { 'content-type': 'application/json' }
if (user) headers.authorization = 'Basic ' + Buffer.from(decodeURIComponent(user)).toString('base64') // user:TOKEN
const me = { worker_id: WORKER_ID || `node-${Math.random()}`, labels: WORKER_LABELS.split(/[\s,]+/).filter(Boolean) }
const OUTPUT = /^(?:([A-Za-z0-9_.-]+)(?:=([^\n]*)|<<([^\n]+)\n((?:[^\n]*\n)*?)\3))?(?:\n|(?![^]))/gm
let stopping = false
const ifFinal = trouble => { if (trouble.status < 500 && trouble.status !== 429) throw trouble }
/// The answer. If there is none, or the server is in trouble, asks again until then, or else until SIGTERM.
async function call(path, body, until) {
  for (let pause = 200 + Math.random() * 100; ; await sleep(pause), pause = Math.min(2 * pause, 10_000)) {
    try {
      const request = { method: 'POST', headers, body: JSON.stringify(body), signal: AbortSignal.timeout(20_000) }
      const answer = await fetch(scheme + host + path, request), text = await answer.text()
      if (answer.ok) return JSON.parse(text || 'null')
      throw Object.assign(new Error(`${answer.status} ${text}`), { status: answer.status })
    } catch (trouble) {
      if (ifFinal(trouble) || (until && Date.now() + pause > until)) throw trouble
      if (stopping && !until) process.exit(0)
    }
  }
}

/// Runs a claimed job: renews its lease, sends its log, then reports how it ended.
async function attempt({ job, lease }) {
  const path = `/api/jobs/${encodeURIComponent(lease.lease_id)}`, ttl = lease.ttl_secs * 1000
  let lines = [], chunks = [], sequence = 0, ends = Date.now() + ttl, report, stop
  const log = async (text, stream) => {
    for (const [data] of text.matchAll(/[^]{1,2048}/gu)) lines?.push({ sequence: sequence++, data, stream })
    while (lines?.length > 1000) await sleep(20)
  }
  const running = runCommand(job, log, new Promise(resolve => (stop = resolve)))
    .then(outputs => (report = ['complete', { outputs }]))
    .catch(({ message: error, lasting, exit_code }) => (report = ['fail', { error, retryable: !lasting, exit_code }]))
  try {
    while (!report || lines.length || chunks.length) {
      if (lines.length < 300) await Promise.race([running, sleep(300)])
      const beat = ends - (ttl * 2) / 3
      chunks.push(...lines.splice(0, 300 - chunks.length))
      if (chunks.length) await call(`${path}/logs`, { chunks }, beat).then(() => (chunks = []), ifFinal)
      const now = Date.now()
      if (now < beat) continue
      if ((await call(`${path}/heartbeat`, {}, ends)).cancelled) throw new Error('it was cancelled')
      ends = now + ttl
    }
    await call(`${path}/${report[0]}`, report[1], ends)
  } catch (error) {
    stop((lines = null)) // what is left of the log is dropped
    await running
    console.log(`${job.workflow_id} ${job.job_id}: ${error.message}`)
    if (/^(400|413|422)/.test(error.message)) await call(`${path}/fail`, { error: error.message }, ends).catch(() => {})
  }
}

/// Runs the job's command with `sh -c`, in a process group of its own; the outputs that it gave.
async function runCommand(job, log, stopped) {
  const folder = mkdtempSync(`${TMPDIR}/workflow-graph-`), given = []
  const [output, upstream, dir] = ['output', 'upstream.json', 'job'].map(name => `${folder}/${name}`)
  mkdirSync(dir), writeFileSync(output, ''), writeFileSync(upstream, JSON.stringify(job.upstream_outputs) + '\n')
  const env = { ...process.env, WORKFLOW_ID: job.workflow_id, JOB_ID: job.job_id, JOB_ATTEMPT: job.attempt, WORKER_SLOT: 0,
    WORKFLOW_OUTPUT: output, UPSTREAM_OUTPUTS: upstream, JOB_DIR: dir, SERVER_URL: scheme + host }
  const child = spawn('sh', ['-c', job.command], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const keep = line => /^::set-output /.test(line) && given.push(line.slice(13).replace(/^name=([\w.-]+)::/, '$1='))
  const read = async (stream, each, rest = '') => {
    for await (const text of child[stream].setEncoding('utf8')) {
      const lines = (rest + text).split('\n')
      rest = lines.pop().slice(0, 2 ** 21)
      lines.forEach(each), await log(text, stream)
    }
    each(rest)
  }
  const readers = Promise.all([read('stdout', job.outputs_from === 'file' ? () => {} : keep), read('stderr', () => {})])
  const exited = new Promise((resolve, reject) => child.on('exit', (...end) => resolve(end)).on('error', reject))
  await Promise.race([exited, stopped])
  try { // until nobody is left, nor of what the command started
    process.kill(-child.pid, 'SIGTERM')
    for (const until = Date.now() + 10_000; Date.now() < until; await sleep(20)) process.kill(-child.pid, 0)
    process.kill(-child.pid, 'SIGKILL')
  } catch {}
  const [[code, signal]] = await Promise.all([exited, Promise.race([readers, sleep(5000, 0, { ref: false })])])
  const file = job.outputs_from !== 'stdout' && existsSync(output) ? readFileSync(output) : Buffer.of()
  rmSync(folder, { recursive: true })
  const why = signal ? `killed by ${signal}` : `exit code ${code}`, text = [...given, file].join('\n')
  if (code !== 0) throw Object.assign(new Error(why), { exit_code: code ?? 128 + constants.signals[signal] })
  const wrong = file.equals(Buffer.from(file.toString())) ? text.replace(OUTPUT, '').slice(0, 200) : 'not UTF-8'
  if (wrong) throw Object.assign(new Error(`neither name=value nor name<<END: ${wrong}`), { lasting: true })
  return Object.fromEntries([...text.matchAll(OUTPUT)].filter(m => m[1]).map(m => [m[1], m[2] ?? m[4].slice(0, -1)]))
}
process.on('SIGTERM', () => (stopping = true))
await call('/api/workers/register', me)
while (!stopping) {
  const claimed = await call('/api/jobs/claim', { ...me, lease_ttl_secs: +WORKER_LEASE_TTL, wait_secs: 5 })
  await (claimed ? attempt(claimed) : sleep(WORKER_POLL * 1000 * (0.75 + Math.random() / 2)))
}
