import type { Model } from './linearize.ts'
import type { Act } from './operations.ts'

type Totals = {
  total: number
  /** Keys of changes that had their effect, and those of them that a loss of Redis may undo. */
  done: string[]
  loose: string[]
}

const TOTAL_AT = 4

/** All ways to leave some of them out. */
function choices(keys: string[]): string[][] {
  const ways: string[][] = [[]]
  for (const key of keys) ways.push(...ways.map((way) => [...way, key]))
  return ways
}

/** The total of a product, over all faults: changes that were acknowledged stay, others may be undone where Redis loses something. */
export function totalModel(total: number, acts: Act[]): Model<Totals, Act> {
  const delta_of = new Map(
    acts.flatMap(({ action }) => (action.kind === 'adjust' ? [[action.key, action.delta] as const] : [])),
  )
  const sum = (keys: string[]) => keys.reduce((all, key) => all + (delta_of.get(key) ?? 0), 0)
  return {
    initial: { total, done: [], loose: [] },
    step(state, { action, says }) {
      const { done, loose } = state
      switch (action.kind) {
        case 'read stock':
          return !says || Number(says[TOTAL_AT]) === state.total ? [state] : []
        case 'lose':
          return choices(loose).map((undone) => ({
            total: state.total - sum(undone),
            done: done.filter((key) => !undone.includes(key)),
            loose: [],
          }))
        case 'adjust': {
          const { key, delta } = action
          if (says && says[0] !== '200') return [state]
          const others = loose.filter((one) => one !== key)
          if (done.includes(key)) {
            return says && others.length < loose.length ? [{ ...state, loose: others }] : [state]
          }
          const left = says ? others : [...others, key]
          return [{ total: state.total + delta, done: [...done, key].sort(), loose: left }]
        }
        default:
          return []
      }
    },
    moves: () => [],
    fingerprint: ({ total, done, loose }) => `${total} ${done} ${loose}`,
  }
}
