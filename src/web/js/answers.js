import { isGood } from './api.js'
import { at, h } from './dom.js'

const MAX_ANSWERS = 20

/** Lists what a step was answered: status, time, JSON. @param {import('./api.js').Answer} answer */
export function showAnswer(answer) {
  const { method, path, status, took_ms, body } = answer
  const summary = h(
    'summary',
    {},
    h('span', { className: 'status', data: isGood(answer) ? {} : { bad: '' } }, String(status || '–')),
    h('span', { className: 'what' }, `${method} ${path}`),
    h('span', { className: 'took' }, `${took_ms.toFixed(took_ms < 10 ? 1 : 0)} ms`),
  )
  const text = body === null ? 'No body' : JSON.stringify(body, null, 2)
  const pre = h('pre', { tabIndex: 0 }, text)
  const answers = at('answers')
  answers.prepend(h('li', {}, h('details', {}, summary, pre)))
  while (answers.children.length > MAX_ANSWERS) answers.lastElementChild.remove()
  at('no-answers').hidden = true
}
