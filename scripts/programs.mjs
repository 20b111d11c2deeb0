import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { reason, run } from './command.mjs'
import { findInstaller } from './installer.mjs'
import { inTurn } from './turn.mjs'

/* Programs that only some tests need. Where one can not be installed, those tests are skipped. */

/** Where programs lie that need not be on the PATH: servers are not on that of a user. */
const FOLDERS = ['/usr/bin', '/usr/local/bin', '/usr/sbin', '/snap/bin', '/opt/homebrew/bin']

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * The first of these programs that is on this machine, under one of its names or at one of its paths.
 * @param {string[]} names @param {string[]} [paths]
 */
export function findProgram(names, paths = []) {
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...FOLDERS]
  return [...folders.flatMap((folder) => names.map((name) => join(folder, name))), ...paths].find(
    isExecutable,
  )
}

/**
 * Installs a program where it is not found, with the system's package manager. Where that can not be, one line says so.
 * @param {{
 *   title: string, find: () => string | undefined, tests: string, service?: string,
 *   packages: Parameters<typeof findInstaller>[0], say: (line: string) => void
 * }} options `service`: what its package may start by itself, and nobody wants
 */
export async function installProgram({ title, find, tests, service, packages, say }) {
  await inTurn(
    () => find() !== undefined,
    async () => {
      const skipped = `the tests ${tests} are skipped`
      const installer = findInstaller(packages)
      if (!installer) return say(`no ${title} found: install it, or ${skipped}`)
      say(`installing ${installer.package_name} (${installer.name}), for the tests ${tests}`)
      if (service && installer.name === 'apt-get' && existsSync('/run/systemd/system')) {
        installer.commands.push({ command: ['systemctl', 'disable', '--now', service], is_optional: true })
      }
      const started_ms = performance.now()
      for (const { command, is_optional } of installer.commands) {
        const result = await run('/', [...installer.prefix, ...command], { isSystem: true })
        if (result.isStopped) return
        if (!result.isOk && !is_optional) {
          return say(`${installer.name} failed: ${reason(result.output)}: ${skipped}`)
        }
      }
      const seconds = Math.round((performance.now() - started_ms) / 1000)
      say(find() ? `installed in ${seconds} s` : `${installer.name} installed no ${title}: ${skipped}`)
    },
  )
}
