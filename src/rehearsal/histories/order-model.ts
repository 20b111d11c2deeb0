import { change, type Life, type LifeAction, moveOf, NO_LIFE, type Outcome, outcomesOf } from './life.ts'
import type { Model } from './linearize.ts'
import type { Act } from './operations.ts'

/** What happens by itself comes soon after it may: the first guess of a search. */
export const SWEPT_AFTER_MS = 15

export const fits = (outcome: Outcome, says: Act['says']) =>
  !says || says.every((text, at) => text === undefined || outcome.says[at] === text)

/** Whether an answer means that PostgreSQL has the step: 2xx of an order, a cancellation, a payment. */
function isDurable({ action, says }: Act): boolean {
  if (!says) return false
  return ['order', 'cancel'].includes(action.kind)
    ? says[0] === '201' || says[0] === '200'
    : action.kind === 'pay' && !says[0]?.startsWith('4')
}

/** Whether `earlier` was before what an answer has acknowledged: no loss leads back there. */
function isBefore(earlier: Life, { action }: Act): boolean {
  if (action.kind === 'pay') return !earlier.seen.some((one) => one.startsWith(`${action.key}:`))
  return action.kind === 'order' ? earlier.made_as === '' : earlier.stage !== 'cancelled'
}

/** What may be undone behind a step that led from `before` to `life`. */
function withUndone(before: Life, life: Life, act: Act | undefined): Life {
  if (act?.action.kind === 'lose' || life === before) return life
  if (act && isDurable(act)) return change(life, { undone: [] })
  const last = change(before, { undone: [] })
  const undone = [...before.undone, last].filter(
    (one, at, all) => all.findIndex(({ name }) => name === one.name) === at,
  )
  return change(life, { undone })
}

/** One hold and its order, over all faults. `may_lose`: Redis lost something meanwhile, which may undo what nobody has acknowledged. */
export function orderModel(may_lose: boolean): Model<Life, Act> {
  return {
    initial: NO_LIFE,
    step(life, act) {
      const fitting = outcomesOf(life, act.action as LifeAction).filter((one) => fits(one, act.says))
      const next = fitting.map((one) => {
        if (!may_lose) return one.life
        const acknowledged = one.life === life && isDurable(act) && life.undone.length > 0
        if (!acknowledged) return withUndone(life, one.life, act)
        const undone = life.undone.filter((earlier) => !isBefore(earlier, act))
        return undone.length === life.undone.length ? life : change(life, { undone })
      })
      return next.filter((one, at) => next.findIndex(({ name }) => name === one.name) === at)
    },
    moves(life) {
      const moved = moveOf(life)
      if (!moved) return []
      return [{ guess_ms: 0, state: may_lose ? withUndone(life, moved, undefined) : moved }]
    },
    fingerprint: (life) => life.name,
  }
}
