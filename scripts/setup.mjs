/*
  node scripts/setup.mjs [--dev] <entry.ts> [args...]

  Brings a machine that has only Node and npm so far that <entry.ts> can run, then runs it in this very process, so
  that a signal that npm passes on reaches the program itself. Uses Node's own modules only. With --dev the development
  dependencies and a Redis server are needed in any case, else only where the environment asks for them.
*/
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NODE_MIN = [20, 19]
/** One setup at a time on this machine: whoever listens on the first port of these that is free, or is ours, has the turn. */
const TURN_PORTS = [21_947, 21_953, 21_961, 21_977]
const TURN_GREETING = 'holdfast-setup\n'
/** A port may be given up between our attempt to listen and our question who does. */
const TURN_TRIES = 20
/** A program that listens on one of these ports and is not a setup says something else, or nothing, within this. */
const GREETING_WAIT_MS = 500
/** A package manager that is writing must be let finish; npm's cache and apt's downloads end at once. */
const CHILD_STOP_STEPS = /** @type {const} */ ([
  ['SIGINT', 6_000],
  ['SIGTERM', 1_500],
  ['SIGKILL', 1_000],
])
const WATCH_EVERY_MS = 500
/** The reason for a failure stands in the last lines of the output. */
const OUTPUT_KEPT_CHARS = 20_000

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const isRoot = process.getuid?.() === 0

/** @param {string} line */
function say(line) {
  process.stderr.write(`holdfast: ${line}\n`)
}

/** @param {string} line @returns {never} */
function fail(line) {
  say(line)
  process.exit(1)
}

const args = process.argv.slice(2)
const isDev = args[0] === '--dev'
if (isDev) args.shift()
const [entry, ...entryArgs] = args

refuseOldNode()
if (entry === undefined) fail('usage: node scripts/setup.mjs [--dev] <entry.ts> [args...]')
await installDependencies()
const { register } = await import('tsx/esm/api')
register({ tsconfig: join(root, 'tsconfig.json') })
if (isDev || !(process.env.REDIS_URL || process.env.REDIS_CLUSTER_NODES)) await installRedis()
const path = resolve(root, entry)
process.argv = [process.execPath, path, ...entryArgs]
await import(pathToFileURL(path).href)

function refuseOldNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [min_major = 0, min_minor = 0] = NODE_MIN
  if (major > min_major || (major === min_major && minor >= min_minor)) return
  fail(`Node ${NODE_MIN.join('.')} or later is needed, this is ${process.versions.node}: install a newer one`)
}

/** Runs npm ci unless everything that the lockfile asks for is there. */
async function installDependencies() {
  const omitsDev = !isDev && process.env.NODE_ENV === 'production'
  await inTurn(
    () => hasDependencies(omitsDev),
    async () => {
      say('installing dependencies (npm ci)')
      const npm = process.env.npm_execpath
      const [command, first] =
        npm && /npm-cli\.[cm]?js$/.test(npm)
          ? [process.execPath, [npm]]
          : ['npm', /** @type {string[]} */ ([])]
      const flags = [
        '--no-audit',
        '--no-fund',
        omitsDev ? '--omit=dev' : '--include=dev',
        '--include=optional',
      ]
      const { isOk, output } = await run(command, [...first, 'ci', ...flags])
      if (!isOk) fail(`npm ci failed: ${reason(output)}: mend that and start again`)
    },
  )
}

/**
 * Compares what npm noted as installed with the lockfile, and looks whether it still is there. An npm ci that was cut
 * off leaves no such note, or an old one. What is optional may be missing: npm leaves out other platforms' packages.
 * @param {boolean} omitsDev
 */
function hasDependencies(omitsDev) {
  try {
    const wanted = readPackages(join(root, 'package-lock.json'))
    const installed = readPackages(join(root, 'node_modules', '.package-lock.json'))
    return Object.entries(wanted).every(([path, { version, integrity, optional, dev, devOptional }]) => {
      if (path === '' || (omitsDev && (dev || devOptional))) return true
      const found = installed[path]
      if (!found) return optional || devOptional
      return (
        found.version === version &&
        found.integrity === integrity &&
        existsSync(join(root, path, 'package.json'))
      )
    })
  } catch {
    return false
  }
}

