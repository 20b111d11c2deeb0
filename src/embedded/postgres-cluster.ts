import { spawn } from 'node:child_process'
import { chown, mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { StartError } from '../errors.ts'
import { showProgress } from '../progress.mjs'
import type { Account, PostgresProgram } from './postgres-program.ts'
import { lastWord } from './ready.ts'

/** The role and the database that the embedded PostgreSQL has. */
export const NAME = 'holdfast'

/**
 * Makes the cluster in a draft folder that is renamed when it is complete, so that a start that was cut off leaves
 * nothing that looks like a database.
 */
export async function makeCluster(
  folder: string,
  program: PostgresProgram,
  password: string,
  is_throw_away: boolean,
): Promise<void> {
  const draft = `${folder}.new`
  const password_path = `${folder}.password`
  await rm(draft, { recursive: true, force: true })
  await rm(password_path, { force: true })
  await mkdir(draft, { mode: 0o700 })
  await writeFile(password_path, password, { mode: 0o600, flag: 'wx' })
  const { account } = program
  if (account) {
    await chown(draft, account.uid, account.gid)
    await chown(password_path, account.uid, account.gid)
  }
  const args = [
    ...['-D', pathInside(draft, account), '-U', NAME, '--auth=scram-sha-256', '--pwfile=/dev/stdin'],
    ...['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
    ...(is_throw_away ? ['--no-sync'] : []),
  ]
  try {
    await showProgress('making the PostgreSQL database', () => runInitdb(program, args, draft, password_path))
    await rename(draft, folder)
  } finally {
    await rm(password_path, { force: true })
    await rm(draft, { recursive: true, force: true })
  }
}

/** The password comes as an open file, because the account may reach no folder that this process can write to. */
async function runInitdb(
  program: PostgresProgram,
  args: string[],
  cwd: string,
  password_path: string,
): Promise<void> {
  const password_file = await open(password_path)
  try {
    const child = spawn(program.initdb, args, {
      cwd,
      detached: true,
      stdio: [password_file.fd, 'ignore', 'pipe'],
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
      ...program.account,
    })
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8')
    })
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    if (code !== 0) throw new StartError(`cannot make the PostgreSQL database in ${cwd}: ${lastWord(said)}`)
  } finally {
    await password_file.close()
  }
}

/**
 * How PostgreSQL is told its data folder. As another account it may not be able to walk there, say when the project is
 * under /root; but Linux lets it start there, and /proc/self/cwd names the place without a walk.
 */
export function pathInside(folder: string, account: Account | undefined): string {
  return account && process.platform === 'linux' ? '/proc/self/cwd' : folder
}
