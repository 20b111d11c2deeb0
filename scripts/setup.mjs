/*
  node scripts/setup.mjs [--dev | --client] <entry.ts> [args...]

  Brings a machine that has only Node and npm so far that <entry.ts> can run, then runs it in this very process, so
  that a signal that npm passes on reaches the program itself. Uses Node's own modules only. With --dev the development
  dependencies and a Redis server are needed in any case, with --client no server is, else one where the environment
  names none.
*/
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { clearProgress, showProgress } from '../src/progress.mjs'
import { reason, run } from './command.mjs'
import { findInstaller } from './installer.mjs'
import { inTurn } from './turn.mjs'

const NODE_MIN = [20, 19]
const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** @param {string} line */
function say(line) {
  clearProgress()
  process.stderr.write(`holdfast: ${line}\n`)
}

/** @param {string} line @returns {never} */
function fail(line) {
  say(line)
  process.exit(1)
}

const args = process.argv.slice(2)
const isDev = args[0] === '--dev'
const isClient = args[0] === '--client'
if (isDev || isClient) args.shift()
const [entry, ...entryArgs] = args

refuseOldNode()
if (entry === undefined) fail('usage: node scripts/setup.mjs [--dev | --client] <entry.ts> [args...]')
await installDependencies().catch((error) => fail(error.message))
const { register } = await import('tsx/esm/api')
register({ tsconfig: join(root, 'tsconfig.json') })
if (isDev || !(isClient || process.env.REDIS_URL || process.env.REDIS_CLUSTER_NODES)) await installRedis()
const path = resolve(root, entry)
process.argv = [process.execPath, path, ...entryArgs]
await import(pathToFileURL(path).href)

/**
 * Runs a command in the project's folder; ends this process when it was stopped.
 * @param {string} what @param {string[]} command @param {{ isSystem?: boolean }} [options]
 */
async function runOrStop(what, command, options) {
  const { isStopped, ...result } = await showProgress(what, () => run(root, command, options))
  return isStopped ? fail('stopped while setting up') : result
}

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
      const npm_path = process.env.npm_execpath ?? ''
      const npm = /npm-cli\.[cm]?js$/.test(npm_path) ? [process.execPath, npm_path] : ['npm']
      const flags = [
        '--no-audit',
        '--no-fund',
        omitsDev ? '--omit=dev' : '--include=dev',
        '--include=optional',
      ]
      const { isOk, output } = await runOrStop('npm ci', [...npm, 'ci', ...flags])
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
      const installer = findInstaller({
        ...{ apt: 'redis-server', brew: 'redis', apk: 'redis' },
        // Newer Fedora has Valkey in the place of Redis.
        dnf: ['redis', 'valkey'],
      })
      if (!installer)
        fail(`${old ? `${old.path} is Redis ${old.version}` : 'no Redis server found'}: ${remedy}`)
      say(`installing ${installer.package_name} (${installer.name})`)
      // Only the program is wanted: a service that the package starts by itself is stopped, but not one that was there before.
      if (!old && installer.name === 'apt-get' && existsSync('/run/systemd/system')) {
        const command = ['systemctl', 'disable', '--now', 'redis-server']
        installer.commands.push({ command, is_optional: true })
      }
      let output = ''
      for (const { command, is_optional } of installer.commands) {
        const isSystem = installer.name !== 'brew'
        const result = await runOrStop(installer.name, [...installer.prefix, ...command], { isSystem })
        output = result.output
        if (!result.isOk && !is_optional) fail(`${installer.name} failed: ${reason(output)}: ${remedy}`)
      }
      const found = await findRedisServer()
      if (!found) fail(`${installer.name} installed no Redis server: ${remedy}`)
      if (!found.is_recent_enough) fail(`${found.path} is Redis ${found.version}: ${remedy}`)
    },
  )
}