/**
 * @param {string} path
 * @returns {Record<string, { version?: string, integrity?: string, optional?: boolean, dev?: boolean, devOptional?: boolean }>}
 */
function readPackages(path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages
}

/** Finds a Redis server, or installs one with the system's package manager. */
async function installRedis() {
  const { findRedisServer } = await import('../src/embedded/redis-server.ts')
  const remedy = 'install Redis 7 or later (or Valkey), or set REDIS_URL'
  await inTurn(
    async () => (await findRedisServer())?.is_recent_enough === true,
    async () => {
      const old = await findRedisServer()
      const installer = findInstaller()
      if (!installer)
        fail(`${old ? `${old.path} is Redis ${old.version}` : 'no Redis server found'}: ${remedy}`)
      say(`installing ${installer.package_name} (${installer.name})`)
      let output = ''
      for (const { command, is_optional } of installer.commands) {
        const [program = '', ...rest] = [...installer.prefix, ...command]
        const result = await run(program, rest)
        output = result.output
        if (!result.isOk && !is_optional) fail(`${installer.name} failed: ${reason(output)}: ${remedy}`)
      }
      const found = await findRedisServer()
      if (!found) fail(`${installer.name} installed no Redis server: ${remedy}`)
      if (!found.is_recent_enough) fail(`${found.path} is Redis ${found.version}: ${remedy}`)
    },
  )
}

/**
 * The package manager of this system, with what to run. Only the program is wanted, so a service that the package
 * starts by itself is kept from starting, or stopped.
 */
function findInstaller() {
  const prefix = isRoot ? [] : ['sudo', '-n', 'env']
  const canBeRoot = isRoot || spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0
  if (existsSync('/usr/bin/apt-get') && canBeRoot) {
    const quiet = [
      'env',
      'DEBIAN_FRONTEND=noninteractive',
      'RUNLEVEL=1',
      'apt-get',
      '-o',
      'DPkg::Lock::Timeout=120',
    ]
    const commands = [
      { command: [...quiet, 'update'], is_optional: true },
      { command: [...quiet, 'install', '-y', '--no-install-recommends', 'redis-server'], is_optional: false },
    ]
    if (existsSync('/run/systemd/system')) {
      commands.push({ command: ['systemctl', 'disable', '--now', 'redis-server'], is_optional: true })
    }
    return { name: 'apt-get', package_name: 'redis-server', prefix, commands }
  }
  const brew = ['/opt/homebrew/bin/brew', '/usr/local/bin/brew', '/home/linuxbrew/.linuxbrew/bin/brew'].find(
    existsSync,
  )
  if (brew && !isRoot) {
    const commands = [{ command: [brew, 'install', 'redis'], is_optional: false }]
    return { name: 'brew', package_name: 'redis', prefix: ['env', 'HOMEBREW_NO_AUTO_UPDATE=1'], commands }
  }
  if (existsSync('/usr/bin/dnf') && canBeRoot) {
    // Newer Fedora has Valkey in the place of Redis.
    const command = ['sh', '-c', 'dnf install -y redis || dnf install -y valkey']
    return { name: 'dnf', package_name: 'redis', prefix, commands: [{ command, is_optional: false }] }
  }
  if (existsSync('/sbin/apk') && canBeRoot) {
    const commands = [{ command: ['apk', 'add', 'redis'], is_optional: false }]
    return { name: 'apk', package_name: 'redis', prefix, commands }
  }
  return undefined
}

/**
 * Runs a command without showing its output, in a process group of its own. A signal to this process, or the end of its
 * parent, ends the command first.
 * @param {string} command @param {string[]} args
 * @returns {Promise<{ isOk: boolean, output: string }>}
 */
