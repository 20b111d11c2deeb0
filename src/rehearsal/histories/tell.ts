import type { Act } from './operations.ts'
import type { Part } from './smallest.ts'

const MAX_LINES = 24

/** What a call was answered, as far as its history knows it. */
function tellAnswer({ says, call }: Act): string {
  if (says) return says.map((text) => text ?? '…').join(' ')
  return call?.answer ? 'whatever it was answered' : 'no answer'
}

function tellCall(act: Act, since_ms: number): string {
  const { call, action } = act
  const at = (ms: number) => (Number.isFinite(ms) ? (ms - since_ms).toFixed(1) : '…')
  const when = `${at(act.began_ms)} to ${at(act.ended_ms)} ms`
  if (!call)
    return `${when}: ${action.kind === 'lose' ? 'Redis may lose something' : `its time is ${action.kind}`}`
  const delta = action.kind === 'adjust' ? ` ${action.delta}` : ''
  const qty = action.kind === 'place' || action.kind === 'refused hold' ? ` ${call.body?.qty} units` : ''
  const status = action.kind === 'pay' ? ` ${action.status}` : ''
  const id = act.life === undefined ? '' : ` of ${act.life.slice(0, 8)}`
  const who = `process ${call.service + 1}`
  return `${when}, ${who}: ${call.method} ${call.path}${delta}${qty}${status}${id} → ${tellAnswer(act)}`
}

/** The state of a product in words; of others, their name. */
function tellState(state: unknown): string {
  const { available, held, pending, sold, total, stage } = state as Record<
    string,
    number | string | undefined
  >
  if (stage !== undefined) return String(stage)
  if (available === undefined) return `total ${total}`
  return `available ${available}, held ${held}, pending ${pending}, sold ${sold}, total ${total}`
}

/** An unexplained part of a history in lines: what it is of, its calls by number, and where every order ends. */
export function tellPart(name: string, { acts, reached, left_out }: Part): string[] {
  const told = acts.filter(({ says, is_optional, call }) => says && !is_optional && call)
  const sorted = told.sort((one, other) => one.ended_ms - other.ended_ms)
  const since_ms = Math.min(...acts.map(({ began_ms }) => began_ms))
  const shown = sorted.slice(-MAX_LINES)
  const skipped = sorted.length - shown.length
  const marks = new Set(left_out)
  return [
    `no order of the calls explains what was answered of ${name}`,
    ...(skipped > 0 ? [`(${skipped} earlier calls are a part of it)`] : []),
    ...shown.map(
      (act, at) => `${at + 1 + skipped}. ${tellCall(act, since_ms)}${marks.has(act) ? '  <-' : ''}`,
    ),
    `the order that goes furthest comes to: ${tellState(reached)}; it leaves out what is marked <-`,
  ]
}
