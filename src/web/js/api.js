import { setClock } from './clock.js'

/**
 * @typedef {{ method: string, path: string, status: number, took_ms: number, body: any, retry_after_seconds: number | null }} Answer
 * @typedef {{ body?: object, token?: string | null, headers?: Record<string, string> }} Options
 */

/**
 * Sends a request and measures how long its answer takes. Status 0 stands for no answer.
 * @param {string} method @param {string} path @param {Options} [options] @returns {Promise<Answer>}
 */
export async function call(method, path, { body, token, headers = {} } = {}) {
  const started_ms = performance.now()
  const took = () => performance.now() - started_ms
  try {
    const response = await fetch(path, {
      method,
      headers: {
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      cache: 'no-store',
    })
    const text = await response.text()
    const took_ms = took()
    const date_ms = Date.parse(response.headers.get('date') ?? '')
    if (date_ms) setClock(date_ms)
    const retry_after = response.headers.get('retry-after')
    return {
      ...{ method, path, status: response.status, took_ms, body: text === '' ? null : JSON.parse(text) },
      retry_after_seconds: retry_after === null ? null : Number(retry_after),
    }
  } catch {
    const body = { title: 'No answer', detail: 'The service does not answer.', code: 'no_answer' }
    return { method, path, status: 0, took_ms: took(), body, retry_after_seconds: null }
  }
}

/** @param {Answer} answer */
export const isGood = ({ status }) => status >= 200 && status < 300

/** A key under which a request may be sent again. */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('')
