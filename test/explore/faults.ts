import type { Ledger } from './buyers.ts'
import type { Chance } from './chance.ts'
import type { Call } from './scheduler.ts'
import type { World } from './world.ts'

const LOST = () => new Error('Connection is closed.')
const STEPS_MS = [-4_000, -700, 700, 4_000]

type Scene = {
  world: World
  chance: Chance
  ledger: Ledger
  note: (line: string) => void
  letGo: (call: Call, fault?: Error) => void
  open: () => void
  /** Does something a random number of steps later. */
  later: (work: () => Promise<unknown>) => void
}

/** What can go wrong, each by its name. `loses` is the store that lacks something afterwards: never both in one run. */
export const FAULTS: Record<string, { loses?: 'redis' | 'postgres'; happen: (scene: Scene) => Promise<unknown> }> = {
  'a process is killed': {
    async happen({ world, chance, note, open }) {
      const living = world.running()
      if (living.length === 0) return
      const { actor } = chance.pick(living)
      note(`${actor.name} is killed`)
      await world.kill(actor)
      open()
    },
  },
  'a reply of Redis is lost': {
    async happen({ world, letGo }) {
      const call = world.scheduler.ready().find((one) => one.is_answered && one.kind === 'redis')
      if (call) letGo(call, LOST())
    },
  },
  'a call to Redis is lost': {
    async happen({ world, letGo }) {
      const call = world.scheduler.ready().find((one) => !one.is_answered && one.kind === 'redis')
      if (call) letGo(call, LOST())
    },
  },
  'a connection to PostgreSQL breaks': {
    async happen({ world, letGo }) {
      const call = world.scheduler.ready().find((one) => one.kind === 'sql')
      if (!call || !('connection' in call.lane)) return
      ;(call.lane as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
      letGo(call, new Error('Connection terminated unexpectedly'))
    },
  },
  'Redis is emptied': {
    loses: 'redis',
    async happen({ world, ledger, note }) {
      note('Redis is emptied')
      ledger.losses += 1
      await world.emptyRedis()
    },
  },
  'Redis comes back without its last writes': {
    loses: 'redis',
    async happen({ world, ledger, note, later }) {
      note('Redis saves what it has')
      const restore = await world.copyRedis()
      later(async () => {
        note('Redis is killed, and comes back with what it saved')
        ledger.losses += 1
        world.clock.pass(1)
        await restore()
      })
    },
  },
  'PostgreSQL comes back without its last commits': {
    loses: 'postgres',
    async happen({ world, note, later }) {
      note('PostgreSQL is copied')
      const restore = await world.copyPostgres()
      later(async () => {
        note('PostgreSQL fails over to its copy')
        await restore()
      })
    },
  },
  'the clock of Redis steps': {
    async happen({ world, chance, note }) {
      const ms = chance.pick(STEPS_MS)
      note(`the clock of Redis steps by ${ms} ms`)
      await world.stepClock(ms)
    },
  },
  'Redis is full for a while': {
    async happen({ world, note, later }) {
      note('Redis is full')
      await world.fillRedis(true)
      later(async () => {
        note('Redis has room again')
        await world.fillRedis(false)
      })
    },
  },
}
