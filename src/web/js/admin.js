import { call, isGood } from './api.js'
import { at, say } from './dom.js'

const TOKEN_KEY = 'holdfast-admin-token'
/** Kept as long as the tab, and no longer. */
let token = sessionStorage.getItem(TOKEN_KEY)
/** @type {() => void} */
let afterCommand = () => {}

/** @param {string | null} next */
export function setToken(next) {
  token = next
  if (token === null) sessionStorage.removeItem(TOKEN_KEY)
  else sessionStorage.setItem(TOKEN_KEY, token)
}

export const hasToken = () => token !== null

/** Sends a request as the admin. @param {string} method @param {string} path @param {import('./api.js').Options} [options] */
export const command = (method, path, options = {}) => call(method, path, { ...options, token })

/** Tells what came of a command, in words. @param {import('./api.js').Answer} answer @param {string} words of one that went well */
export function sayOutcome(answer, words) {
  const { body } = answer
  const free = body?.code === 'stock_in_use' ? ` Only ${body.available} are free.` : ''
  say(at('operator-said'), isGood(answer) ? words : `${body?.detail ?? 'It did not work.'}${free}`)
  afterCommand()
}

/** @param {() => void} update called after each command */
export function onCommand(update) {
  afterCommand = update
}
