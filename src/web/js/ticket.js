import { now, onTick } from './clock.js'
import { at, h, say } from './dom.js'
import { clockOf } from './words.js'

/**
 * @typedef {'none' | 'hold' | 'order' | 'paid' | 'over'} Step
 * @typedef {{ label: string, is_primary?: boolean, act: () => Promise<void> }} Action
 * @typedef {{ step: Step, words: string, from_ms?: number, until_ms?: number, actions?: Action[], atEnd?: () => void }} Ticket
 */

/** @type {Ticket} */
let ticket = { step: 'none', words: '' }

function tick() {
  const { step, from_ms, until_ms, atEnd } = ticket
  if (until_ms === undefined || from_ms === undefined) {
    say(at('ticket-left'), step === 'paid' ? '✓' : '–')
    at('ring').style.strokeDashoffset = step === 'paid' ? '0' : '1'
    return
  }
  const left_ms = until_ms - now()
  say(at('ticket-left'), clockOf(left_ms))
  at('ring').style.strokeDashoffset = String(1 - Math.min(1, Math.max(0, left_ms / (until_ms - from_ms))))
  if (left_ms > 0 || !atEnd) return
  delete ticket.atEnd
  atEnd()
}

let is_busy = false

/** One button; while what it does is under way none does anything. A button that was disabled would lose the focus. @param {Action} action */
function buttonOf({ label, is_primary, act }) {
  const onclick = async () => {
    if (is_busy) return
    is_busy = true
    at('ticket').setAttribute('aria-busy', 'true')
    await act()
    at('ticket').removeAttribute('aria-busy')
    is_busy = false
  }
  return h('button', { type: 'button', className: is_primary ? 'primary small' : 'small', onclick }, label)
}

/** Shows how far the purchase is, what can be done next, and a ring for the time that is left. @param {Ticket} shown */
export function showTicket(shown) {
  const had_focus = at('ticket').contains(document.activeElement)
  ticket = shown
  at('ticket').dataset.step = shown.step
  say(at('ticket-words'), shown.words)
  for (const item of at('ticket').querySelectorAll('.steps li')) {
    if (item.dataset.of === shown.step) item.setAttribute('aria-current', 'step')
    else item.removeAttribute('aria-current')
  }
  at('ticket-buttons').replaceChildren(...(shown.actions ?? []).map(buttonOf))
  // Whoever goes from step to step by keyboard stays here.
  if (had_focus) (at('ticket-buttons').querySelector('button') ?? at('hold-button')).focus()
  tick()
}

export function startTicket() {
  onTick(tick)
  tick()
}
