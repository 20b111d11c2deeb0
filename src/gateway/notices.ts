import { randomUUID } from 'node:crypto'
import { seeded } from '../random.ts'

/** A notice that the simulated gateway sends. `flaw` says what is wrong with its signature, if anything. */
export type Notice = {
  label: string
  idempotency_key: string
  status: 'success' | 'failed'
  flaw?: 'secret' | 'body' | 'timestamp'
}

const notice = (label: string, status: Notice['status'], flaw?: Notice['flaw']): Notice => ({
  label,
  idempotency_key: `gw_${randomUUID()}`,
  status,
  ...(flaw ? { flaw } : {}),
})

function shuffle<Thing>(things: Thing[], seed: number): Thing[] {
  const draw = seeded(seed)
  const shuffled = [...things]
  for (let last = shuffled.length - 1; last > 0; last -= 1) {
    const at = Math.floor(draw() * (last + 1))
    const moved = shuffled[at] as Thing
    shuffled[at] = shuffled[last] as Thing
    shuffled[last] = moved
  }
  return shuffled
}

/** What each scenario sends, in its order. */
export const SCENARIOS = {
  success: () => [notice('success', 'success')],
  failure: () => [notice('failure', 'failed')],
  duplicate: () => {
    const first = notice('success', 'success')
    return [first, { ...first, label: 'its duplicate' }, { ...first, label: 'its duplicate' }]
  },
  early: () => [notice('success before the order', 'success')],
  late: () => [notice('success after the time-out', 'success')],
  'out-of-order': () => [notice('success', 'success'), notice('failure of an earlier attempt', 'failed')],
  shuffled: (seed: number) => {
    const first = notice('success', 'success')
    const others = [
      notice('failure under another key', 'failed'),
      notice('success under a third key', 'success'),
    ]
    return shuffle([first, { ...first, label: 'its duplicate' }, ...others], seed)
  },
  forged: () => [
    notice('signed by a wrong secret', 'success', 'secret'),
    notice('changed by a byte', 'success', 'body'),
    notice('signed an hour ago', 'success', 'timestamp'),
  ],
} satisfies Record<string, (seed: number) => Notice[]>

export type Scenario = keyof typeof SCENARIOS
