/**
 * A command cannot start or go on, and the person at the terminal can do something about it.
 * `message` is one line: what is wrong, then the remedy. Commands print it without a stack and exit with 1.
 */
export class StartError extends Error {
  override name = 'StartError'
}

/**
 * Redis or PostgreSQL cannot be trusted at this moment, so nothing can be promised.
 * HTTP answers 503 with `code` and Retry-After; the same request may be sent again.
 */
export class UnavailableError extends Error {
  override name = 'UnavailableError'
  readonly code: 'unavailable' | 'recovering'

  constructor(code: 'unavailable' | 'recovering', message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
