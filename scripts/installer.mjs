import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const isRoot = process.getuid?.() === 0
const BREWS = ['/opt/homebrew/bin/brew', '/usr/local/bin/brew', '/home/linuxbrew/.linuxbrew/bin/brew']
const APT = [
  'env',
  'DEBIAN_FRONTEND=noninteractive',
  'RUNLEVEL=1',
  'apt-get',
  '-o',
  'DPkg::Lock::Timeout=120',
]

/**
 * @typedef {{ command: string[], is_optional: boolean }} Step
 * @typedef {{ name: 'apt-get' | 'brew' | 'dnf' | 'apk', package_name: string, prefix: string[], commands: Step[] }} Installer
 */

/** @param {...string[]} commands @returns {Step[]} */
const steps = (...commands) => commands.map((command) => ({ command, is_optional: false }))

/**
 * The package manager of this system, with what to run to install a program, which each of them may know by other names.
 * Where there is none that this user may run, undefined.
 * @param {{ apt?: string, brew?: string, dnf?: string[], apk?: string }} names for dnf, one after the other is tried
 * @returns {Installer | undefined}
 */
export function findInstaller({ apt, brew, dnf, apk }) {
  const prefix = isRoot ? [] : ['sudo', '-n', 'env']
  const canBeRoot = isRoot || spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0
  if (apt && existsSync('/usr/bin/apt-get') && canBeRoot) {
    const commands = [
      { command: [...APT, 'update'], is_optional: true },
      ...steps([...APT, 'install', '-y', '--no-install-recommends', apt]),
    ]
    return { name: 'apt-get', package_name: apt, prefix, commands }
  }
  const brew_path = BREWS.find(existsSync)
  if (brew && brew_path && !isRoot) {
    const commands = steps([brew_path, 'install', brew])
    return { name: 'brew', package_name: brew, prefix: ['env', 'HOMEBREW_NO_AUTO_UPDATE=1'], commands }
  }
  if (dnf && existsSync('/usr/bin/dnf') && canBeRoot) {
    const command = ['sh', '-c', dnf.map((name) => `dnf install -y ${name}`).join(' || ')]
    return { name: 'dnf', package_name: dnf[0] ?? '', prefix, commands: steps(command) }
  }
  if (apk && existsSync('/sbin/apk') && canBeRoot) {
    return { name: 'apk', package_name: apk, prefix, commands: steps(['apk', 'add', apk]) }
  }
  return undefined
}