function run(command, args) {
  return new Promise((done) => {
    let output = ''
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    const keep = (/** @type {Buffer} */ chunk) => {
      output = (output + chunk).slice(-OUTPUT_KEPT_CHARS)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    /** @type {NodeJS.Timeout | undefined} */
    let next
    let isStopping = false
    const stop = (step = 0) => {
      const [signal, patience_ms] = CHILD_STOP_STEPS[step] ?? []
      if (!signal || child.pid === undefined) return
      isStopping = true
      try {
        process.kill(-child.pid, signal)
      } catch {
        // It is gone; the close below follows.
      }
      next = setTimeout(() => stop(step + 1), patience_ms)
    }
    const onSignal = () => {
      if (!isStopping) stop()
    }
    const parent = process.ppid
    const watch = setInterval(() => process.ppid !== parent && onSignal(), WATCH_EVERY_MS)
    const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])
    for (const signal of signals) process.on(signal, onSignal)
    const end = (/** @type {boolean} */ isOk) => {
      clearTimeout(next)
      clearInterval(watch)
      for (const signal of signals) process.off(signal, onSignal)
      if (isStopping) fail('stopped while setting up')
      done({ isOk, output })
    }
    child.once('error', (error) => {
      output += `\n${error.message}`
      end(false)
    })
    child.once('close', (code) => end(code === 0))
  })
}

/**
 * The line of a failed command's output that says why: the first that npm or apt marks as an error and that is a
 * sentence, else the last line.
 * @param {string} output
 */
function reason(output) {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  const errors = lines
    .map((line) => /^(?:npm error|E:|[Ee]rror:) +(?:Error: |network )?(.*)$/.exec(line)?.[1] ?? '')
    .filter((line) => line !== '' && !/^(code|errno|syscall|path|dest) /.test(line))
  return (errors[0] ?? lines.at(-1) ?? 'no reason given').trim().replace(/[.:]$/, '')
}

/**
 * Does the work unless it is done, one process at a time: another one that is at it is awaited, then looked at again.
 * @param {() => boolean | Promise<boolean>} isDone @param {() => Promise<void>} work
 */
async function inTurn(isDone, work) {
  while (!(await isDone())) {
    const release = await takeTurn()
    if (!release) continue
    try {
      if (!(await isDone())) await work()
      return
    } finally {
      release()
    }
  }
}

/**
 * Takes the turn, or waits until the process that has it is done with it and answers undefined. The system takes the
 * port from a dead process, so no stale lock can be left behind.
 * @returns {Promise<(() => void) | undefined>}
 */
async function takeTurn() {
  for (const port of TURN_PORTS) {
    for (let tries = 0; tries < TURN_TRIES; tries++) {
      const release = await listen(port)
      if (release) return release
      const holder = await awaitHolder(port)
      if (holder === 'setup') return undefined
      if (holder === 'other') break
    }
  }
  fail(`the ports ${TURN_PORTS.join(', ')} are all taken by other programs: free one of them`)
}

/** Listens on the port if it is free; the answer stops listening. @param {number} port */
async function listen(port) {
  const sockets = new Set()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.write(TURN_GREETING)
  })
  const isMine = await new Promise((done) => {
    server.once('error', () => done(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => done(true))
  })
  if (!isMine) return undefined
  return () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
}

/**
 * Who listens there: a setup (answered when that one is done), another program, or nobody any more.
 * @param {number} port @returns {Promise<'setup' | 'other' | 'nobody'>}
 */
function awaitHolder(port) {
  return new Promise((done) => {
    let heard = ''
    let isConnected = false
    const socket = connect({ port, host: '127.0.0.1' })
    const isSetup = () => heard === TURN_GREETING
    const timer = setTimeout(() => isSetup() || socket.destroy(), GREETING_WAIT_MS)
    socket.on('connect', () => {
      isConnected = true
    })
    socket.on('data', (chunk) => {
      heard = (heard + chunk).slice(0, TURN_GREETING.length)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      done(isSetup() ? 'setup' : isConnected ? 'other' : 'nobody')
    })
  })
}
