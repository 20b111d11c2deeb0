import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { reason, run } from './command.mjs'
import { findInstaller } from './installer.mjs'
import { inTurn } from './turn.mjs'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const FOLDERS = ['/usr/bin', '/usr/local/bin', '/snap/bin']
const APPLICATIONS = [
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** A Chromium of this machine, or undefined. */
export function findBrowser() {
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...FOLDERS]
  const paths = folders.flatMap((folder) => NAMES.map((name) => join(folder, name)))
  return [...paths, ...APPLICATIONS].find(isExecutable)
}

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
 * Installs Chromium where none is found, with the system's package manager. Where that can not be, one line says so, and
 * the tests that need a browser are skipped.
 * @param {(line: string) => void} say
 */
export async function installBrowser(say) {
  await inTurn(
    () => findBrowser() !== undefined,
    async () => {
      const skipped = 'the tests in a browser are skipped'
      const installer = findInstaller({ apt: 'chromium', dnf: ['chromium'], apk: 'chromium' })
      if (!installer) return say(`no Chromium found: install it, or ${skipped}`)
      say(
        `installing ${installer.package_name} (${installer.name}), for the tests in a browser: a minute or two`,
      )
      const started_ms = performance.now()
      for (const { command, is_optional } of installer.commands) {
        const result = await run('/', [...installer.prefix, ...command], { isSystem: true })
        if (result.isStopped) return
        if (!result.isOk && !is_optional) {
          return say(`${installer.name} failed: ${reason(result.output)}: ${skipped}`)
        }
      }
      const seconds = Math.round((performance.now() - started_ms) / 1000)
      say(findBrowser() ? `installed in ${seconds} s` : `${installer.name} installed no Chromium: ${skipped}`)
    },
  )
}
