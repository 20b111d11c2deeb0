import { setMaxListeners } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrateDb } from '../../src/db/migrate.ts'
import { openServers } from '../../src/embedded/servers.ts'
import { explore, type Options, type Story } from './explore.ts'
import { shorten } from './shorten.ts'
import { stopSqlClock } from './sql-clock.ts'
import { openWorld } from './world.ts'

/** A run that somebody asks for; `shorten_ms` is how long a bad one may be looked at for a shorter one. */
export type Order = Options & { shorten_ms: number }
export type Told = { story: Story; shortest: Story }

/** Where there is a disk in memory, PostgreSQL need not wait for a real one. */
const MEMORY = '/dev/shm'

const folder = await mkdtemp(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'holdfast-explore-'))
const servers = await openServers({ data_dir: join(folder, 'data'), say: () => {} })
await stopSqlClock(servers.database_url)
await migrateDb(servers.database_url)
const { bigint } = process.hrtime
const { setTimeout: realTimeout } = globalThis
const world = await openWorld({ ...servers, shards: 2 })
setMaxListeners(0)
/** At the end of this process a run that is under way is waited for, but no longer. */
const END_MS = 5_000
let running: Promise<void> = Promise.resolve()

async function run({ shorten_ms, ...options }: Order): Promise<void> {
  const story = await explore(world, options)
  const late_ns = bigint() + BigInt(shorten_ms) * 1_000_000n
  const shortest =
    story.found.length === 0 || shorten_ms === 0
      ? story
      : await shorten(
          story,
          (tape) => explore(world, { ...options, tape }),
          () => bigint() > late_ns,
        )
  if (process.connected) process.send?.({ story, shortest } satisfies Told)
}

process.on('message', (order: Order) => {
  running = run(order)
})
process.on('disconnect', async () => {
  await Promise.race([running, new Promise((resolve) => realTimeout(resolve, END_MS))])
  await world.close().catch(() => {})
  await servers.close()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  process.exit(0)
})
process.send?.('ready')
