import { linearize } from './linearize.ts'
import type { Act } from './operations.ts'
import { orderModel } from './order-model.ts'

/** A life has a dozen acts: more are not worth it for a guess. */
const MAX_CONFIGURATIONS = 2_000

/** The acts by the hold and order that they are of; those of the product are left out. */
export function byLife(acts: Act[]): Map<string, Act[]> {
  const own = new Map<string, Act[]>()
  for (const act of acts) {
    if (act.life === undefined) continue
    const others = own.get(act.life)
    if (others) others.push(act)
    else own.set(act.life, [act])
  }
  return own
}

/**
 * The acts with better guesses of when they took effect: in the order that explains their life by itself, none later than the next
 * one. A payment that waited for minutes, say, came before the moment at which its hold would have died without it.
 */
export function withGuesses(acts: Act[]): Act[] {
  const guess_of = new Map<Act, number>()
  for (const own of byLife(acts).values()) {
    const { order } = linearize(own, orderModel(false), MAX_CONFIGURATIONS)
    let next_ms = Number.POSITIVE_INFINITY
    for (const { op } of order.reverse()) {
      // What was not answered and must have been was mostly done at once.
      next_ms = Math.min(next_ms, op.is_optional && op.call ? op.began_ms : op.guess_ms)
      guess_of.set(op, next_ms)
    }
  }
  return acts.map((act) => ({ ...act, guess_ms: guess_of.get(act) ?? act.guess_ms }))
}
