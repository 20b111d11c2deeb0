import type { Metric } from '../workers/messages.ts'
import { type Sample, takeSample } from './sample.ts'

export const SAMPLE_EVERY_MS = 5_000
/** Ten minutes of differences between samples. */
const MAX_SAMPLES = 121
/** Who asks is told of this moment, unless somebody has asked just now. */
const FRESH_MS = 1_000

/** The samples that were kept, oldest first, and how it is now, where that can be told. */
export type DeskSamples = { samples: Sample[]; now: Sample | null }
export type Ring = ReturnType<typeof createRing>

/**
 * Keeps samples of the last ten minutes, one every five seconds.
 * @param readMetrics the metrics of all processes together; a rejection leaves a gap
 */
export function createRing(readMetrics: () => Promise<Metric[]>, sample_every_ms = SAMPLE_EVERY_MS) {
  let samples: Sample[] = []
  let latest: Sample | undefined
  let reading: Promise<Sample | undefined> | undefined
  let timer: NodeJS.Timeout | undefined
  let is_stopped = false

  /** One reading serves all who ask meanwhile. */
  function read(): Promise<Sample | undefined> {
    reading ??= readMetrics()
      .then(
        (metrics) => {
          latest = takeSample(metrics, Date.now())
          return latest
        },
        () => undefined,
      )
      .finally(() => {
        reading = undefined
      })
    return reading
  }

  async function keep(): Promise<void> {
    const sample = await read()
    if (sample) samples = [...samples, sample].slice(-MAX_SAMPLES)
    if (!is_stopped) timer = setTimeout(keep, sample_every_ms)
  }

  return {
    /** Begins to take samples. */
    start(): void {
      timer = setTimeout(keep, 0)
    },
    async stop(): Promise<void> {
      is_stopped = true
      clearTimeout(timer)
      await reading
    },
    async read(): Promise<DeskSamples> {
      const is_fresh = latest && Date.now() - latest.at_ms < FRESH_MS
      const now = is_fresh ? latest : await read()
      return { samples, now: now ?? null }
    },
  }
}
