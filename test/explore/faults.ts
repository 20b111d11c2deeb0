import type { Ledger } from './buyers.ts'
import type { Chance } from './chance.ts'
import type { Call } from './scheduler.ts'
import type { World } from './world.ts'

/** What was put off happens within so many steps; a rebuild takes some 60 of them. */
const LATER_STEPS = 120
const LONG_STEPS = 400
const LOST = () => new Error('Connection is closed.')
/** With these a transaction of the writer begins, and ends. */
const COMMITS = ['begin', 'commit']
const STEPS_MS = [-4_000, -700, 700, 4_000]

type Scene = {
  world: World
  chance: Chance
  ledger: Ledger
  note: (line: string) => void
  letGo: (call: Call, fault?: Error) => void
  open: () => void
  /** Does something a random number of steps later, at most so many. */
  later: (max_steps: number, work: () => unknown) => void
}

/** What can go wrong, each by its name. `loses` is the store that lacks something afterwards: never both in one run. */
export const FAULTS: Record<
  string,
  { loses?: 'redis' | 'postgres'; happen: (scene: Scene) => Promise<unknown> }
> = {
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
      await world.breakConnection(call)
      letGo(call, new Error('Connection terminated unexpectedly'))
    },
  },
  'a call takes long': {
    async happen({ world, chance, note, later }) {
      const ready = world.scheduler.ready()
      if (ready.length === 0) return
      const call = chance.pick(ready)
      note(`${call.actor.name} ${call.is_answered ? 'hears of' : 'sends'} ${call.what} much later`)
      later(LONG_STEPS, world.scheduler.delay(call))
    },
  },
  'a commit takes long': {
    async happen({ world, note, later }) {
      const call = world.scheduler
        .ready()
        .find(({ what, kind, is_answered }) => kind === 'sql' && !is_answered && COMMITS.includes(what))
      if (!call) return
      note(`${call.actor.name} sends ${call.what} much later`)
      later(LONG_STEPS, world.scheduler.delay(call))
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
      later(LATER_STEPS, async () => {
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
      later(LATER_STEPS, async () => {
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
      later(LATER_STEPS, async () => {
        note('Redis has room again')
        await world.fillRedis(false)
      })
    },
  },
}
