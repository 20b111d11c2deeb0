import { randomBytes } from 'node:crypto'
import { link, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { identify, isRunning, type ProcessId } from './process.ts'

/** Where a server of this DATA_DIR listens, and which process it is (as soon as it is started). */
export type ServerState = { port: number; id?: ProcessId }

/** What runs on a DATA_DIR. `owner` is the process that started it, null once that has closed everything. */
export type State = {
  owner: ProcessId | null
  /** Device and inode of the DATA_DIR: a copy of the folder must not be taken for the original. */
  folder: string
  /** Both servers answer; others may attach. */
  is_ready: boolean
  redis?: ServerState
  postgres?: ServerState
}

/** The right to run the servers of a DATA_DIR, held until `release` or until the process is gone. */
export type Ownership = {
  /** What the owner before left behind, if that one never released. */
  before: State | undefined
  record(state: Pick<State, 'is_ready' | 'redis' | 'postgres'>): Promise<void>
  release(): Promise<void>
}

const NAME = /^servers-(\d+)\.json$/

/*
  The lock and the record of what runs are one file, servers-<number>.json, whose highest number counts.
  A new owner may only follow on a released or dead one, and takes the next number by link(2), which one process wins.
  The highest number is never removed, so whoever saw an old state late, and won a number already passed, finds the
  higher one and stands back.
*/

/** What runs on this DATA_DIR now: its owner is alive. Undefined when nobody owns it. */
export async function readLive(data_dir: string): Promise<State | undefined> {
  const { state } = await readHighest(data_dir)
  return state?.owner && (await isRunning(state.owner)) ? state : undefined
}

/** Takes the right to run the servers of this DATA_DIR, or answers undefined when a living process has it. */
export async function takeOwnership(data_dir: string): Promise<Ownership | undefined> {
  const { number, state: before } = await readHighest(data_dir)
  if (before?.owner && (await isRunning(before.owner))) return undefined
  const owner = await identify(process.pid)
  if (!owner) throw new Error('cannot read when this process was started')
  const folder = await folderId(data_dir)
  const mine = number + 1
  const path = join(data_dir, `servers-${mine}.json`)
  const { redis, postgres } = before ?? {}
  const first: State = {
    owner,
    folder,
    is_ready: false,
    ...(redis && { redis }),
    ...(postgres && { postgres }),
  }
  if (!(await create(path, first))) return undefined
  if ((await readHighest(data_dir)).number !== mine) {
    await rm(path, { force: true })
    return undefined
  }
  for (const number of await numbers(data_dir)) {
    if (number < mine) await rm(join(data_dir, `servers-${number}.json`), { force: true })
  }
  // One write after the other: what was recorded last must be what stays.
  let written = Promise.resolve()
  const write = (state: State) => {
    written = written.catch(() => undefined).then(() => replace(path, state))
    return written
  }
  return {
    before: before?.owner ? before : undefined,
    record: (state) => write({ owner, folder, ...state }),
    release: () => write({ owner: null, folder, is_ready: false }),
  }
}

async function numbers(data_dir: string): Promise<number[]> {
  const names = await readdir(data_dir)
  return names.flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number)
}

/** The state that counts; number 0 when there never was one. A file of another folder or half written counts as released. */
async function readHighest(data_dir: string): Promise<{ number: number; state: State | undefined }> {
  const folder = await folderId(data_dir)
  for (;;) {
    const number = Math.max(0, ...(await numbers(data_dir)))
    if (number === 0) return { number, state: undefined }
    try {
      const text = await readFile(join(data_dir, `servers-${number}.json`), 'utf8')
      const state = parse(text)
      return { number, state: state?.folder === folder ? state : undefined }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

function parse(text: string): State | undefined {
  try {
    return JSON.parse(text) as State
  } catch {
    return undefined
  }
}

async function folderId(data_dir: string): Promise<string> {
  const { dev, ino } = await stat(data_dir)
  return `${dev}:${ino}`
}

async function writeBeside(path: string, state: State): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  await writeFile(temporary, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 })
  return temporary
}

/** Writes the file whole, unless it exists already. */
async function create(path: string, state: State): Promise<boolean> {
  const temporary = await writeBeside(path, state)
  try {
    await link(temporary, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(temporary, { force: true })
  }
}

async function replace(path: string, state: State): Promise<void> {
  await rename(await writeBeside(path, state), path)
}
