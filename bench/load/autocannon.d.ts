/** What is used here of autocannon 9, which comes without types. */
declare module 'autocannon' {
  import type { EventEmitter } from 'node:events'

  function autocannon(
    options: autocannon.Options,
    done: (error: Error | null, result: autocannon.Result) => void,
  ): EventEmitter & { stop(): void }

  namespace autocannon {
    type Sent = { method?: string; path?: string; headers?: Record<string, string>; body?: string }
    type Context = Record<string, string | undefined>

    type Options = {
      url: string
      connections: number
      /** Seconds. `amount` takes precedence. */
      duration?: number
      /** Requests in all. */
      amount?: number
      /** How often, in ms, it looks whether it is done. */
      sampleInt: number
      requests: Array<
        Sent & {
          setupRequest?: (request: Sent, context: Context) => Sent
          onResponse?: (status: number, body: string, context: Context) => void
        }
      >
      /** Calls for each connection before it sends anything. */
      setupClient?: (client: Client) => void
    }

    type Client = { setRequests(requests: Sent[]): void }

    type Result = {
      /** Seconds. */
      duration: number
      errors: number
      statusCodeStats: Record<string, { count: number }>
      latency: { p50: number; p99: number }
    }
  }

  export = autocannon
}
